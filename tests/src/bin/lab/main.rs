//! The lab as a show: real DTLS traffic passes a border router, real attacks die, and everything
//! is counted by reason. What it claims it checks; the exit status says whether all went as it
//! should.
mod mapped;
mod scenes;
mod world;

use anyhow::Result;
use clap::Parser;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use world::World;

/// Brings up back-end, router, node and attacker in network namespaces of this machine, and goes
/// through what an attacker may try. Ends with Ctrl-C and leaves nothing behind.
#[derive(Debug, Parser)]
#[command(name = "lab")]
struct Options {
    /// End by itself after this time, with a summary [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = gateway_user::config::units::duration)]
    lasting: Option<Duration>,
}

/// When the lab ends.
struct End {
    at: Option<Instant>,
    interrupted: Arc<AtomicBool>,
}

impl End {
    fn reached(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.at.is_some_and(|at| Instant::now() >= at)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&interrupted)) {
            eprintln!("lab: signals: {error}");
            return ExitCode::FAILURE;
        }
    }
    let end = End { at: options.lasting.map(|time| Instant::now() + time), interrupted };
    match run(&end) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Round after round until the end; whether every scene went as it should.
fn run(end: &End) -> Result<bool> {
    println!("bringing up back-end, attacker, router and node…");
    let mut world = World::new()?;
    world.introduce()?;
    let mut tally = Tally::default();
    for round in 1.. {
        for scene in scenes::ALL {
            if end.reached() {
                break;
            }
            let outcome = (scene.play)(&mut world);
            tally.add(scene, outcome, round == 1);
        }
        if round == 1 {
            world.how_to_look()?;
            if end.at.is_none() {
                println!("\nround after round from here on; Ctrl-C ends\n");
            }
        }
        if end.reached() {
            break;
        }
    }
    tally.summary();
    world.summary()?;
    Ok(tally.failed == 0)
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    fn add(&mut self, scene: &scenes::Scene, outcome: Result<String>, say: bool) {
        match outcome {
            Ok(detail) => {
                self.passed += 1;
                if say {
                    println!("  ok    {}\n        {detail}", scene.claim);
                }
            }
            Err(error) => {
                self.failed += 1;
                println!("  FAIL  {}\n        {error:#}", scene.claim);
            }
        }
    }

    fn summary(&self) {
        println!("\n{} scenes as they should be, {} not", self.passed, self.failed);
    }
}
