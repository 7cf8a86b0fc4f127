//! Kernel helpers as safe functions.
#![expect(unsafe_code, reason = "helpers are foreign functions")]
use crate::frame::XdpFrame;
use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_xdp_load_bytes},
};
use core::arch::asm;

/// Nanoseconds of the monotonic clock, as of the last tick (4 ms at 250 Hz): half the cost of the
/// exact clock, and every burst is longer than a tick.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: reads a clock.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Ticks since boot: one load.
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: reads a counter.
    unsafe { bpf_jiffies64() }
}

/// Copies the first `length` bytes of the frame; whether the frame has that many.
#[inline(always)]
pub fn copy(frame: &XdpFrame, to: &mut [u8; 128], length: u32) -> bool {
    let length = fixed(length.into());
    if length == 0 || length > 128 {
        return false;
    }
    let length = length as u32;
    // SAFETY: `length` is no more than what `to` holds, and the helper checks the frame's end.
    unsafe { bpf_xdp_load_bytes(frame.as_ptr().cast(), 0, to.as_mut_ptr().cast(), length) == 0 }
}

/// The same reference, but one that the compiler must pass as it is: a function that stays a call
/// in BPF has five argument registers, and passing a structure's parts would take more.
#[inline(always)]
pub fn whole<T>(reference: &T) -> &T {
    let mut pointer: *const T = reference;
    // SAFETY: the pointer comes out as it went in.
    unsafe { asm!("{0} = {0}", inout(reg) pointer, options(nostack, preserves_flags)) };
    // SAFETY: made from the reference above.
    unsafe { &*pointer }
}

/// The same number, but one whose origin the compiler does not know: it must test this very value,
/// so that the verifier sees the bounds where they are needed.
#[inline(always)]
pub fn fixed(mut number: u64) -> u64 {
    // SAFETY: the number comes out as it went in.
    unsafe { asm!("{0} = {0}", inout(reg) number, options(nostack, preserves_flags)) };
    number
}
