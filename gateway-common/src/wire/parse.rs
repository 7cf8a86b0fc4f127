//! The one parser: [`network`] finds who talks to whom, [`transport`] what about.
//!
//! Two calls, because most packets of an attack end between them: a stranger's source is known to
//! be no one's after the first, and nothing beyond it is worth reading.
use super::{
    Address, Malformed,
    dtls::{RECORD_HEADER, Record, content},
    icmp,
};
use crate::frame::{Frame, Offset, Window};
use network_types::{
    eth::{EthHdr, EtherType},
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
    udp::UdpHdr,
};

/// Most VLAN tags before the network header (IEEE 802.1ad).
pub const VLAN_TAGS_MAX: usize = 2;
/// Most IPv6 extension headers before the transport header.
pub const EXTENSIONS_MAX: usize = 6;

/// How frames of a link start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// With an Ethernet header.
    Ethernet,
    /// With the IP header: tun, lowpan, wwan.
    Ip,
}

/// A network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Who sent it, or claims to.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// IPv4 rather than IPv6.
    pub v4: bool,
    /// Protocol (IPv4) or first next header (IPv6).
    pub protocol: u8,
    /// Hop limit or time to live.
    pub hop_limit: u8,
    /// Whether an IPv4 header says that this is a fragment.
    pub fragment: bool,
    /// Bytes of the whole IP datagram.
    pub length: u16,
    /// Where the network header starts.
    pub start: Offset,
    /// Where its payload starts, extension headers included.
    pub payload: Offset,
}

/// What lies above the network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// A UDP datagram.
    Udp {
        /// Source and destination port.
        ports: Ports,
        /// Where its payload starts.
        payload: Offset,
        /// Where it ends.
        end: Offset,
    },
    /// A TCP segment.
    Tcp {
        /// Source and destination port.
        ports: Ports,
    },
    /// An ICMP message of the network header's own version.
    Icmp {
        /// What it is for.
        kind: icmp::Kind,
        /// Where its body starts: for an error, the packet that it quotes.
        body: Offset,
    },
    /// A fragment, the first one or a later one.
    Fragment,
    /// A packet with a routing header (RFC 8200 §4.4).
    RoutingHeader,
    /// A packet with a hop-by-hop options header (RFC 8200 §4.3).
    HopByHop,
    /// Another protocol.
    Other,
}

/// Source and destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Of the sender.
    pub source: u16,
    /// Of the receiver.
    pub destination: u16,
}

const fn host(ether_type: EtherType) -> u16 {
    u16::from_be(ether_type as u16)
}
const IPV4: u16 = host(EtherType::Ipv4);
const IPV6: u16 = host(EtherType::Ipv6);
const CUSTOMER_TAG: u16 = host(EtherType::Ieee8021q);
const SERVICE_TAG: u16 = host(EtherType::Ieee8021ad);
const VLAN_TAG: usize = 4;

const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
/// IPv6 destination options' number: behind them is another header.
pub const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;
/// UDP's protocol number.
pub const UDP: u8 = IpProto::Udp as u8;
/// TCP's protocol number.
pub const TCP: u8 = IpProto::Tcp as u8;
/// ICMP's protocol number.
pub const ICMPV4: u8 = IpProto::Icmp as u8;
/// ICMPv6's protocol number.
pub const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

#[inline(always)]
fn need<T>(value: Option<T>) -> Result<T, Malformed> {
    match value {
        Some(value) => Ok(value),
        None => Err(Malformed::Truncated),
    }
}

/// Reads up to the end of the fixed network header. `Ok(None)` is anything but IP: ARP, LLDP.
///
/// # Errors
/// A header that is cut off or contradicts itself: nothing that any receiver would take.
#[inline(always)]
pub fn network<F: Frame + ?Sized>(frame: &F, link: Link) -> Result<Option<Network>, Malformed> {
    match link {
        Link::Ethernet => {
            let (mut ether_type, mut at) =
                (need(frame.short(need(Offset::START.advance(12))?))?, EthHdr::LEN);
            for _ in 0..VLAN_TAGS_MAX {
                if ether_type != CUSTOMER_TAG && ether_type != SERVICE_TAG {
                    break;
                }
                ether_type = need(frame.short(need(Offset::START.advance(at + 2))?))?;
                at += VLAN_TAG;
            }
            let start = need(Offset::START.advance(at))?;
            match ether_type {
                IPV6 => ipv6(frame, start).map(Some),
                IPV4 => ipv4(frame, start).map(Some),
                _ => Ok(None),
            }
        }
        Link::Ip => match need(frame.byte(Offset::START))? >> 4 {
            6 => ipv6(frame, Offset::START).map(Some),
            4 => ipv4(frame, Offset::START).map(Some),
            _ => Ok(None),
        },
    }
}

/// What nearly every packet of a flood and of a session is: IPv6 in a frame without or with one
/// VLAN tag. Read with one question to the frame, where [`network`] asks for each word.
#[derive(Clone, Copy, Debug)]
pub struct Plain<W> {
    /// Where the network header starts.
    pub start: Offset,
    header: W,
}

impl<W: Window> Plain<W> {
    /// Who sent it, or claims to.
    #[inline(always)]
    pub fn source(&self) -> Address {
        self.header.address::<8>()
    }

    /// To whom.
    #[inline(always)]
    pub fn destination(&self) -> Address {
        self.header.address::<24>()
    }

    /// First next header.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        self.header.byte::<6>()
    }

    /// Bytes of the IP datagram behind its header.
    #[inline(always)]
    pub fn payload_length(&self) -> u16 {
        self.header.short::<4>()
    }

    /// The same, to be read again.
    #[inline(always)]
    pub fn afresh(&self) -> Self {
        Self { start: self.start, header: self.header.afresh() }
    }
}

/// Bytes of an Ethernet header with a VLAN tag, as far as the second EtherType.
const TAGGED: usize = EthHdr::LEN + VLAN_TAG;
/// Bytes of headers that plain packets are read from.
const PLAIN: usize = TAGGED + Ipv6Hdr::LEN;

/// A header in a window of a frame.
type Part<'a, F, const N: usize> = <<F as Frame>::Window<'a, PLAIN> as Window>::Part<N>;

/// Reads a packet that [`network`] would read as the same; `None` leaves it to that.
#[inline(always)]
pub fn plain<F: Frame + ?Sized>(
    frame: &F,
    link: Link,
) -> Option<Plain<Part<'_, F, { Ipv6Hdr::LEN }>>> {
    let window = frame.window::<PLAIN>(Offset::START)?;
    let (start, header) = match link {
        Link::Ip => (0, window.part::<0, { Ipv6Hdr::LEN }>()),
        Link::Ethernet => match window.short::<12>() {
            IPV6 => (EthHdr::LEN, window.part::<{ EthHdr::LEN }, { Ipv6Hdr::LEN }>()),
            CUSTOMER_TAG if window.short::<16>() == IPV6 => {
                (TAGGED, window.part::<TAGGED, { Ipv6Hdr::LEN }>())
            }
            _ => return None,
        },
    };
    let plain = Plain { start: Offset::START.advance(start)?, header };
    // what starts with eight zeros is left to those who know IPv4-mapped addresses
    let ordinary = header.byte::<0>() >> 4 == 6
        && plain.destination().raw_words().0 != 0
        && plain.source().raw_words().0 != 0;
    ordinary.then_some(plain)
}

/// Ports of a plain packet whose first next header is UDP or TCP.
#[inline(always)]
pub fn plain_ports<F: Frame + ?Sized, W: Window>(frame: &F, ip: &Plain<W>) -> Option<Ports> {
    let window = frame.window::<{ Ipv6Hdr::LEN + 4 }>(ip.start)?;
    Some(Ports { source: window.short::<40>(), destination: window.short::<42>() })
}

/// Reads a datagram of a plain packet that is one DTLS record to its end, with epoch and sequence
/// number in clear; `None` leaves it to [`transport`] and [`super::dtls::record`].
#[inline(always)]
pub fn sole_record<F: Frame + ?Sized, W: Window>(
    frame: &F,
    ip: &Plain<W>,
) -> Option<(Ports, Record)> {
    const HEADERS: usize = Ipv6Hdr::LEN + UdpHdr::LEN + RECORD_HEADER;
    let window = frame.window::<HEADERS>(ip.start)?;
    // type:1 | version:2 | epoch:2 | sequence:6 | length:2
    let (first, last) = (window.word::<48>(), window.word::<53>());
    let (udp, length) = (window.short::<44>(), last as u16);
    let content = (first >> 56) as u8;
    if !(content::CHANGE_CIPHER_SPEC..=content::APPLICATION_DATA).contains(&content)
        || first >> 40 & 0xff00 != 0xfe00
        || window.byte::<6>() != UDP
        || window.short::<4>() != udp
        || u32::from(length) + (UdpHdr::LEN + RECORD_HEADER) as u32 != u32::from(udp)
        || length == 0
    {
        return None;
    }
    let total = Ipv6Hdr::LEN + usize::from(udp);
    let end = ip.start.advance(total)?;
    if !frame.holds(ip.start, total as u16) {
        return None;
    }
    let record = Record {
        content,
        epoch: (first >> 24) as u16,
        sequence: last >> 16,
        length,
        body: ip.start.advance(HEADERS)?,
        end,
    };
    Some((Ports { source: window.short::<40>(), destination: window.short::<42>() }, record))
}

#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, start: Offset) -> Result<Network, Malformed> {
    // version:4 class:8 flow:20 | payload length:16 | next header:8 | hop limit:8
    let first = need(frame.word(start))?;
    let source = need(frame.address(need(start.advance(8))?))?;
    let destination = need(frame.address(need(start.advance(24))?))?;
    if first >> 60 != 6 {
        return Err(Malformed::Length);
    }
    if source.is_v4() || destination.is_v4() {
        return Err(Malformed::MappedAddress);
    }
    Ok(Network {
        source,
        destination,
        v4: false,
        protocol: (first >> 8) as u8,
        hop_limit: first as u8,
        fragment: false,
        length: ((first >> 16) as u16).saturating_add(Ipv6Hdr::LEN as u16),
        start,
        payload: need(start.advance(Ipv6Hdr::LEN))?,
    })
}

#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, start: Offset) -> Result<Network, Malformed> {
    // version:4 ihl:4 | tos:8 | length:16 | id:16 | flags:3 offset:13
    // ttl:8 | protocol:8 | checksum:16 | source:32
    let first = need(frame.word(start))?;
    let second = need(frame.word(need(start.advance(8))?))?;
    let destination = need(frame.half(need(start.advance(16))?))?;
    let header = (first >> 56) as usize % 16 * 4;
    let length = (first >> 32) as u16;
    if first >> 60 != 4 || header < Ipv4Hdr::LEN || usize::from(length) < header {
        return Err(Malformed::Length);
    }
    Ok(Network {
        source: Address::from_v4(second as u32),
        destination: Address::from_v4(destination),
        v4: true,
        protocol: (second >> 48) as u8,
        hop_limit: (second >> 56) as u8,
        // more fragments, or an offset; "don't fragment" and the reserved bit say nothing
        fragment: first & 0x3fff != 0,
        length,
        start,
        payload: need(start.advance(header))?,
    })
}

/// Reads on to the end of the transport header.
///
/// # Errors
/// What no receiver would take: a length that contradicts the packet, an endless header chain.
#[inline(always)]
pub fn transport<F: Frame + ?Sized>(frame: &F, ip: &Network) -> Result<Upper, Malformed> {
    let mut fields = Fields::NONE;
    let kind = sort(frame, ip, &mut fields)?;
    let Fields { ports, at, end } = fields;
    Ok(match kind {
        Kind::Udp => Upper::Udp { ports, payload: at, end },
        Kind::Tcp => Upper::Tcp { ports },
        Kind::IcmpError => Upper::Icmp { kind: icmp::Kind::Error, body: at },
        Kind::IcmpEcho => Upper::Icmp { kind: icmp::Kind::Echo, body: at },
        Kind::IcmpNeighbour => Upper::Icmp { kind: icmp::Kind::Neighbour, body: at },
        Kind::IcmpOther => Upper::Icmp { kind: icmp::Kind::Other, body: at },
        Kind::Fragment => Upper::Fragment,
        Kind::RoutingHeader => Upper::RoutingHeader,
        Kind::HopByHop => Upper::HopByHop,
        Kind::Other => Upper::Other,
    })
}

/// [`Upper`] without its fields: the kernel's verifier refuses what the compiler makes of fields
/// that only some variants have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the variants of `Upper` and `icmp::Kind`")]
pub enum Kind {
    Udp,
    Tcp,
    IcmpError,
    IcmpEcho,
    IcmpNeighbour,
    IcmpOther,
    Fragment,
    RoutingHeader,
    HopByHop,
    Other,
}

/// The fields of [`Upper`], as far as its kind has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Source and destination port.
    pub ports: Ports,
    /// Where the payload or an ICMP message's body starts.
    pub at: Offset,
    /// Where the payload ends.
    pub end: Offset,
}

impl Fields {
    /// None of them.
    pub const NONE: Self =
        Self { ports: Ports { source: 0, destination: 0 }, at: Offset::START, end: Offset::START };
}

/// [`transport`] in two parts.
///
/// # Errors
/// As [`transport`].
#[inline(always)]
pub fn sort<F: Frame + ?Sized>(
    frame: &F,
    ip: &Network,
    fields: &mut Fields,
) -> Result<Kind, Malformed> {
    if !frame.holds(ip.start, ip.length) {
        return Err(Malformed::Truncated);
    }
    if ip.fragment {
        return Ok(Kind::Fragment);
    }
    let (mut next, mut at) = (ip.protocol, ip.payload);
    if !ip.v4 {
        let mut known = false;
        for _ in 0..=EXTENSIONS_MAX {
            match next {
                HOP_BY_HOP => return Ok(Kind::HopByHop),
                ROUTING => return Ok(Kind::RoutingHeader),
                FRAGMENT => return Ok(Kind::Fragment),
                DESTINATION_OPTIONS => {
                    let header = need(frame.short(at))?;
                    next = (header >> 8) as u8;
                    at = need(at.advance((usize::from(header as u8) + 1) * 8))?;
                }
                _ => {
                    known = true;
                    break;
                }
            }
        }
        if !known {
            return Err(Malformed::ExtensionChain);
        }
    }
    upper(frame, ip, next, at, fields)
}

#[inline(always)]
fn upper<F: Frame + ?Sized>(
    frame: &F,
    ip: &Network,
    protocol: u8,
    at: Offset,
    fields: &mut Fields,
) -> Result<Kind, Malformed> {
    // a number: a merged segment's end is further than an offset reaches
    let end = ip.start.get() + usize::from(ip.length);
    match protocol {
        UDP => {
            let end = need(ip.start.advance(usize::from(ip.length)))?;
            let word = need(frame.word(at))?;
            let length = usize::from((word >> 16) as u16);
            let payload = need(at.advance(UdpHdr::LEN))?;
            if need(at.advance(length))? != end || payload > end {
                return Err(Malformed::Length);
            }
            *fields = Fields { ports: ports((word >> 32) as u32), at: payload, end };
            Ok(Kind::Udp)
        }
        TCP => {
            fields.ports = ports(need(frame.half(at))?);
            let offset = need(frame.byte(need(at.advance(12))?))?;
            let header = usize::from(offset >> 4) * 4;
            if header < TcpHdr::LEN || at.get() + header > end {
                return Err(Malformed::Length);
            }
            Ok(Kind::Tcp)
        }
        ICMPV4 | ICMPV6 if (protocol == ICMPV4) == ip.v4 => {
            let head = need(frame.half(at))?;
            let body = need(at.advance(8))?;
            if body.get() > end {
                return Err(Malformed::Length);
            }
            fields.at = body;
            Ok(match icmp::kind(ip.v4, (head >> 24) as u8, (head >> 16) as u8, ip.hop_limit) {
                icmp::Kind::Error => Kind::IcmpError,
                icmp::Kind::Echo => Kind::IcmpEcho,
                icmp::Kind::Neighbour => Kind::IcmpNeighbour,
                icmp::Kind::Other => Kind::IcmpOther,
            })
        }
        _ => Ok(Kind::Other),
    }
}

#[inline(always)]
const fn ports(half: u32) -> Ports {
    Ports { source: (half >> 16) as u16, destination: half as u16 }
}

/// Reads the packet that an ICMP error quotes (RFC 4443 §2.4, RFC 792), as far as its ports.
///
/// # Errors
/// A quote too short to name a flow, or one with extension headers: it cannot be related.
#[inline(always)]
pub fn quoted<F: Frame + ?Sized>(
    frame: &F,
    body: Offset,
    v4: bool,
) -> Result<icmp::Quoted, Malformed> {
    let ip = if v4 { ipv4(frame, body)? } else { ipv6(frame, body)? };
    let ports = ports(need(frame.half(ip.payload))?);
    Ok(icmp::Quoted {
        source: ip.source,
        destination: ip.destination,
        protocol: ip.protocol,
        source_port: ports.source,
        destination_port: ports.destination,
    })
}

#[cfg(test)]
mod tests;
