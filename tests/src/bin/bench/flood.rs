//! Floods of live XDP frames: a program rewrites each and sends it out.
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::{
    instance::Instance,
    plan::{AGENT_PORT, DTLS_PORT, NODE, Plan, ROUTER, STRANGERS, record, source},
    wires::{self, CPU_SENDER, Wires},
};

/// Frames of one call, and of one batch in it.
const CALL: u32 = 1 << 17;
const BATCH: u32 = 64;

/// Who sends what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Sources that are in no list.
    Strangers,
    /// Listed sources in turn, new records.
    Listed,
    /// Listed sources in turn, always the same records.
    Replays,
    /// Forged sources to the agent's port.
    Forged,
    /// One source to the agent's port.
    One,
}

impl Profile {
    const ALL: [Self; 5] = [Self::Strangers, Self::Listed, Self::Replays, Self::Forged, Self::One];

    /// `source` and `record` of a plan, as the object's program knows them.
    const fn rewriting(self) -> (u64, u64) {
        match self {
            Self::One => (0, 0),
            Self::Listed => (1, 1),
            Self::Replays => (1, 0),
            Self::Strangers => (2, 0),
            Self::Forged => (3, 0),
        }
    }

    fn frame(self) -> Vec<u8> {
        let from = source(STRANGERS);
        let packet = match self {
            Self::Forged | Self::One => record(from, ROUTER, AGENT_PORT),
            Self::Strangers | Self::Listed | Self::Replays => record(from, NODE, DTLS_PORT),
        };
        let (from, to) = wires::ethernet();
        packet.ethernet(from, to).build()
    }
}

/// The programs that flood, one for each profile.
pub(crate) struct Floods(Vec<(Profile, Instance)>);

impl Floods {
    /// Out of the sender's interface, with so many listed sources.
    pub(crate) fn new(wires: &Wires, listed: u32) -> Result<Self> {
        let out = wires.out()?.into();
        let load = |profile: Profile| -> Result<(Profile, Instance)> {
            let (source, record) = profile.rewriting();
            let plan = Plan { source, record, out, ..Plan::of(listed) };
            let mut instance = Instance::small(plan)?;
            instance.prepare("flood")?;
            Ok((profile, instance))
        };
        Ok(Self(Profile::ALL.into_iter().map(load).collect::<Result<_>>()?))
    }

    /// Floods for a while; how many frames were sent.
    pub(crate) fn run(&self, wires: &Wires, profile: Profile, time: Duration) -> Result<u64> {
        let found = self.0.iter().find(|(of, _)| *of == profile);
        let (_, instance) = found.context("no such flood")?;
        let program = instance.program("flood")?;
        let frame = profile.frame();
        wires.sender.enter(|| send(program, &frame, time))
    }
}

fn send(program: &Xdp, frame: &[u8], time: Duration) -> Result<u64> {
    let mut cpu = CpuSet::new();
    cpu.set(CPU_SENDER)?;
    sched_setaffinity(Pid::from_raw(0), &cpu)?;
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < time {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.repeat = CALL;
        options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        program.test_run(options)?;
        sent += u64::from(CALL);
    }
    Ok(sent)
}
