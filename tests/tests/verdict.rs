//! The filter's verdicts: frames run through the real programs by the kernel's test-run mode.

#[path = "verdict/cookies.rs"]
mod cookies;
#[path = "verdict/excess.rs"]
mod excess;
#[path = "verdict/fixture.rs"]
mod fixture;
#[path = "verdict/flow.rs"]
mod flow;
#[path = "verdict/lasting.rs"]
mod lasting;
#[path = "verdict/outbound.rs"]
mod outbound;
#[path = "verdict/passing.rs"]
mod passing;
#[path = "verdict/racing.rs"]
mod racing;
#[path = "verdict/record.rs"]
mod record;
#[path = "verdict/refused.rs"]
mod refused;
#[path = "verdict/replaying.rs"]
mod replaying;
#[path = "verdict/sockets.rs"]
mod sockets;
#[path = "verdict/world.rs"]
mod world;

use std::collections::BTreeSet;

use fixture::Fixture;
use gateway_common::{
    abi::Settings,
    decide::{Reason, rate::Limits},
};
use gateway_user::dataplane::replica::Verdict;
use world::{FEW, FEW_OCTETS, World, burst, bytes, packets};

/// What the fixtures of one world ended in, and what was wrong.
#[derive(Default)]
struct Outcome {
    reached: BTreeSet<Reason>,
    wrong: Vec<String>,
}

impl Outcome {
    fn add(&mut self, mut world: World, fixtures: impl IntoIterator<Item = Fixture>) {
        for fixture in fixtures {
            match fixture.run(&mut world) {
                Ok(Verdict::Dropped(reason)) => {
                    self.reached.insert(reason);
                }
                Ok(Verdict::Checked | Verdict::Untouched) => {}
                Err(wrong) => self.wrong.push(wrong),
            }
        }
    }
}

fn everyday() -> Vec<Fixture> {
    let lists = [
        passing::listed(),
        passing::mapped(),
        passing::related(),
        passing::link(),
        passing::elsewhere(),
        refused::admission(),
        refused::mapped(),
        refused::content(),
        refused::unrelated(),
        refused::records(),
        outbound::answers(),
        outbound::stays(),
        outbound::mapped(),
    ];
    lists.into_iter().flatten().collect()
}

fn limited(reason: Reason) -> World {
    let limits = match reason {
        Reason::NodeBytes | Reason::LlnBytes => bytes(FEW_OCTETS),
        _ => packets(FEW),
    };
    let node = matches!(reason, Reason::NodePackets | Reason::NodeBytes);
    let place: fn(&mut Settings) -> &mut Limits =
        if node { |s| &mut s.node } else { |s| &mut s.lln };
    World::with(|settings| *place(settings) = limits)
}

#[test]
fn every_fixture_ends_as_stated_and_every_reason_is_reached() {
    let mut outcome = Outcome::default();
    outcome.add(World::new(), everyday());
    outcome.add(World::new(), excess::sources());
    outcome.add(World::with(|s| s.unproven = burst(10)), excess::unproven());
    outcome.add(World::with(|s| s.agent = burst(2)), excess::agent());
    for reason in [Reason::NodePackets, Reason::NodeBytes, Reason::LlnPackets, Reason::LlnBytes] {
        outcome.add(limited(reason), excess::radio(reason));
    }
    assert!(outcome.wrong.is_empty(), "{:#?}", outcome.wrong);
    outcome.reached.extend(cookies::reached());
    outcome.reached.extend(sockets::reached());
    let all: BTreeSet<_> = Reason::ALL.iter().copied().collect();
    let missed: Vec<_> = all.difference(&outcome.reached).collect();
    assert!(missed.is_empty(), "no fixture reaches {missed:?}");
}
