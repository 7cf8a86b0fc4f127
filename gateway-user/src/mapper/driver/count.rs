//! What happened to connections, by name.
use super::Way;
use crate::mapper::core;
use gateway_common::decide;
use serde::Serialize;
use std::collections::BTreeMap;

/// Why a connection was refused or ended: by the driver, or as the core says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// By the core.
    Core(core::Reason),
    /// The source's entry does not cover it, or no longer does.
    NotAdmitted(decide::Reason),
    /// More connections than there may be.
    Connections,
    /// More connections of the source than there may be.
    SourceConnections,
    /// More handshakes of the source than there may be.
    SourceHandshakes,
    /// Handshakes of the source failed, and it has to wait before it tries again.
    BackOff,
    /// More connections wait for the node than may.
    Waiting,
    /// No ClientHello in time.
    HelloTimeout,
    /// The node had no time for the handshake in time.
    WaitTimeout,
    /// The back-end reset the stream, or closed it before it said anything.
    ByPeer,
    /// The router has no socket or no way to the node.
    NoSocket,
}

impl End {
    /// Its name in counters.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Core(reason) => reason.name(),
            Self::NotAdmitted(reason) => reason.name(),
            Self::Connections => "connections",
            Self::SourceConnections => "connections_per_source",
            Self::SourceHandshakes => "handshakes_per_source",
            Self::BackOff => "back_off",
            Self::Waiting => "waiting_per_node",
            Self::HelloTimeout => "hello_timeout",
            Self::WaitTimeout => "wait_timeout",
            Self::ByPeer => "reset_by_back_end",
            Self::NoSocket => "no_socket",
        }
    }
}

/// What a name in [`Counters::ended`] means, for a person.
pub fn meaning(name: &str) -> String {
    const DRIVERS: [(End, &str); 9] = [
        (End::Connections, "more than mapper.limits.connections"),
        (End::SourceConnections, "more than mapper.limits.connections_per_source"),
        (End::SourceHandshakes, "more than mapper.limits.handshakes_per_source"),
        (End::BackOff, "handshakes of the source failed: it has to wait before the next"),
        (End::Waiting, "more than mapper.limits.waiting_per_node wait for the node"),
        (End::HelloTimeout, "no ClientHello in time"),
        (End::WaitTimeout, "the node had no time for the handshake in time"),
        (End::ByPeer, "the back-end reset the stream, or closed it before it said anything"),
        (End::NoSocket, "the router has no socket or no way to the node: see the agent's log"),
    ];
    let core = || core::Reason::ALL.into_iter().find(|reason| reason.name() == name);
    let filter = || decide::Reason::ALL.iter().find(|reason| reason.name() == name);
    let driver = DRIVERS.iter().find(|(end, _)| end.name() == name);
    let found = driver.map(|(_, meaning)| (*meaning).to_owned());
    let found = found.or_else(|| core().map(|reason| reason.to_string()));
    found.or_else(|| filter().map(|reason| reason.text().to_owned())).unwrap_or_default()
}

/// Counters since the agent's start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// Connections accepted, by way.
    pub accepted: BTreeMap<&'static str, u64>,
    /// Handshakes completed.
    pub established: u64,
    /// Connections that ended, by reason.
    pub ended: BTreeMap<&'static str, u64>,
    /// Protected records of connections that ended, to nodes and to back-ends.
    pub records_to_node: u64,
    /// See above.
    pub records_to_back_end: u64,
    /// What was sent to nodes again, on connections that ended.
    pub retransmissions: u64,
    /// Datagrams that did not leave the router, or of which a node's host said that nobody listens.
    pub undelivered: u64,
    /// Sockets that could not be taken because the process has no more file descriptors.
    pub no_descriptors: u64,
}

impl Counters {
    pub(super) fn accept(&mut self, way: Way) {
        *self.accepted.entry(way.name()).or_default() += 1;
    }

    pub(super) fn end(&mut self, end: End) {
        *self.ended.entry(end.name()).or_default() += 1;
    }

    pub(super) fn sum(&mut self, summary: &core::Summary) {
        self.records_to_node += summary.to_node.records;
        self.records_to_back_end += summary.to_backend.records;
        self.retransmissions += u64::from(summary.retransmissions);
    }
}
