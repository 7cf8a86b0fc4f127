//! The TLS mapping's part of the configuration.
pub(super) mod read;
mod suite;

use gateway_common::mapping::record::DTLS_HEADER;
use serde::Serialize;
use std::{net::IpAddr, time::Duration};

/// What is mapped between TLS and DTLS, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mapper {
    /// Whether anything is.
    pub enabled: bool,
    /// Whether `lln.mapped_ports` of nodes' own addresses are.
    pub transparent: bool,
    /// The router's own addresses on which it listens; the unspecified IPv6 address is all of them.
    pub listen: Vec<IpAddr>,
    /// TCP ports there on which the server name picks the node.
    pub ports: Vec<u16>,
    /// How a node is spoken to that has no entry.
    #[serde(flatten)]
    pub leg: Leg,
    /// How much at once.
    pub limits: Limits,
    /// How long.
    pub timers: Timers,
    /// What the transparent way sets up.
    pub routing: Routing,
    /// Nodes with a name, a port or ways of their own.
    #[serde(rename = "node")]
    pub nodes: Vec<Node>,
}

/// How a node is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// Its UDP port for DTLS.
    pub dtls_port: u16,
    /// Cipher suites that it speaks.
    pub suites: Vec<u16>,
    /// Largest IP datagram to it, in bytes.
    pub max_datagram: u32,
    /// Records on their way to it that it has not acknowledged.
    pub window: u8,
    /// Whether it may ask for a cookie.
    pub cookies: bool,
}

/// How much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Connections.
    pub connections: u32,
    /// Connections of a source address.
    pub connections_per_source: u32,
    /// Handshakes that a node works on.
    pub handshakes_per_node: u32,
    /// Handshakes of a source address, waiting ones too.
    pub handshakes_per_source: u32,
    /// Connections that wait for a node.
    pub waiting_per_node: u32,
}

/// How long. In JSON in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timers {
    /// Until the ClientHello is there.
    #[serde(serialize_with = "seconds")]
    pub hello: Duration,
    /// Until the handshake is done.
    #[serde(serialize_with = "seconds")]
    pub handshake: Duration,
    /// Without a byte.
    #[serde(serialize_with = "seconds")]
    pub idle: Duration,
    /// For the node's last words.
    #[serde(serialize_with = "seconds")]
    pub close: Duration,
    /// Until a flight is sent again.
    #[serde(serialize_with = "seconds")]
    pub retransmit: Duration,
    /// Until a record is sent again.
    #[serde(serialize_with = "seconds")]
    pub acknowledge: Duration,
    /// How often a record is.
    pub retries: u8,
}

/// What the transparent way sets up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Routing {
    /// The firewall mark.
    pub mark: u32,
    /// The routing table for packets that have it.
    pub table: u32,
}

/// A node with a name, a port or ways of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name in listings.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Server names that lead to it, in lower case.
    pub server_names: Vec<String>,
    /// TCP ports of the router's own that lead to it.
    pub ports: Vec<u16>,
    /// How it is spoken to.
    #[serde(flatten)]
    pub leg: Leg,
}

/// Headers of IP and UDP in bytes (RFC 8200 §3, RFC 791 §3.1, RFC 768).
const HEADERS_V6: u32 = 40 + 8;
const HEADERS_V4: u32 = 20 + 8;

impl Leg {
    /// Bytes of UDP payload in the largest datagram to a node at this address.
    pub fn payload(&self, node: IpAddr) -> u32 {
        self.max_datagram.saturating_sub(headers(node))
    }

    /// Bytes of the largest fragment of a TLS record that gets to a node at this address: a record
    /// that is protected cannot be cut without its key, and must fit a datagram (RFC 6347 §4.1.1).
    pub fn largest_record(&self, node: IpAddr) -> u32 {
        self.payload(node).saturating_sub(DTLS_HEADER as u32)
    }
}

/// Bytes of headers in front of the UDP payload of a datagram to this address.
pub(crate) const fn headers(node: IpAddr) -> u32 {
    if node.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 }
}

impl Mapper {
    /// TCP ports of the router's own that the mapping serves.
    pub fn own_ports(&self) -> Vec<u16> {
        if !self.enabled {
            return Vec::new();
        }
        let nodes = self.nodes.iter().flat_map(|node| &node.ports);
        self.ports.iter().chain(nodes).copied().collect()
    }
}

fn seconds<S: serde::Serializer>(span: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(span.as_secs_f64())
}

#[cfg(test)]
mod tests;
