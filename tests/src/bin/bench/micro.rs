//! Nanoseconds of a packet in the kernel's test-run mode.
//!
//! A sample is the calling thread's CPU time for many packets, less the call's fixed cost, so that
//! a neighbour who preempts it does not count. Rounds go through all rows in turn.
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::programs::Xdp;
use nix::time::{ClockId, clock_gettime};

use super::{
    cases::{self, Expected, Row},
    instance::{Instance, run},
    interrupt,
    stats::{Spread, difference, ratio},
};

/// How long a sample takes.
const SAMPLE: f64 = 0.05;
/// Packets that tell whether a row does what it is meant to.
const TRIALS: u32 = 400;
/// Packets that spend every budget that there is.
const MANY: u32 = 3_000_000;

/// What a row costs.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Less the rewriting, in each round.
    pub(crate) ns: Vec<f64>,
    /// As a multiple of a bare drop.
    pub(crate) ratio: f64,
    /// Over parsing.
    pub(crate) over_parse: f64,
}

impl Measured {
    pub(crate) fn spread(&self) -> Spread {
        Spread::of(self.ns.iter().copied())
    }
}

/// A program and its frame, and how many packets fill a sample.
struct Job<'a> {
    program: &'a Xdp,
    frame: &'a [u8],
    repeat: u32,
}

fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// CPU seconds of a run.
pub(crate) fn seconds(program: &Xdp, frame: &[u8], repeat: u32) -> Result<f64> {
    let begin = cpu_time()?;
    run(program, frame, repeat)?;
    Ok((cpu_time()? - begin).as_secs_f64())
}

impl<'a> Job<'a> {
    fn new(program: &'a Xdp, frame: &'a [u8]) -> Result<Self> {
        let pace = seconds(program, frame, 20_000)? / 20_000.0;
        let repeat = (SAMPLE / pace).clamp(20_000.0, 8e6) as u32;
        Ok(Self { program, frame, repeat })
    }

    /// Nanoseconds of one packet.
    fn sample(&self) -> Result<f64> {
        run(self.program, self.frame, self.repeat / 4)?; // its tables are in the caches again
        let mut fixed = f64::INFINITY;
        for _ in 0..3 {
            fixed = fixed.min(seconds(self.program, self.frame, 2)?);
        }
        let whole = seconds(self.program, self.frame, self.repeat)?;
        Ok((whole - fixed) / f64::from(self.repeat - 2) * 1e9)
    }
}

/// Measures every row whose name contains `only`.
pub(crate) fn measure(rounds: u32, only: &str) -> Result<Vec<Measured>> {
    let (mut instances, rows) = cases::all(only)?;
    for row in &rows {
        let instance = instances.get_mut(row.instance).context("no instance")?;
        for program in [Some(row.program), row.rewriter].into_iter().flatten() {
            instance.prepare(program)?;
        }
    }
    for row in &rows {
        verify(row, instance(&instances, row)?)?;
    }
    let samples = rounds_of(rounds, &rows, &instances)?;
    evaluate(&rows, &samples)
}

fn instance<'a>(instances: &'a [Instance], row: &Row) -> Result<&'a Instance> {
    instances.get(row.instance).context("no instance")
}

/// Makes sure that a row measures what it says; the first packets may pass until a budget is spent.
fn verify(row: &Row, instance: &Instance) -> Result<()> {
    let program = instance.program(row.program)?;
    let mut wrong = String::new();
    for warming in [TRIALS, MANY] {
        run(program, &row.frame, warming)?;
        let before = instance.counts()?;
        let action = run(program, &row.frame, TRIALS)?;
        let after = instance.counts()?;
        let counted = match row.expected {
            Expected::Action(expected) => u64::from(TRIALS) * u64::from(action == expected),
            Expected::Checked => after.checked - before.checked,
            Expected::Untouched => after.untouched - before.untouched,
            Expected::Dropped(reason) => after.of(reason) - before.of(reason),
        };
        if counted * 100 >= u64::from(TRIALS) * 98 {
            return Ok(());
        }
        wrong = format!("{counted} of {TRIALS}; {}", after.since(&before));
    }
    bail!("{}: not {:?}: {wrong}", row.name, row.expected)
}

/// Samples of a row and of its rewriter, round by round.
#[derive(Default)]
struct Samples {
    whole: Vec<f64>,
    rewriting: Vec<f64>,
}

fn rounds_of(rounds: u32, rows: &[Row], instances: &[Instance]) -> Result<Vec<Samples>> {
    let mut jobs = Vec::new();
    for row in rows {
        let instance = instance(instances, row)?;
        let whole = Job::new(instance.program(row.program)?, &row.frame)?;
        let rewriting = match row.rewriter {
            Some(name) => Some(Job::new(instance.program(name)?, &row.frame)?),
            None => None,
        };
        jobs.push((whole, rewriting, Samples::default()));
    }
    for round in 1..=rounds {
        eprintln!("bench: micro, round {round} of {rounds}");
        for (whole, rewriting, samples) in &mut jobs {
            interrupt::check()?;
            samples.whole.push(whole.sample()?);
            if let Some(rewriting) = rewriting {
                samples.rewriting.push(rewriting.sample()?);
            }
        }
    }
    Ok(jobs.into_iter().map(|(_, _, samples)| samples).collect())
}

/// The rows less their rewriting, and what they are relative to the first two.
fn evaluate(rows: &[Row], samples: &[Samples]) -> Result<Vec<Measured>> {
    let [drop, parse, ..] = samples else { bail!("no floors") };
    let (drop, parse) = (&drop.whole, &parse.whole);
    let measured = rows.iter().zip(samples).map(|(row, samples)| {
        let mut ns = samples.whole.clone();
        for ((ns, rewriting), drop) in ns.iter_mut().zip(&samples.rewriting).zip(drop) {
            *ns -= rewriting - drop;
        }
        Measured {
            name: row.name.clone(),
            ratio: ratio(&ns, drop),
            over_parse: difference(&ns, parse),
            ns,
        }
    });
    Ok(measured.collect())
}
