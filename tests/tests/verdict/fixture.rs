//! A fixture: a sentence, what went before, a frame, its verdict, and every counter that it moves.

use std::{fmt::Write as _, net::IpAddr};

use gateway_common::{
    abi::{Passed, SourceState},
    decide::{
        Reason,
        reason::{Counter, Drops},
    },
    wire::parse,
};
use gateway_user::dataplane::{attach::Role, replica::Verdict};

use super::world::World;

/// A fixture under construction: it passes every check on nobody's account.
pub struct Fixture {
    name: &'static str,
    before: Vec<(Role, Vec<u8>)>,
    side: Role,
    frame: Vec<u8>,
    expected: Verdict,
    account: Option<IpAddr>,
}

/// A frame from the Internet.
pub fn wan(name: &'static str, frame: Vec<u8>) -> Fixture {
    Fixture {
        name,
        before: Vec::new(),
        side: Role::Wan,
        frame,
        expected: Verdict::Checked,
        account: None,
    }
}

/// A frame from the LLN.
pub fn lln(name: &'static str, frame: Vec<u8>) -> Fixture {
    Fixture { side: Role::Lln, ..wan(name, frame) }
}

impl Fixture {
    /// Frames that run first, whatever becomes of them.
    pub fn after(mut self, frames: impl IntoIterator<Item = (Role, Vec<u8>)>) -> Self {
        self.before.extend(frames);
        self
    }

    /// It is none of the filter's business.
    pub fn untouched(mut self) -> Self {
        self.expected = Verdict::Untouched;
        self
    }

    /// It is dropped.
    pub fn drops(mut self, reason: Reason) -> Self {
        self.expected = Verdict::Dropped(reason);
        self
    }

    /// Whose counters it moves.
    pub fn of(mut self, source: impl Into<IpAddr>) -> Self {
        self.account = Some(source.into());
        self
    }

    /// Runs it: the verdict, or what was wrong.
    pub fn run(&self, world: &mut World) -> Result<Verdict, String> {
        for (side, frame) in &self.before {
            world.run(*side, frame);
        }
        let mut before = Counts::of(world, self.account);
        let verdict = world.run(self.side, &self.frame);
        let after = Counts::of(world, self.account);
        if verdict != self.expected {
            let (name, expected) = (self.name, self.expected);
            return Err(format!("{name}: {verdict:?}, not {expected:?}"));
        }
        before.expect(self, world);
        let mut wrong = String::new();
        before.compare(&after, &mut wrong);
        if wrong.is_empty() { Ok(verdict) } else { Err(format!("{}: {wrong}", self.name)) }
    }

    fn ip(&self, world: &World) -> Option<parse::Network> {
        let link = world.replica.settings().link();
        parse::network(&self.frame[..], link).ok().flatten()
    }
}

/// Everything that a frame can move.
struct Counts {
    drops: Vec<Counter>,
    passed: Passed,
    sources: Vec<(SourceState, Counter)>,
    account: Option<usize>,
}

impl Counts {
    fn of(world: &World, account: Option<IpAddr>) -> Self {
        let maps = world.replica.maps();
        let place = super::world::INTERFACE;
        let drops: Drops = maps.drops(place).expect("the drop counters");
        Self {
            drops: Reason::ALL.iter().map(|reason| drops.of(*reason)).collect(),
            passed: maps.passed(place).expect("the pass counters"),
            sources: world.sources(),
            account: account.map(|source| world.slot(source)),
        }
    }

    /// Moves what the fixture should move.
    fn expect(&mut self, fixture: &Fixture, world: &World) {
        let frame = Counter { packets: 1, bytes: fixture.frame.len() as u64 };
        let datagram = fixture.ip(world).map_or(0, |ip| u64::from(ip.length));
        match fixture.expected {
            Verdict::Checked => add(&mut self.passed.checked, frame),
            Verdict::Untouched => add(&mut self.passed.untouched, frame),
            Verdict::Dropped(reason) => add(&mut self.drops[reason as usize], frame),
        }
        let Some(slot) = self.account else {
            return;
        };
        let (source, passed) = &mut self.sources[slot];
        match (fixture.expected, fixture.side) {
            (Verdict::Dropped(_), _) => source.drops += 1,
            (Verdict::Untouched, _) => {}
            (Verdict::Checked, Role::Wan) => {
                passed.packets += 1;
                passed.bytes += datagram;
            }
            (Verdict::Checked, Role::Lln) => {
                source.answers += 1;
                source.answer_bytes += datagram;
            }
        }
    }

    fn compare(&self, after: &Self, wrong: &mut String) {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            if self.drops[number] != after.drops[number] {
                let _ = write!(wrong, "{reason:?} {:?}; ", after.drops[number]);
            }
        }
        if self.passed != after.passed {
            let _ = write!(wrong, "passed {:?}, not {:?}; ", after.passed, self.passed);
        }
        for (slot, (wanted, found)) in self.sources.iter().zip(&after.sources).enumerate() {
            if counters(wanted) != counters(found) {
                let _ = write!(
                    wrong,
                    "slot {slot} (account {:?}) {:?}, not {:?}; ",
                    self.account,
                    counters(found),
                    counters(wanted)
                );
            }
        }
    }
}

/// Packets, bytes, drops, answers and their bytes.
pub const fn counters((source, passed): &(SourceState, Counter)) -> [u64; 5] {
    [passed.packets, passed.bytes, source.drops, source.answers, source.answer_bytes]
}

const fn add(counter: &mut Counter, more: Counter) {
    counter.packets += more.packets;
    counter.bytes += more.bytes;
}
