//! A lease as its holder and the administrator see it.
use super::{Id, Lease, Way};
use crate::{
    config::{prefix, units},
    dataplane::clock,
};
use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A lease in words and numbers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct View {
    /// Its name.
    pub id: Id,
    /// Who holds it.
    pub identity: String,
    /// How that was proved.
    pub way: Way,
    /// The address that was seen.
    pub source: IpAddr,
    /// Nodes that it covers; none means all.
    pub nodes: Vec<String>,
    /// Ports that it covers; none means all service ports.
    pub ports: Vec<u16>,
    /// When it ends, in UTC (RFC 3339).
    pub expires: String,
    /// Whole seconds until then.
    pub expires_in: u64,
    /// Whether it is in force.
    pub in_force: bool,
}

impl View {
    /// What a lease looks like at `now`, in ns of the monotonic clock.
    pub fn new(lease: &Lease, now: u64) -> Self {
        let left = Duration::from_nanos(lease.expires_ns.saturating_sub(now));
        Self {
            id: lease.id,
            identity: lease.identity.clone(),
            way: lease.way,
            source: lease.source,
            nodes: lease.terms.nodes.iter().map(prefix::show).collect(),
            ports: lease.terms.ports.clone(),
            expires: units::show_instant(clock::wall(lease.expires_ns)),
            expires_in: left.as_secs(),
            in_force: lease.in_force && !left.is_zero(),
        }
    }
}
