//! Rate limits as GCRA (ITU-T I.371): the state is one number, the theoretical arrival time.
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A rate. All-zero means unlimited.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Rate {
    /// Nanoseconds that one unit (packet or byte) costs.
    pub interval_ns: u64,
    /// Nanoseconds of credit that may be spent at once: units of burst times `interval_ns`.
    pub burst_ns: u64,
}

/// A limit on packets and one on bytes (of the IP datagram).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Limits {
    /// Packets.
    pub packets: Rate,
    /// Bytes.
    pub bytes: Rate,
}

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { interval_ns: 0, burst_ns: 0 };

    /// `per_second` units a second, `burst` of them at once. Zero a second is unlimited.
    pub const fn per_second(per_second: u64, burst: u64) -> Self {
        if per_second == 0 {
            return Self::UNLIMITED;
        }
        let interval_ns = SECOND.div_ceil(per_second);
        Self { interval_ns, burst_ns: interval_ns.saturating_mul(burst) }
    }

    /// Whether this rate refuses nothing.
    #[inline(always)]
    pub const fn is_unlimited(&self) -> bool {
        self.interval_ns == 0
    }

    /// The arrival time that follows from `units` at `now`, or `None` when they exceed the rate.
    ///
    /// A refusal leaves the state as it was, so that a flood over the limit writes nothing. A
    /// clock that steps in ticks grants at most one tick's worth early or late. The sum of the
    /// later of both times and `units` intervals must lie below 2^64 ns (584 years).
    #[inline(always)]
    pub const fn conform(self, arrival: u64, now: u64, units: u64) -> Option<u64> {
        if self.is_unlimited() {
            return Some(arrival);
        }
        let start = if arrival > now { arrival } else { now };
        let next = start.wrapping_add(self.interval_ns.wrapping_mul(units));
        if next.wrapping_sub(now) > self.burst_ns { None } else { Some(next) }
    }
}

/// When the next packet and the next byte are due, in nanoseconds: the state of [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Rate {
    /// Nanoseconds from `now` until `units` conform if nothing comes before. More units than the
    /// burst has conform when the whole burst does: they would never otherwise.
    pub const fn wait(self, arrival: u64, now: u64, units: u64) -> u64 {
        if self.is_unlimited() {
            return 0;
        }
        let cost = self.interval_ns.saturating_mul(units);
        let room = self.burst_ns.saturating_sub(cost);
        arrival.saturating_sub(now).saturating_sub(room)
    }

    /// The arrival time that follows from `units` at `now`, whether they conform or not.
    const fn spend(self, arrival: u64, now: u64, units: u64) -> u64 {
        let start = if arrival > now { arrival } else { now };
        start.saturating_add(self.interval_ns.saturating_mul(units))
    }
}

impl Limits {
    /// Whether they refuse nothing.
    pub const fn are_unlimited(&self) -> bool {
        self.packets.is_unlimited() && self.bytes.is_unlimited()
    }

    /// Nanoseconds from `now` until one packet of `bytes` conforms: for a sender that waits, where a
    /// filter would refuse.
    pub const fn wait(&self, arrivals: Arrivals, now: u64, bytes: u64) -> u64 {
        let packets = self.packets.wait(arrivals.packets, now, 1);
        let bytes = self.bytes.wait(arrivals.bytes, now, bytes);
        if packets > bytes { packets } else { bytes }
    }

    /// The state after a packet of `bytes` at `now`.
    pub const fn spend(&self, arrivals: Arrivals, now: u64, bytes: u64) -> Arrivals {
        Arrivals {
            packets: self.packets.spend(arrivals.packets, now, 1),
            bytes: self.bytes.spend(arrivals.bytes, now, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A token bucket with fractions, the slow way.
    struct Bucket {
        credit: u64,
        last: u64,
    }

    impl Bucket {
        fn take(&mut self, rate: Rate, now: u64, units: u64) -> bool {
            self.credit = (self.credit + (now - self.last)).min(rate.burst_ns);
            self.last = now;
            let cost = rate.interval_ns * units;
            let conforms = cost <= self.credit;
            if conforms {
                self.credit -= cost;
            }
            conforms
        }
    }

    #[test]
    fn a_burst_passes_whole_and_no_more() {
        let rate = Rate::per_second(10, 3);
        let mut arrival = 0;
        for _ in 0..3 {
            arrival = rate.conform(arrival, SECOND, 1).unwrap();
        }
        assert_eq!(rate.conform(arrival, SECOND, 1), None);
        assert!(rate.conform(arrival, SECOND + SECOND / 10, 1).is_some());
    }

    #[test]
    fn what_is_over_the_burst_waits_for_all_of_it() {
        let rate = Rate::per_second(10, 3);
        assert_eq!(rate.wait(0, SECOND, 5), 0);
        let arrival = rate.spend(0, SECOND, 5);
        assert_eq!(rate.wait(arrival, SECOND, 5), SECOND / 2);
        assert_eq!(Rate::UNLIMITED.wait(u64::MAX, 0, u64::MAX), 0);
    }

    #[test]
    fn unlimited_refuses_nothing() {
        assert!(Rate::UNLIMITED.conform(10, 5, 1).is_some());
    }

    proptest! {
        #[test]
        fn is_a_token_bucket(
            per_second in 1u64..100_000,
            burst in 1u64..100,
            steps in proptest::collection::vec((0u64..50_000_000, 1u64..20), 1..200),
        ) {
            let rate = Rate::per_second(per_second, burst);
            let mut now = SECOND;
            let mut model = Bucket { credit: rate.burst_ns, last: now };
            let mut arrival = 0;
            for (wait, units) in steps {
                now += wait;
                let next = rate.conform(arrival, now, units);
                prop_assert_eq!(next.is_some(), model.take(rate, now, units));
                arrival = next.unwrap_or(arrival);
            }
        }

        #[test]
        fn who_waits_conforms_then_and_not_sooner(
            per_second in 1u64..100_000,
            burst in 20u64..100,
            ahead in 0u64..3 * SECOND,
            units in 1u64..20,
        ) {
            let rate = Rate::per_second(per_second, burst);
            let (now, arrival) = (SECOND, SECOND + ahead);
            let wait = rate.wait(arrival, now, units);
            let after = rate.conform(arrival, now + wait, units);
            prop_assert_eq!(after, Some(rate.spend(arrival, now + wait, units)));
            prop_assert!(wait == 0 || rate.conform(arrival, now + wait - 1, units).is_none());
        }

        #[test]
        fn a_sender_that_waits_stays_within_both_limits(
            sizes in proptest::collection::vec(1u64..2_000, 1..200),
        ) {
            let limits =
                Limits { packets: Rate::per_second(20, 40), bytes: Rate::per_second(8192, 16384) };
            let (mut now, mut arrivals, mut bytes) = (SECOND, Arrivals::default(), 0);
            for size in &sizes {
                now += limits.wait(arrivals, now, *size);
                arrivals = limits.spend(arrivals, now, *size);
                bytes += size;
            }
            let (passed, time) = (sizes.len() as u64, now - SECOND);
            prop_assert!(passed <= 40 + time / limits.packets.interval_ns + 1);
            prop_assert!(bytes <= 16384 + time / limits.bytes.interval_ns + 1);
        }

        #[test]
        fn never_more_than_the_rate_over_any_time(
            waits in proptest::collection::vec(0u64..20_000_000, 1..300),
        ) {
            let rate = Rate::per_second(100, 10);
            let (mut now, mut arrival, mut passed) = (SECOND, 0, 0u64);
            for wait in waits {
                now += wait;
                if let Some(next) = rate.conform(arrival, now, 1) {
                    arrival = next;
                    passed += 1;
                }
            }
            prop_assert!(passed <= 10 + (now - SECOND) / rate.interval_ns);
        }
    }
}
