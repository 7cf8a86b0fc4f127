//! The marks of records, looked at and left.
//!
//! Global functions in the kernel too, which the verifier walks once each instead of once for
//! every record of every shape of datagram; they take and return numbers for that reason.
#![expect(unsafe_code, reason = "marks are shared memory")]
use crate::{atomic, kernel, maps};
use gateway_common::decide::replay::{Finding, Mark, WAYS};

/// Whether a record was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was not.
    No,
    /// Its number was, with other bytes.
    Conflict,
    /// It was.
    Replayed,
}

/// Races that a mark may lose before its record counts as seen.
const TRIES: usize = 4;

const NEW: u32 = 0;
const REPLAYED: u32 = 2;

/// A mark that was not there, and the word that it goes to if nothing has changed by then.
pub(crate) struct Gap {
    word: *mut u64,
    pub(crate) old: u64,
    pub(crate) new: u64,
}

/// Touches the marks of a position, which are seldom in a cache: they are on their way while the
/// record's fingerprint is made.
#[inline(always)]
pub(crate) fn touch((page, position): (u32, u32)) -> Option<*mut u64> {
    let marks = maps::marks(page, position)?;
    kernel::fixed(way_of(marks, 0));
    Some(marks)
}

/// Looks for a mark on the straight path; `Err` unless it is simply new.
#[inline(always)]
pub(crate) fn gap(mark: &Mark, marks: *mut u64) -> Result<Gap, Seen> {
    match mark.find(|way| way_of(marks, way)) {
        Finding::Replayed => Err(Seen::Replayed),
        Finding::New { conflict: false, way, old, new } => {
            // SAFETY: `marks` starts a position's ways and `way` is one of them.
            Ok(Gap { word: unsafe { marks.add(way % WAYS) }, old, new })
        }
        Finding::New { conflict: true, .. } | Finding::Moved => Err(Seen::Conflict),
    }
}

/// Leaves the mark in its gap; `false` if another CPU left the same one meanwhile.
#[inline(always)]
pub(crate) fn fill(mark: &Mark, gap: &Gap) -> bool {
    // SAFETY: an aligned word of a map value. Whoever left a mark here changed this very word.
    let filled = unsafe { atomic::replace(gap.word, gap.old, gap.new) };
    filled || leave(mark)
}

/// Looks for a mark; nothing changes.
#[inline(always)]
pub(crate) fn find(mark: &Mark) -> Seen {
    let Some(marks) = maps::marks(mark.page, mark.position) else { return Seen::Replayed };
    match mark.find(|way| way_of(marks, way)) {
        Finding::Replayed => Seen::Replayed,
        Finding::New { conflict: true, .. } => Seen::Conflict,
        Finding::New { .. } | Finding::Moved => Seen::No,
    }
}

/// Leaves a mark; `false` if it was there already. Of two CPUs with the same record one leaves it.
#[inline(always)]
pub(crate) fn leave(mark: &Mark) -> bool {
    ring_leave(mark.page, mark.position, mark.word) == NEW
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ring_leave(page: u32, position: u32, word: u64) -> u32 {
    let Some(marks) = maps::marks(page, position) else { return REPLAYED };
    let mark = Mark { page, position, word };
    let mut i = 0;
    while i < TRIES {
        match mark.find(|way| way_of(marks, way)) {
            Finding::Replayed => return REPLAYED,
            Finding::New { way, old, new, .. } => {
                // SAFETY: `marks` starts a position's ways and `way` is one of them.
                let word = unsafe { marks.add(way % WAYS) };
                // SAFETY: as above, an aligned word of a map value.
                if unsafe { atomic::replace(word, old, new) } {
                    return NEW;
                }
            }
            Finding::Moved => {}
        }
        i += 1;
    }
    REPLAYED
}

#[inline(always)]
fn way_of(marks: *const u64, way: usize) -> u64 {
    // SAFETY: `marks` starts a position's ways and `way` is below their number.
    let mark = unsafe { marks.add(way) };
    // SAFETY: as above, an aligned word of a map value.
    unsafe { atomic::load(mark) }
}
