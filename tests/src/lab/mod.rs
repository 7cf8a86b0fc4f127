//! Namespaces, links, processes and captures: the network in which tests run.

pub mod air;
pub mod capture;
pub mod clock;
pub mod gateway;
pub mod inject;
pub mod link;
pub mod loss;
pub mod machine;
pub mod mapped;
pub mod mcu;
pub mod netns;
pub mod pcap;
pub mod process;
pub mod relay;
pub mod repair;
pub mod siege;
mod socket;
pub mod topology;
pub mod usage;

pub use air::Air;
pub use capture::{Capture, Captured};
pub use clock::WallClock;
pub use gateway::Gateway;
pub use inject::Injector;
pub use link::Device;
pub use loss::Loss;
pub use machine::Machine;
pub use mapped::Mapped;
pub use mcu::Microcontroller;
pub use netns::Namespace;
pub use process::Child;
pub use relay::Relay;
pub use siege::Siege;
pub use topology::Lab;

use std::{
    thread,
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(10);

/// Polls until `condition` holds; says whether it did before `deadline` had passed.
pub fn until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    until_some(deadline, || condition().then_some(())).is_some()
}

/// Polls until `attempt` yields a value; `None` once `deadline` has passed.
pub fn until_some<T>(deadline: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        let last = Instant::now() >= end;
        if let Some(value) = attempt() {
            return Some(value);
        }
        if last {
            return None;
        }
        thread::sleep(POLL);
    }
}
