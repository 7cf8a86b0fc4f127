//! Segments to the agent's own ports and to mapped ones, against the kernel's own sockets: what
//! belongs to none, or would end a connection that somebody else has, stops here (E2E §VI).
#![expect(unsafe_code, reason = "helpers and sockets are foreign; a global function has a symbol")]
use crate::{
    frame::XdpFrame,
    kernel::{fixed, position},
    settings,
};
use aya_ebpf::{
    bindings::{bpf_sock, xdp_md},
    helpers::generated::{
        bpf_probe_read_kernel, bpf_sk_release, bpf_skc_lookup_tcp, bpf_skc_to_tcp_sock,
    },
};
use gateway_common::{
    decide::{
        Reason,
        segment::{Found, Segment, Way},
    },
    frame::{Frame as _, Offset},
    wire::{
        Address,
        parse::{self, Network},
    },
};

/// Judges a segment before anything is charged for it.
#[inline(always)]
pub(crate) fn check(frame: &XdpFrame, ip: &Network, way: Way) -> Result<(), Reason> {
    // behind extension headers: no honest stack sends such segments, and they are not searched for
    if ip.protocol != parse::TCP {
        return Err(Reason::TcpSocket);
    }
    let mapped = matches!(way, Way::Mapped);
    let what = u32::from(ip.v4) | u32::from(mapped) << 1;
    let code = tcp_check(frame.context(), ip.start.get(), ip.payload.get(), what);
    if code == PASSED {
        return Ok(());
    }
    if code == Reason::RstSequence as u32 + 1 {
        return Err(Reason::RstSequence);
    }
    if code == Reason::SynEstablished as u32 + 1 {
        return Err(Reason::SynEstablished);
    }
    Err(Reason::TcpSocket)
}

/// What [`tcp_check`] returns without objection; else a reason's number and 1.
const PASSED: u32 = 0;

/// A global function in the kernel too: walked once, with a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tcp_check(ctx: *mut xdp_md, start: usize, at: usize, what: u32) -> u32 {
    let (start, at) = (position(start), position(at));
    let way = if what & 2 == 0 { Way::Own } else { Way::Mapped };
    match judge(&XdpFrame::of(ctx), start, at, what & 1 != 0, way) {
        Some(Ok(())) => PASSED,
        Some(Err(reason)) => reason as u32 + 1,
        None => Reason::TcpSocket as u32 + 1,
    }
}

#[inline(always)]
fn judge(
    frame: &XdpFrame,
    start: Offset,
    at: Offset,
    v4: bool,
    way: Way,
) -> Option<Result<(), Reason>> {
    let sequence = frame.half(at.advance(4)?)?;
    let flags = frame.byte(at.advance(13)?)?;
    let ports = frame.half(at)?.to_be();
    let found = if v4 {
        let source = frame.half(start.advance(12)?)?.to_be();
        let destination = frame.half(start.advance(16)?)?.to_be();
        look_up(frame, &mut Tuple4 { source, destination, ports }, 12)
    } else {
        let source = frame.address(start.advance(8)?)?;
        let destination = frame.address(start.advance(24)?)?;
        look_up(frame, &mut Tuple6 { source, destination, ports, padding: 0 }, 36)
    };
    Some(Segment { flags, sequence }.judge(found, way))
}

/// `struct bpf_sock_tuple` for IPv4, in network order.
#[repr(C)]
struct Tuple4 {
    source: u32,
    destination: u32,
    ports: u32,
}

/// The same for IPv6.
#[repr(C)]
struct Tuple6 {
    source: Address,
    destination: Address,
    ports: u32,
    padding: u32,
}

/// The network namespace of the interface.
const CURRENT: u64 = u64::MAX;

/// The kernel's socket for the first `size` bytes of a tuple.
#[inline(always)]
fn look_up<T>(frame: &XdpFrame, tuple: &mut T, size: u32) -> Found {
    let tuple: *mut T = tuple;
    // SAFETY: the context of this run, and a tuple of at least `size` bytes.
    let socket =
        unsafe { bpf_skc_lookup_tcp(frame.context().cast(), tuple.cast(), size, CURRENT, 0) };
    if socket.is_null() {
        return Found::Nothing;
    }
    // SAFETY: a live socket, as this program holds a reference to it.
    let state = unsafe { (&raw const (*socket).state).read_volatile() };
    let found = match Found::of(state, None) {
        Found::Open { .. } => Found::Open { next: next(socket) },
        found @ (Found::Nothing | Found::Listening | Found::Passing) => found,
    };
    // SAFETY: the reference of the look-up above, once.
    unsafe { bpf_sk_release(socket.cast()) };
    found
}

/// The number that a connection waits for.
#[inline(always)]
fn next(socket: *mut bpf_sock) -> Option<u32> {
    let offset = settings::rcv_nxt();
    if offset == 0 {
        return None;
    }
    // SAFETY: a live socket.
    let tcp = unsafe { bpf_skc_to_tcp_sock(socket.cast()) };
    if tcp.is_null() {
        return None;
    }
    let mut next = 0u32;
    let from = (fixed(tcp as u64) + u64::from(offset)) as *const core::ffi::c_void;
    // SAFETY: four bytes of this function's own; the helper refuses addresses that are none.
    let result = unsafe { bpf_probe_read_kernel((&raw mut next).cast(), 4, from) };
    (result == 0).then_some(next)
}
