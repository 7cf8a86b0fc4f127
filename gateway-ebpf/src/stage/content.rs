//! Is it something that a node should get?
#![expect(unsafe_code, reason = "a function that the verifier walks by itself has a symbol")]
use super::upper;
use crate::{frame::XdpFrame, kernel::position, settings};
use aya_ebpf::bindings::xdp_md;
use gateway_common::{decide::Reason, frame::Offset, wire::dtls};

/// CoAP without DTLS (RFC 7252 §6.1).
pub(crate) const COAP_PORT: u16 = 5683;

/// Why a node should not get a packet of this kind, whoever sends it.
#[inline(always)]
pub(crate) fn refuse(kind: u32) -> Reason {
    match kind {
        upper::TCP => Reason::TcpPort,
        upper::FRAGMENT => Reason::Fragment,
        upper::ROUTING_HEADER => Reason::RoutingHeader,
        upper::HOP_BY_HOP => Reason::HopByHop,
        upper::OTHER => Reason::Protocol,
        _ => Reason::IcmpType,
    }
}

/// Whether a node may get UDP on this port from whoever speaks first.
#[inline(always)]
pub(crate) fn service(port: u16) -> Result<(), Reason> {
    if settings::is_dtls_port(port) {
        Ok(())
    } else if port == COAP_PORT {
        Err(Reason::PlainCoap)
    } else {
        Err(Reason::UdpPort)
    }
}

/// Whether a datagram's payload starts with a DTLS record.
#[inline(always)]
pub(crate) fn is_dtls(frame: &XdpFrame, payload: Offset, end: Offset) -> bool {
    content_is_dtls(frame.context(), payload.get(), end.get()) != 0
}

/// A global function in the kernel too: what it reads of the record takes a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn content_is_dtls(ctx: *mut xdp_md, payload: usize, end: usize) -> u32 {
    let frame = XdpFrame::of(ctx);
    u32::from(dtls::record(&frame, position(payload), position(end)).is_some())
}
