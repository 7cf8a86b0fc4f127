//! A gateway that maps TLS to a node that takes it, and the clients around it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Gateway, Lab,
    gateway::{EVERYDAY, ROOMY},
    topology::{BACKEND, BACKEND_V4, NODE, at},
    until,
};
use crate::peer::{
    Psk,
    coap::COAPS,
    https::{Client, Request, Stack},
    node::Node,
};

/// TCP port on the node's own address.
pub const HTTPS: u16 = 443;
/// TCP port of the router's own on which the server name picks the node.
pub const NAMED: u16 = 8_443;
/// TCP port of the router's own that leads to the node.
pub const OWN: u16 = 9_443;
/// The node's server name.
pub const NAME: &str = "lamp.example";

/// The three ways to the node, both suites, and a lab's patience.
const CONFIG: &str = "\
[lln]
mapped_ports = [443]
[mapper]
ports = [8443]
suites = [\"TLS_PSK_WITH_AES_128_CCM_8\", \"TLS_PSK_WITH_AES_128_GCM_SHA256\"]
[[mapper.node]]
name = \"lamp\"
address = \"2001:db8:1::10\"
server_names = [\"lamp.example\"]
ports = [9443]
";

/// What a test has set otherwise than it is by default.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Keys of `[mapper]`.
    pub mapper: &'static str,
    /// Keys of `[mapper.timers]`.
    pub timers: &'static str,
    /// Arguments of the node.
    pub node: &'static [&'static str],
}

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
            "10",
            "--handshake",
            "5",
        ],
        ..Self::LIVELY
    };
}

/// A lab in which TLS is mapped.
#[derive(Debug)]
pub struct Mapped<'a> {
    /// The namespaces.
    pub lab: &'a Lab,
    /// The program under test.
    pub gateway: Gateway<'a>,
    /// The node, at [`NODE`].
    pub node: Node,
    /// What client and node share, and the router has not.
    pub psk: Psk,
}

impl<'a> Mapped<'a> {
    /// Starts gateway and node, and admits the back-end's addresses.
    pub fn start(lab: &'a Lab) -> Result<Self> {
        Self::with(lab, Settings::LIVELY)
    }

    /// The same with other settings.
    pub fn with(lab: &'a Lab, settings: Settings) -> Result<Self> {
        let keys = format!("[mapper.timers]\n{}[mapper]\n{}", settings.timers, settings.mapper);
        let config = format!("{EVERYDAY}{}{ROOMY}", CONFIG.replace("[mapper]\n", &keys));
        let gateway = Gateway::start(&lab.router, &config)?;
        gateway.allow(BACKEND, &[])?;
        gateway.allow(BACKEND_V4, &[])?;
        let psk = Psk::default();
        // TCP has proved who calls: a cookie would cost a round in the LLN and prove nothing
        let arguments = [&["--cookie", "foreign"], settings.node].concat();
        let node = Node::start(&lab.node, at(NODE, COAPS), &psk, &arguments)?;
        Ok(Self { lab, gateway, node, psk })
    }

    /// A client at the back-end that calls the node's own address.
    pub fn client(&self, stack: Stack) -> Client<'a> {
        self.client_of(stack, at(NODE, HTTPS))
    }

    /// A client at the back-end that calls `server`.
    pub fn client_of(&self, stack: Stack, server: SocketAddr) -> Client<'a> {
        Client::new(stack, &self.lab.backend, &self.psk, server)
    }

    /// What `gateway connections` says.
    pub fn connections(&self) -> Result<Value> {
        self.gateway.json(&["connections"])
    }

    /// How many connections have ended for a reason.
    pub fn ended(&self, reason: &str) -> Result<u64> {
        Ok(self.connections()?["counters"]["ended"][reason].as_u64().unwrap_or(0))
    }

    /// Waits until the router has forgotten all connections, and says how they ended.
    pub fn wait_over(&self, deadline: Duration) -> Result<Value> {
        let live = || {
            let report = self.connections().ok()?;
            Some(report["connections"].as_array()?.len())
        };
        let over = until(deadline, || live() == Some(0));
        let report = self.connections()?;
        ensure!(over, "a connection stays behind: {report}");
        report["counters"].get("ended").cloned().context("no counters")
    }

    /// Whether the node still serves a client that comes now.
    pub fn still_serves(&self, deadline: Duration) -> Result<()> {
        let mut client = self.client(Stack::Python).connect(deadline)?;
        let answer = client.request(&Request::get("/sensors/temperature"), deadline)?;
        ensure!(answer.ok()? == "21.5");
        client.close(deadline).map(drop)
    }
}
