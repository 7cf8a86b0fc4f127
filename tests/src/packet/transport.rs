//! UDP, TCP and ICMP headers as the builder keeps them.

use std::net::IpAddr;

use super::checksum;

/// TCP flags, to be or-ed.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Opens a connection.
    pub const SYN: u8 = 2;
    /// Breaks a connection off.
    pub const RST: u8 = 4;
    /// Data to be handed on at once.
    pub const PSH: u8 = 8;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
}

const ICMP4: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

#[derive(Clone, Debug)]
pub(super) struct Tcp {
    pub(super) flags: u8,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    pub(super) options: Vec<u8>,
    pub(super) data_offset: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum Transport {
    Udp { ports: (u16, u16), length: Option<u16> },
    Tcp { ports: (u16, u16), tcp: Tcp },
    Icmp { kind: u8, code: u8, rest: u32 },
    Raw { protocol: u8 },
}

impl Transport {
    pub(super) fn udp(sport: u16, dport: u16) -> Self {
        Self::Udp { ports: (sport, dport), length: None }
    }

    pub(super) fn tcp(sport: u16, dport: u16) -> Self {
        let options = Vec::new();
        let tcp =
            Tcp { flags: flag::SYN, seq: 1, ack: 0, window: 0xffff, options, data_offset: None };
        Self::Tcp { ports: (sport, dport), tcp }
    }

    pub(super) fn protocol(&self, src: IpAddr) -> u8 {
        match self {
            Self::Udp { .. } => UDP,
            Self::Tcp { .. } => TCP,
            Self::Icmp { .. } if src.is_ipv4() => ICMP4,
            Self::Icmp { .. } => ICMP6,
            Self::Raw { protocol } => *protocol,
        }
    }

    /// Header and payload, with the checksum in place unless `sum` was set by hand.
    pub(super) fn segment(
        &self,
        (src, dst): (IpAddr, IpAddr),
        payload: &[u8],
        sum: Option<u16>,
    ) -> Vec<u8> {
        let (mut header, at) = match self {
            Self::Udp { ports, length } => (udp(*ports, *length, payload.len()), 6),
            Self::Tcp { ports, tcp } => (tcp.header(*ports), 16),
            Self::Icmp { kind, code, rest } => {
                ([&[*kind, *code, 0, 0][..], &rest.to_be_bytes()].concat(), 2)
            }
            Self::Raw { .. } => return payload.to_vec(),
        };
        header.extend_from_slice(payload);
        let protocol = self.protocol(src);
        let sum =
            sum.unwrap_or_else(|| match (protocol, checksum_of(src, dst, protocol, &header)) {
                (UDP, 0) => 0xffff,
                (_, sum) => sum,
            });
        header[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        header
    }
}

impl Tcp {
    fn header(&self, (sport, dport): (u16, u16)) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let offset = self.data_offset.unwrap_or(((20 + options.len()) / 4) as u8);
        let mut header = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
        header.extend(self.seq.to_be_bytes());
        header.extend(self.ack.to_be_bytes());
        header.extend([offset << 4, self.flags]);
        header.extend(self.window.to_be_bytes());
        header.extend([0; 4]);
        header.extend(options);
        header
    }
}

fn udp((sport, dport): (u16, u16), length: Option<u16>, payload: usize) -> Vec<u8> {
    let length = length.unwrap_or((8 + payload) as u16);
    [sport, dport, length, 0].into_iter().flat_map(u16::to_be_bytes).collect()
}

fn checksum_of(src: IpAddr, dst: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    if protocol == ICMP4 {
        checksum::internet(&[segment])
    } else {
        checksum::transport(src, dst, protocol, segment)
    }
}
