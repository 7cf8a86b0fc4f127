//! Is every record of the datagram well-formed, its turn, and new?
#![expect(unsafe_code, reason = "marks and associations are shared memory")]
use super::{admit::Associated, charge::spend, ring};
use crate::{atomic, frame::XdpFrame, journal, kernel::position, settings, settle::Verdict};
use aya_ebpf::bindings::xdp_md;
use gateway_common::{
    abi::{Association, AssociationKey, settings::replay_mode},
    decide::{
        Reason,
        association::{Gate, Progress, stale},
        rate::SECOND,
        replay::{Mark, fingerprint, hello_fingerprint, opaque_fingerprint},
    },
    frame::Offset,
    wire::dtls::{self, Layout, Record, content, handshake},
};

/// Records in a datagram. An honest flight has three.
const RECORDS_MAX: usize = 8;
/// How long an association lets conflicts pass after one was dropped.
const RECORD_MODE_NS: u64 = 60 * SECOND;

/// Looks at every record; nothing is remembered yet but what unproven ones cost.
#[inline(always)]
pub(crate) fn check(
    frame: &XdpFrame,
    flow: &Associated,
    key: &AssociationKey,
    payload: Offset,
    end: Offset,
) -> Verdict<()> {
    let (at, end, now) = (payload.get(), end.get(), flow.admitted.now);
    let code = replay_check(frame.context(), at, end, flow.state, now);
    let Some(reason) = refused(code) else { return Ok(()) };
    if matches!(reason, Reason::ReplayConflict) {
        journal::conflict(frame, key);
    }
    Err(flow.admitted.refuse(reason))
}

/// Leaves the marks of a datagram that passes. Of two CPUs with the same record one gets here
/// first; the other's record is a replay.
#[inline(always)]
pub(crate) fn remember(
    frame: &XdpFrame,
    flow: &Associated,
    payload: Offset,
    end: Offset,
) -> Verdict<()> {
    if settings::replay() == replay_mode::OFF
        || replay_leave(frame.context(), payload.get(), end.get(), flow.state) == PASSED
    {
        Ok(())
    } else {
        Err(flow.admitted.refuse(Reason::Replayed))
    }
}

/// What the functions below return for a datagram without objection; else a reason's number and 1.
const PASSED: u32 = 0;

#[inline(always)]
fn refused(code: u32) -> Option<Reason> {
    /// The reasons that [`record`] gives, compared one by one: a table would lie on the stack.
    macro_rules! of {
        ($($reason:ident)*) => { $(if code == Reason::$reason as u32 + 1 { return Some(Reason::$reason); })* };
    }
    if code == PASSED {
        return None;
    }
    of!(RecordType Epoch Premature Unproven Replayed ReplayConflict ReplayStale);
    Some(Reason::NotDtls)
}

/// Checks every record. A global function in the kernel too: the verifier walks this loop once
/// instead of behind every path to it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn replay_check(
    ctx: *mut xdp_md,
    at: usize,
    end: usize,
    state: *mut Association,
    now: u64,
) -> u32 {
    let frame = XdpFrame::of(ctx);
    let (mut at, end) = (position(at), position(end));
    if state.is_null() {
        return Reason::NotDtls as u32 + 1;
    }
    let mut i = 0;
    while i < RECORDS_MAX {
        match record(&frame, state, now, at, end) {
            Ok(next) => at = position(next.get()),
            Err(reason) => return reason as u32 + 1,
        }
        if at >= end {
            return PASSED;
        }
        i += 1;
    }
    Reason::NotDtls as u32 + 1
}

/// Leaves the mark of every record.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn replay_leave(
    ctx: *mut xdp_md,
    at: usize,
    end: usize,
    state: *mut Association,
) -> u32 {
    let frame = XdpFrame::of(ctx);
    let (mut at, end) = (position(at), position(end));
    if state.is_null() {
        return Reason::Replayed as u32 + 1;
    }
    let progress = progress(state);
    let mut i = 0;
    while i < RECORDS_MAX && at < end {
        let Some(layout) = dtls::record(&frame, at, end) else { break };
        at = position(end_of(&layout).get());
        let mut left = Mark::NONE;
        let known = mark(&frame, state, progress, &layout, &mut left).is_ok();
        if known && left.is_some() && !ring::leave(&left) {
            return Reason::Replayed as u32 + 1;
        }
        i += 1;
    }
    PASSED
}

/// How far an association has come.
#[inline(always)]
pub(crate) fn progress(state: *const Association) -> Progress {
    // SAFETY: callers pass a live association; its progress is one word.
    Progress::from_bits(unsafe { atomic::load((&raw const (*state).progress).cast()) })
}

#[inline(always)]
fn end_of(layout: &Layout) -> Offset {
    match layout {
        Layout::Clear(record) => record.end,
        Layout::Opaque { end, .. } => *end,
    }
}

/// One record: where the next starts.
#[inline(always)]
fn record(
    frame: &XdpFrame,
    state: *mut Association,
    now: u64,
    at: Offset,
    end: Offset,
) -> Result<Offset, Reason> {
    let Some(layout) = dtls::record(frame, at, end) else { return Err(Reason::NotDtls) };
    let progress = progress(state);
    let judges = match &layout {
        Layout::Clear(record) => {
            gate(state, now, progress, record)?;
            progress.judges_conflicts(record)
        }
        Layout::Opaque { .. } => false,
    };
    if settings::replay() == replay_mode::OFF {
        return Ok(end_of(&layout));
    }
    let mut left = Mark::NONE;
    mark(frame, state, progress, &layout, &mut left)?;
    if left.is_some() {
        match ring::find(&left) {
            ring::Seen::Replayed => return Err(Reason::Replayed),
            ring::Seen::Conflict if judges => conflict(state, now)?,
            ring::Seen::Conflict | ring::Seen::No => {}
        }
    }
    Ok(end_of(&layout))
}

#[inline(always)]
fn gate(
    state: *mut Association,
    now: u64,
    progress: Progress,
    record: &Record,
) -> Result<(), Reason> {
    match progress.gate(record) {
        Gate::Open => {
            // SAFETY: a live association; a word that is read on its own.
            let epoch = unsafe { (*state).confirmed_epoch };
            // SAFETY: as above.
            let next = unsafe { (*state).confirmed_next };
            // a new association's Finished counts from zero again, whatever the last one reached
            let of_this = progress.judges_conflicts(record);
            if of_this && stale(epoch, next, record.epoch, record.sequence) {
                return Err(Reason::ReplayStale);
            }
            Ok(())
        }
        Gate::Budget(price, reason) => {
            // SAFETY: a live association; only the field's address is taken.
            let arrival = unsafe { &raw mut (*state).unproven_ns };
            if spend(arrival, settings::unproven(), now, price) { Ok(()) } else { Err(reason) }
        }
        Gate::Closed(reason) => Err(reason),
    }
}

/// The mark that a record leaves; none for plaintext that cannot be told from its like.
#[inline(always)]
fn mark(
    frame: &XdpFrame,
    state: *const Association,
    progress: Progress,
    layout: &Layout,
    left: &mut Mark,
) -> Result<(), Reason> {
    let key = settings::key();
    // SAFETY: a live association; a word that never changes.
    let id = unsafe { (*state).tag };
    match layout {
        Layout::Clear(record) if record.epoch > 0 => {
            let Some(print) = fingerprint(frame, key, record) else { return Err(Reason::NotDtls) };
            *left = Mark::new(id, record.epoch, record.sequence, progress.incarnation, print);
        }
        Layout::Clear(record) if record.content == content::HANDSHAKE => {
            let Some(hello) = dtls::hello(frame, record) else { return Err(Reason::NotDtls) };
            if hello.kind == handshake::CLIENT_HELLO && hello.random != [0; 2] {
                let print = hello_fingerprint(key, &hello);
                *left = Mark::new(id, 0, record.sequence, progress.incarnation, print);
            }
        }
        Layout::Clear(_) => {}
        Layout::Opaque { at, end } => {
            let Some(print) = opaque_fingerprint(frame, key, *at, *end) else {
                return Err(Reason::NotDtls);
            };
            // hidden numbers: the bytes are the number; by node, since a connection ID may move
            // SAFETY: a live association; a word that is read on its own.
            let node = unsafe { (*state).node_slot };
            *left = Mark::new(node.into(), 0, print & 0xffff_ffff_ffff, 0, print);
        }
    }
    Ok(())
}

/// A known number with other bytes: dropped once, then let pass for a while, because the forged
/// one may have been the first.
#[inline(always)]
fn conflict(state: *mut Association, now: u64) -> Result<(), Reason> {
    if settings::replay() != replay_mode::PAIR {
        return Ok(());
    }
    // SAFETY: a live association; only the field's address is taken.
    let until = unsafe { &raw mut (*state).record_mode_until_ns };
    // SAFETY: a word of a map value.
    let old = unsafe { atomic::load(until) };
    // SAFETY: as above. Of two CPUs that meet here one drops.
    if now >= old && unsafe { atomic::replace(until, old, now + RECORD_MODE_NS) } {
        return Err(Reason::ReplayConflict);
    }
    Ok(())
}
