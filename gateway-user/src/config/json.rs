//! How rates look in JSON: as units a second and units at once, `null` for no limit.
use gateway_common::decide::rate::{Limits, Rate, SECOND};
use serde::{Serialize, Serializer};

#[derive(Serialize)]
struct RateShape {
    per_second: Option<u64>,
    burst: Option<u64>,
}

#[derive(Serialize)]
struct LimitsShape {
    packets: RateShape,
    bytes: RateShape,
}

impl RateShape {
    fn new(rate: &Rate) -> Self {
        // Rounded: the kernel's interval is, too.
        let second = SECOND.saturating_add(rate.interval_ns / 2);
        Self {
            per_second: second.checked_div(rate.interval_ns),
            burst: rate.burst_ns().checked_div(rate.interval_ns),
        }
    }
}

pub(super) fn rate<S: Serializer>(rate: &Rate, out: S) -> Result<S::Ok, S::Error> {
    RateShape::new(rate).serialize(out)
}

pub(super) fn limits<S: Serializer>(limits: &Limits, out: S) -> Result<S::Ok, S::Error> {
    LimitsShape { packets: RateShape::new(&limits.packets), bytes: RateShape::new(&limits.bytes) }
        .serialize(out)
}
