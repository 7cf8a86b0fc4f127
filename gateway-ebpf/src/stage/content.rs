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
    /// Something that the lease and the rate alone decide on: a segment to a mapped port, an echo.
    Plain {
        /// The port that the lease must cover; 0 without ports.
        port: u16,
    },
}

/// Sorts out what no node should get. UDP ports are the association's matter: a node that spoke
/// first chose its own.
#[inline(always)]
pub(crate) fn inspect(ip: &Network, upper: &Upper) -> Result<Content, Reason> {
    if ip.length > settings::max_datagram() {
        return Err(Reason::Oversize);
    }
    match *upper {
        Upper::Udp { ports, payload, end } => Ok(Content::Datagram { ports, payload, end }),
        Upper::Tcp { ports } if settings::is_mapped_port(ports.destination) => {
            Ok(Content::Plain { port: ports.destination })
        }
        Upper::Tcp { .. } => Err(Reason::TcpPort),
        Upper::Icmp { kind: icmp::Kind::Echo, .. } => Ok(Content::Plain { port: 0 }),
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
