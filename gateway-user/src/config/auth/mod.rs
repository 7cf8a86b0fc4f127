//! Who may prove what they are, over which ports, and what that gives them.
mod name;
pub(super) mod read;

pub use name::{Kind, Name, Pattern};

use crate::config::json;
use gateway_common::decide::rate::Limits;
use ipnet::IpNet;
use serde::Serialize;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Mutual authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Auth {
    /// With client certificates.
    pub https: Https,
    /// With pre-shared keys.
    pub psk: Psk,
    /// With client certificates over DTLS.
    pub dtls: Dtls,
    /// Tunnels, of either.
    pub tunnel: Tunnel,
    /// Policies, by who they are for; the first that matches applies.
    #[serde(rename = "identity")]
    pub identities: Vec<Identity>,
}

/// HTTPS with client certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Https {
    /// Addresses and ports; none means that it is off.
    pub listen: Vec<SocketAddr>,
    /// The router's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Certificates of the authorities whose clients are let in, PEM.
    pub client_ca: PathBuf,
    /// Their revocation lists, PEM; none means that nothing is ever revoked.
    pub crl: Option<PathBuf>,
    /// Whether a revocation list past its next update still counts.
    pub stale_crl: StaleCrl,
    /// Connections at once.
    pub connections: u32,
    /// Connections of a source at once.
    pub connections_per_source: u32,
    /// Handshakes at once.
    pub handshakes: u32,
}

/// DTLS 1.2 with pre-shared keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Psk {
    /// Addresses and UDP ports; none means that it is off.
    pub listen: Vec<SocketAddr>,
    /// Identities and their keys, a file that only root reads.
    pub keys: PathBuf,
    /// Associations at once.
    pub connections: u32,
    /// Associations of a source at once.
    pub connections_per_source: u32,
    /// Handshakes at once.
    pub handshakes: u32,
    /// Handshakes of a source at once.
    pub handshakes_per_source: u32,
}

/// DTLS 1.2 with the certificates of [`Https`] and the limits of [`Psk`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dtls {
    /// Addresses and UDP ports; none means that it is off. Those of [`Psk`] too take both.
    pub listen: Vec<SocketAddr>,
}

/// Tunnels from back-ends to nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tunnel {
    /// Flows of a tunnel at once, each a UDP socket of the router.
    pub flows: u32,
    /// How long a flow without packets is kept.
    #[serde(serialize_with = "seconds")]
    pub idle: Duration,
}

/// What becomes of clients while the revocation list is past its next update (RFC 5280 §5.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StaleCrl {
    /// They are let in, and the log has a warning.
    Accept,
    /// They are refused.
    Refuse,
}

/// What an identity may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Who.
    pub name: Pattern,
    /// Nodes; none means all.
    pub nodes: Vec<IpNet>,
    /// Ports; none means all service ports.
    pub ports: Vec<u16>,
    /// Budget of each lease.
    #[serde(serialize_with = "json::limits")]
    pub limits: Limits,
    /// How long a lease lasts at most.
    #[serde(serialize_with = "seconds")]
    pub longest: Duration,
    /// Leases at once.
    pub leases: usize,
    /// Whether it may open tunnels.
    pub tunnel: bool,
}

impl Auth {
    /// The policy for one of `names`, and that name: the first policy that covers one of them.
    pub fn policy<'a, 'n>(&'a self, names: &'n [Name]) -> Option<(&'a Identity, &'n Name)> {
        self.identities.iter().find_map(|identity| {
            let name = names.iter().find(|name| identity.name.covers(name))?;
            Some((identity, name))
        })
    }

    /// The agent's own ports for authentication, TCP and UDP.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = Vec::new();
        for at in self.https.listen.iter().chain(self.datagrams()) {
            if !ports.contains(&at.port()) {
                ports.push(at.port());
            }
        }
        ports
    }

    /// Where DTLS is served, with keys or certificates; an address may come twice.
    pub fn datagrams(&self) -> impl Iterator<Item = &SocketAddr> {
        self.psk.listen.iter().chain(&self.dtls.listen)
    }

    /// Whether anybody may come with a certificate.
    pub const fn takes_certificates(&self) -> bool {
        !self.https.listen.is_empty() || !self.dtls.listen.is_empty()
    }
}

fn seconds<S: serde::Serializer>(span: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(span.as_secs_f64())
}

#[cfg(test)]
mod tests;
