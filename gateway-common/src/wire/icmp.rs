//! The ICMP that a filter must let pass (RFC 4890 §4.3) or leave alone (RFC 4861).
use super::ip::Address;

/// What an ICMP message is to a border router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An error about a packet that it quotes: unreachable, packet too big, time exceeded,
    /// parameter problem.
    Error,
    /// Echo request or reply.
    Echo,
    /// Neighbour discovery, which never crosses a router (hop limit 255).
    Neighbour,
    /// Anything else.
    Other,
}

/// Classifies by type and code; `hop_limit` as received.
#[inline(always)]
pub const fn kind(v4: bool, kind: u8, code: u8, hop_limit: u8) -> Kind {
    if v4 {
        return match kind {
            3 | 11 | 12 => Kind::Error,
            0 | 8 => Kind::Echo,
            _ => Kind::Other,
        };
    }
    match (kind, code) {
        (1 | 2, _) | (3, 0 | 1) | (4, 0..=2) => Kind::Error,
        (128 | 129, _) => Kind::Echo,
        (133..=137, _) if hop_limit == 255 => Kind::Neighbour,
        _ => Kind::Other,
    }
}

/// The flow of the packet that an ICMP error quotes, as its sender sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Who sent the packet that the error is about.
    pub source: Address,
    /// Where it was going.
    pub destination: Address,
    /// Its transport protocol.
    pub protocol: u8,
    /// Its source port.
    pub source_port: u16,
    /// Its destination port.
    pub destination_port: u16,
}
