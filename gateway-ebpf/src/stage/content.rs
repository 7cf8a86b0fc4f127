//! Is it something that a node should get?
use super::upper;
use crate::settings;
use gateway_common::decide::Reason;

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
