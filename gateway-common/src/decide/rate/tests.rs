//! Against token buckets, and against each other.
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
