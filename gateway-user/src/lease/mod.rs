//! Leases: back-ends that have proved who they are, and where their packets may go until when.
//!
//! ```text
//! auth ── Request ──▶ Table ── Change ──▶ registry ──▶ dataplane (kernel), store (disk)
//!                       ▲ time, allow-list
//! ```
//!
//! [`Table`] decides and does nothing else; [`Registry`] is the thread that owns it, the kernel's
//! allow-list and the store, and is the only one to change them.
//!
//! # Several holders behind one address
//! The kernel knows addresses, not identities: a source has one entry. It covers every node and
//! port that one of the leases (or the allow-list) covers for it, at the sum of their rates, until
//! the last of them ends. When one ends, the agent makes the entry smaller; without an agent the
//! kernel keeps the larger one until the last end.
mod end;
mod kept;
mod ledger;
mod merge;
mod record;
mod registry;
mod span;
mod store;
mod table;
mod view;

pub use end::{Clocks, End, Left};
pub use ledger::{Ledger, Wish};
pub use record::Record;
pub use registry::{Error, Registry};
pub use span::Span;
pub use store::{Error as StoreError, Store};
pub use table::{Change, Table};
pub use view::View;

use crate::config::Identity;
use core::{net::IpAddr, time::Duration};
use gateway_common::decide::rate::Limits;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An unguessable name of a lease, 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(pub [u8; 16]);

impl core::fmt::Display for Id {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl core::fmt::Debug for Id {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "{self}")
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl core::str::FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected 32 hexadecimal digits";
        let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| plain).ok_or(wrong)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// How a back-end has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// HTTPS with a client certificate.
    Certificate,
    /// DTLS with a pre-shared key.
    Psk,
    /// A tunnel: its packets are proved one by one, so its address is admitted to nothing.
    Tunnel,
}

impl Way {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Psk => "psk",
            Self::Tunnel => "tunnel",
        }
    }
}

/// A certificate by issuer and serial number, as a revocation list names it (RFC 5280 §5.1.2.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Credential {
    /// The issuer's name, as text of RFC 4514.
    pub issuer: String,
    /// The serial number in hexadecimal.
    pub serial: String,
}

/// What a lease lets its holder do.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Nodes; none means all.
    pub nodes: Vec<IpNet>,
    /// Ports; none means all service ports.
    pub ports: Vec<u16>,
    /// Budget.
    pub limits: Limits,
}

/// A lease in the table. Times are nanoseconds of the kernel's monotonic clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// Its name.
    pub id: Id,
    /// Who holds it, by the name that the configuration has.
    pub identity: String,
    /// How that was proved.
    pub way: Way,
    /// The address that was seen.
    pub source: IpAddr,
    /// Nodes that were asked for; none means all of the policy.
    pub asked: Vec<IpNet>,
    /// What follows from that and the policy.
    pub terms: Terms,
    /// When it began.
    pub granted_ns: u64,
    /// When it ends unless it is renewed.
    pub expires_ns: u64,
    /// The certificate behind it.
    pub credential: Option<Credential>,
    /// Whether the source's one entry in the kernel has room for it.
    pub in_force: bool,
}

/// What an authenticated back-end asks for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Its policy.
    pub policy: &'a Identity,
    /// Who it is: the policy's own name, or the one that its pattern covers.
    pub identity: &'a str,
    /// How that was proved.
    pub way: Way,
    /// The address that was seen.
    pub source: IpAddr,
    /// Nodes; none means all of the policy.
    pub nodes: &'a [IpNet],
    /// How long; none means as long as the policy allows.
    pub ttl: Option<Duration>,
    /// The certificate behind it.
    pub credential: Option<Credential>,
    /// When what proves the identity ends.
    pub proof_ends_ns: u64,
}

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The policy does not cover a node.
    #[error("node {node} is not among those that {identity} may reach")]
    Node {
        /// Which node or prefix.
        node: String,
        /// Who asks.
        identity: String,
    },
    /// The policy allows no tunnel.
    #[error("{0} may not open a tunnel")]
    Tunnel(String),
    /// The identity has as many leases as it may have.
    #[error("{identity} holds {held} leases already, at most {most} are allowed")]
    TooMany {
        /// Who asks.
        identity: String,
        /// How many it holds.
        held: usize,
        /// How many it may hold.
        most: usize,
    },
    /// No packet can come from there.
    #[error("{0} is no address that could reach the nodes through this router")]
    Source(IpAddr),
    /// The source's entry cannot cover this too.
    #[error(
        "leases for {0} name more nodes or ports than one entry can hold ({nodes} and {ports})",
        nodes = gateway_common::decide::admission::NODES_MAX,
        ports = gateway_common::decide::admission::PORTS_MAX
    )]
    Crowded(IpAddr),
    /// The certificate is revoked.
    #[error("the certificate of {0} was revoked")]
    Revoked(String),
    /// What proves the identity is about to end.
    #[error("what proves {0} has ended")]
    Ended(String),
}

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod tests;
