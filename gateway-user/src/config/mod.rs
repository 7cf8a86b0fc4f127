//! The configuration: what it means, every value already valid.
//!
//! [`documented`] is the file with every default written out; `file.rs` knows how it is written.
pub mod auth;
mod cookies;
mod error;
mod file;
mod json;
mod locate;
pub mod mapper;
pub mod prefix;
pub(crate) mod read;
mod salvage;
pub mod units;

pub use auth::{Auth, Identity};
pub use cookies::Cookies;
pub use error::Error;
pub(crate) use locate::{line, problem, suggest};
pub use mapper::Mapper;
pub use salvage::salvage;

use gateway_common::{
    abi::settings::replay_mode,
    decide::rate::{Limits, Rate},
};
use ipnet::IpNet;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where the configuration lies unless said otherwise.
pub const PATH: &str = "/etc/gateway/gateway.toml";

/// The configuration of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// What is filtered.
    pub interfaces: Interfaces,
    /// What is protected.
    pub lln: Lln,
    /// What the agent itself serves.
    pub agent: Agent,
    /// Who may get leases, and how.
    pub auth: Auth,
    /// Where handshakes start with a cookie.
    pub cookies: Cookies,
    /// What is mapped between TLS and DTLS.
    pub mapper: Mapper,
    /// How much may pass.
    #[serde(rename = "rate")]
    pub rates: Rates,
    /// What is remembered of records.
    pub replay: Replay,
    /// How many sources there is room for.
    pub sources: Sources,
    /// Where state lies.
    pub state: State,
    /// What is written to the log.
    pub log: Log,
}

/// The interfaces under the filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interfaces {
    /// Names on the Internet's side.
    pub wan: Vec<String>,
    /// Names on the LLN's side.
    pub lln: Vec<String>,
    /// How programs are attached.
    pub mode: AttachMode,
}

/// How programs are attached to interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// Native where the driver can, generic otherwise.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's generic path.
    Generic,
}

/// The protected network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lln {
    /// Its prefixes; none means those of the addresses on its interfaces.
    pub prefixes: Vec<IpNet>,
    /// UDP ports on which nodes speak DTLS.
    pub dtls_ports: Vec<u16>,
    /// TCP ports that the TLS mapping serves.
    pub mapped_ports: Vec<u16>,
    /// Largest IP datagram into the LLN, in bytes.
    pub max_datagram: u32,
}

/// What the agent itself serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// Its own UDP and TCP ports.
    pub ports: Vec<u16>,
}

/// How much may pass. In JSON as units a second and units at once, `null` for no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// Each entry of the allow-list that has no rate of its own.
    #[serde(serialize_with = "json::limits")]
    pub source: Limits,
    /// Each node.
    #[serde(serialize_with = "json::limits")]
    pub node: Limits,
    /// The LLN as a whole.
    #[serde(serialize_with = "json::limits")]
    pub lln: Limits,
    /// Each source at the agent's own ports, in packets.
    #[serde(serialize_with = "json::rate")]
    pub agent: Rate,
    /// Each association before its node has answered, in records.
    #[serde(serialize_with = "json::rate")]
    pub unproven: Rate,
}

/// What is remembered of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// What is dropped.
    pub mode: ReplayMode,
    /// Pages of marks, a power of two; each holds 256 marks in 2 KiB.
    pub pages: u32,
    /// Associations that are remembered.
    pub associations: u32,
}

/// What replay filtering drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayMode {
    /// Identical records and, once, a known number with other bytes.
    Pair,
    /// Identical records.
    Record,
    /// Nothing.
    Off,
}

impl ReplayMode {
    /// Its number in [`gateway_common::abi::Settings`].
    pub const fn code(self) -> u32 {
        match self {
            Self::Pair => replay_mode::PAIR,
            Self::Record => replay_mode::RECORD,
            Self::Off => replay_mode::OFF,
        }
    }
}

/// Room for sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sources {
    /// Leases and entries of the allow-list at once.
    pub capacity: u32,
}

/// Where state lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// Pinned programs and maps.
    pub bpffs: PathBuf,
    /// What the agent learns.
    pub directory: PathBuf,
    /// The allow-list.
    pub allow: PathBuf,
    /// Where the running agent is asked.
    pub runtime: PathBuf,
}

/// What is written to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Also what the programs in the kernel say.
    pub kernel: bool,
    /// From which level on.
    pub level: Level,
    /// How it looks.
    pub format: Format,
}

/// From which level on messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the usual ones")]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// Its name, as `tracing` spells it too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How messages look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let file = path.as_ref();
        let text =
            locate::text(file).map_err(|source| Error::Read { file: file.to_owned(), source })?;
        Self::parse(&text, &file.display().to_string())
    }

    /// Reads a text; messages call it `origin`.
    ///
    /// # Errors
    /// All of [`Error`] but [`Error::Read`] and [`Error::Interface`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let file = locate::file(text, origin)?;
        read::config(&file).map_err(|fault| locate::fault(text, origin, fault))
    }
}

impl Config {
    /// The agent's own ports before which a handshake needs a cookie of the router's.
    pub fn cookie_ports(&self) -> Vec<u16> {
        let own = self.auth.datagrams().map(std::net::SocketAddr::port);
        let mut ports: Vec<u16> = self.cookies.ports.iter().copied().chain(own).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The agent's own ports: those that are named, and those that it listens on.
    pub fn agent_ports(&self) -> Vec<u16> {
        let mut ports =
            [self.agent.ports.as_slice(), &self.auth.ports(), &self.cookies.ports].concat();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

impl Config {
    /// TCP ports on which the agent itself has sockets, those of the mapping and of mapped nodes
    /// among them. Others of the router's are forwarded elsewhere, for all that is known.
    pub fn socket_ports(&self) -> Vec<u16> {
        let mut ports = [self.auth.ports(), self.mapper.own_ports()].concat();
        if self.mapper.enabled && self.mapper.transparent {
            ports.extend(&self.lln.mapped_ports);
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

impl Default for Config {
    /// What an empty file means.
    #[expect(clippy::expect_used, reason = "a test reads the defaults, which are constants")]
    fn default() -> Self {
        read::config(&file::File::default()).expect("defaults are valid")
    }
}

/// The file with every default written out and explained.
pub fn documented() -> String {
    include_str!("documented.toml").to_owned()
}

/// Checks that this network namespace has every interface that `config` names.
///
/// # Errors
/// [`Error::Interface`], or [`Error::Read`] where the system does not say.
pub fn check_interfaces(config: &Config) -> Result<(), Error> {
    let there = interface_names();
    let interfaces = &config.interfaces;
    for (key, names) in [("wan", &interfaces.wan), ("lln", &interfaces.lln)] {
        if let Some(name) = names.iter().find(|name| !there.contains(name)) {
            return Err(Error::Interface {
                key: format!("interfaces.{key}"),
                name: name.clone(),
                available: there.join(", "),
            });
        }
    }
    Ok(())
}

/// The interfaces of this network namespace, which /sys need not show.
fn interface_names() -> Vec<String> {
    let mut names: Vec<String> = nix::net::if_::if_nameindex()
        .iter()
        .flatten()
        .map(|interface| interface.name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests;
