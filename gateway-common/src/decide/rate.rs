//! Rate limits as GCRA (ITU-T I.371): the state is one number, the theoretical arrival time.
//!
//! A budget of packets and bytes is a pair of them in one word ([`Due`]), so that one
//! compare-and-swap spends both or neither.
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A rate. All-zero means unlimited.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Rate {
    /// Nanoseconds that one unit (packet or byte) costs.
    pub interval_ns: u64,
    /// Credit that may be spent at once, units of burst times `interval_ns`, in steps of
    /// 2^`scale` ns; below 2^30.
    pub burst: u32,
    /// See `burst`.
    pub scale: u32,
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
    pub const UNLIMITED: Self = Self { interval_ns: 0, burst: 0, scale: 0 };

    /// A unit every `interval_ns`, and `burst_ns` of credit at once, rounded up by less than a part
    /// in 2^29; no more than 2^63 ns (292 years).
    pub const fn new(interval_ns: u64, burst_ns: u64) -> Self {
        const LARGEST: u64 = (1 << 30) - 1;
        let burst_ns = if burst_ns > 1 << 63 { 1 << 63 } else { burst_ns };
        let mut scale = 0;
        while burst_ns.div_ceil(1 << scale) > LARGEST {
            scale += 1;
        }
        let burst = burst_ns.div_ceil(1 << scale);
        #[expect(clippy::cast_possible_truncation, reason = "no more than LARGEST")]
        Self { interval_ns, burst: burst as u32, scale }
    }

    /// Nanoseconds of credit that may be spent at once.
    #[inline(always)]
    pub const fn burst_ns(&self) -> u64 {
        (self.burst as u64) << (self.scale % 64)
    }

    /// `per_second` units a second, `burst` of them at once. Zero a second is unlimited.
    pub const fn per_second(per_second: u64, burst: u64) -> Self {
        if per_second == 0 {
            return Self::UNLIMITED;
        }
        let interval_ns = SECOND.div_ceil(per_second);
        Self::new(interval_ns, interval_ns.saturating_mul(burst))
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
        if next.wrapping_sub(now) > self.burst_ns() { None } else { Some(next) }
    }
}

/// When the next packet and the next byte are due: the state of [`Limits`] in one word.
///
/// Both are instants in steps of their rate's 2^`scale` ns, modulo 2^32. What was last spent from
/// longer ago than a burst lasts is full, whatever its word looks like by now.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct Due {
    /// The next packet.
    pub packets: u32,
    /// The next byte.
    pub bytes: u32,
}

impl Due {
    /// From the eight bytes as they lie in memory.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        zerocopy::transmute!(bits)
    }

    /// The eight bytes as they lie in memory.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        zerocopy::transmute!(self)
    }
}

/// Which half of a budget does not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Packets.
    Packets,
    /// Bytes.
    Bytes,
}

impl Rate {
    /// [`Rate::conform`] in steps of 2^`scale` ns, for an instant modulo 2^32 that was last moved
    /// `idle` ns ago.
    #[inline(always)]
    const fn advance(&self, due: u32, idle: u64, now: u64, units: u64) -> Option<u32> {
        if self.is_unlimited() {
            return Some(due);
        }
        let (burst, scale) = (self.burst as u64, self.scale % 64);
        let here = (now >> scale) as u32;
        let ahead = due.wrapping_sub(here);
        // the upper half is the past: a burst is no more than a quarter
        let ahead = if ahead >> 31 != 0 || idle >> scale > burst { 0 } else { ahead as u64 };
        let step = (1u64 << scale) - 1;
        let cost = self.interval_ns.wrapping_mul(units).wrapping_add(step) >> scale;
        // the cost alone first: what is left fits 32 bits
        if cost > burst || ahead + cost > burst {
            return None;
        }
        Some(here.wrapping_add((ahead + cost) as u32))
    }
}

impl Limits {
    /// What becomes of a budget when a packet of `length` bytes is charged at `now`; the budget was
    /// last charged at `spent_ns`. A refusal leaves it as it was.
    ///
    /// # Errors
    /// Which half does not suffice: packets, if neither does.
    #[inline(always)]
    pub const fn conform(
        &self,
        due: Due,
        spent_ns: u64,
        now: u64,
        length: u16,
    ) -> Result<Due, Exhausted> {
        // CPUs' clocks differ by a tick at most: who is behind takes the budget as just used
        let idle = now.saturating_sub(spent_ns);
        let Some(packets) = self.packets.advance(due.packets, idle, now, 1) else {
            return Err(Exhausted::Packets);
        };
        let Some(bytes) = self.bytes.advance(due.bytes, idle, now, length as u64) else {
            return Err(Exhausted::Bytes);
        };
        Ok(Due { packets, bytes })
    }
}

/// When the next packet and the next byte are due, in nanoseconds: the state of [`Limits`] where
/// memory is not shared, and time may be waited for.
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
        let room = self.burst_ns().saturating_sub(cost);
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
            self.credit = (self.credit + (now - self.last)).min(rate.burst_ns());
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
    fn a_budget_is_full_however_long_it_rested() {
        let limits = Limits { packets: Rate::per_second(10, 3), bytes: Rate::UNLIMITED };
        let spend = |due, spent, now| limits.conform(due, spent, now, 100);
        let first = spend(Due::default(), 0, SECOND).unwrap();
        let second = spend(first, SECOND, SECOND).unwrap();
        let third = spend(second, SECOND, SECOND).unwrap();
        assert_eq!(spend(third, SECOND, SECOND), Err(Exhausted::Packets));
        // as many steps later as the word can count, it looks as if it was just spent
        let later = SECOND + (1 << 32);
        assert_eq!(spend(third, later, later), Err(Exhausted::Packets));
        assert!(spend(third, SECOND, later).is_ok());
        // who is a tick behind takes it as just spent
        assert_eq!(spend(third, SECOND, SECOND - 4_000_000), Err(Exhausted::Packets));
    }

    #[test]
    fn unlimited_refuses_nothing() {
        assert!(Rate::UNLIMITED.conform(10, 5, 1).is_some());
        let limits = Limits::default();
        assert_eq!(limits.conform(Due::default(), 0, 5, u16::MAX), Ok(Due::default()));
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
            let mut model = Bucket { credit: rate.burst_ns(), last: now };
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
        fn a_pair_is_two_rates_that_are_spent_together(
            packets in (1u64..1 << 29, 1u64..1 << 30), bytes in (1u64..1 << 20, 1u64..1 << 30),
            steps in proptest::collection::vec((0u32..36, any::<u64>(), 0u16..2_000), 1..200),
        ) {
            let rate = |(interval_ns, burst_ns)| Rate::new(interval_ns, burst_ns);
            let limits = Limits { packets: rate(packets), bytes: rate(bytes) };
            prop_assume!(limits.packets.scale == 0 && limits.bytes.scale == 0);
            let (mut now, mut due, mut spent) = (SECOND, Due::default(), 0);
            let mut model = Arrivals::default();
            for (bits, wait, length) in steps {
                now += wait & ((1 << bits) - 1);
                let packet = limits.packets.conform(model.packets, now, 1);
                let byte = limits.bytes.conform(model.bytes, now, length.into());
                let expected = packet.ok_or(Exhausted::Packets);
                let expected = expected.and_then(|one| Ok((one, byte.ok_or(Exhausted::Bytes)?)));
                let found = limits.conform(due, spent, now, length);
                prop_assert_eq!(found.map(drop), expected.map(drop));
                if let (Ok(next), Ok((packets, bytes))) = (found, expected) {
                    (due, spent, model) = (next, now, Arrivals { packets, bytes });
                }
            }
        }

        #[test]
        fn a_pair_with_a_long_burst_keeps_its_rate_too(
            per_second in 1u64..1_000, burst in 1u64..1_000_000,
            waits in proptest::collection::vec(0u64..2_000_000_000, 1..300),
        ) {
            let packets = Rate::per_second(per_second, burst);
            let limits = Limits { packets, bytes: Rate::UNLIMITED };
            let step = 1 << packets.scale;
            let (mut now, mut due, mut passed) = (SECOND, Due::default(), 0u64);
            let mut spent = 0;
            for wait in waits {
                now += wait;
                while let Ok(next) = limits.conform(due, spent, now, 0) {
                    (due, spent) = (next, now);
                    passed += 1;
                    if passed % 7 == 0 {
                        break;
                    }
                }
            }
            let earned = packets.burst_ns() + (now - SECOND) + step;
            prop_assert!(passed * packets.interval_ns <= earned);
        }

        #[test]
        fn a_burst_is_rounded_up_by_next_to_nothing(interval: u64, burst in 0u64..=1 << 63) {
            let rate = Rate::new(interval, burst);
            prop_assert!(rate.burst < 1 << 30 && rate.burst_ns() >= burst);
            prop_assert!(rate.burst_ns() - burst <= burst >> 29);
            prop_assert_eq!(Rate::new(interval, rate.burst_ns()), rate);
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
