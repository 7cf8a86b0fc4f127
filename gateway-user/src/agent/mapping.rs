//! The TLS mapping in the agent: its driver, and the routing that leads to it, as configured.
use super::Error;
use crate::{
    config::Config,
    dataplane::{Admission, Maps, Pins, links},
    mapper::{
        driver::{Budgets, Doors, Driver, Plan, Report},
        routing::{Routing, Wanted},
    },
};
use ipnet::IpNet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// The mapping, as it runs.
pub(super) struct Mapping {
    driver: Driver,
}

impl Mapping {
    /// Starts to map, if anything is configured.
    pub(super) fn start(config: &Config, prefixes: &[IpNet]) -> Result<Self, Error> {
        raise_descriptors(config);
        let driver = Driver::start(plan(config), Box::new(admission(config)?))?;
        let mut mapping = Self { driver };
        mapping.serve(config, prefixes)?;
        Ok(mapping)
    }

    /// Puts another configuration into force, and has the maps of a filter that may have been
    /// replaced asked from now on. Connections live on.
    pub(super) fn reload(&mut self, config: &Config, prefixes: &[IpNet]) -> Result<(), Error> {
        raise_descriptors(config);
        self.driver.admit_by(Box::new(admission(config)?))?;
        self.serve(config, prefixes)
    }

    /// Starts again what a fault has ended: connections are gone, new ones get through.
    pub(super) fn revive(&mut self, config: &Config) {
        if !self.driver.has_ended() {
            return;
        }
        tracing::error!("the TLS mapping has ended by a fault of its own, and starts again");
        match super::prefixes(config).and_then(|prefixes| Self::start(config, &prefixes)) {
            Ok(mapping) => *self = mapping,
            Err(error) => tracing::error!("it does not: {error}"),
        }
    }

    fn serve(&mut self, config: &Config, prefixes: &[IpNet]) -> Result<(), Error> {
        let v6 = prefixes.iter().any(|net| matches!(net, IpNet::V6(_)));
        let v4 = prefixes.iter().any(|net| matches!(net, IpNet::V4(_)));
        let doors = Doors::new(&config.mapper, &config.lln.mapped_ports, v6, v4);
        self.driver.apply(plan(config), &doors)?;
        let routing = Routing::new(&config.state.runtime);
        if doors.transparent.is_empty() {
            routing.remove()?;
            return Ok(());
        }
        routing.set_up(&Wanted {
            interfaces: config.interfaces.wan.clone(),
            prefixes: prefixes.to_vec(),
            ports: config.lln.mapped_ports.clone(),
            sockets: self.driver.transparent(),
            routing: config.mapper.routing,
        })?;
        Ok(())
    }

    /// Asks for a report, which comes soon; nothing if the driver has ended.
    pub(super) fn report(&self) -> Option<oneshot::Receiver<Report>> {
        self.driver.report().ok()
    }
}

fn plan(config: &Config) -> Plan {
    let budgets = Budgets { node: config.rates.node, lln: config.rates.lln };
    let lln = config.interfaces.lln.iter();
    let lln = lln.map(|name| (name.clone(), links::prefixes(name)));
    Plan::new(&config.mapper).within(budgets).through(lln.collect())
}

fn admission(config: &Config) -> Result<Admission, Error> {
    Ok(Admission::open(&Maps::open(&Pins::new(&config.state.bpffs))?)?)
}

/// Descriptors that the agent needs beside those of connections.
const SPARE: u64 = 256;

/// A connection takes two descriptors, and the usual limit of a process is 1024.
fn raise_descriptors(config: &Config) {
    let needed = u64::from(config.mapper.limits.connections) * 2 + SPARE;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if needed > hard {
        let connections = hard.saturating_sub(SPARE) / 2;
        tracing::warn!(
            "the system's limit of open files ({hard}) allows for {connections} connections, \
             less than mapper.limits.connections"
        );
    }
    if needed.min(hard) > soft {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard);
    }
}

/// A report as an answer.
pub(super) async fn connections(report: Option<oneshot::Receiver<Report>>) -> Value {
    let report = match report {
        Some(report) => report.await.ok(),
        None => None,
    };
    match report.map(serde_json::to_value) {
        Some(Ok(value)) => value,
        Some(Err(_)) | None => json!({ "error": "the mapping has ended" }),
    }
}
