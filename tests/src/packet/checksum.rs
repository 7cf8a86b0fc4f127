//! The Internet checksum (RFC 1071) and its pseudo headers.

use std::net::IpAddr;

/// Checksum of a sequence of slices, each but the last of even length.
pub(super) fn internet(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for word in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Checksum of a transport segment behind the pseudo header of its addresses.
pub(super) fn transport(src: IpAddr, dst: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let length = (segment.len() as u32).to_be_bytes();
    let tail = [0, 0, 0, protocol];
    internet(&[&octets(src), &octets(dst), &length, &tail, segment])
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
