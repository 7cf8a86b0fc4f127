//! What lies above the network header of the packet in hand.
#![expect(unsafe_code, reason = "a function that the verifier walks by itself has a symbol")]
use crate::{
    frame::XdpFrame,
    kernel::{self, position},
    maps::{self, Case},
};
use aya_ebpf::bindings::xdp_md;
use gateway_common::{
    frame::Offset,
    wire::parse::{self, Fields, Kind},
};

/// The packet contradicts itself.
pub(crate) const MALFORMED: u32 = u32::MAX;
pub(crate) const UDP: u32 = Kind::Udp as u32;
pub(crate) const TCP: u32 = Kind::Tcp as u32;
pub(crate) const ICMP_ERROR: u32 = Kind::IcmpError as u32;
pub(crate) const ICMP_ECHO: u32 = Kind::IcmpEcho as u32;
pub(crate) const ICMP_NEIGHBOUR: u32 = Kind::IcmpNeighbour as u32;
pub(crate) const FRAGMENT: u32 = Kind::Fragment as u32;
pub(crate) const ROUTING_HEADER: u32 = Kind::RoutingHeader as u32;
pub(crate) const HOP_BY_HOP: u32 = Kind::HopByHop as u32;
pub(crate) const OTHER: u32 = Kind::Other as u32;

/// Reads the transport header: its [`Kind`] by number, and where its fields are.
#[inline(always)]
pub(crate) fn read(frame: &XdpFrame, case: &Case) -> (u32, &'static Fields) {
    let kind = upper_read(frame.context());
    (kind, kernel::apart(&case.upper))
}

/// A position that was read from [`Fields`], in bounds that the verifier sees.
#[inline(always)]
pub(crate) fn bounded(at: Offset) -> Offset {
    position(at.get())
}

/// A global function in the kernel too: walked once, not behind every shape of network header.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn upper_read(ctx: *mut xdp_md) -> u32 {
    let Some(case) = maps::case() else { return MALFORMED };
    let mut fields = Fields::NONE;
    let kind = parse::sort(&XdpFrame::of(ctx), &case.ip, &mut fields);
    case.upper = fields;
    match kind {
        Ok(kind) => kind as u32,
        Err(_) => MALFORMED,
    }
}
