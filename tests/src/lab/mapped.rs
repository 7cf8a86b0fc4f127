//! What back-ends need to reach a node by TLS: a gateway that maps, and a node that understands.

use std::{
    env,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Result, ensure};

use super::{
    Child, Gateway, Lab, Namespace,
    gateway::{EVERYDAY, ROOMY},
    topology::{NODE, ROUTER, ROUTER_V4, at},
};
use crate::peer::{Psk, Socket, wait_bound};

/// The node's port for DTLS.
pub const DTLS: u16 = 5684;
/// The port of nodes' own addresses that is mapped.
pub const HTTPS: u16 = 443;
/// The router's port on which the server name picks the node.
pub const BY_NAME: u16 = 8443;
/// The router's port that leads to the node.
pub const BY_PORT: u16 = 8444;
/// The node's server name.
pub const NAME: &str = "lamp.example";

const START: Duration = Duration::from_secs(10);

/// How a back-end names the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By its own address.
    Address,
    /// By its name, at the router's address.
    Name,
    /// By a port, at the router's address.
    Port,
    /// By a port, at the router's IPv4 address.
    PortV4,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Address, Self::Name, Self::Port, Self::PortV4];

    /// Where to connect to.
    pub fn door(self) -> SocketAddr {
        match self {
            Self::Address => at(NODE, HTTPS),
            Self::Name => at(ROUTER, BY_NAME),
            Self::Port => at(ROUTER, BY_PORT),
            Self::PortV4 => at(ROUTER_V4, BY_PORT),
        }
    }

    /// As `gateway connections` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name => "name",
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

/// A node that takes mapped sessions: the example of gateway-node.
#[derive(Debug)]
pub struct Node {
    /// The process.
    pub child: Child,
}

impl Node {
    /// Starts one at `address` in `namespace`; `arguments` are the program's.
    pub fn start(
        namespace: &Namespace,
        address: impl Into<IpAddr>,
        psk: &Psk,
        arguments: &[&str],
    ) -> Result<Self> {
        let listen = at(address, DTLS);
        let mut command = namespace.command(&binary().display().to_string());
        command.args(["--listen", &listen.to_string(), "--psk-identity", &psk.identity]);
        command.args(["--psk", &psk.hex()]).args(arguments);
        let mut child = Child::spawn(command)?;
        child.wait_for_line("listening on", START)?;
        wait_bound(namespace, Socket::Udp, listen)?;
        Ok(Self { child })
    }
}

/// The example, from `NODE_BIN`, else the release build beside what runs now.
fn binary() -> PathBuf {
    if let Some(path) = env::var_os("NODE_BIN") {
        return path.into();
    }
    let here = env::current_exe().unwrap_or_default();
    let built = here.ancestors().map(|folder| folder.join("release/examples/node"));
    built.into_iter().find(|path| path.is_file()).unwrap_or_else(|| "node".into())
}

/// A gateway that maps, and a node.
#[derive(Debug)]
pub struct Mapped<'a> {
    /// The gateway.
    pub gateway: Gateway<'a>,
    /// The node at [`NODE`].
    pub node: Node,
    /// The key that both ends have.
    pub psk: Psk,
}

impl<'a> Mapped<'a> {
    /// Starts both; the configuration is [`config`]'s, or another.
    pub fn start(lab: &'a Lab, config: &str, node: &[&str]) -> Result<Self> {
        let psk = Psk::default();
        let gateway = Gateway::start(&lab.router, config)?;
        let node = Node::start(&lab.node, NODE, &psk, node)?;
        Ok(Self { gateway, node, psk })
    }

    /// What `gateway connections` says.
    pub fn report(&self) -> Result<serde_json::Value> {
        self.gateway.json(&["connections"])
    }

    /// How many connections ended for a reason.
    pub fn ended(&self, reason: &str) -> Result<u64> {
        Ok(self.report()?["counters"]["ended"][reason].as_u64().unwrap_or(0))
    }

    /// Waits until so many connections ended for a reason.
    pub fn wait_for_ended(&self, reason: &str, count: u64, deadline: Duration) -> Result<()> {
        let come = super::until(deadline, || self.ended(reason).is_ok_and(|n| n >= count));
        ensure!(come, "not {count} times {reason}: {:#}", self.report()?);
        Ok(())
    }
}
