//! Reading captured frames: whose they are and what they carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Packet;

const UDP: u8 = 17;
const TCP: u8 = 6;

/// A UDP datagram with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Source address and port.
    pub src: SocketAddr,
    /// Destination address and port.
    pub dst: SocketAddr,
    /// What UDP carries.
    pub payload: Vec<u8>,
}

impl Datagram {
    /// Reads an Ethernet frame; `None` unless it carries unfragmented UDP.
    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        Self::from_ip(ip_of(frame)?)
    }

    /// Reads an IP packet without link header.
    pub fn from_ip(packet: &[u8]) -> Option<Self> {
        let carried = carried(packet, UDP)?;
        let (src, dst) = carried.ends()?;
        let length = usize::from(word(carried.segment, 4)?);
        Some(Self { src, dst, payload: carried.segment.get(8..length)?.to_vec() })
    }

    /// The same datagram as a builder, to send it again or to forge its kin.
    pub fn packet(&self) -> Packet {
        Packet::udp(self.src, self.dst).payload(&self.payload)
    }
}

/// A TCP segment with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Source address and port.
    pub src: SocketAddr,
    /// Destination address and port.
    pub dst: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags, see [`super::flag`].
    pub flags: u8,
    /// What TCP carries.
    pub payload: Vec<u8>,
}

impl Segment {
    /// Reads an Ethernet frame; `None` unless it carries unfragmented TCP.
    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        let carried = carried(ip_of(frame)?, TCP)?;
        let (src, dst) = carried.ends()?;
        let header = usize::from(carried.segment.get(12)? >> 4) * 4;
        Some(Self {
            src,
            dst,
            seq: long(carried.segment, 4)?,
            ack: long(carried.segment, 8)?,
            flags: *carried.segment.get(13)?,
            payload: carried.segment.get(header..)?.to_vec(),
        })
    }
}

/// The IP packet of an Ethernet frame, behind up to two VLAN tags.
pub fn ip_of(frame: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    while matches!(word(frame, at)?, 0x8100 | 0x88a8) {
        at += 4;
    }
    matches!(word(frame, at)?, 0x0800 | 0x86dd).then(|| frame.get(at + 2..))?
}

/// Source address of an Ethernet frame's IP packet.
pub fn source_of(frame: &[u8]) -> Option<IpAddr> {
    let packet = ip_of(frame)?;
    match packet.first()? >> 4 {
        4 => Some(Ipv4Addr::from(bytes::<4>(packet, 12)?).into()),
        6 => Some(Ipv6Addr::from(bytes::<16>(packet, 8)?).into()),
        _ => None,
    }
}

/// Whether an Ethernet frame carries an IP packet from `source`.
pub fn is_from(frame: &[u8], source: impl Into<IpAddr>) -> bool {
    source_of(frame) == Some(source.into())
}

/// Type and code of an Ethernet frame's ICMP message, of either family.
pub fn icmp_of(frame: &[u8]) -> Option<(u8, u8)> {
    let packet = ip_of(frame)?;
    let carried = carried(packet, 58).or_else(|| carried(packet, 1))?;
    Some((*carried.segment.first()?, *carried.segment.get(1)?))
}

struct Carried<'p> {
    src: IpAddr,
    dst: IpAddr,
    segment: &'p [u8],
}

impl Carried<'_> {
    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let sport = word(self.segment, 0)?;
        let dport = word(self.segment, 2)?;
        Some((SocketAddr::new(self.src, sport), SocketAddr::new(self.dst, dport)))
    }
}

fn carried(packet: &[u8], protocol: u8) -> Option<Carried<'_>> {
    match packet.first()? >> 4 {
        4 => carried4(packet, protocol),
        6 => carried6(packet, protocol),
        _ => None,
    }
}

fn carried4(packet: &[u8], protocol: u8) -> Option<Carried<'_>> {
    let whole = word(packet, 6)? & 0x3fff == 0;
    let header = usize::from(packet[0] & 15) * 4;
    let segment = packet.get(header..usize::from(word(packet, 2)?))?;
    let src = Ipv4Addr::from(bytes::<4>(packet, 12)?).into();
    let dst = Ipv4Addr::from(bytes::<4>(packet, 16)?).into();
    (whole && *packet.get(9)? == protocol).then_some(Carried { src, dst, segment })
}

fn carried6(packet: &[u8], protocol: u8) -> Option<Carried<'_>> {
    let packet = packet.get(..40 + usize::from(word(packet, 4)?))?;
    let (mut next, mut at) = (packet[6], 40);
    while matches!(next, 0 | 43 | 60) {
        next = *packet.get(at)?;
        at += (usize::from(*packet.get(at + 1)?) + 1) * 8;
    }
    let src = Ipv6Addr::from(bytes::<16>(packet, 8)?).into();
    let dst = Ipv6Addr::from(bytes::<16>(packet, 24)?).into();
    (next == protocol).then_some(Carried { src, dst, segment: packet.get(at..)? })
}

fn bytes<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..at + N)?.try_into().ok()
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    bytes(packet, at).map(u16::from_be_bytes)
}

fn long(packet: &[u8], at: usize) -> Option<u32> {
    bytes(packet, at).map(u32::from_be_bytes)
}
