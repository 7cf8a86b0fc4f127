//! Counters of drops and passes, by interface.
use crate::dataplane::{Maps, Result, attach};
use gateway_common::{
    abi::{Interface, Passed},
    decide::{
        Reason,
        reason::{Counter, Drops},
    },
};

/// What an interface has dropped and passed so far.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Its place among the counters.
    pub place: u32,
    /// The interface.
    pub interface: Interface,
    /// Drops by reason.
    pub drops: Drops,
    /// What passed.
    pub passed: Passed,
}

impl Counts {
    /// The interface's name.
    pub fn name(&self) -> String {
        attach::name_of(&self.interface)
    }

    /// All drops together.
    pub fn dropped(&self) -> Counter {
        let counters = Reason::ALL.iter().map(|reason| self.drops.of(*reason));
        counters.fold(Counter::default(), add)
    }
}

fn add(a: Counter, b: Counter) -> Counter {
    Counter { packets: a.packets + b.packets, bytes: a.bytes + b.bytes }
}

/// Reads every interface's counters.
///
/// # Errors
/// A map that cannot be read.
pub fn read(maps: &Maps) -> Result<Vec<Counts>> {
    let interfaces = maps.interfaces()?;
    let read = |(place, interface)| {
        let (drops, passed) = (maps.drops(place)?, maps.passed(place)?);
        Ok(Counts { place, interface, drops, passed })
    };
    interfaces.into_iter().map(read).collect()
}

/// Drops of a reason on all interfaces.
pub fn total(counts: &[Counts], reason: Reason) -> Counter {
    counts.iter().map(|counts| counts.drops.of(reason)).fold(Counter::default(), add)
}
