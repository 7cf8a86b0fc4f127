//! The kernel's monotonic clock, on which leases lapse, and the wall clock, on which people write
//! expiries.
use gateway_common::decide::admission::NEVER;
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};

/// Nanoseconds of the monotonic clock.
pub fn monotonic() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

/// The monotonic instant of a point in time; without one, never. What is past is 0.
pub fn instant(at: Option<SystemTime>) -> u64 {
    let Some(at) = at else { return NEVER };
    match at.duration_since(SystemTime::now()) {
        Ok(ahead) => monotonic().saturating_add(ahead.as_nanos() as u64),
        Err(_) => 0,
    }
}

/// What is left until a monotonic instant; `None` for never.
pub fn left(instant: u64) -> Option<Duration> {
    (instant != NEVER).then(|| Duration::from_nanos(instant.saturating_sub(monotonic())))
}

/// How long ago a monotonic instant was; `None` for one that never was.
pub fn ago(instant: u64) -> Option<Duration> {
    (instant != 0).then(|| Duration::from_nanos(monotonic().saturating_sub(instant)))
}

/// The point in time of a monotonic instant.
pub fn wall(instant: u64) -> SystemTime {
    let now = monotonic();
    if instant >= now {
        SystemTime::now() + Duration::from_nanos(instant - now)
    } else {
        SystemTime::now() - Duration::from_nanos(now - instant)
    }
}
