//! UDP over IPv6, and an answer to ping: the least with which a node is a host.
//!
//! No extension headers and no fragments; neighbour discovery has no place on a serial line. The
//! node answers at whatever address it is asked, so it needs none of its own.
use core::net::{Ipv6Addr, SocketAddrV6};

use smoltcp::wire::{
    IPV6_HEADER_LEN, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv6Packet, UDP_HEADER_LEN, UdpPacket,
};

/// Length of both headers, and where the payload of a datagram begins.
pub const HEADERS: usize = IPV6_HEADER_LEN + UDP_HEADER_LEN;

/// The least MTU of IPv6 (RFC 8200 §5), and the largest packet here.
pub const MTU: usize = 1280;

const HOP_LIMIT: u8 = 64;

/// Where a datagram comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Source.
    pub from: SocketAddrV6,
    /// Destination.
    pub to: SocketAddrV6,
}

impl Path {
    /// The way back.
    #[must_use]
    pub fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

/// A packet for this host.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// UDP, with its payload.
    Datagram(Path, &'a mut [u8]),
    /// An echo request that was made its own reply: send the buffer back.
    Echo,
}

/// Reads a packet; `None` for what is broken or for nobody here.
pub fn read(packet: &mut [u8]) -> Option<Packet<'_>> {
    let ip = Ipv6Packet::new_checked(&*packet).ok()?;
    let (source, destination) = (ip.src_addr(), ip.dst_addr());
    let (version, next, end) = (ip.version(), ip.next_header(), ip.total_len());
    if version != 6 || destination.is_multicast() || source.is_multicast() {
        return None;
    }
    match next {
        IpProtocol::Udp => datagram(source, destination, packet.get_mut(IPV6_HEADER_LEN..end)?),
        IpProtocol::Icmpv6 => echo(packet, source, destination),
        IpProtocol::HopByHop
        | IpProtocol::Icmp
        | IpProtocol::Igmp
        | IpProtocol::Tcp
        | IpProtocol::Ipv6Route
        | IpProtocol::Ipv6Frag
        | IpProtocol::IpSecEsp
        | IpProtocol::IpSecAh
        | IpProtocol::Ipv6NoNxt
        | IpProtocol::Ipv6Opts
        | IpProtocol::Unknown(_) => None,
    }
}

fn datagram(source: Ipv6Addr, destination: Ipv6Addr, body: &mut [u8]) -> Option<Packet<'_>> {
    let udp = UdpPacket::new_checked(&*body).ok()?;
    // zero means "none", which IPv6 forbids (RFC 8200 §8.1)
    if udp.checksum() == 0 || !udp.verify_checksum(&source.into(), &destination.into()) {
        return None;
    }
    let from = SocketAddrV6::new(source, udp.src_port(), 0, 0);
    let to = SocketAddrV6::new(destination, udp.dst_port(), 0, 0);
    let end = usize::from(udp.len());
    Some(Packet::Datagram(Path { from, to }, body.get_mut(UDP_HEADER_LEN..end)?))
}

fn echo(packet: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) -> Option<Packet<'_>> {
    let mut ip = Ipv6Packet::new_checked(packet).ok()?;
    let request = Icmpv6Packet::new_checked(ip.payload_mut()).ok()?;
    let asks = request.msg_type() == Icmpv6Message::EchoRequest;
    if !asks || !request.verify_checksum(&source, &destination) {
        return None;
    }
    ip.set_src_addr(destination);
    ip.set_dst_addr(source);
    ip.set_hop_limit(HOP_LIMIT);
    let mut reply = Icmpv6Packet::new_checked(ip.payload_mut()).ok()?;
    reply.set_msg_type(Icmpv6Message::EchoReply);
    reply.fill_checksum(&destination, &source);
    Some(Packet::Echo)
}

/// Puts both headers before a payload of `length` bytes at [`HEADERS`]; gives the packet's length,
/// or `None` if it does not fit into the buffer.
pub fn write(buffer: &mut [u8], path: Path, length: usize) -> Option<usize> {
    let packet = buffer.get_mut(..HEADERS.checked_add(length)?)?;
    let body = u16::try_from(UDP_HEADER_LEN.checked_add(length)?).ok()?;
    let mut ip = Ipv6Packet::new_unchecked(&mut *packet);
    ip.set_version(6);
    ip.set_traffic_class(0);
    ip.set_flow_label(0);
    ip.set_payload_len(body);
    ip.set_next_header(IpProtocol::Udp);
    ip.set_hop_limit(HOP_LIMIT);
    ip.set_src_addr(*path.from.ip());
    ip.set_dst_addr(*path.to.ip());
    let mut udp = UdpPacket::new_unchecked(ip.payload_mut());
    udp.set_src_port(path.from.port());
    udp.set_dst_port(path.to.port());
    udp.set_len(body);
    udp.fill_checksum(&(*path.from.ip()).into(), &(*path.to.ip()).into());
    Some(packet.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: Path = Path {
        from: SocketAddrV6::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), 40_000, 0, 0),
        to: SocketAddrV6::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2), 5684, 0, 0),
    };

    fn hello() -> ([u8; 64], usize) {
        let mut buffer = [0; 64];
        buffer[HEADERS..HEADERS + 5].copy_from_slice(b"hello");
        let length = write(&mut buffer, PATH, 5).expect("it fits");
        (buffer, length)
    }

    #[test]
    fn what_is_written_can_be_read() {
        let (mut buffer, length) = hello();
        assert_eq!(length, HEADERS + 5);
        let packet = read(&mut buffer[..length]).expect("a datagram");
        assert_eq!(packet, Packet::Datagram(PATH, &mut { *b"hello" }));
    }

    #[test]
    fn padding_after_the_packet_is_not_its_payload() {
        let (mut buffer, length) = hello();
        let packet = read(&mut buffer[..length + 3]).expect("a datagram");
        assert_eq!(packet, Packet::Datagram(PATH, &mut { *b"hello" }));
    }

    #[test]
    fn a_flipped_bit_anywhere_gives_no_other_datagram() {
        for bit in 0..(HEADERS + 5) * 8 {
            let (mut buffer, length) = hello();
            buffer[bit / 8] ^= 1 << (bit % 8);
            match read(&mut buffer[..length]) {
                None => {}
                // class, flow label and hop limit are in no checksum
                Some(Packet::Datagram(PATH, payload)) => {
                    assert_eq!(payload, b"hello", "bit {bit}");
                    assert!(matches!(bit, 0..4 | 8..32 | 56..64), "bit {bit}");
                }
                Some(other) => panic!("bit {bit}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_cut_packet_is_none() {
        for end in 0..HEADERS + 5 {
            let (mut buffer, _) = hello();
            assert_eq!(read(&mut buffer[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        assert_eq!(write(&mut [0; 64], PATH, 17), None);
        assert_eq!(write(&mut [0; 64], PATH, usize::MAX), None);
    }
}
