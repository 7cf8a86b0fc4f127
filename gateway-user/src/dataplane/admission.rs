//! What the programs decide about a source, asked from user space: for what does not come to them
//! with the node's address on it.
use super::{
    Maps, Result, clock,
    maps::{Index, Table, named},
};
use aya::maps::MapError;
use gateway_common::{
    abi::{Control, PrefixKey},
    decide::{
        Reason,
        admission::{Lease, Policy},
    },
    wire::{Address, Prefix},
};
use std::net::IpAddr;

/// The allow-list as the programs read it.
pub struct Admission {
    control: Table<Control>,
    sources: Index<Address, Lease>,
    prefixes: Index<PrefixKey, Lease>,
    policies: Table<Policy>,
}

impl Admission {
    /// The allow-list behind these maps.
    ///
    /// # Errors
    /// [`super::Error::Map`].
    pub fn open(maps: &Maps) -> Result<Self> {
        Ok(Self {
            control: maps.table("CONTROL")?,
            sources: maps.sources()?,
            prefixes: maps.prefixes()?,
            policies: maps.policies()?,
        })
    }

    /// A number that grows with every change to the allow-list.
    ///
    /// # Errors
    /// [`super::Error::Map`].
    pub fn generation(&self) -> Result<u64> {
        Ok(self.read_control()?.generation)
    }

    /// Until when `source` may reach `port` of `node`, on the kernel's monotonic clock in ns; else
    /// why it may not.
    ///
    /// # Errors
    /// [`super::Error::Map`].
    pub fn admit(
        &self,
        source: IpAddr,
        node: IpAddr,
        port: u16,
    ) -> Result<core::result::Result<u64, Reason>> {
        let lease = match self.lease(&source.into(), clock::monotonic())? {
            Ok(lease) => lease,
            Err(reason) => return Ok(Err(reason)),
        };
        let policy = self.policies.get(&lease.policy, 0).map_err(named("POLICIES"))?.0;
        Ok(policy.permit(&node.into(), port).map(|()| lease.expires_ns))
    }

    /// The lease of `source`: its own, else that of the longest prefix in force.
    fn lease(&self, source: &Address, now: u64) -> Result<core::result::Result<Lease, Reason>> {
        let mut lapsed = false;
        if let Some(lease) = found(self.sources.get(&super::Plain(*source), 0), "SOURCES")? {
            if lease.0.in_force(now) {
                return Ok(Ok(lease.0));
            }
            lapsed = true;
        }
        let control = self.read_control()?;
        let lengths = control.prefix_lengths.iter().take(control.prefix_count as usize);
        // `::/0` does not mean IPv4
        for length in lengths.filter(|length| **length >= 96 || !source.is_v4()) {
            let address = Prefix::new(*source, *length).address;
            let key = super::Plain(PrefixKey { address, length: (*length).into() });
            if let Some(lease) = found(self.prefixes.get(&key, 0), "PREFIXES")? {
                if lease.0.in_force(now) {
                    return Ok(Ok(lease.0));
                }
                lapsed = true;
            }
        }
        Ok(Err(if lapsed { Reason::LeaseExpired } else { Reason::NoLease }))
    }

    fn read_control(&self) -> Result<Control> {
        Ok(self.control.get(&0, 0).map_err(named("CONTROL"))?.0)
    }
}

fn found<T>(result: core::result::Result<T, MapError>, name: &'static str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(named(name)(error)),
    }
}
