//! Fields set by hand: how a packet is made malformed.

use super::{Packet, transport::Transport};

/// What is wrong with it.
impl Packet {
    /// Overrides the EtherType.
    pub fn ether_type(mut self, value: u16) -> Self {
        self.ether_type = Some(value);
        self
    }

    /// Overrides the IP version.
    pub fn version(mut self, value: u8) -> Self {
        self.by_hand.version = Some(value);
        self
    }

    /// Overrides the IPv4 header length, in words.
    pub fn ihl(mut self, words: u8) -> Self {
        self.by_hand.ihl = Some(words);
        self
    }

    /// Overrides the IPv4 total length or the IPv6 payload length.
    pub fn ip_length(mut self, value: u16) -> Self {
        self.by_hand.length = Some(value);
        self
    }

    /// Overrides the protocol that the last IP or extension header announces.
    pub fn next_header(mut self, value: u8) -> Self {
        self.by_hand.next_header = Some(value);
        self
    }

    /// Overrides the IPv4 header checksum.
    pub fn ip_checksum(mut self, value: u16) -> Self {
        self.by_hand.checksum = Some(value);
        self
    }

    /// Overrides the checksum of UDP, TCP or ICMP.
    pub fn checksum(mut self, value: u16) -> Self {
        self.transport_checksum = Some(value);
        self
    }

    /// Overrides the UDP length.
    pub fn udp_length(mut self, value: u16) -> Self {
        if let Transport::Udp { length, .. } = &mut self.transport {
            *length = Some(value);
        }
        self
    }

    /// Overrides the TCP header length, in words.
    pub fn data_offset(self, words: u8) -> Self {
        self.on_tcp(|tcp| tcp.data_offset = Some(words))
    }

    /// Adds bytes behind the IP packet, such as Ethernet padding.
    pub fn trailer(mut self, bytes: &[u8]) -> Self {
        self.trailer = bytes.to_vec();
        self
    }

    /// Overwrites bytes of the finished frame; checksums stay as they were.
    pub fn patch(mut self, at: usize, bytes: &[u8]) -> Self {
        self.patches.push((at, bytes.to_vec()));
        self
    }

    /// Cuts the finished frame after `length` bytes.
    pub fn truncate(mut self, length: usize) -> Self {
        self.truncate = Some(length);
        self
    }
}
