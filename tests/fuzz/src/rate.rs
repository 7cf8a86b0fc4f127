//! Rates against a token bucket with exact arithmetic.

use gateway_common::decide::rate::{Arrivals, Due, Exhausted, Limits, Rate};

use super::script::Script;

/// A rate and an instant, then steps: how much later (or, by the fourth byte, earlier), how many.
/// With the first byte's second bit, two rates at once.
pub fn rate(data: &[u8]) {
    if data.first().is_some_and(|kind| kind & 2 != 0) {
        return pair(data);
    }
    let mut script = Script(data);
    let Some((rate, start)) = opening(&mut script) else {
        return;
    };
    let mut bucket = Bucket::full(rate, start);
    let mut bound = Bound::new(start);
    let (mut now, mut arrival, mut exact) = (start, 0, true);
    while let (Some(wait), Some([units, back])) = (script.number(), script.take()) {
        let units = u64::from(units) << (back >> 2);
        let moved = if back & 1 == 0 {
            now.checked_add(wait)
        } else {
            exact = false; // a bucket's clock does not run backwards
            now.checked_sub(wait).filter(|now| *now >= start)
        };
        let Some(later) = moved.filter(|now| is_sane(rate, arrival, *now, units)) else {
            // out of range it need not be right, but it must come back
            let _ = rate.conform(arrival, now.wrapping_add(wait), units);
            return;
        };
        now = later;
        let next = rate.conform(arrival, now, units);
        assert_eq!(next, rate.conform(arrival, now, units));
        if exact {
            assert_eq!(next.is_some(), bucket.take(rate, now, units));
        }
        if let Some(next) = next {
            assert!(next >= arrival && next >= now && next - now <= rate.burst_ns());
            bound.spent(rate, now, units);
            arrival = next;
        }
    }
}

/// Two rates in one word against two words: a limit on packets, one on bytes, and the same steps.
fn pair(data: &[u8]) {
    let mut script = Script(data);
    let (Some([_]), Some(packets), Some(start)) =
        (script.take(), two(&mut script), script.number())
    else {
        return;
    };
    let Some(bytes) = two(&mut script) else { return };
    let (limits, exact) = (Limits { packets, bytes }, packets.scale == 0 && bytes.scale == 0);
    let (mut now, mut due, mut spent_ns) = (start, Due::default(), 0);
    let mut model = Arrivals::default();
    while let (Some(wait), Some([low, high])) = (script.number(), script.take()) {
        let length = u16::from_le_bytes([low, high]);
        let Some(later) = now.checked_add(wait) else { return };
        let sane = |rate, arrival, units| is_sane(rate, arrival, later, units);
        if !sane(packets, model.packets, 1) || !sane(bytes, model.bytes, length.into()) {
            let _ = limits.conform(due, spent_ns, later, length);
            return;
        }
        now = later;
        let found = limits.conform(due, spent_ns, now, length);
        let one = packets.conform(model.packets, now, 1).ok_or(Exhausted::Packets);
        let other = bytes.conform(model.bytes, now, length.into()).ok_or(Exhausted::Bytes);
        let expected = one.and_then(|one| Ok(Arrivals { packets: one, bytes: other? }));
        if exact {
            assert_eq!(found.map(drop), expected.map(drop));
        }
        if let (Ok(next), Ok(arrivals)) = (found, expected) {
            (due, spent_ns, model) = (next, now, arrivals);
        }
    }
}

fn two(script: &mut Script<'_>) -> Option<Rate> {
    Some(Rate::new(script.number()?, script.number()?))
}

fn opening(script: &mut Script<'_>) -> Option<(Rate, u64)> {
    let [kind] = script.take()?;
    let (first, second) = (script.number()?, script.number()?);
    let start = script.number()?;
    let rate = if kind & 1 == 0 {
        let rate = Rate::per_second(first, second);
        promised(rate, first, second);
        rate
    } else {
        Rate::new(first, second)
    };
    (!rate.is_unlimited()).then_some((rate, start))
}

/// Never more than `per_second` in a second, and `burst` units at once, unless no clock lasts so long.
fn promised(rate: Rate, per_second: u64, burst: u64) {
    assert_eq!(rate.is_unlimited(), per_second == 0);
    if per_second > 0 {
        let interval = u128::from(rate.interval_ns);
        assert!(interval * u128::from(per_second) >= 1_000_000_000);
        assert!((interval - 1) * u128::from(per_second) < 1_000_000_000);
        let whole = interval * u128::from(burst);
        let (burst, whole) = (u128::from(rate.burst_ns()), whole.min(1 << 63));
        assert!(burst >= whole && burst - whole <= whole >> 29);
    }
}

/// Whether everything that is added stays below 2^64, the burst below 2^63.
fn is_sane(rate: Rate, arrival: u64, now: u64, units: u64) -> bool {
    let cost = u128::from(rate.interval_ns) * u128::from(units);
    let latest = u128::from(now.max(arrival)) + cost;
    rate.burst_ns() <= 1 << 63 && latest <= u64::MAX.into()
}

struct Bucket {
    credit: u128,
    last: u64,
}

impl Bucket {
    fn full(rate: Rate, now: u64) -> Self {
        Self { credit: rate.burst_ns().into(), last: now }
    }

    fn take(&mut self, rate: Rate, now: u64, units: u64) -> bool {
        let earned = u128::from(now - self.last);
        self.credit = (self.credit + earned).min(rate.burst_ns().into());
        self.last = now;
        let cost = u128::from(rate.interval_ns) * u128::from(units);
        let conforms = cost <= self.credit;
        if conforms {
            self.credit -= cost;
        }
        conforms
    }
}

/// Over any time no more than the burst and what was earned, also when CPUs' clocks disagree.
struct Bound {
    start: u64,
    spent: u128,
    latest: u64,
}

impl Bound {
    fn new(start: u64) -> Self {
        Self { start, spent: 0, latest: start }
    }

    fn spent(&mut self, rate: Rate, now: u64, units: u64) {
        self.latest = self.latest.max(now);
        self.spent += u128::from(rate.interval_ns) * u128::from(units);
        let earned = u128::from(self.latest - self.start);
        assert!(self.spent <= u128::from(rate.burst_ns()) + earned);
    }
}
