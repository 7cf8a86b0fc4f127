//! The lab: back-end and attacker in the Internet, the border router, nodes in the LLN.
//!
//! ```text
//! backend  eth0 ── be0 ┐
//!                      internet  up0 ── wan0  router  lln0 ── node0  node
//! attacker eth0 ── at0 ┘
//! ```
//!
//! A lab [with air](Lab::with_air) has a bridge between `lln0` and `node0`, which tests command.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use aya::{Ebpf, programs::XdpMode};
use gateway_common::abi::Settings;
use gateway_user::dataplane::object::{self, Capacity};

use super::{
    air::Air,
    link::{self, End, Mac},
    netns::Namespace,
    until,
};

const fn lab6(net: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host)
}

/// The back-end.
pub const BACKEND: Ipv6Addr = lab6(0xb, 2);
/// The back-end's second address.
pub const BACKEND_2: Ipv6Addr = lab6(0xb, 3);
/// The attacker.
pub const ATTACKER: Ipv6Addr = lab6(0xa, 2);
/// The Internet's end of the router's uplink.
pub const INTERNET: Ipv6Addr = lab6(0xf, 1);
/// The router, as the Internet sees it.
pub const ROUTER: Ipv6Addr = lab6(0xf, 2);
/// The router, as the nodes see it.
pub const ROUTER_LLN: Ipv6Addr = lab6(1, 1);
/// The first node.
pub const NODE: Ipv6Addr = lab6(1, 0x10);
/// The second node, in the same namespace as the first.
pub const NODE_2: Ipv6Addr = lab6(1, 0x11);
/// The third node, there too.
pub const NODE_3: Ipv6Addr = lab6(1, 0x12);
/// The LLN's prefix.
pub const LLN: &str = "2001:db8:1::/64";

/// The back-end over IPv4.
pub const BACKEND_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The attacker over IPv4.
pub const ATTACKER_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The Internet's end of the router's uplink over IPv4.
pub const INTERNET_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The router over IPv4.
pub const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// A port at one of these addresses.
pub fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

/// `eth0` of the back-end.
pub const MAC_BACKEND: Mac = [2, 0, 0, 0, 0, 0x0b];
/// `be0`, the back-end's first hop.
pub const MAC_BE0: Mac = [2, 0, 0, 0, 1, 0x0b];
/// `eth0` of the attacker.
pub const MAC_ATTACKER: Mac = [2, 0, 0, 0, 0, 0x0a];
/// `at0`, the attacker's first hop.
pub const MAC_AT0: Mac = [2, 0, 0, 0, 1, 0x0a];
/// `up0`, the Internet's side of the router's uplink.
pub const MAC_UP0: Mac = [2, 0, 0, 0, 1, 0x0f];
/// `wan0` of the router.
pub const MAC_WAN0: Mac = [2, 0, 0, 0, 0, 0x0f];
/// `lln0` of the router.
pub const MAC_LLN0: Mac = [2, 0, 0, 0, 1, 0x01];
/// `a0` of the air, the router's end.
pub const MAC_A0: Mac = [2, 0, 0, 0, 2, 0x01];
/// `a1` of the air, the node's end.
pub const MAC_A1: Mac = [2, 0, 0, 0, 3, 0x01];
/// `node0` of the node.
pub const MAC_NODE0: Mac = [2, 0, 0, 0, 0, 0x01];

const READY: Duration = Duration::from_secs(5);

/// Five namespaces with their links; everything goes when it is dropped.
#[derive(Debug)]
pub struct Lab {
    /// Host with a lease to be had: device `eth0`.
    pub backend: Namespace,
    /// Host without: device `eth0`. Nothing on its way filters forged sources.
    pub attacker: Namespace,
    /// Forwards between the three: devices `be0`, `at0`, `up0`.
    pub internet: Namespace,
    /// The border router under test: devices `wan0` and `lln0`.
    pub router: Namespace,
    /// The LLN with all nodes' addresses: device `node0`.
    pub node: Namespace,
    air: Option<Air>,
}

impl Lab {
    /// Builds the lab and returns once back-end and nodes reach each other.
    pub fn new() -> Result<Self> {
        Self::build(None)
    }

    /// Builds the lab with a bridge on the link between router and node.
    pub fn with_air() -> Result<Self> {
        Self::build(Some(Namespace::new("air")?))
    }

    /// The bridge between router and node.
    pub fn air(&self) -> &Air {
        self.air.as_ref().expect("the lab was built with air")
    }

    fn build(air: Option<Namespace>) -> Result<Self> {
        let mut lab = Self {
            backend: Namespace::new("backend")?,
            attacker: Namespace::new("attacker")?,
            internet: Namespace::new("internet")?,
            router: Namespace::new("router")?,
            node: Namespace::new("node")?,
            air: None,
        };
        lab.all().into_iter().try_for_each(quiet)?;
        [&lab.internet, &lab.router].into_iter().try_for_each(forwards)?;
        lab.connect(air.as_ref())?;
        lab.air = air.map(Air::start).transpose()?;
        lab.number()?;
        lab.join()?;
        ensure!(until(READY, || lab.router.pings(NODE_2)), "the router does not reach the node");
        ensure!(until(READY, || lab.backend.pings(NODE)), "the back-end does not reach the node");
        Ok(lab)
    }

    /// Has the router's uplink take what XDP_TX sends, as a network card would, while the returned
    /// value lives: a veth queues it and is not woken for it, unless its peer has an XDP program
    /// too (`veth_xdp_flush` in the kernel). This one passes everything.
    pub fn awake(&self) -> Result<Ebpf> {
        let capacity = Capacity { sources: 64, associations: 64, pages: 64 };
        let mut settings = Settings::EMPTY;
        capacity.apply(&mut settings);
        let mut object = object::load(object::OBJECT, &settings, &capacity, None)?;
        let program = object::verify(&mut object, "wan")?;
        self.internet.enter(|| program.attach("up0", XdpMode::Driver))?;
        Ok(object)
    }

    /// All namespaces, from the Internet inwards.
    pub fn all(&self) -> [&Namespace; 5] {
        [&self.backend, &self.attacker, &self.internet, &self.router, &self.node]
    }

    /// The router's peers take what XDP sends, as a network card would.
    fn connect(&self, air: Option<&Namespace>) -> Result<()> {
        let end = |namespace, name, mac| End { namespace, name, mac };
        let (lln, node) =
            (end(&self.router, "lln0", MAC_LLN0), end(&self.node, "node0", MAC_NODE0));
        let pairs = [
            (end(&self.backend, "eth0", MAC_BACKEND), end(&self.internet, "be0", MAC_BE0)),
            (end(&self.attacker, "eth0", MAC_ATTACKER), end(&self.internet, "at0", MAC_AT0)),
            (end(&self.internet, "up0", MAC_UP0), end(&self.router, "wan0", MAC_WAN0)),
        ];
        pairs.into_iter().try_for_each(|(left, right)| link::veth(left, right))?;
        match air {
            None => link::veth(lln, node)?,
            Some(air) => {
                air.set_sysctl("ipv6/conf/default/disable_ipv6", "1")?;
                link::veth(lln, end(air, "a0", MAC_A0))?;
                link::veth(end(air, "a1", MAC_A1), node)?;
                air.device("a0").gro_on()?;
            }
        }
        self.internet.device("up0").gro_on()?;
        self.node.device("node0").gro_on()
    }

    fn number(&self) -> Result<()> {
        let plan: [(&Namespace, &[(&str, &str)]); 5] = [
            (
                &self.backend,
                &[
                    ("eth0", "2001:db8:b::2/64"),
                    ("eth0", "2001:db8:b::3/64 preferred_lft 0"),
                    ("eth0", "192.0.2.2/24"),
                ],
            ),
            (&self.attacker, &[("eth0", "2001:db8:a::2/64"), ("eth0", "203.0.113.2/24")]),
            (
                &self.internet,
                &[
                    ("be0", "2001:db8:b::1/64"),
                    ("be0", "192.0.2.1/24"),
                    ("at0", "2001:db8:a::1/64"),
                    ("at0", "203.0.113.1/24"),
                    ("up0", "2001:db8:f::1/64"),
                    ("up0", "198.51.100.1/24"),
                ],
            ),
            (
                &self.router,
                &[
                    ("wan0", "2001:db8:f::2/64"),
                    ("wan0", "198.51.100.2/24"),
                    ("lln0", "2001:db8:1::1/64"),
                ],
            ),
            (
                &self.node,
                &[
                    ("node0", "2001:db8:1::10/64"),
                    ("node0", "2001:db8:1::11/64 preferred_lft 0"),
                    ("node0", "2001:db8:1::12/64 preferred_lft 0"),
                ],
            ),
        ];
        plan.into_iter().try_for_each(|(namespace, addresses)| assign(namespace, addresses))
    }

    fn join(&self) -> Result<()> {
        let routes = [
            (&self.backend, "default", "2001:db8:b::1"),
            (&self.backend, "default", "192.0.2.1"),
            (&self.attacker, "default", "2001:db8:a::1"),
            (&self.attacker, "default", "203.0.113.1"),
            (&self.internet, LLN, "2001:db8:f::2"),
            (&self.router, "default", "2001:db8:f::1"),
            (&self.router, "default", "198.51.100.1"),
            (&self.node, "default", "2001:db8:1::1"),
        ];
        routes.into_iter().try_for_each(|(namespace, prefix, via)| {
            namespace.run(&["ip", "route", "add", prefix, "via", via]).map(drop)
        })
    }
}

/// Second addresses are deprecated: the kernel takes them as a source only when told to.
fn assign(namespace: &Namespace, addresses: &[(&str, &str)]) -> Result<()> {
    let line = |(device, address): &(&str, &str)| {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        format!("address add dev {device} {address} {nodad}")
    };
    namespace.ip(&addresses.iter().map(line).collect::<Vec<_>>())
}

/// No duplicate address detection, no router solicitations, no source filter.
fn quiet(namespace: &Namespace) -> Result<()> {
    for scope in ["all", "default"] {
        namespace.set_sysctl(&format!("ipv6/conf/{scope}/accept_dad"), "0")?;
        namespace.set_sysctl(&format!("ipv6/conf/{scope}/accept_ra"), "0")?;
        namespace.set_sysctl(&format!("ipv6/conf/{scope}/router_solicitations"), "0")?;
        namespace.set_sysctl(&format!("ipv4/conf/{scope}/rp_filter"), "0")?;
    }
    Ok(())
}

fn forwards(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("ipv6/conf/all/forwarding", "1")?;
    namespace.set_sysctl("ipv4/ip_forward", "1")
}
