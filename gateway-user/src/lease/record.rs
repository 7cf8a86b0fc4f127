//! A lease as it lies on the disk, and what is left of it when the agent starts again.
use super::{
    Credential, Id, Lease, Terms, Way,
    end::{Clocks, End, Left},
};
use core::net::IpAddr;
use gateway_common::decide::rate::Limits;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A lease as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Record {
    /// Its name.
    pub id: Id,
    identity: String,
    way: Way,
    source: IpAddr,
    asked: Vec<IpNet>,
    credential: Option<Credential>,
    granted_ns: u64,
    #[serde(flatten)]
    end: End,
}

impl Record {
    /// A lease as it is now.
    pub fn new(lease: &Lease, clocks: &Clocks) -> Self {
        Self {
            id: lease.id,
            identity: lease.identity.clone(),
            way: lease.way,
            source: lease.source,
            asked: lease.asked.clone(),
            credential: lease.credential.clone(),
            granted_ns: lease.granted_ns,
            end: End::new(lease.expires_ns, clocks),
        }
    }

    /// What is left of it; the terms are to be reviewed. `None` when it has ended, and when that
    /// cannot be told: its holder asks again.
    pub fn resume(self, clocks: &Clocks) -> Option<Lease> {
        let expires_ns = match self.end.left(clocks) {
            Left::Until(instant) => instant,
            Left::Nothing | Left::Unknown => return None,
        };
        let granted_ns = if self.end.is_of(clocks) { self.granted_ns } else { 0 };
        Some(Lease {
            id: self.id,
            identity: self.identity,
            way: self.way,
            source: self.source,
            asked: self.asked,
            // a place that no node has, until the policy says more
            terms: Terms { nodes: Vec::new(), ports: vec![0], limits: Limits::default() },
            granted_ns,
            expires_ns,
            credential: self.credential,
            in_force: true,
        })
    }
}
