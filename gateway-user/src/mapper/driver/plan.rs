//! The configuration as the driver needs it: from an address, a name or a port to a node.
use super::Budgets;
use crate::{
    config::mapper::{Leg, Limits, Mapper, Timers, headers},
    mapper::core::Policy,
};
use ipnet::IpNet;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// A node that connections are mapped to.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in listings.
    pub name: String,
    /// Its address and DTLS port.
    pub node: SocketAddr,
    /// How it is spoken to.
    pub policy: Arc<Policy>,
}

/// Which node a connection is for.
#[derive(Debug)]
pub struct Plan {
    pub(super) limits: Limits,
    pub(super) timers: Timers,
    pub(super) budgets: Budgets,
    lln: Vec<(String, Vec<IpNet>)>,
    default: (u16, Leg),
    addresses: HashMap<IpAddr, Arc<Target>>,
    names: HashMap<String, Arc<Target>>,
    ports: HashMap<u16, Arc<Target>>,
}

impl Target {
    /// Bytes of the largest IP datagram to it.
    pub(super) fn most(&self) -> usize {
        self.policy.max_datagram + self.headers()
    }

    /// Bytes of IP and UDP headers in front of a datagram to it.
    pub(super) fn headers(&self) -> usize {
        headers(self.node.ip()) as usize
    }
}

impl Plan {
    /// From the configuration.
    pub fn new(config: &Mapper) -> Self {
        let mut plan = Self {
            limits: config.limits,
            timers: config.timers,
            budgets: Budgets::default(),
            lln: Vec::new(),
            default: (config.leg.dtls_port, config.leg.clone()),
            addresses: HashMap::new(),
            names: HashMap::new(),
            ports: HashMap::new(),
        };
        for node in &config.nodes {
            let target = plan.target(node.name.clone(), node.address, &node.leg);
            plan.addresses.entry(node.address).or_insert_with(|| Arc::clone(&target));
            let names = node.server_names.iter();
            plan.names.extend(names.map(|name| (name.clone(), Arc::clone(&target))));
            plan.ports.extend(node.ports.iter().map(|port| (*port, Arc::clone(&target))));
        }
        plan
    }

    /// The same, with no more sent to nodes than that.
    #[must_use]
    pub fn within(self, budgets: Budgets) -> Self {
        Self { budgets, ..self }
    }

    /// The same, with nodes on these interfaces of the LLN, which have these prefixes.
    #[must_use]
    pub fn through(self, lln: Vec<(String, Vec<IpNet>)>) -> Self {
        Self { lln, ..self }
    }

    /// The interface on which a node's datagrams may come: from another they are forged
    /// (`protocol.md` A8). None if there are several and no prefix of theirs has the node, as
    /// then routes alone know.
    pub(super) fn interface(&self, node: IpAddr) -> Option<&str> {
        let has = |(_, prefixes): &&(String, Vec<IpNet>)| {
            prefixes.iter().any(|prefix| prefix.contains(&node))
        };
        let found = match self.lln.as_slice() {
            [only] => Some(only),
            several => several.iter().find(has),
        };
        found.map(|(name, _)| name.as_str())
    }

    /// The node at an address of the LLN.
    pub(super) fn at(&self, address: IpAddr) -> Arc<Target> {
        let known = self.addresses.get(&address);
        known.map_or_else(|| self.target(address.to_string(), address, &self.default.1), Arc::clone)
    }

    /// The node behind a port of the router's own; `None` where the server name decides.
    pub(super) fn behind(&self, port: u16) -> Option<Arc<Target>> {
        self.ports.get(&port).map(Arc::clone)
    }

    /// The node with a server name.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Target>> {
        self.names.get(&name.to_ascii_lowercase()).map(Arc::clone)
    }

    fn target(&self, name: String, address: IpAddr, leg: &Leg) -> Arc<Target> {
        let policy = Arc::new(policy(address, leg, &self.timers));
        Arc::new(Target { name, node: SocketAddr::new(address, leg.dtls_port), policy })
    }
}

fn policy(node: IpAddr, leg: &Leg, timers: &Timers) -> Policy {
    Policy {
        max_datagram: leg.payload(node) as usize,
        window: leg.window,
        retransmit: timers.retransmit,
        handshake_timeout: timers.handshake,
        ack_timeout: timers.acknowledge,
        retries: timers.retries,
        linger: timers.close,
        idle: timers.idle,
        cookies: leg.cookies,
        ..Policy::new(leg.suites.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn plan(text: &str) -> Plan {
        Plan::new(&Config::parse(text, "-").unwrap().mapper)
    }

    #[test]
    fn three_ways_lead_to_one_node() {
        let plan = plan(
            "[mapper]\nports = [443]\n\
             [[mapper.node]]\nname = \"lamp\"\naddress = \"2001:db8:1::10\"\ndtls_port = 5700\n\
             server_names = [\"lamp.example\"]\nports = [8443]\nmax_datagram = 600\n",
        );
        let lamp = plan.named("LAMP.example").unwrap();
        assert_eq!(lamp.node, "[2001:db8:1::10]:5700".parse().unwrap());
        assert_eq!(lamp.policy.max_datagram, 552);
        assert_eq!(plan.behind(8443).unwrap(), lamp);
        assert_eq!(plan.at("2001:db8:1::10".parse().unwrap()), lamp);
        assert!(plan.named("bulb.example").is_none());
        assert!(plan.behind(443).is_none());
    }

    #[test]
    fn a_node_is_on_the_only_interface_or_on_the_one_with_its_prefix() {
        let lln = |name: &str, prefix: &str| (name.to_owned(), vec![prefix.parse().unwrap()]);
        let (one, two) = (lln("wpan0", "2001:db8:1::/64"), lln("wpan1", "2001:db8:2::/64"));
        let node = |text: &str| text.parse().unwrap();
        assert_eq!(plan("").interface(node("2001:db8:1::10")), None);
        let single = plan("").through(vec![one.clone()]);
        assert_eq!(single.interface(node("2001:db8:9::10")), Some("wpan0"));
        let both = plan("").through(vec![one, two]);
        assert_eq!(both.interface(node("2001:db8:2::10")), Some("wpan1"));
        assert_eq!(both.interface(node("2001:db8:9::10")), None);
    }

    #[test]
    fn a_node_without_an_entry_is_spoken_to_as_the_section_says() {
        let plan = plan("[mapper]\ndtls_port = 5800\nsuites = [\"0x00a8\"]\n");
        let node = plan.at("192.0.2.7".parse().unwrap());
        assert_eq!(node.node, "192.0.2.7:5800".parse().unwrap());
        assert_eq!((node.policy.max_datagram, &node.policy.suites[..]), (1252, &[0x00a8][..]));
    }
}
