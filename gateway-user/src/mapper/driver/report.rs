//! What `gateway connections` shows.
use super::count::Counters;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

/// Everything at once.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Sockets that back-ends connect to.
    pub listening: Vec<Listening>,
    /// Connections that live.
    pub connections: Vec<Live>,
    /// Counters.
    pub counters: Counters,
}

/// A socket that back-ends connect to.
#[derive(Clone, Debug, Serialize)]
pub struct Listening {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it takes what is for nodes' own addresses.
    pub transparent: bool,
}

/// A connection that lives.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// Its number since the agent's start.
    pub id: u64,
    /// Who.
    pub source: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
    /// By which way: `address`, `name` or `port`.
    pub way: &'static str,
    /// The node's name, once it is known.
    pub node: Option<String>,
    /// The node's address.
    pub address: Option<IpAddr>,
    /// How far it is.
    pub phase: &'static str,
    /// The suite that the node chose, by number.
    pub suite: Option<u16>,
    /// Since when, in seconds.
    pub age: f64,
    /// Protected records to the node.
    pub records_to_node: u64,
    /// Protected records to the back-end.
    pub records_to_back_end: u64,
    /// Bytes to the node.
    pub bytes_to_node: u64,
    /// Bytes to the back-end.
    pub bytes_to_back_end: u64,
    /// What was sent to the node again.
    pub retransmissions: u32,
    /// What of the node's was dropped.
    pub dropped: u32,
    /// Bytes of memory in the core.
    pub memory: usize,
}
