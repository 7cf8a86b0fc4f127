//! A lease as it lies on the disk, and what is left of it when the agent starts again.
//!
//! While the system runs, leases are measured on the kernel's monotonic clock, which no step of the
//! wall clock touches. Over a reboot there is only the wall clock: what it would prolong ends.
use super::{Credential, Id, Lease, Terms, Way};
use core::{net::IpAddr, time::Duration};
use gateway_common::decide::rate::Limits;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    time::{SystemTime, UNIX_EPOCH},
};

/// One instant, on each clock that a lease is measured on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The kernel's name of this run of the system.
    pub boot: String,
    /// The monotonic clock, in ns.
    pub now_ns: u64,
    /// The wall clock, in ms since 1970.
    pub wall_ms: u64,
}

impl Clocks {
    /// This instant.
    ///
    /// # Errors
    /// The kernel does not name its run.
    pub fn read() -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Ok(Self { boot, now_ns: crate::dataplane::clock::monotonic(), wall_ms })
    }

    fn wall_of(&self, instant_ns: u64) -> u64 {
        let (now, ms) = (self.now_ns, |ns: u64| ns / 1_000_000);
        if instant_ns >= now {
            self.wall_ms.saturating_add(ms(instant_ns - now))
        } else {
            self.wall_ms.saturating_sub(ms(now - instant_ns))
        }
    }
}

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
    boot: String,
    granted_ns: u64,
    expires_ns: u64,
    /// When this was written; a wall clock before that has been set back.
    written_ms: u64,
    expires_ms: u64,
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
            boot: clocks.boot.clone(),
            granted_ns: lease.granted_ns,
            expires_ns: lease.expires_ns,
            written_ms: clocks.wall_ms,
            expires_ms: clocks.wall_of(lease.expires_ns),
        }
    }

    /// What is left of it; the terms are to be reviewed. `None` when it has ended, or when the
    /// clock says that it has yet to begin.
    pub fn resume(self, clocks: &Clocks) -> Option<Lease> {
        let expires_ns = if self.boot == clocks.boot {
            self.expires_ns
        } else {
            let begun = clocks.wall_ms >= self.written_ms;
            let left = self.expires_ms.checked_sub(clocks.wall_ms).filter(|_| begun)?;
            let left = Duration::from_millis(left).as_nanos();
            clocks.now_ns.saturating_add(u64::try_from(left).ok()?)
        };
        let granted_ns = if self.boot == clocks.boot { self.granted_ns } else { 0 };
        (expires_ns > clocks.now_ns).then(|| Lease {
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
