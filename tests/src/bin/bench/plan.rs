//! What the bench object's programs are told, and the addresses that they make.
use std::net::Ipv6Addr;

use gateway_common::{hash::mix, wire::Address};
use tests::packet::{Packet, dtls};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Constants of the object's programs; the same as in `gateway-ebpf/src/bin/bench.rs`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Plan {
    /// Sources to vary over: the first so many.
    pub(crate) listed: u64,
    /// From one record of a CPU to its next.
    pub(crate) stride: u64,
    /// From one CPU's records to the next CPU's.
    pub(crate) lane: u64,
    /// `flood`: whose frames.
    pub(crate) source: u64,
    /// `flood`: 1 for new records.
    pub(crate) record: u64,
    /// `flood`: to which interface; 0 drops them at once.
    pub(crate) out: u64,
}

impl Plan {
    /// Vary over so many sources.
    pub(crate) fn of(listed: u32) -> Self {
        Self { listed: listed.into(), stride: 1, lane: 0, source: 0, record: 0, out: 0 }
    }
}

/// The upper half of every source.
const INTERNET: u64 = 0x2001_0db8_000b_0000;
/// Sources from this number on are in no list.
pub(crate) const STRANGERS: u64 = 1 << 40;
/// Sources from this number on are listed beyond those that are varied over.
pub(crate) const SPECIAL: u64 = 1 << 41;

/// The node behind the filter.
pub(crate) const NODE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
/// The router's own address.
pub(crate) const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 2);
/// The back-ends' port.
pub(crate) const PEER_PORT: u16 = 40_000;
/// The nodes' port.
pub(crate) const DTLS_PORT: u16 = 5684;
/// The agent's port.
pub(crate) const AGENT_PORT: u16 = 5686;

/// The address of a source: as a mesh or a forger has them, in no order.
pub(crate) fn source(number: u64) -> Ipv6Addr {
    Address::from_raw(INTERNET.to_be(), mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15)))
        .octets
        .into()
}

/// The address as the maps have it.
pub(crate) fn address(of: Ipv6Addr) -> Address {
    Address { octets: of.octets() }
}

/// 115 bytes of application data, as the programs expect what they rewrite.
pub(crate) fn record(from: Ipv6Addr, to: Ipv6Addr, port: u16) -> Packet {
    Packet::udp6(from, to, PEER_PORT, port).payload(dtls::application(1, &[0x5a; 40]))
}

/// A record from a listed or strange source to the node.
pub(crate) fn standard(number: u64) -> Vec<u8> {
    record(source(number), NODE, DTLS_PORT).build()
}
