//! Is it something that a node should get?
use crate::settings;
use gateway_common::{
    decide::Reason,
    frame::Offset,
    wire::{
        icmp,
        parse::{Network, Ports, Upper},
    },
};

/// CoAP without DTLS (RFC 7252 §6.1).
pub(crate) const COAP_PORT: u16 = 5683;

/// What an admitted source sends to a node.
pub(crate) enum Content {
    /// A UDP datagram to judge record by record.
    Datagram {
        /// Ports.
        ports: Ports,
        /// Where its payload starts.
        payload: Offset,
        /// Where it ends.
        end: Offset,
    },
    /// A segment to a mapped port, which ends at the router: no frame on the radio follows from it
    /// as such, so that neither the LLN's limit of size nor its budgets apply.
    Segment {
        /// The port that the lease must cover.
        port: u16,
    },
    /// An echo: lease and rate alone decide on it.
    Echo,
}

/// Sorts out what no node should get. UDP ports are the association's matter: a node that spoke
/// first chose its own.
#[inline(always)]
pub(crate) fn inspect(ip: &Network, upper: &Upper) -> Result<Content, Reason> {
    if let Upper::Tcp { ports } = *upper
        && settings::is_mapped_port(ports.destination)
    {
        return Ok(Content::Segment { port: ports.destination });
    }
    if ip.length > settings::max_datagram() {
        return Err(Reason::Oversize);
    }
    match *upper {
        Upper::Udp { ports, payload, end } => Ok(Content::Datagram { ports, payload, end }),
        Upper::Tcp { .. } => Err(Reason::TcpPort),
        Upper::Icmp { kind: icmp::Kind::Echo, .. } => Ok(Content::Echo),
        Upper::Icmp { .. } => Err(Reason::IcmpType),
        Upper::Fragment => Err(Reason::Fragment),
        Upper::RoutingHeader => Err(Reason::RoutingHeader),
        Upper::HopByHop => Err(Reason::HopByHop),
        Upper::Other => Err(Reason::Protocol),
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
