//! Keys and values of the maps.
use crate::{
    decide::{association::Progress, rate::Due},
    hash::{Key, mix},
    wire::Address,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What the user side may change while programs run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Control {
    /// Grows with every change to leases and policies; associations of an older one ask again.
    pub generation: u64,
    /// How many of `prefix_lengths` count.
    pub prefix_count: u32,
    /// The next slot of `SOURCE_STATE` that no lease has had.
    pub next_slot: u32,
    /// Lengths (of 128 bits) that prefixes in the allow-list have, longest first.
    pub prefix_lengths: [u8; super::PREFIX_LENGTHS_MAX],
}

/// An interface under the filter.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Interface {
    /// The kernel's index; 0 is an unused place.
    pub ifindex: u32,
    /// 1 on the Internet's side, 2 on the LLN's.
    pub role: u32,
    /// Frames start with the IP header.
    pub raw_ip: u32,
    /// 1 where the driver runs the program, 2 where the network stack does.
    pub mode: u32,
    /// Its name, padded with zeros.
    pub name: [u8; 16],
}

/// A prefix in the allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PrefixKey {
    /// Its first address.
    pub address: Address,
    /// Its length of 128 bits.
    pub length: u64,
}

/// What is spent of a pair of limits.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Budget {
    /// When the next packet and the next byte are due; replaced in one compare-and-swap.
    pub due: Due,
    /// When it was last charged, in ns of the kernel's monotonic clock.
    pub spent_ns: u64,
}

/// A source's budget and counters; those of what passed are in `SOURCE_PASSED`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SourceState {
    /// What it has spent.
    pub budget: Budget,
    /// Packets dropped.
    pub drops: u64,
    /// Packets that nodes sent to it.
    pub answers: u64,
    /// Bytes that nodes sent to it.
    pub answer_bytes: u64,
    /// When a packet of it last passed, in ns of the kernel's monotonic clock.
    pub last_seen_ns: u64,
    /// Zeros, up to a cache line.
    pub reserved: [u64; 2],
}

/// What cookies are made with.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CookieKey {
    /// The key itself.
    pub secret: [u64; 2],
    /// Grows by one with each key; its lowest byte is in every cookie.
    pub number: u64,
    /// Since when it is in use, in ns of the kernel's monotonic clock; 0 is no key. The last field,
    /// so that a key counts once the rest is there.
    pub made_ns: u64,
}

/// A node's budget; what passed to it is counted in `NODE_PASSED`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct NodeState {
    /// Keyed hash of its address; 0 is an unused place.
    pub tag: u64,
    /// When a packet last passed to it, in ns of the kernel's monotonic clock.
    pub last_seen_ns: u64,
    /// Its address.
    pub address: Address,
    /// What has been spent on it.
    pub budget: Budget,
    /// Zeros, up to a cache line.
    pub reserved: [u64; 2],
}

/// A UDP flow between a node and a back-end, the same from both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AssociationKey {
    /// The node's address.
    pub node: Address,
    /// The back-end's address.
    pub peer: Address,
    /// The node's port, host order.
    pub node_port: u16,
    /// The back-end's port, host order.
    pub peer_port: u16,
    /// Zero.
    pub reserved: u32,
}

impl AssociationKey {
    /// The keyed hash that finds the flow and its records' marks, given [`super::filter::part`] of the
    /// peer's address. Its lowest bit is set, so that it is neither of the two below.
    #[inline(always)]
    pub fn tag(&self, key: impl Key, peer: u64) -> u64 {
        let (high, low) = self.node.raw_words();
        let ports = u64::from(self.node_port) << 16 | u64::from(self.peer_port);
        mix(peer.wrapping_add(key.part(2, [high, low, ports]))) | 3
    }
}

/// Places where a flow may lie, from the one that its tag gives on.
pub const ASSOCIATION_WAYS: u32 = 8;

/// What is remembered of a flow: two lines of a cache, of which the first is what packets need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Association {
    /// Keyed hash of the flow, which replay marks are made from too; [`Association::FREE`] and
    /// [`Association::TAKEN`] are none.
    pub tag: u64,
    /// [`Control::generation`] when the lease was last looked up.
    pub generation: u64,
    /// When the lease ends, in ns of the kernel's monotonic clock.
    pub expires_ns: u64,
    /// How far it has come.
    pub progress: Progress,
    /// Where the source's counters are.
    pub slot: u32,
    /// Where the source's budget is: its own slot, or a shared one inside a prefix.
    pub bucket: u32,
    /// The lease's policy.
    pub policy: u16,
    /// Where the node's budget is.
    pub node_slot: u16,
    /// The epoch of the node's last report.
    pub confirmed_epoch: u16,
    /// Zero.
    pub reserved: u16,
    /// Lowest sequence number that the node still waits for, by its own report.
    pub confirmed_next: u64,
    /// When a packet of it last passed, in ns of the kernel's monotonic clock.
    pub last_seen_ns: u64,
    /// The node's address.
    pub node: Address,
    /// The back-end's address.
    pub peer: Address,
    /// The node's port, host order.
    pub node_port: u16,
    /// The back-end's port, host order.
    pub peer_port: u16,
    /// Tells ServerHellos apart.
    pub hello: u32,
    /// Arrival time of the budget for unproven records.
    pub unproven_ns: u64,
    /// Until when conflicts pass (record mode), after one was dropped.
    pub record_mode_until_ns: u64,
    /// Bytes into the LLN before the back-end's address was proved.
    pub bytes_in: u32,
    /// Bytes out of the LLN before the back-end's address was proved.
    pub bytes_out: u32,
}

const _: () = assert!(size_of::<Association>() == 128);
const _: () = assert!(super::NODES_MAX <= 1 << 16 && super::POLICIES_MAX <= 1 << 16);

impl Association {
    /// The tag of an unused place.
    pub const FREE: u64 = 0;
    /// The tag of a place that is being written.
    pub const TAKEN: u64 = 1;
}

/// What passed on an interface.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Passed {
    /// Between back-ends and nodes, after every check.
    pub checked: crate::decide::reason::Counter,
    /// Not the filter's business: the router's own traffic and everything that is not the LLN's.
    pub untouched: crate::decide::reason::Counter,
}

/// Bytes of a dropped frame that an event carries.
pub const SNAPSHOT: usize = 128;

/// A sampled drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
    /// When, in ns of the kernel's monotonic clock.
    pub time_ns: u64,
    /// Which interface.
    pub interface: u32,
    /// Which [`Reason`](crate::decide::Reason), by number.
    pub reason: u32,
    /// Bytes of the frame.
    pub length: u32,
    /// How many of `data` are the frame's.
    pub captured: u32,
    /// How the frame starts.
    pub data: [u8; SNAPSHOT],
}
