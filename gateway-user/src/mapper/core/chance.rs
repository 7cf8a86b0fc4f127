//! Timers that double, and the chance that keeps many of them apart.
use std::time::{Duration, Instant};

/// A stream of numbers without meaning from a seed (splitmix64). Timers only: nothing secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// `base` times 1 to 1.5 (ACK_RANDOM_FACTOR of RFC 7252 §4.8).
    pub(super) fn spread(&mut self, base: Duration) -> Duration {
        let part = u32::try_from(self.next() >> 48).unwrap_or(0);
        base.saturating_add(base.saturating_mul(part) / (2 << 16))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// A deadline that doubles its distance each time it passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) due: Instant,
    timeout: Duration,
}

/// Greatest distance of a deadline ([RFC 6347 §4.2.4.1]).
///
/// [RFC 6347 §4.2.4.1]: https://www.rfc-editor.org/rfc/rfc6347#section-4.2.4.1
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

impl Backoff {
    pub(super) fn start(now: Instant, timeout: Duration) -> Self {
        Self { due: after(now, timeout), timeout }
    }

    /// The next one, if this one has passed.
    pub(super) fn passed(self, now: Instant) -> Option<Self> {
        let timeout = self.timeout.saturating_mul(2).min(TIMEOUT_MAX.max(self.timeout));
        (self.due <= now).then(|| Self::start(now, timeout))
    }

    /// The same distance again, from now.
    pub(super) fn again(self, now: Instant) -> Self {
        Self::start(now, self.timeout)
    }
}

/// A time that is not past the clock's end, whatever the configuration says.
pub(super) fn after(now: Instant, wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now + wait.min(YEAR)
}
