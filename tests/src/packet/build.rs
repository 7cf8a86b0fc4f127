//! The builder.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    network::{Extension, Network, Overrides},
    transport::{Tcp, Transport},
};
use crate::lab::{
    link::Mac,
    topology::{MAC_UP0, MAC_WAN0},
};

const C_TAG: u16 = 0x8100;
const S_TAG: u16 = 0x88a8;

/// A packet under construction; by default an Ethernet frame from the Internet to `wan0`.
#[derive(Clone, Debug)]
pub struct Packet {
    ethernet: Option<(Mac, Mac)>,
    tags: Vec<(Option<u16>, u16)>,
    pub(super) ether_type: Option<u16>,
    pub(super) network: Network,
    hops: u8,
    pub(super) by_hand: Overrides,
    pub(super) transport: Transport,
    pub(super) transport_checksum: Option<u16>,
    pub(super) payload: Vec<u8>,
    pub(super) trailer: Vec<u8>,
    pub(super) patches: Vec<(usize, Vec<u8>)>,
    pub(super) truncate: Option<usize>,
}

/// How a packet begins.
impl Packet {
    /// UDP over the family of the addresses.
    pub fn udp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::new(src.ip(), dst.ip(), Transport::udp(src.port(), dst.port()))
    }

    /// UDP over IPv6.
    pub fn udp6(src: Ipv6Addr, dst: Ipv6Addr, sport: u16, dport: u16) -> Self {
        Self::new(src.into(), dst.into(), Transport::udp(sport, dport))
    }

    /// UDP over IPv4.
    pub fn udp4(src: Ipv4Addr, dst: Ipv4Addr, sport: u16, dport: u16) -> Self {
        Self::new(src.into(), dst.into(), Transport::udp(sport, dport))
    }

    /// TCP over the family of the addresses: a SYN unless [`Packet::flags`] says otherwise.
    pub fn tcp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::new(src.ip(), dst.ip(), Transport::tcp(src.port(), dst.port()))
    }

    /// TCP over IPv6.
    pub fn tcp6(src: Ipv6Addr, dst: Ipv6Addr, sport: u16, dport: u16) -> Self {
        Self::new(src.into(), dst.into(), Transport::tcp(sport, dport))
    }

    /// TCP over IPv4.
    pub fn tcp4(src: Ipv4Addr, dst: Ipv4Addr, sport: u16, dport: u16) -> Self {
        Self::new(src.into(), dst.into(), Transport::tcp(sport, dport))
    }

    /// ICMP of the addresses' family: type, code and the four bytes after the checksum.
    pub fn icmp(src: IpAddr, dst: IpAddr, kind: u8, code: u8, rest: u32) -> Self {
        Self::new(src, dst, Transport::Icmp { kind, code, rest })
    }

    /// Any other protocol: the payload follows the IP header.
    pub fn ip(src: IpAddr, dst: IpAddr, protocol: u8) -> Self {
        Self::new(src, dst, Transport::Raw { protocol })
    }

    fn new(src: IpAddr, dst: IpAddr, transport: Transport) -> Self {
        Self {
            ethernet: Some((MAC_UP0, MAC_WAN0)),
            tags: Vec::new(),
            ether_type: None,
            network: Network::new(src, dst),
            hops: 64,
            by_hand: Overrides::default(),
            transport,
            transport_checksum: None,
            payload: Vec::new(),
            trailer: Vec::new(),
            patches: Vec::new(),
            truncate: None,
        }
    }
}

/// What it carries and how it travels.
impl Packet {
    /// Sets the payload.
    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    /// Sets source and destination of the Ethernet header.
    pub fn ethernet(mut self, src: Mac, dst: Mac) -> Self {
        self.ethernet = Some((src, dst));
        self
    }

    /// Leaves the Ethernet header out, as on a tun device.
    pub fn raw_ip(mut self) -> Self {
        self.ethernet = None;
        self
    }

    /// Adds a VLAN tag inside those there are; the outer one of two is a service tag.
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((None, id));
        self
    }

    /// Adds a tag with a protocol and control information of one's own.
    pub fn tag(mut self, protocol: u16, control: u16) -> Self {
        self.tags.push((Some(protocol), control));
        self
    }

    /// Sets the hop limit or time to live.
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// Sets the IPv4 options; they are padded to whole words.
    pub fn options(mut self, bytes: &[u8]) -> Self {
        if let Network::V4(v4) = &mut self.network {
            v4.options = bytes.to_vec();
        }
        self
    }

    /// Appends an IPv6 extension header.
    pub fn extension(mut self, extension: Extension) -> Self {
        if let Network::V6(v6) = &mut self.network {
            v6.extensions.push(extension);
        }
        self
    }

    /// Marks it as a fragment: offset in units of 8 bytes, more to come, identification.
    pub fn fragment(mut self, offset: u16, more: bool, id: u16) -> Self {
        match &mut self.network {
            Network::V4(v4) => (v4.fragment, v4.id) = (Some((offset, more)), id),
            Network::V6(v6) => v6.extensions.push(Extension::fragment(offset, more, id.into())),
        }
        self
    }

    /// Sets the TCP flags, see [`super::flag`].
    pub fn flags(self, flags: u8) -> Self {
        self.on_tcp(|tcp| tcp.flags = flags)
    }

    /// Sets the TCP sequence number.
    pub fn seq(self, seq: u32) -> Self {
        self.on_tcp(|tcp| tcp.seq = seq)
    }

    /// Sets the TCP acknowledgement number.
    pub fn ack(self, ack: u32) -> Self {
        self.on_tcp(|tcp| tcp.ack = ack)
    }

    /// Sets the TCP window.
    pub fn window(self, window: u16) -> Self {
        self.on_tcp(|tcp| tcp.window = window)
    }

    /// Sets the TCP options; they are padded to whole words.
    pub fn tcp_options(self, bytes: &[u8]) -> Self {
        self.on_tcp(|tcp| tcp.options = bytes.to_vec())
    }

    pub(super) fn on_tcp(mut self, change: impl FnOnce(&mut Tcp)) -> Self {
        if let Transport::Tcp { tcp, .. } = &mut self.transport {
            change(tcp);
        }
        self
    }
}

/// Out comes a frame.
impl Packet {
    /// The frame.
    pub fn build(&self) -> Vec<u8> {
        let addresses = self.network.addresses();
        let protocol = self.transport.protocol(addresses.0);
        let body = self.transport.segment(addresses, &self.payload, self.transport_checksum);
        let mut frame = self.link_header();
        frame.extend(self.network.header(self.hops, protocol, &body, &self.by_hand));
        frame.extend(body);
        frame.extend(&self.trailer);
        for (at, bytes) in &self.patches {
            frame[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        frame.truncate(self.truncate.unwrap_or(usize::MAX));
        frame
    }

    /// The same packet in fragments of at most `size` payload bytes, a multiple of 8.
    pub fn fragments(&self, size: usize, id: u16) -> Vec<Vec<u8>> {
        assert!(size > 0 && size.is_multiple_of(8), "fragments count units of 8 bytes");
        let (src, dst) = self.network.addresses();
        let body = self.transport.segment((src, dst), &self.payload, self.transport_checksum);
        let count = body.len().div_ceil(size);
        let piece = |(number, bytes): (usize, &[u8])| {
            let mut packet = self.clone();
            packet.transport = Transport::Raw { protocol: self.transport.protocol(src) };
            let offset = (number * size / 8) as u16;
            packet.payload(bytes).fragment(offset, number + 1 < count, id).build()
        };
        body.chunks(size).enumerate().map(piece).collect()
    }

    fn link_header(&self) -> Vec<u8> {
        let Some((src, dst)) = self.ethernet else {
            return Vec::new();
        };
        let mut header = [dst, src].concat();
        let last = self.tags.len().saturating_sub(1);
        for (depth, (protocol, control)) in self.tags.iter().enumerate() {
            let usual = if depth < last { S_TAG } else { C_TAG };
            header.extend(protocol.unwrap_or(usual).to_be_bytes());
            header.extend(control.to_be_bytes());
        }
        let ether_type = self.ether_type.unwrap_or_else(|| self.network.ether_type());
        header.extend(ether_type.to_be_bytes());
        header
    }
}
