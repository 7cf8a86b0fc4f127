//! Who may talk to which node: leases and the policies behind them.
use super::{Reason, rate::Limits};
use crate::wire::{Address, Prefix};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most node prefixes in a policy.
pub const NODES_MAX: usize = 16;
/// Most ports in a policy.
pub const PORTS_MAX: usize = 8;
/// An expiry that never comes.
pub const NEVER: u64 = u64::MAX;

/// An entry of the allow-list: a source, or a prefix of sources, that may enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Lease {
    /// The instant, on the kernel's monotonic clock in ns, from which it is void.
    pub expires_ns: u64,
    /// Which policy it is under.
    pub policy: u32,
    /// Its place among the sources' counters and budgets.
    pub slot: u32,
}

/// What a lease lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Policy {
    /// Budget of each source.
    pub limits: Limits,
    /// How many of `nodes` count; none means every node.
    pub node_count: u32,
    /// How many of `ports` count; none means every service port.
    pub port_count: u32,
    /// Nodes that may be reached; unused places match nothing.
    pub nodes: [Prefix; NODES_MAX],
    /// Ports that may be reached.
    pub ports: [u16; PORTS_MAX],
}

impl Lease {
    /// Whether the lease is in force.
    #[inline(always)]
    pub const fn in_force(&self, now: u64) -> bool {
        now < self.expires_ns
    }
}

impl Policy {
    /// Every node and service port, without limit.
    pub const ANY: Self = Self {
        limits: Limits {
            packets: super::rate::Rate::UNLIMITED,
            bytes: super::rate::Rate::UNLIMITED,
        },
        node_count: 0,
        port_count: 0,
        nodes: [Prefix::NONE; NODES_MAX],
        ports: [0; PORTS_MAX],
    };

    /// Whether the policy covers `node`.
    #[inline(always)]
    pub fn covers(&self, node: &Address) -> bool {
        self.node_count == 0 || self.nodes.iter().any(|prefix| prefix.contains(node))
    }

    /// Whether the policy covers `port`; port 0 is a packet without ports (ICMP).
    #[inline(always)]
    pub fn covers_port(&self, port: u16) -> bool {
        self.port_count == 0 || port == 0 || self.ports.contains(&port)
    }

    /// Whether the policy lets its holder reach `port` of `node`.
    ///
    /// # Errors
    /// [`Reason::NodeDenied`], [`Reason::PortDenied`].
    #[inline(always)]
    pub fn permit(&self, node: &Address, port: u16) -> Result<(), Reason> {
        if !self.covers(node) {
            return Err(Reason::NodeDenied);
        }
        if !self.covers_port(port) {
            return Err(Reason::PortDenied);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_without_lists_covers_everything() {
        assert_eq!(Policy::ANY.permit(&Address::default(), 5684), Ok(()));
    }

    #[test]
    fn lists_are_exact() {
        let node = Address::from_words(0x2001_0db8_0001_0000, 0x10);
        let other = Address::from_words(0x2001_0db8_0001_0000, 0x11);
        let mut policy = Policy { node_count: 1, port_count: 1, ..Policy::ANY };
        policy.nodes[0] = Prefix::new(node, 128);
        policy.ports[0] = 5684;
        assert_eq!(policy.permit(&node, 5684), Ok(()));
        assert_eq!(policy.permit(&node, 0), Ok(()));
        assert_eq!(policy.permit(&other, 5684), Err(Reason::NodeDenied));
        assert_eq!(policy.permit(&node, 5685), Err(Reason::PortDenied));
    }

    #[test]
    fn a_lease_ends_at_its_instant() {
        let lease = Lease { expires_ns: 10, policy: 0, slot: 0 };
        assert!(lease.in_force(9));
        assert!(!lease.in_force(10));
        assert!(Lease { expires_ns: NEVER, ..lease }.in_force(u64::MAX - 1));
    }
}
