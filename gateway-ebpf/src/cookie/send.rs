//! The answer to a hello without a cookie: the frame goes back where it came from, as another one.
#![expect(unsafe_code, reason = "helpers are foreign functions; a global function has a symbol")]
use super::maps;
use crate::{frame::XdpFrame, settings};
use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_TX},
        xdp_md,
    },
    helpers::generated::{bpf_xdp_adjust_tail, bpf_xdp_store_bytes},
};
use core::ffi::c_void;
use gateway_common::{
    cookie::reply::{LENGTH_4, LENGTH_6},
    decide::Reason,
    frame::{Frame as _, Offset},
    wire::parse::{self, Link},
};
use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

/// What the kernel is to do with a frame that was refused for `reason`. The frame cannot be read
/// after this.
#[inline(always)]
pub(crate) fn action(frame: &XdpFrame, reason: u32) -> u32 {
    if reason == Reason::CookieAsked as u32 || reason == Reason::CookieInvalid as u32 {
        return cookie_send(frame.context());
    }
    XDP_DROP
}

/// Makes the frame its own answer. A global function in the kernel too, for a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cookie_send(ctx: *mut xdp_md) -> u32 {
    match answer(ctx) {
        Some(()) => XDP_TX,
        None => XDP_DROP,
    }
}

#[inline(always)]
fn answer(ctx: *mut xdp_md) -> Option<()> {
    let frame = XdpFrame::of(ctx);
    let reply = maps::reply()?;
    let ip = parse::network(&frame, settings::link()).ok()??;
    let (header, length) = if ip.v4 { (Ipv4Hdr::LEN, LENGTH_4) } else { (Ipv6Hdr::LEN, LENGTH_6) };
    let start = ip.start.get();
    // options and extension headers are not answered: they could ask for another way back
    if reply.payload != start + header + UdpHdr::LEN {
        return None;
    }
    let link = swapped(&frame)?;
    let end = start + length;
    if frame.length() < end as u64 {
        return None;
    }
    let delta = end as i64 - frame.length() as i64;
    let packet: *mut c_void = if ip.v4 {
        reply.four.fill(&reply.answer);
        (&raw mut reply.four).cast()
    } else {
        reply.six.fill(&reply.answer);
        (&raw mut reply.six).cast()
    };
    // SAFETY: the context of this run; the frame becomes shorter and is not read any more.
    if unsafe { bpf_xdp_adjust_tail(ctx, delta as i32) } != 0 {
        return None;
    }
    // SAFETY: `length` bytes are that packet's; the helper checks the frame's end.
    if unsafe { bpf_xdp_store_bytes(ctx, start as u32, packet, length as u32) } != 0 {
        return None;
    }
    match settings::link() {
        Link::Ethernet => store_link(ctx, link),
        Link::Ip => Some(()),
    }
}

/// The two link addresses in each other's place, as three words of four bytes.
#[inline(always)]
fn swapped(frame: &XdpFrame) -> Option<[u32; 3]> {
    let at = |n: usize| Offset::START.advance(n);
    let (first, middle, last) = (frame.half(at(0)?)?, frame.half(at(4)?)?, frame.half(at(8)?)?);
    // destination:6 | source:6
    let destination = u64::from(first) << 16 | u64::from(middle >> 16);
    let source = u64::from(middle & 0xffff) << 32 | u64::from(last);
    let words = [
        (source >> 16) as u32,
        ((source & 0xffff) << 16) as u32 | (destination >> 32) as u32,
        destination as u32,
    ];
    Some(words.map(u32::to_be))
}

#[inline(always)]
fn store_link(ctx: *mut xdp_md, mut link: [u32; 3]) -> Option<()> {
    // SAFETY: twelve bytes of this function's own; the helper checks the frame's end.
    let result = unsafe { bpf_xdp_store_bytes(ctx, 0, link.as_mut_ptr().cast(), 12) };
    (result == 0).then_some(())
}
