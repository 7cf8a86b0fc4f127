//! CPU time of a received frame over a veth: filters against each other under one flood.
//!
//! The figure is the receiving thread's CPU time over the frames that it took, so a neighbour that
//! preempts it does not count, but the caches that he fouls do.
use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};

use super::{
    filters::{Filter, Filters},
    flood::{Floods, Profile},
    interrupt,
    stats::Spread,
    wires::Wires,
};

/// Sources in every list.
const LISTED: u32 = 10_000;
/// What is on its way when the sender ends.
const REST: Duration = Duration::from_millis(50);
/// Fewer frames say nothing.
const FEWEST: u64 = 1000;

/// A filter under a flood.
#[derive(Clone, Copy, Debug)]
struct Setup {
    name: &'static str,
    filter: Filter,
    profile: Profile,
    /// Whether its packets are forwarded.
    passes: bool,
}

/// Names that targets refer to.
pub(crate) mod name {
    pub(crate) const DROP: &str = "bare XDP_DROP";
    pub(crate) const UNLISTED: &str = "ours, unlisted dropped";
    pub(crate) const UNLISTED_NFT: &str = "nftables netdev, unlisted dropped";
    pub(crate) const UNLISTED_FILTER: &str = "xdp-filter, unlisted dropped";
    pub(crate) const LIMITED: &str = "ours, over the limit dropped";
    pub(crate) const LIMITED_NFT: &str = "nftables netdev, over the limit dropped";
    pub(crate) const PASS: &str = "bare XDP_PASS, forwarded";
    pub(crate) const PASSING: &str = "ours, passing, forwarded";
    pub(crate) const AGENT_ONE: &str = "ours, agent's port, one source";
    pub(crate) const AGENT_FORGED: &str = "ours, agent's port, forged sources";
}

const fn setup(name: &'static str, filter: Filter, profile: Profile, passes: bool) -> Setup {
    Setup { name, filter, profile, passes }
}

/// The bare drop comes first: everything is relative to it.
const SETUPS: [Setup; 16] = [
    setup(name::DROP, Filter::Drop, Profile::Strangers, false),
    setup("parse, then drop", Filter::Parse, Profile::Strangers, false),
    setup(name::UNLISTED, Filter::Ours, Profile::Strangers, false),
    setup(name::UNLISTED_FILTER, Filter::Ready, Profile::Strangers, false),
    setup(name::UNLISTED_NFT, Filter::Nft, Profile::Strangers, false),
    setup("no filter, forwarded", Filter::None, Profile::Strangers, true),
    setup(name::LIMITED, Filter::OursTight, Profile::Listed, false),
    setup(name::LIMITED_NFT, Filter::NftTight, Profile::Listed, false),
    setup("ours, replay dropped", Filter::Ours, Profile::Replays, false),
    setup(name::PASS, Filter::Pass, Profile::Listed, true),
    setup(name::PASSING, Filter::Ours, Profile::Listed, true),
    setup("xdp-filter, listed, forwarded", Filter::Ready, Profile::Listed, true),
    setup("nftables netdev, listed, forwarded", Filter::Nft, Profile::Listed, true),
    setup("no filter, listed, forwarded", Filter::None, Profile::Listed, true),
    setup(name::AGENT_ONE, Filter::Ours, Profile::One, false),
    setup(name::AGENT_FORGED, Filter::Ours, Profile::Forged, false),
];

/// What a setup cost, round by round.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// CPU nanoseconds of a frame.
    pub(crate) ns: Vec<f64>,
    /// Millions of frames a second that were offered.
    pub(crate) offered: Vec<f64>,
    /// Share of the frames that was forwarded.
    pub(crate) forwarded: Vec<f64>,
}

impl Measured {
    pub(crate) fn spread(&self) -> Spread {
        Spread::of(self.ns.iter().copied())
    }
}

/// The rows, and what forged sources left behind.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Measured>,
    /// Whether the maps are as large as before the floods.
    pub(crate) grown: bool,
}

/// Measures every setup whose name contains `only`, and always the floor.
pub(crate) fn measure(rounds: u32, time: Duration, only: &str) -> Result<Outcome> {
    let wires = Wires::new()?;
    let floods = Floods::new(&wires, LISTED)?;
    let mut filters = Filters::new(&wires, LISTED)?;
    let chosen: Vec<Setup> = SETUPS
        .into_iter()
        .filter(|setup| setup.name == name::DROP || setup.name.contains(only))
        .collect();
    let mut outcome = Outcome { rows: chosen.iter().map(empty).collect(), grown: false };
    for round in 1..=rounds {
        eprintln!("bench: end to end, round {round} of {rounds}");
        for (setup, row) in chosen.iter().zip(&mut outcome.rows) {
            interrupt::check()?;
            filters.on(setup.filter, &wires)?;
            let before = filters.growth()?;
            let result = sample(setup, (&wires, &floods, &filters), time, row);
            let after = filters.growth()?;
            filters.off(setup.filter, &wires)?;
            result?;
            outcome.grown |= setup.profile == Profile::Forged && after != before;
        }
    }
    Ok(outcome)
}

fn empty(setup: &Setup) -> Measured {
    Measured {
        name: setup.name.to_owned(),
        ns: Vec::new(),
        offered: Vec::new(),
        forwarded: Vec::new(),
    }
}

/// The wire, what floods it and what filters it.
type Parts<'a> = (&'a Wires, &'a Floods, &'a Filters);

/// Floods before a sample that spend every source's budget, at most.
const WARMINGS: u32 = 20;

fn sample(setup: &Setup, parts: Parts<'_>, time: Duration, row: &mut Measured) -> Result<()> {
    for _ in 0..WARMINGS {
        let taken = Taken::of(setup, parts, time / 10)?;
        if taken.is_right(setup) {
            break;
        }
    }
    let taken = Taken::of(setup, parts, time)?;
    let (name, frames, sent) = (setup.name, taken.frames, taken.sent);
    ensure!(frames >= FEWEST, "{name}: {frames} of {sent} frames arrived");
    let share = taken.share();
    ensure!(taken.is_right(setup), "{name}: {:.0} % passed", share * 100.0);
    row.ns.push(taken.busy_ns as f64 / frames as f64);
    row.offered.push(sent as f64 / time.as_secs_f64() / 1e6);
    row.forwarded.push(share);
    Ok(())
}

/// What became of a flood.
struct Taken {
    sent: u64,
    frames: u64,
    busy_ns: u64,
    /// Forwarded, or handed to the router itself.
    through: u64,
}

impl Taken {
    fn of(setup: &Setup, (wires, floods, filters): Parts<'_>, time: Duration) -> Result<Self> {
        let (before, untouched) = (wires.state()?, filters.untouched()?);
        let sent = floods.run(wires, setup.profile, time)?;
        sleep(REST);
        let after = wires.state()?;
        Ok(Self {
            sent,
            frames: after.taken - before.taken,
            busy_ns: after.busy_ns - before.busy_ns,
            through: after.forwarded - before.forwarded + filters.untouched()? - untouched,
        })
    }

    fn share(&self) -> f64 {
        self.through as f64 / self.frames as f64
    }

    fn is_right(&self, setup: &Setup) -> bool {
        if setup.passes { self.share() > 0.9 } else { self.share() < 0.1 }
    }
}
