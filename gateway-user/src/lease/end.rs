//! An end as it lies on the disk, on the clocks that it is measured on.
//!
//! While the system runs that is the kernel's monotonic clock, which no step of the wall clock
//! touches. Over a reboot there is only the wall clock: what it would prolong is not given.
use crate::dataplane::clock;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// One instant, on each clock that an end is measured on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The kernel's name of this run of the system.
    pub boot: String,
    /// The monotonic clock, in ns.
    pub now_ns: u64,
    /// The wall clock, in ms since 1970.
    pub wall_ms: u64,
    /// Whether it can be gone by: after a reboot it may not be set yet.
    pub set: bool,
}

impl Clocks {
    /// This instant.
    ///
    /// # Errors
    /// The kernel does not name its run.
    pub fn read() -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let (now_ns, wall_ms) = (clock::monotonic(), wall_of(SystemTime::now()));
        Ok(Self { boot, now_ns, wall_ms, set: true })
    }

    fn wall_at(&self, instant_ns: u64) -> u64 {
        let (now, ms) = (self.now_ns, |ns: u64| ns / 1_000_000);
        if instant_ns >= now {
            self.wall_ms.saturating_add(ms(instant_ns - now))
        } else {
            self.wall_ms.saturating_sub(ms(now - instant_ns))
        }
    }

    /// The monotonic instant so many ms from now.
    pub(super) fn ahead(&self, left_ms: u64) -> u64 {
        let left = Duration::from_millis(left_ms).as_nanos();
        self.now_ns.saturating_add(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

/// What the wall clock showed when the monotonic one showed 0, in ms; a step moves it.
pub(super) fn distance_ms() -> i64 {
    let (now_ms, wall_ms) = (clock::monotonic() / 1_000_000, wall_of(SystemTime::now()));
    wall_ms.cast_signed().wrapping_sub(now_ms.cast_signed())
}

/// A point in time, in ms since 1970.
pub(super) fn wall_of(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An end, kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct End {
    boot: String,
    expires_ns: u64,
    /// When this was written; a wall clock before that has been set back, or is not set yet.
    written_ms: u64,
    expires_ms: u64,
}

/// What is left until a kept end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It comes at this instant of the monotonic clock.
    Until(u64),
    /// It was.
    Nothing,
    /// Since a reboot the wall clock is before what was known already: it cannot be told.
    Unknown,
}

impl End {
    /// An end at this instant of the monotonic clock.
    pub fn new(expires_ns: u64, clocks: &Clocks) -> Self {
        Self {
            boot: clocks.boot.clone(),
            expires_ns,
            written_ms: clocks.wall_ms,
            expires_ms: clocks.wall_at(expires_ns),
        }
    }

    /// Whether it was written in this run of the system.
    pub(super) fn is_of(&self, clocks: &Clocks) -> bool {
        self.boot == clocks.boot
    }

    /// What is left of it now.
    pub fn left(&self, clocks: &Clocks) -> Left {
        let expires_ns = if self.is_of(clocks) {
            self.expires_ns
        } else if !clocks.set || clocks.wall_ms < self.written_ms {
            return Left::Unknown;
        } else {
            clocks.ahead(self.expires_ms.saturating_sub(clocks.wall_ms))
        };
        if expires_ns > clocks.now_ns { Left::Until(expires_ns) } else { Left::Nothing }
    }
}
