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
mod tests;
