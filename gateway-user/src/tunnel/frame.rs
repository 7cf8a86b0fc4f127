//! What travels inside a tunnel's outer record (paper, V-A).
//!
//! ```text
//! kind:1 | flow:1 | node:16 | port:2 | inner datagram, as the node gets it
//! ```
//!
//! The upper half of `kind` is the version. No CoAP message begins so (RFC 7252 §3), which lets one
//! DTLS session carry both. Over TLS two bytes of length come before each frame.
use core::net::{IpAddr, Ipv6Addr};

/// Bytes before the inner datagram.
pub const HEADER: usize = 20;
/// What a TLS client names to open a tunnel instead of HTTP (RFC 7301).
pub const ALPN: &[u8] = b"gateway-tunnel/1";

const PING: u8 = 0x10;
const PONG: u8 = 0x11;
const DATAGRAM: u8 = 0x12;
const REFUSED: u8 = 0x13;

/// A flow of datagrams between an application of the back-end and a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Tells applications that talk to one node apart; the back-end's end chooses it.
    pub number: u8,
    /// The node; IPv4 is mapped on the wire.
    pub node: IpAddr,
    /// Its UDP port.
    pub port: u16,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The back-end's end is there.
    Ping,
    /// The router is there.
    Pong,
    /// A datagram to or from a node.
    Datagram(Flow, &'a [u8]),
    /// A datagram was not sent on: why, in words.
    Refused(Flow, &'a str),
}

impl<'a> Frame<'a> {
    /// Whether bytes are meant as a frame, and not as a CoAP message.
    pub fn is_meant(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|kind| kind >> 4 == 1)
    }

    /// Reads a frame; nothing if it is none.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (kind, _) = bytes.split_first()?;
        match *kind {
            PING => Some(Self::Ping),
            PONG => Some(Self::Pong),
            DATAGRAM | REFUSED => {
                let (head, rest) = bytes.split_at_checked(HEADER)?;
                let flow = Flow {
                    number: *head.get(1)?,
                    node: Ipv6Addr::from(<[u8; 16]>::try_from(head.get(2..18)?).ok()?)
                        .to_canonical(),
                    port: u16::from_be_bytes(head.get(18..20)?.try_into().ok()?),
                };
                if *kind == DATAGRAM {
                    return Some(Self::Datagram(flow, rest));
                }
                core::str::from_utf8(rest).ok().map(|why| Self::Refused(flow, why))
            }
            _ => None,
        }
    }

    /// The frame's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Ping => vec![PING],
            Self::Pong => vec![PONG],
            Self::Datagram(flow, inner) => framed(DATAGRAM, flow, inner),
            Self::Refused(flow, why) => framed(REFUSED, flow, why.as_bytes()),
        }
    }
}

fn framed(kind: u8, flow: &Flow, rest: &[u8]) -> Vec<u8> {
    let node = match flow.node {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut bytes = Vec::with_capacity(HEADER + rest.len());
    bytes.extend([kind, flow.number]);
    bytes.extend(node.octets());
    bytes.extend(flow.port.to_be_bytes());
    bytes.extend(rest);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            number: u8, node: [u8; 16], port: u16, inner: Vec<u8>, why in "[a-z ]{0,40}",
        ) {
            let flow = Flow { number, node: Ipv6Addr::from(node).to_canonical(), port };
            for frame in [
                Frame::Ping,
                Frame::Pong,
                Frame::Datagram(flow, &inner),
                Frame::Refused(flow, &why),
            ] {
                let bytes = frame.bytes();
                prop_assert!(Frame::is_meant(&bytes));
                prop_assert_eq!(Frame::read(&bytes), Some(frame));
            }
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Frame::read(&bytes);
        }
    }

    #[test]
    fn an_inner_datagram_travels_as_it_is() {
        let flow = Flow { number: 7, node: "2001:db8::1".parse().unwrap(), port: 5684 };
        let bytes = Frame::Datagram(flow, &[22, 254, 253]).bytes();
        assert_eq!(bytes[..2], [0x12, 7]);
        assert_eq!(bytes[16..], [0, 1, 0x16, 0x34, 22, 254, 253]);
    }

    #[test]
    fn coap_is_no_frame() {
        for first in 0x40..0x80 {
            assert!(!Frame::is_meant(&[first]));
        }
    }
}
