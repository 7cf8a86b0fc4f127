//! Kernel helpers as safe functions.
#![expect(unsafe_code, reason = "helpers are foreign functions")]
use crate::{frame::XdpFrame, maps};
use aya_ebpf::{
    EbpfContext,
    bindings::xdp_md,
    helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_xdp_load_bytes},
};
use core::arch::asm;
use gateway_common::{
    frame::Offset,
    wire::{Address, parse::Network},
};

/// Nanoseconds of the monotonic clock, as of the last tick (4 ms at 250 Hz): every burst is longer
/// than a tick. The kernel's own coarse clock steps with its ticks, so each CPU asks it once a tick;
/// who asks in the instant between the two sees this tick with the time of the last one.
#[inline(always)]
pub fn now() -> u64 {
    let tick = ticks();
    let Some(instant) = maps::clock() else {
        return coarse();
    };
    if instant.tick != tick {
        instant.now_ns = coarse();
        instant.tick = tick;
    }
    instant.now_ns
}

#[inline(always)]
fn coarse() -> u64 {
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

/// The same place in map memory, but one that is read afresh: what was written to it is forgotten,
/// so that the verifier walks what follows once for all that was.
#[inline(always)]
pub fn apart<T>(place: &T) -> &'static T {
    let mut pointer: *const T = place;
    // SAFETY: the pointer comes out as it went in.
    unsafe { asm!("{0} = {0}", inout(reg) pointer, options(nostack, preserves_flags)) };
    // SAFETY: made from the reference above, to this CPU's slot of a map, which stays.
    unsafe { &*pointer }
}

/// The same context, but one of which the compiler does not know that it has read it before.
#[inline(always)]
pub fn unknown(mut ctx: *mut xdp_md) -> *mut xdp_md {
    // SAFETY: the pointer comes out as it went in.
    unsafe { asm!("{0} = {0}", inout(reg) ctx, options(nostack, preserves_flags)) };
    ctx
}

/// The same number, but one whose origin the compiler does not know: it must test this very value,
/// so that the verifier sees the bounds where they are needed.
#[inline(always)]
pub fn fixed(mut number: u64) -> u64 {
    // SAFETY: the number comes out as it went in.
    unsafe { asm!("{0} = {0}", inout(reg) number, options(nostack, preserves_flags)) };
    number
}

/// A position in a frame from a number, in bounds that the verifier sees: the same ones on every
/// path to here, so that it walks what follows once for all of them.
#[inline(always)]
pub fn position(number: usize) -> Offset {
    let bounded = fixed(number as u64) as usize & Offset::MAX;
    Offset::START.advance(bounded).unwrap_or(Offset::START)
}

/// The same packet, but with nothing known of how it was found: tags, versions and extension
/// headers lead to many states of one meaning, which the verifier then walks as one.
#[inline(always)]
pub fn joined(ip: Network) -> Network {
    let address = |address: Address| {
        let (high, low) = address.raw_words();
        Address::from_raw(fixed(high), fixed(low))
    };
    Network {
        source: address(ip.source),
        destination: address(ip.destination),
        v4: fixed(ip.v4.into()) & 1 != 0,
        protocol: fixed(ip.protocol.into()) as u8,
        hop_limit: fixed(ip.hop_limit.into()) as u8,
        fragment: fixed(ip.fragment.into()) & 1 != 0,
        length: fixed(ip.length.into()) as u16,
        start: position(ip.start.get()),
        payload: position(ip.payload.get()),
    }
}
