//! IPv4 and IPv6 headers as the builder keeps them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const DONT_FRAGMENT: u16 = 1 << 14;
const MORE_V4: u16 = 1 << 13;
/// PadN over the six bytes that an empty options header has room for.
const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];

/// An IPv6 extension header: its own type, and its bytes after the next-header byte.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Type, as the header before it announces.
    pub kind: u8,
    /// Everything after the first byte.
    pub rest: Vec<u8>,
}

impl Extension {
    /// Hop-by-hop options with padding only.
    pub fn hop_by_hop() -> Self {
        Self::options(HOP_BY_HOP)
    }

    /// Destination options with padding only.
    pub fn destination() -> Self {
        Self::options(DESTINATION)
    }

    /// A routing header of a type with an empty route, 8 bytes.
    pub fn routing(kind: u8, segments_left: u8) -> Self {
        Self { kind: ROUTING, rest: vec![0, kind, segments_left, 0, 0, 0, 0] }
    }

    /// A fragment header; the offset counts units of 8 bytes.
    pub fn fragment(offset: u16, more: bool, id: u32) -> Self {
        let field = offset << 3 | u16::from(more);
        let rest = [&[0][..], &field.to_be_bytes(), &id.to_be_bytes()].concat();
        Self { kind: FRAGMENT, rest }
    }

    fn options(kind: u8) -> Self {
        Self { kind, rest: [&[0][..], &PADDING].concat() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct V4 {
    pub(super) src: Ipv4Addr,
    pub(super) dst: Ipv4Addr,
    pub(super) options: Vec<u8>,
    pub(super) id: u16,
    pub(super) fragment: Option<(u16, bool)>,
}

#[derive(Clone, Debug)]
pub(super) struct V6 {
    pub(super) src: Ipv6Addr,
    pub(super) dst: Ipv6Addr,
    pub(super) extensions: Vec<Extension>,
}

#[derive(Clone, Debug)]
pub(super) enum Network {
    V4(V4),
    V6(V6),
}

/// Header fields that a test set by hand, for malformed packets.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    pub(super) version: Option<u8>,
    pub(super) ihl: Option<u8>,
    pub(super) length: Option<u16>,
    pub(super) next_header: Option<u8>,
    pub(super) checksum: Option<u16>,
}

impl Network {
    pub(super) fn new(src: IpAddr, dst: IpAddr) -> Self {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                Self::V4(V4 { src, dst, options: Vec::new(), id: 0, fragment: None })
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => Self::V6(V6 { src, dst, extensions: Vec::new() }),
            mixed => panic!("addresses of two families: {mixed:?}"),
        }
    }

    pub(super) fn addresses(&self) -> (IpAddr, IpAddr) {
        match self {
            Self::V4(v4) => (v4.src.into(), v4.dst.into()),
            Self::V6(v6) => (v6.src.into(), v6.dst.into()),
        }
    }

    pub(super) fn ether_type(&self) -> u16 {
        match self {
            Self::V4(_) => 0x0800,
            Self::V6(_) => 0x86dd,
        }
    }

    /// Header bytes in front of `body`, a segment of `protocol`.
    pub(super) fn header(
        &self,
        hops: u8,
        protocol: u8,
        body: &[u8],
        by_hand: &Overrides,
    ) -> Vec<u8> {
        match self {
            Self::V4(v4) => v4.header(hops, protocol, body.len(), by_hand),
            Self::V6(v6) => v6.header(hops, protocol, body.len(), by_hand),
        }
    }
}

impl V4 {
    fn header(&self, hops: u8, protocol: u8, body: usize, by_hand: &Overrides) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let size = 20 + options.len();
        let ihl = by_hand.ihl.unwrap_or((size / 4) as u8);
        let length = by_hand.length.unwrap_or((size + body) as u16);
        let fragment = match self.fragment {
            None => DONT_FRAGMENT,
            Some((offset, more)) => offset | if more { MORE_V4 } else { 0 },
        };
        let mut header = vec![by_hand.version.unwrap_or(4) << 4 | ihl & 15, 0];
        header.extend(length.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(fragment.to_be_bytes());
        header.extend([hops, by_hand.next_header.unwrap_or(protocol), 0, 0]);
        header.extend(self.src.octets());
        header.extend(self.dst.octets());
        header.extend(options);
        let sum = by_hand.checksum.unwrap_or_else(|| checksum::internet(&[&header]));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }
}

impl V6 {
    fn header(&self, hops: u8, protocol: u8, body: usize, by_hand: &Overrides) -> Vec<u8> {
        let chain = self.chain(by_hand.next_header.unwrap_or(protocol));
        let first = self.extensions.first().map(|extension| extension.kind);
        let next = first.or(by_hand.next_header).unwrap_or(protocol);
        let length = by_hand.length.unwrap_or((chain.len() + body) as u16);
        let mut header = vec![by_hand.version.unwrap_or(6) << 4, 0, 0, 0];
        header.extend(length.to_be_bytes());
        header.extend([next, hops]);
        header.extend(self.src.octets());
        header.extend(self.dst.octets());
        header.extend(chain);
        header
    }

    fn chain(&self, last: u8) -> Vec<u8> {
        let following = self.extensions.iter().skip(1).map(|extension| extension.kind);
        let next = following.chain([last]);
        let bytes = |(extension, next): (&Extension, u8)| [&[next][..], &extension.rest].concat();
        self.extensions.iter().zip(next).flat_map(bytes).collect()
    }
}
