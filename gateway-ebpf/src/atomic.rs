//! Atomic words in map memory. The compiler has no atomic read-modify-write for BPF, so these are
//! the instructions themselves (`-C target-cpu=v3`).
#![expect(unsafe_code, reason = "map memory is shared with other CPUs")]
use core::arch::asm;

/// Adds `value` to the word.
///
/// # Safety
/// `word` is an aligned word of a map value.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, value: u64) {
    // SAFETY: the caller's word is mapped and aligned; the instruction touches eight bytes there.
    unsafe {
        asm!("lock *(u64 *)({word} + 0) += {value}", word = in(reg) word, value = in(reg) value,
             options(nostack));
    }
}

/// Adds `value` to half a word.
///
/// # Safety
/// As for [`add`], of four bytes.
#[inline(always)]
pub(crate) unsafe fn add_half(half: *mut u32, value: u32) {
    // SAFETY: the caller's half word is mapped and aligned; the instruction touches four bytes.
    unsafe {
        asm!("lock *(u32 *)({half} + 0) += {value}", half = in(reg) half, value = in(wreg) value,
             options(nostack));
    }
}

/// Stores `new` if the word holds `old`; whether it did.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn replace(word: *mut u64, old: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: as for `add`; r0 carries the expected value in and the found one out.
    unsafe {
        asm!("r0 = cmpxchg_64({word} + 0, r0, {new})", word = in(reg) word, new = in(reg) new,
             inout("r0") old => found, options(nostack));
    }
    found == old
}

/// Writes the word unless it holds the value already: a cache line that other CPUs read stays theirs.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn refresh(word: *mut u64, value: u64) {
    // SAFETY: the caller's word.
    if unsafe { load(word) } != value {
        // SAFETY: as above.
        unsafe { store(word, value) };
    }
}

/// Reads the word afresh.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn load(word: *const u64) -> u64 {
    // SAFETY: the caller's word is mapped and aligned; eight bytes are read in one piece.
    unsafe { word.read_volatile() }
}

/// Writes the word.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn store(word: *mut u64, value: u64) {
    // SAFETY: the caller's word is mapped and aligned; eight bytes are written in one piece.
    unsafe { word.write_volatile(value) }
}
