//! Is every record of the datagram well-formed, its turn, and new?
#![expect(unsafe_code, reason = "marks and associations are shared memory")]
use super::{admit::Associated, charge::spend};
use crate::{atomic, frame::XdpFrame, journal, maps, settings, settle::Verdict};
use gateway_common::{
    abi::{Association, AssociationKey, settings::replay_mode},
    decide::{
        Reason,
        association::{Gate, Progress, stale},
        rate::SECOND,
        replay::{Finding, Mark, WAYS, fingerprint, hello_fingerprint, opaque_fingerprint},
    },
    frame::Offset,
    wire::dtls::{self, Layout, Record, content, handshake},
};

/// Records in a datagram. An honest flight has three.
const RECORDS_MAX: usize = 8;
/// How long an association lets conflicts pass after one was dropped.
const RECORD_MODE_NS: u64 = 60 * SECOND;
/// Races that a mark may lose before its record counts as seen.
const TRIES: usize = 4;

/// Proof that no record of the datagram is known to have been seen.
pub struct Fresh {
    /// The first record's mark, to be left when the packet passes.
    first: Option<Mark>,
    /// Where the second record starts.
    rest: Offset,
    end: Offset,
}

#[inline(always)]
fn progress(state: *const Association) -> Progress {
    // SAFETY: callers pass a live association; its progress is one word.
    Progress::from_bits(unsafe { atomic::load((&raw const (*state).progress).cast()) })
}

/// Looks at every record; nothing is remembered yet but what unproven ones cost.
#[inline(always)]
pub fn check(
    frame: &XdpFrame,
    flow: &Associated,
    key: &AssociationKey,
    payload: Offset,
    end: Offset,
) -> Verdict<Fresh> {
    let mut first = None;
    let mut rest = end;
    let mut at = payload;
    let mut i = 0;
    while i < RECORDS_MAX && at < end {
        let (mark, next) = record(frame, flow, key, at, end)?;
        if i == 0 {
            (first, rest) = (mark, next);
        }
        at = next;
        i += 1;
    }
    if at != end {
        return Err(flow.admitted.refuse(Reason::NotDtls));
    }
    Ok(Fresh { first, rest, end })
}

/// One record: its mark, if it leaves one, and where the next starts.
#[inline(always)]
fn record(
    frame: &XdpFrame,
    flow: &Associated,
    key: &AssociationKey,
    at: Offset,
    end: Offset,
) -> Verdict<(Option<Mark>, Offset)> {
    let refuse = |reason| flow.admitted.refuse(reason);
    let Some(layout) = dtls::record(frame, at, end) else {
        return Err(refuse(Reason::NotDtls));
    };
    let progress = progress(flow.state);
    let (judges, next) = match &layout {
        Layout::Clear(record) => {
            gate(flow, progress, record).map_err(refuse)?;
            (progress.judges_conflicts(record), record.end)
        }
        Layout::Opaque { end, .. } => (false, *end),
    };
    if settings::replay() == replay_mode::OFF {
        return Ok((None, next));
    }
    let mark = mark(frame, flow, progress, &layout).map_err(refuse)?;
    if let Some(mark) = mark {
        let Some(marks) = maps::marks(mark.page, mark.position) else {
            return Err(refuse(Reason::Replayed));
        };
        match mark.find(|way| way_of(marks, way)) {
            Finding::Replayed => return Err(refuse(Reason::Replayed)),
            Finding::New { conflict: true, .. } if judges => {
                conflict(frame, flow, key).map_err(refuse)?;
            }
            Finding::New { .. } | Finding::Moved => {}
        }
    }
    Ok((mark, next))
}

#[inline(always)]
fn gate(flow: &Associated, progress: Progress, record: &Record) -> Result<(), Reason> {
    match progress.gate(record) {
        Gate::Open => {
            // SAFETY: a live association; words that are read on their own.
            let (epoch, next) =
                unsafe { ((*flow.state).confirmed_epoch, (*flow.state).confirmed_next) };
            if stale(epoch as u16, next, record.epoch, record.sequence) {
                return Err(Reason::ReplayStale);
            }
            Ok(())
        }
        Gate::Budget(price, reason) => {
            // SAFETY: a live association; only the field's address is taken.
            let arrival = unsafe { &raw mut (*flow.state).unproven_ns };
            if spend(arrival, settings::unproven(), flow.admitted.now, price) {
                Ok(())
            } else {
                Err(reason)
            }
        }
        Gate::Closed(reason) => Err(reason),
    }
}

/// The mark that a record leaves; `None` for plaintext that cannot be told from its like.
#[inline(always)]
fn mark(
    frame: &XdpFrame,
    flow: &Associated,
    progress: Progress,
    layout: &Layout,
) -> Result<Option<Mark>, Reason> {
    let key = settings::key();
    // SAFETY: a live association; a word that never changes.
    let id = unsafe { (*flow.state).id };
    match layout {
        Layout::Clear(record) if record.epoch > 0 => {
            let Some(print) = fingerprint(frame, key, record) else {
                return Err(Reason::NotDtls);
            };
            Ok(Some(Mark::new(id, record.epoch, record.sequence, progress.incarnation, print)))
        }
        Layout::Clear(record) if record.content == content::HANDSHAKE => {
            let Some(hello) = dtls::hello(frame, record) else {
                return Err(Reason::NotDtls);
            };
            if hello.kind != handshake::CLIENT_HELLO || hello.random == [0; 2] {
                return Ok(None);
            }
            let print = hello_fingerprint(key, &hello);
            Ok(Some(Mark::new(id, 0, record.sequence, progress.incarnation, print)))
        }
        Layout::Clear(_) => Ok(None),
        Layout::Opaque { at, end } => {
            let Some(print) = opaque_fingerprint(frame, key, *at, *end) else {
                return Err(Reason::NotDtls);
            };
            // hidden numbers: the bytes are the number; by node, since a connection ID may move
            Ok(Some(Mark::new(
                u64::from(flow.admitted.node),
                0,
                print & 0xffff_ffff_ffff,
                0,
                print,
            )))
        }
    }
}

#[inline(always)]
fn way_of(marks: *const u64, way: usize) -> u64 {
    // SAFETY: `marks` starts a position's ways and `way` is below their number.
    let mark = unsafe { marks.add(way) };
    // SAFETY: as above, an aligned word of a map value.
    unsafe { atomic::load(mark) }
}

/// A known number with other bytes: dropped once, then let pass for a while, because the forged
/// one may have been the first.
#[inline(always)]
fn conflict(frame: &XdpFrame, flow: &Associated, key: &AssociationKey) -> Result<(), Reason> {
    if settings::replay() != replay_mode::PAIR {
        return Ok(());
    }
    // SAFETY: a live association; only the field's address is taken.
    let until = unsafe { &raw mut (*flow.state).record_mode_until_ns };
    // SAFETY: a word of a map value.
    let old = unsafe { atomic::load(until) };
    if flow.admitted.now < old {
        return Ok(());
    }
    // SAFETY: as above. Of two CPUs that meet here one drops.
    if unsafe { atomic::replace(until, old, flow.admitted.now + RECORD_MODE_NS) } {
        journal::conflict(frame, key);
        return Err(Reason::ReplayConflict);
    }
    Ok(())
}

/// Leaves the marks of a datagram that passes. Of two CPUs with the same record one gets here
/// first; the other's record is a replay.
#[inline(always)]
pub fn remember(frame: &XdpFrame, flow: &Associated, fresh: Fresh) -> Verdict<()> {
    if settings::replay() == replay_mode::OFF {
        return Ok(());
    }
    let progress = progress(flow.state);
    let (mut next, mut at) = (fresh.first, fresh.rest);
    let mut i = 0;
    while i < RECORDS_MAX {
        if let Some(mark) = next {
            leave(&mark).map_err(|reason| flow.admitted.refuse(reason))?;
        }
        if at >= fresh.end {
            break;
        }
        let Some(layout) = dtls::record(frame, at, fresh.end) else {
            break;
        };
        at = match &layout {
            Layout::Clear(record) => record.end,
            Layout::Opaque { end, .. } => *end,
        };
        next = mark(frame, flow, progress, &layout).unwrap_or(None);
        i += 1;
    }
    Ok(())
}

#[inline(always)]
fn leave(mark: &Mark) -> Result<(), Reason> {
    let Some(marks) = maps::marks(mark.page, mark.position) else {
        return Err(Reason::Replayed);
    };
    let mut i = 0;
    while i < TRIES {
        match mark.find(|way| way_of(marks, way)) {
            Finding::Replayed => return Err(Reason::Replayed),
            Finding::New { way, old, new, .. } => {
                // SAFETY: `marks` starts a position's ways and `way` is one of them.
                let word = unsafe { marks.add(way % WAYS) };
                // SAFETY: as above, an aligned word of a map value.
                if unsafe { atomic::replace(word, old, new) } {
                    return Ok(());
                }
            }
            Finding::Moved => {}
        }
        i += 1;
    }
    Err(Reason::Replayed)
}
