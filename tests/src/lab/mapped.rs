//! What back-ends need to reach a node by TLS: a gateway that maps, and a node that understands.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Gateway, Lab,
    gateway::{EVERYDAY, ROOMY},
    topology::{BACKEND, BACKEND_V4, NODE, ROUTER, ROUTER_V4, at},
    until,
};
use crate::peer::{
    Psk,
    coap::COAPS,
    https::{Client, Request, Stack},
    node::Node,
};

/// The port of nodes' own addresses that is mapped.
pub const HTTPS: u16 = 443;
/// The router's port on which the server name picks the node.
pub const BY_NAME: u16 = 8443;
/// The router's port that leads to the node.
pub const BY_PORT: u16 = 8444;
/// The node's server name.
pub const NAME: &str = "lamp.example";

/// How a back-end names the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By its own address.
    Address,
    /// By its name, at the router's address.
    Name,
    /// By its name, at the router's IPv4 address.
    NameV4,
    /// By a port, at the router's address.
    Port,
    /// By a port, at the router's IPv4 address.
    PortV4,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Address, Self::Name, Self::NameV4, Self::Port, Self::PortV4];

    /// Where to connect to.
    pub fn door(self) -> SocketAddr {
        match self {
            Self::Address => at(NODE, HTTPS),
            Self::Name => at(ROUTER, BY_NAME),
            Self::NameV4 => at(ROUTER_V4, BY_NAME),
            Self::Port => at(ROUTER, BY_PORT),
            Self::PortV4 => at(ROUTER_V4, BY_PORT),
        }
    }

    /// As `gateway connections` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name | Self::NameV4 => "name",
            Self::Port | Self::PortV4 => "port",
        }
    }
}

/// A configuration in which every way leads to [`NODE`]: `mapper` has more keys of its section,
/// `tables` is appended.
pub fn config(mapper: &str, tables: &str) -> String {
    format!(
        "{EVERYDAY}{ROOMY}[lln]\nmapped_ports = [{HTTPS}]\n\
         [mapper]\nports = [{BY_NAME}]\n{mapper}\n\
         [[mapper.node]]\nname = \"lamp\"\naddress = \"{NODE}\"\nserver_names = [\"{NAME}\"]\n\
         ports = [{BY_PORT}]\n{tables}"
    )
}

/// What a test has otherwise than it is by default.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Keys of `[mapper]`.
    pub mapper: &'static str,
    /// Keys of `[mapper.timers]`.
    pub timers: &'static str,
    /// Arguments of the node.
    pub node: &'static [&'static str],
}

/// Both suites of [`crate::peer::https::Suite`].
const SUITES: &str =
    "suites = [\"TLS_PSK_WITH_AES_128_CCM_8\", \"TLS_PSK_WITH_AES_128_GCM_SHA256\"]\n";

impl Settings {
    /// Router and node repeat themselves sooner than a radio would like.
    pub const LIVELY: Self = Self {
        mapper: "",
        timers: "retransmit = \"500ms\"\nacknowledge = \"300ms\"\nclose = \"2s\"\n",
        node: &["--arq-timeout", "300", "--flight-timeout", "1000"],
    };

    /// And give up soon, too.
    pub const HASTY: Self = Self {
        timers: "retransmit = \"500ms\"\nacknowledge = \"200ms\"\nretries = 3\nclose = \"2s\"\n\
                 handshake = \"5s\"\n",
        node: &[
            "--arq-timeout",
            "200",
            "--flight-timeout",
            "1000",
            "--idle",
            "5",
            "--handshake",
            "5",
        ],
        ..Self::LIVELY
    };
}

/// A gateway that maps, and a node.
#[derive(Debug)]
pub struct Mapped<'a> {
    /// The namespaces.
    pub lab: &'a Lab,
    /// The gateway.
    pub gateway: Gateway<'a>,
    /// The node at [`NODE`].
    pub node: Node,
    /// The key that client and node have, and the router has not.
    pub psk: Psk,
}

/// How it comes up.
impl<'a> Mapped<'a> {
    /// Starts both, lively, and admits the back-end's addresses.
    pub fn start(lab: &'a Lab) -> Result<Self> {
        Self::with(lab, Settings::LIVELY)
    }

    /// The same with other settings.
    pub fn with(lab: &'a Lab, settings: Settings) -> Result<Self> {
        let mapper = format!("{SUITES}{}", settings.mapper);
        let config = config(&mapper, &format!("[mapper.timers]\n{}", settings.timers));
        // TCP has proved who calls: a cookie would cost a round in the LLN and prove nothing
        let node = [&["--cookie", "foreign"], settings.node].concat();
        let mapped = Self::configured(lab, &config, &node)?;
        mapped.admit()?;
        Ok(mapped)
    }

    /// Starts both with [`config`]'s configuration, or another, and admits nobody.
    pub fn configured(lab: &'a Lab, config: &str, node: &[&str]) -> Result<Self> {
        let psk = Psk::default();
        let gateway = Gateway::start(&lab.router, config)?;
        let node = Node::start(&lab.node, at(NODE, COAPS), &psk, node)?;
        Ok(Self { lab, gateway, node, psk })
    }

    /// Admits the back-end's addresses.
    pub fn admit(&self) -> Result<()> {
        self.gateway.allow(BACKEND, &[])?;
        self.gateway.allow(BACKEND_V4, &[])
    }
}

/// Who calls.
impl<'a> Mapped<'a> {
    /// A client at the back-end that calls the node's own address.
    pub fn client(&self, stack: Stack) -> Client<'a> {
        self.client_of(stack, Way::Address.door())
    }

    /// A client at the back-end that calls the node by a way.
    pub fn client_by(&self, stack: Stack, way: Way) -> Client<'a> {
        self.client_of(stack, way.door()).named(NAME)
    }

    /// A client at the back-end that calls `server`.
    pub fn client_of(&self, stack: Stack, server: SocketAddr) -> Client<'a> {
        Client::new(stack, &self.lab.backend, &self.psk, server)
    }

    /// Whether the node serves a client that comes now.
    pub fn still_serves(&self, deadline: Duration) -> Result<()> {
        let client = self.client(Stack::Python);
        let answer = client.ask(&Request::get("/sensors/temperature"), deadline)?;
        ensure!(answer == "21.5", "{answer}");
        Ok(())
    }
}

/// What the router says of it.
impl Mapped<'_> {
    /// What `gateway connections` says.
    pub fn report(&self) -> Result<Value> {
        self.gateway.json(&["connections"])
    }

    /// How many connections ended for a reason.
    pub fn ended(&self, reason: &str) -> Result<u64> {
        Ok(self.report()?["counters"]["ended"][reason].as_u64().unwrap_or(0))
    }

    /// Waits until so many connections ended for a reason.
    pub fn wait_for_ended(&self, reason: &str, count: u64, deadline: Duration) -> Result<()> {
        let come = until(deadline, || self.ended(reason).is_ok_and(|n| n >= count));
        ensure!(come, "not {count} times {reason}: {:#}", self.report()?);
        Ok(())
    }

    /// Waits until the router has forgotten all connections, and says how they ended.
    pub fn wait_over(&self, deadline: Duration) -> Result<Value> {
        let live = || Some(self.report().ok()?["connections"].as_array()?.len());
        let over = until(deadline, || live() == Some(0));
        let report = self.report()?;
        ensure!(over, "a connection stays behind: {report:#}");
        report["counters"].get("ended").cloned().context("no counters")
    }
}
