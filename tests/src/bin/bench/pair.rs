//! Two CPUs on one peer: what it costs, and that no record gets in twice.
use std::{
    hint::spin_loop,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use aya::programs::Xdp;
use gateway_user::dataplane::Plain;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::{
    fill,
    instance::{Instance, run},
    interrupt, micro,
    plan::{Plan, standard},
    stats::Spread,
};

/// Packets of a CPU in one try.
const PACKETS: u32 = 50_000;
/// Of so many tries the one counts in which both CPUs were ours for longest.
const TRIES: u32 = 4;

/// What two CPUs on one peer do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pair {
    /// Nanoseconds of a record, one CPU alone, round by round.
    pub(crate) one: Vec<f64>,
    /// The same with two CPUs on records of their own.
    pub(crate) two: Vec<f64>,
    /// The least share of a sample in which both ran at once.
    pub(crate) overlap: f64,
    /// Records that both CPUs had.
    pub(crate) records: u64,
    /// How many of them got in.
    pub(crate) admitted: u64,
}

impl Pair {
    /// How much dearer a record is with two CPUs.
    pub(crate) fn ratio(&self) -> f64 {
        super::stats::ratio(&self.two, &self.one)
    }
}

/// An instance with one proven peer.
fn peer(stride: u64, lane: u64) -> Result<Instance> {
    let plan = Plan { stride, lane, ..Plan::of(1) };
    let mut instance = Instance::new(1, plan)?;
    fill::leases(&instance)?;
    fill::associations(&instance, 1)?;
    instance.prepare("record_wan")?;
    Ok(instance)
}

/// Measures cost, then counts.
pub(crate) fn measure(rounds: u32) -> Result<Pair> {
    let mut pair = Pair { overlap: 1.0, ..Pair::default() };
    let (fresh, same) = (peer(2, 1)?, peer(1, 0)?);
    for round in 1..=rounds {
        interrupt::check()?;
        eprintln!("bench: two CPUs, round {round} of {rounds}");
        pair.one.push(best(&fresh, 1)?.ns);
        let two = best(&fresh, 2)?;
        pair.two.push(two.ns);
        pair.overlap = pair.overlap.min(two.share);
        count(&same, u64::from(round), &mut pair)?;
    }
    ensure!(pair.admitted > 0, "two CPUs: nothing got in");
    Ok(pair)
}

/// Both CPUs have the same records: each may get in once.
fn count(instance: &Instance, round: u64, pair: &mut Pair) -> Result<()> {
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
    let start = aya::maps::PerCpuValues::try_from(vec![Plain(round << 24); cpus])?;
    let mut counter = instance.maps.per_cpu::<u64>("COUNT")?;
    counter.set(0, start, 0)?;
    let before = instance.counts()?.checked;
    together(instance.program("record_wan")?, 2)?;
    pair.admitted += instance.counts()?.checked - before;
    pair.records += u64::from(PACKETS);
    Ok(())
}

/// One CPU's part.
#[derive(Clone, Copy)]
struct Lane {
    ns: f64,
    /// Share of the time in which the CPU was ours.
    share: f64,
}

fn best(instance: &Instance, cpus: usize) -> Result<Lane> {
    let program = instance.program("record_wan")?;
    let mut best = Lane { ns: f64::NAN, share: -1.0 };
    for _ in 0..TRIES {
        let lane = together(program, cpus)?;
        if lane.share > best.share {
            best = lane;
        }
    }
    Ok(best)
}

/// Runs the program on so many CPUs at once: mean time and least share.
fn together(program: &Xdp, cpus: usize) -> Result<Lane> {
    let ready = AtomicUsize::new(0);
    let lanes: Vec<Lane> = thread::scope(|scope| {
        let start = |cpu| {
            let ready = &ready;
            scope.spawn(move || lane(program, cpu, ready, cpus))
        };
        let threads: Vec<_> = (0..cpus).map(start).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Lane>>| {
            thread.join().ok().context("a thread panicked")?
        };
        threads.into_iter().map(join).collect::<Result<_>>()
    })?;
    Ok(Lane {
        ns: lanes.iter().map(|lane| lane.ns).sum::<f64>() / lanes.len() as f64,
        share: Spread::of(lanes.iter().map(|lane| lane.share)).min,
    })
}

fn lane(program: &Xdp, cpu: usize, ready: &AtomicUsize, all: usize) -> Result<Lane> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    let frame = standard(0);
    if all == 1 {
        run(program, &frame, 1000)?;
    }
    ready.fetch_add(1, Ordering::SeqCst);
    while ready.load(Ordering::SeqCst) < all {
        spin_loop(); // so that both CPUs are ours at the start
    }
    let begin = Instant::now();
    let seconds = micro::seconds(program, &frame, PACKETS)?;
    Ok(Lane {
        ns: seconds / f64::from(PACKETS) * 1e9,
        share: seconds / begin.elapsed().as_secs_f64(),
    })
}
