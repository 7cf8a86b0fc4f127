//! A filter of its own for a test, with a small allow-list, and the flows that go through it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use gateway_common::{
    abi::{NODE_WAYS, NODES_MAX, Settings, SourceState},
    decide::{
        rate::{Limits, Rate, SECOND},
        reason::Counter,
    },
    hash::{HashKey, Key as _},
    wire::{Address, Prefix},
};
use gateway_user::dataplane::{
    Plain,
    attach::Role,
    clock,
    maps::total,
    object::Capacity,
    replica::{Replica, Verdict},
    table::{Grant, Grants},
};
use ipnet::IpNet;
use tests::lab::topology::{BACKEND, BACKEND_2, BACKEND_V4, NODE, ROUTER, ROUTER_LLN, ROUTER_V4};

pub use super::flow::Flow;

const fn lab6(net: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host)
}

/// Listed for every node and port, without limit.
pub const EXACT: Ipv6Addr = BACKEND;
/// Listed for the first node and the first DTLS port only.
pub const RESTRICTED: Ipv6Addr = BACKEND_2;
/// Listed with a burst of [`FEW`] packets and no more.
pub const FEW_PACKETS: Ipv6Addr = lab6(0xb, 4);
/// Listed with a burst of [`FEW_OCTETS`] bytes and no more.
pub const FEW_BYTES: Ipv6Addr = lab6(0xb, 5);
/// Listed, but lapsed.
pub const EXPIRED: Ipv6Addr = lab6(0xb, 6);
/// Listed, and yet an address of the LLN.
pub const INSIDER: Ipv6Addr = lab6(1, 0x99);
/// Two hosts of a listed prefix, each with a burst of [`FEW`] packets.
pub const TENANTS: [Ipv6Addr; 2] = [lab6(0xc, 1), lab6(0xc, 2)];
/// Listed over IPv4.
pub const EXACT_V4: Ipv4Addr = BACKEND_V4;
/// A host of a listed IPv4 prefix.
pub const TENANT_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 7);
/// Not listed over IPv4.
pub const STRANGER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
/// A node over IPv4.
pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 16);

/// Packets of a tight budget.
pub const FEW: u64 = 2;
/// Bytes of a tight budget: three datagrams of [`super::record::data`] and not four.
pub const FEW_OCTETS: u64 = 300;

/// The place of the interface: not the first, so that a mix-up shows.
pub const INTERFACE: u32 = 5;
const KEY: HashKey = HashKey::new(0x5eed_7e57);
const CAPACITY: Capacity = Capacity { sources: 64, associations: 4096, pages: 4096 };

/// A burst that does not grow while a test runs.
pub const fn burst(units: u64) -> Rate {
    let interval_ns = 3600 * SECOND;
    Rate::new(interval_ns, interval_ns * units)
}

/// A budget of packets.
pub const fn packets(units: u64) -> Limits {
    Limits { packets: burst(units), bytes: Rate::UNLIMITED }
}

/// A budget of bytes.
pub const fn bytes(units: u64) -> Limits {
    Limits { packets: Rate::UNLIMITED, bytes: burst(units) }
}

/// An entry for a source or prefix: everything, without limit, for good.
pub fn anything(source: &str) -> Grant {
    Grant {
        source: net(source),
        nodes: Vec::new(),
        ports: Vec::new(),
        limits: Limits::default(),
        expires_ns: clock::instant(None),
    }
}

/// An entry for one address.
pub fn anything_for(source: impl Into<IpAddr>) -> Grant {
    Grant { source: source.into().into(), ..anything("::/128") }
}

/// A prefix from text.
pub fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn grants() -> Vec<Grant> {
    let limited = |grant: Grant, limits| Grant { limits, ..grant };
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    vec![
        anything_for(EXACT),
        anything_for(EXACT_V4),
        anything_for(INSIDER),
        anything("198.18.0.0/15"),
        limited(anything("2001:db8:c::/64"), packets(FEW)),
        limited(anything_for(FEW_PACKETS), packets(FEW)),
        limited(anything_for(FEW_BYTES), bytes(FEW_OCTETS)),
        Grant { expires_ns: clock::instant(Some(an_hour_ago)), ..anything_for(EXPIRED) },
        Grant {
            nodes: vec![net("2001:db8:1::10/128")],
            ports: vec![5684],
            ..anything_for(RESTRICTED)
        },
    ]
}

/// What every filter of these tests starts from.
pub fn settings() -> Settings {
    let mut settings = Settings { interface: INTERFACE, key: KEY, ..Settings::EMPTY };
    settings.lln_prefixes[0] = Prefix::new(IpAddr::from(NODE).into(), 64);
    settings.lln_prefixes[1] = Prefix::new(IpAddr::from(NODE_V4).into(), 96 + 24);
    settings.dtls_ports[..2].copy_from_slice(&[5684, 5685]);
    settings.mapped_ports[0] = 443;
    settings.mapper_ports[..2].copy_from_slice(&[8443, 8444]);
    settings.agent_ports[0] = 4433;
    settings
}

/// A refusal can take the kernel half a minute: one with the same settings is not asked for again.
fn load(settings: &Settings) -> Replica {
    static REFUSED: Mutex<Vec<Settings>> = Mutex::new(Vec::new());
    let refused = || REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!refused().contains(settings), "the programs do not load, as another test said");
    Replica::new(settings, &CAPACITY).unwrap_or_else(|error| {
        refused().push(*settings);
        panic!("the programs do not load (as root they should): {error:?}")
    })
}

/// A filter with its allow-list.
pub struct World {
    /// The filter.
    pub replica: Replica,
    /// Its allow-list.
    pub grants: Grants,
}

impl World {
    /// With the settings that all share.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// With other settings.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let replica = load(&settings);
        let mut own =
            replica.maps().index::<Address, u32>("OWN").expect("the map of own addresses");
        let addresses: [IpAddr; 3] = [ROUTER.into(), ROUTER_LLN.into(), ROUTER_V4.into()];
        for address in addresses {
            own.insert(Plain(Address::from(address)), Plain(1), 0).expect("room for an address");
        }
        let mut open = Grants::open(replica.maps()).expect("the allow-list's maps");
        open.sync(&grants()).expect("room for the allow-list");
        Self { replica, grants: open }
    }

    /// What becomes of a frame.
    pub fn run(&mut self, side: Role, frame: &[u8]) -> Verdict {
        self.replica.run(side, frame).expect("the program runs on the frame")
    }

    /// What becomes of a frame from the Internet.
    pub fn wan(&mut self, frame: &[u8]) -> Verdict {
        self.run(Role::Wan, frame)
    }

    /// What becomes of a frame from the LLN.
    pub fn lln(&mut self, frame: &[u8]) -> Verdict {
        self.run(Role::Lln, frame)
    }

    /// Runs frames that must all pass every check.
    #[track_caller]
    pub fn all_pass(&mut self, frames: &[(Role, Vec<u8>)]) {
        for (number, (side, frame)) in frames.iter().enumerate() {
            let verdict = self.run(*side, frame);
            assert_eq!(verdict, Verdict::Checked, "frame {number} on {side:?}");
        }
    }

    /// Counters of every entry of the allow-list, in order of their slots.
    pub fn sources(&self) -> Vec<(SourceState, Counter)> {
        let table = self.replica.maps().source_state().expect("the counters");
        let passed = self.replica.maps().source_passed().expect("the counters of what passed");
        let count = self.replica.maps().control().expect("the control record");
        let of = |slot| {
            let state = table.get(&slot, 0).expect("a slot's counters").0;
            (state, total(&passed, slot).expect("a slot's counters of what passed"))
        };
        (0..count.next_slot).map(of).collect()
    }

    /// The slot of an entry of the allow-list.
    pub fn slot(&self, source: impl Into<IpAddr>) -> usize {
        let source = source.into();
        let maps = self.replica.maps();
        let exact = maps.sources().expect("the allow-list").get(&Plain(source.into()), 0);
        let lease = exact.map(|lease| lease.0).unwrap_or_else(|_| {
            let prefixes = maps.prefixes().expect("the allow-list's prefixes");
            let mut covering = prefixes.iter().map(|entry| entry.expect("an entry"));
            let holds = |key: &gateway_common::abi::PrefixKey| {
                Prefix::new(key.address, key.length as u8).contains(&source.into())
            };
            let found = covering.find(|(key, _)| holds(&key.0));
            found.expect("a prefix that covers the source").1.0
        });
        lease.slot as usize
    }

    /// Counters of a node; zeros for one that never got anything.
    pub fn node(&self, node: impl Into<IpAddr>) -> Counter {
        let address = Address::from(node.into());
        let (high, low) = address.raw_words();
        let hash = KEY.hash([high, low, 2]);
        let first = (hash as u32 % NODES_MAX) & !(NODE_WAYS - 1);
        let table = self.replica.maps().nodes().expect("the nodes");
        (first..first + NODE_WAYS)
            .find(|place| table.get(place, 0).expect("a node's place").0.address == address)
            .map(|place| self.replica.maps().node_passed(place).expect("a node's counters"))
            .unwrap_or_default()
    }
}
