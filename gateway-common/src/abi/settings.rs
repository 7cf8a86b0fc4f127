//! What the configuration means to the kernel: constants of a loaded program.
use crate::{
    decide::rate::{Limits, Rate},
    hash::{HashKey, LANES},
    wire::{Address, Prefix, parse::Link},
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Prefixes of the LLN.
pub const LLN_PREFIXES_MAX: usize = 8;
/// Ports of each kind.
pub const PORTS_MAX: usize = 8;

/// What replay filtering does.
pub mod replay_mode {
    /// Nothing.
    pub const OFF: u32 = 0;
    /// Drops identical records.
    pub const RECORD: u32 = 1;
    /// Drops identical records and, once, a known number with other bytes.
    pub const PAIR: u32 = 2;
}

/// A program's constants: set before it is loaded, so the kernel removes what they switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// [`super::VERSION`] of who wrote it.
    pub abi: u32,
    /// This interface's place in `INTERFACES`, `DROPS` and `PASSED`.
    pub interface: u32,
    /// Frames start with the IP header.
    pub raw_ip: u32,
    /// aya-log statements are on.
    pub log: u32,
    /// One of [`replay_mode`].
    pub replay: u32,
    /// Largest IP datagram into the LLN, in bytes.
    pub max_datagram: u32,
    /// Words of `BITS`, less one.
    pub bits_mask: u32,
    /// Pages of `SEEN`, less one.
    pub seen_mask: u32,
    /// Slots of `SOURCE_STATE` that leases own; shared ones follow.
    pub sources: u32,
    /// Places of `ASSOCIATIONS`, less one.
    pub associations_mask: u32,
    /// What hashes are keyed with.
    pub key: HashKey,
    /// Budget of each node.
    pub node: Limits,
    /// Budget of the LLN as a whole.
    pub lln: Limits,
    /// Budget of each source at the agent's own ports.
    pub agent: Rate,
    /// Budget of an association before its node has answered, in records.
    pub unproven: Rate,
    /// The LLN; unused places match nothing.
    pub lln_prefixes: [Prefix; LLN_PREFIXES_MAX],
    /// UDP ports on which nodes speak DTLS; 0 is unused.
    pub dtls_ports: [u16; PORTS_MAX],
    /// TCP ports of nodes on which they are reached through the mapping, by their own addresses;
    /// 0 is unused.
    pub mapped_ports: [u16; PORTS_MAX],
    /// TCP ports of the router's own addresses on which the mapping listens; 0 is unused.
    pub mapper_ports: [u16; PORTS_MAX],
    /// The agent's own ports; 0 is unused.
    pub agent_ports: [u16; PORTS_MAX],
    /// Those of them that are UDP ports on which the agent speaks DTLS behind cookies; 0 is unused.
    pub cookie_ports: [u16; PORTS_MAX],
    /// Those of the agent's and the mapping's ports whose TCP sockets are the agent's: segments that
    /// belong to none are dropped; 0 is unused.
    pub socket_ports: [u16; PORTS_MAX],
    /// `COOKIE_NODES` has entries.
    pub cookie_nodes: u32,
    /// Bytes from the start of the kernel's `struct tcp_sock` to its `rcv_nxt`; 0 is unknown.
    pub rcv_nxt: u32,
}

impl Settings {
    /// Nothing configured: no address is the LLN's.
    pub const EMPTY: Self = Self {
        abi: super::VERSION,
        interface: 0,
        raw_ip: 0,
        log: 0,
        replay: replay_mode::PAIR,
        max_datagram: 1280,
        bits_mask: 0,
        seen_mask: 0,
        sources: 1,
        associations_mask: 0,
        key: HashKey { lanes: [0; LANES] },
        node: Limits { packets: Rate::UNLIMITED, bytes: Rate::UNLIMITED },
        lln: Limits { packets: Rate::UNLIMITED, bytes: Rate::UNLIMITED },
        agent: Rate::UNLIMITED,
        unproven: Rate::UNLIMITED,
        lln_prefixes: [Prefix::NONE; LLN_PREFIXES_MAX],
        dtls_ports: [0; PORTS_MAX],
        mapped_ports: [0; PORTS_MAX],
        mapper_ports: [0; PORTS_MAX],
        agent_ports: [0; PORTS_MAX],
        cookie_ports: [0; PORTS_MAX],
        socket_ports: [0; PORTS_MAX],
        cookie_nodes: 0,
        rcv_nxt: 0,
    };

    /// How frames of the interface start.
    #[inline(always)]
    pub const fn link(&self) -> Link {
        if self.raw_ip == 0 { Link::Ethernet } else { Link::Ip }
    }

    /// Whether `address` lies in the LLN.
    #[inline(always)]
    pub fn in_lln(&self, address: &Address) -> bool {
        self.lln_prefixes.iter().any(|prefix| prefix.contains(address))
    }
}
