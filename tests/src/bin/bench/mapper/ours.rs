//! The gateway's mapper as it runs in the agent, without the agent: everyone is admitted.
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, TcpListener},
};

use anyhow::Result;
use gateway_common::decide::{
    Reason,
    rate::{Limits, Rate},
};
use gateway_user::{
    config::{
        Config,
        mapper::{Leg, Node},
    },
    mapper::driver::{Admit, Budgets, Doors, Driver, Plan},
};

struct Everyone;

impl Admit for Everyone {
    fn generation(&self) -> u64 {
        0
    }

    fn admit(&self, _: IpAddr, _: IpAddr, _: u16) -> Result<u64, Reason> {
        Ok(u64::MAX)
    }
}

/// Maps connections to a node of this host, with a window of four and limits that are not reached.
/// Ends with the returned value.
pub(crate) fn map(listener: TcpListener, node: u16) -> Result<Driver> {
    let at = listener.local_addr()?;
    // The driver opens its sockets itself.
    drop(listener);
    let text = "[mapper]\nwindow = 4\n[mapper.limits]\nconnections = 65536\n\
                connections_per_source = 65536\n";
    let mut mapper = Config::parse(text, "bench")?.mapper;
    mapper.nodes.push(Node {
        name: "echo".to_owned(),
        address: Ipv4Addr::LOCALHOST.into(),
        server_names: Vec::new(),
        ports: vec![at.port()],
        leg: Leg { dtls_port: node, ..mapper.leg.clone() },
    });
    // budgets that are kept and not reached
    let plenty = Limits {
        packets: Rate::per_second(1_000_000_000, 1_000_000),
        bytes: Rate::per_second(1_000_000_000, 1 << 30),
    };
    let plan = || Plan::new(&mapper).within(Budgets { node: plenty, lln: plenty });
    let mut driver = Driver::start(plan(), Box::new(Everyone))?;
    let own = BTreeSet::from([at]);
    driver.apply(plan(), &Doors { own, transparent: BTreeSet::new() })?;
    Ok(driver)
}
