//! Why a packet was dropped: one list for counters, events, the command line and the README.
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The step of the path at which a packet ended, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Walking the headers.
    Parse,
    /// Is the source admitted, and to this node?
    Admission,
    /// Is it something that a node should get?
    Content,
    /// Was it seen before, and is it its turn?
    Replay,
    /// Is there budget left?
    Rate,
    /// What nodes send.
    Outbound,
}

impl Stage {
    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Admission => "admission",
            Self::Content => "content",
            Self::Replay => "replay",
            Self::Rate => "rate",
            Self::Outbound => "outbound",
        }
    }
}

/// Packets and bytes (of the whole frame).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

macro_rules! reasons {
    ($($variant:ident $field:ident $stage:ident $text:literal)*) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Reason {
            $(#[doc = $text] $variant,)*
        }

        impl Reason {
            /// All of them, in order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in counters, events and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)* }
            }

            /// What it means, in a line.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Where on the path it is decided.
            pub const fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage,)* }
            }
        }

        /// Drops by reason: one field each, in order of the reasons' numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct Drops {
            $(#[doc = $text] pub $field: Counter,)*
            /// When the next event of each reason is due, in ticks of the kernel's clock.
            pub due_ticks: [u64; DUE],
        }

        impl Drops {
            /// The counter of a reason.
            pub const fn of(&self, reason: Reason) -> Counter {
                match reason { $(Reason::$variant => self.$field,)* }
            }
        }
    };
}

reasons! {
    Malformed malformed Parse "headers or lengths that no receiver would take"
    NoLease no_lease Admission "the source is not in the allow-list"
    LeaseExpired lease_expired Admission "the source's entry has lapsed"
    NodeDenied node_denied Admission "the entry does not cover this node"
    PortDenied port_denied Admission "the entry does not cover this port"
    SpoofedSource spoofed_source Admission "a source that cannot be where the packet came from"
    Multicast multicast Content "CoAP or DTLS to a multicast group of the LLN"
    Fragment fragment Content "an IP fragment: DTLS fragments its handshake itself"
    RoutingHeader routing_header Content "an IPv6 routing header"
    HopByHop hop_by_hop Content "an IPv6 hop-by-hop options header from the Internet"
    Oversize oversize Content "an IP datagram over the LLN's limit"
    PlainCoap plain_coap Content "CoAP without DTLS"
    UdpPort udp_port Content "UDP to a port that is no DTLS port"
    TcpPort tcp_port Content "TCP to a port that is not mapped"
    Protocol protocol Content "a protocol that nodes do not speak"
    IcmpType icmp_type Content "ICMP beyond what RFC 4890 asks for"
    IcmpUnrelated icmp_unrelated Content "an ICMP error that quotes no live flow of the node"
    NotDtls not_dtls Content "a datagram that is not DTLS records to its end"
    HelloForm hello_form Content "a ClientHello in pieces or beside other messages: no cookie vouches for it"
    CookieAsked cookie_asked Content "a ClientHello without a cookie: answered with one"
    CookieInvalid cookie_invalid Content "a ClientHello with a cookie that is not ours or too old: answered with a new one"
    CookieSpent cookie_spent Content "a cookie that was used too often"
    TcpSocket tcp_socket Content "a segment for no listening or open socket"
    RstSequence rst_sequence Content "a reset that is not exactly in sequence"
    SynEstablished syn_established Content "a SYN in an established connection"
    RecordType record_type Content "a record type that a back-end does not send in this state"
    Epoch epoch Replay "an epoch that the association cannot have reached"
    Premature premature Replay "application data before the node finished the handshake"
    Unproven unproven Replay "too many records before the node has answered"
    Replayed replayed Replay "this record was seen before"
    ReplayConflict replay_conflict Replay "its epoch and sequence number were seen with other bytes"
    ReplayStale replay_stale Replay "the node reported everything up to here as received"
    SourcePackets source_packets Rate "more packets than the source's entry allows"
    SourceBytes source_bytes Rate "more bytes than the source's entry allows"
    NodePackets node_packets Rate "more packets than a node may get"
    NodeBytes node_bytes Rate "more bytes than a node may get"
    LlnPackets lln_packets Rate "more packets than the LLN may get"
    LlnBytes lln_bytes Rate "more bytes than the LLN may get"
    AgentRate agent_rate Rate "too many packets to the agent's own ports from one source"
    NotAdmitted not_admitted Outbound "a node's packet to a host that is not in the allow-list"
    Amplification amplification Outbound "a node's answer over the factor that an unproven address may get"
    HopLocal hop_local Outbound "a node's report to the router, which ends there"
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name() == name)
    }
}

/// One for each reason, and as much as keeps the counters' size a divisor of the whole.
const DUE: usize = Reason::COUNT.next_multiple_of(2);
const _: () = assert!(core::mem::offset_of!(Drops, due_ticks) == Reason::COUNT * 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_fields_agree() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            assert_eq!(Reason::from_number(number as u32), Some(*reason));
            assert_eq!(Reason::from_name(reason.name()), Some(*reason));
            let mut words = [0u64; 2 * Reason::COUNT + DUE];
            words[2 * number] = 7;
            let drops = Drops::read_from_bytes(words.as_bytes()).unwrap();
            assert_eq!(drops.of(*reason).packets, 7);
        }
        assert_eq!(Reason::from_number(Reason::COUNT as u32), None);
    }
}
