//! The single exit: a verdict is counted, reported and turned into an action here and nowhere else.
#![expect(unsafe_code, reason = "counters are shared memory")]
use crate::{atomic, cookie::send, frame::XdpFrame, kernel, maps};
use aya_ebpf::bindings::{
    xdp_action::{XDP_DROP, XDP_PASS},
    xdp_md,
};
use gateway_common::{
    abi::SNAPSHOT,
    decide::{Reason, reason::Counter},
};

/// How a packet passes.
pub enum Outcome {
    /// It went through every check.
    Checked,
    /// It is not the filter's business.
    Untouched,
}

/// Why a packet does not pass, and whose it was.
pub struct Refusal {
    /// Why: a [`Reason`]'s number, since functions of the kernel's return numbers only.
    pub reason: u32,
    /// The source's slot, or [`NO_SLOT`] when it has no lease. (No `Option`: what it leaves
    /// undefined the compiler may store, and the verifier refuses.)
    pub slot: u32,
}

/// The slot of a source without a lease.
pub const NO_SLOT: u32 = u32::MAX;

impl From<Reason> for Refusal {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self { reason: reason as u32, slot: NO_SLOT }
    }
}

impl Refusal {
    /// As one number, for functions that return no more; never 0.
    #[inline(always)]
    pub fn to_word(&self) -> u64 {
        u64::from(self.slot) << 32 | (u64::from(self.reason) + 1)
    }

    /// Back from [`Refusal::to_word`].
    #[inline(always)]
    pub fn from_word(word: u64) -> Self {
        Self { reason: (word as u32).wrapping_sub(1), slot: (word >> 32) as u32 }
    }
}

/// What every stage returns.
pub type Verdict<T> = Result<T, Refusal>;

// Verdicts as numbers, unless they are refusals.
const UNTOUCHED: u64 = 0;
const CHECKED: u64 = u64::MAX;

/// A verdict as one number, for functions that return no more.
#[inline(always)]
pub fn to_word(verdict: Verdict<Outcome>) -> u64 {
    match verdict {
        Ok(Outcome::Untouched) => UNTOUCHED,
        Ok(Outcome::Checked) => CHECKED,
        Err(refusal) => refusal.to_word(),
    }
}

/// Back from [`to_word`].
#[inline(always)]
pub fn from_word(word: u64) -> Verdict<Outcome> {
    match word {
        UNTOUCHED => Ok(Outcome::Untouched),
        CHECKED => Ok(Outcome::Checked),
        word => Err(Refusal::from_word(word)),
    }
}

/// Counts and reports a verdict, and says it to the kernel.
#[inline(always)]
pub fn settle(frame: &XdpFrame, verdict: Verdict<Outcome>) -> u32 {
    match verdict {
        Ok(outcome) => {
            if let Some(passed) = maps::passed() {
                // SAFETY: this CPU's own slot.
                let passed = unsafe { &mut *passed };
                count(
                    frame,
                    match outcome {
                        Outcome::Checked => &mut passed.checked,
                        Outcome::Untouched => &mut passed.untouched,
                    },
                );
            }
            XDP_PASS
        }
        Err(refusal) => {
            if refusal.slot != NO_SLOT
                && let Some(source) = maps::source_state(refusal.slot)
            {
                // SAFETY: a word of a map value.
                unsafe { atomic::add(&raw mut (*source).drops, 1) };
            }
            if let Some(tally) = maps::drops(refusal.reason) {
                drop(frame, tally, refusal.reason);
            }
            send::action(frame, refusal.reason)
        }
    }
}

/// The same for a stranger's packet: the path that an attack takes.
#[inline(always)]
pub fn stranger(frame: &XdpFrame) -> u32 {
    if let Some(tally) = maps::drops_of(Reason::NoLease) {
        drop(frame, tally, Reason::NoLease as u32);
    }
    XDP_DROP
}

#[inline(always)]
fn count(frame: &XdpFrame, counter: &mut Counter) {
    counter.packets = counter.packets.wrapping_add(1);
    counter.bytes = counter.bytes.wrapping_add(frame.length());
}

/// Ticks between two events of one reason on one CPU: ten a second at 250 Hz.
const SAMPLE_TICKS: u64 = 25;

/// Counts a drop, and reports it unless one of the same reason was reported a moment ago: a flood
/// fills its own budget of events and no other's.
#[inline(always)]
fn drop(frame: &XdpFrame, tally: maps::Tally, reason: u32) {
    // SAFETY: this CPU's own slot.
    count(frame, unsafe { &mut *tally.counter });
    let ticks = kernel::ticks();
    // SAFETY: as above.
    if ticks < unsafe { *tally.due } {
        return;
    }
    // SAFETY: as above.
    unsafe { *tally.due = ticks + SAMPLE_TICKS };
    settle_report(frame.context(), reason);
}

/// A global function in the kernel too: rare, and of no concern to the path that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn settle_report(ctx: *mut xdp_md, reason: u32) -> u32 {
    report(&XdpFrame::of(ctx), reason);
    0
}

#[inline(always)]
fn report(frame: &XdpFrame, reason: u32) {
    let Some(mut entry) = maps::EVENTS.reserve(0) else {
        return;
    };
    let length = frame.length() as u32;
    let captured = if length > SNAPSHOT as u32 { SNAPSHOT as u32 } else { length };
    // Written in place: a copy of an event would take a third of the stack.
    let event = entry.as_mut_ptr();
    // SAFETY: the ring reserved room for an event; only addresses of its fields are taken.
    let (time_ns, interface, number, size, kept, data) = unsafe {
        (
            &raw mut (*event).time_ns,
            &raw mut (*event).interface,
            &raw mut (*event).reason,
            &raw mut (*event).length,
            &raw mut (*event).captured,
            &raw mut (*event).data,
        )
    };
    // SAFETY: a field in the reserved room, as are the next ones.
    unsafe { time_ns.write(kernel::now()) };
    // SAFETY: as above.
    unsafe { interface.write(crate::settings::interface()) };
    // SAFETY: as above.
    unsafe { number.write(reason) };
    // SAFETY: as above.
    unsafe { size.write(length) };
    // SAFETY: as above.
    unsafe { kept.write(captured) };
    // SAFETY: as above, and aligned: the fields before it are three words.
    unsafe { data.cast::<[u64; SNAPSHOT / 8]>().write([0; SNAPSHOT / 8]) };
    // SAFETY: its bytes have just been written.
    kernel::copy(frame, unsafe { &mut *data }, captured);
    entry.submit(0);
}
