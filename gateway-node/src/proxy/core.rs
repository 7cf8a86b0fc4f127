//! The proxy: bytes of clients, datagrams of nodes and time in; the same out.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use super::{
    cache::Cache,
    http::{Answer, Connection},
    job::{Job, JobId},
    link::Link,
    method::Method,
    plan::{Plan, plan},
    settings::{Endpoint, Settings, SettingsError},
};
use crate::{Instant, Random};

/// A connection of a client, from [`Proxy::open`] to [`Proxy::handle_close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests of clients.
    pub requests: u64,
    /// Requests answered from the cache without a message to a node.
    pub hits: u64,
    /// Stored responses that a node confirmed.
    pub validated: u64,
    /// Messages to nodes, retransmissions included.
    pub messages: u64,
}

/// A node, or a client's idea of one.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) link: Link,
    /// Whether it may know block-wise transfer.
    pub(super) blocks: bool,
    /// Whose messages go out now.
    pub(super) holder: Option<JobId>,
    pub(super) used: Instant,
}

/// An HTTP-CoAP proxy (RFC 8075).
///
/// After each call, [`Proxy::poll_datagram`] is to be called until there is none, and
/// [`Proxy::output`] of the connections to be looked at.
#[derive(Debug)]
pub struct Proxy<R> {
    pub(super) settings: Settings,
    pub(super) random: R,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// Jobs that have something to send and wait for their turn.
    pub(super) waiting: VecDeque<JobId>,
    pub(super) peers: BTreeMap<Endpoint, Peer>,
    pub(super) cache: Cache,
    pub(super) datagrams: VecDeque<(Endpoint, Vec<u8>)>,
    pub(super) counters: Counters,
    /// Connections whose request was answered, so that the next one can be taken up.
    pub(super) ready: VecDeque<ConnectionId>,
    next: u64,
}

impl<R: Random> Proxy<R> {
    /// A proxy without connections.
    pub fn new(settings: Settings, random: R) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            cache: Cache::new(settings.limits.cache),
            settings,
            random,
            connections: BTreeMap::new(),
            jobs: BTreeMap::new(),
            waiting: VecDeque::new(),
            peers: BTreeMap::new(),
            datagrams: VecDeque::new(),
            counters: Counters::default(),
            ready: VecDeque::new(),
            next: 0,
        })
    }

    /// A client has connected; `None` if there are too many.
    pub fn open(&mut self, now: Instant) -> Option<ConnectionId> {
        if self.connections.len() >= self.settings.limits.connections {
            return None;
        }
        let id = ConnectionId(self.number());
        self.connections.insert(id, Connection::new(now));
        Some(id)
    }

    /// A client sent these bytes.
    pub fn handle_bytes(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.handle_bytes(bytes, now, &self.settings.limits);
        self.ready.push_back(id);
        self.settle(now);
    }

    /// A client is gone. Its request goes on where the response can be stored (RFC 8075 §8.1).
    pub fn handle_close(&mut self, now: Instant, id: ConnectionId) {
        self.connections.remove(&id);
        let own = |job: &&mut Job| job.connection == Some(id);
        let Some(job) = self.jobs.values_mut().find(own) else { return };
        job.connection = None;
        let job = job.id;
        self.orphan(job);
        self.settle(now);
    }

    /// Bytes for a client.
    pub fn output(&self, id: ConnectionId) -> &[u8] {
        self.connections.get(&id).map(Connection::output).unwrap_or_default()
    }

    /// So many bytes of [`Proxy::output`] were sent.
    pub fn handle_sent(&mut self, now: Instant, id: ConnectionId, count: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.sent(count, now);
        self.resume(now, id);
    }

    /// Whether the connection is to be closed, as all is said.
    pub fn is_finished(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_none_or(Connection::is_finished)
    }

    /// A datagram for a node.
    pub fn poll_datagram(&mut self) -> Option<(Endpoint, Vec<u8>)> {
        self.datagrams.pop_front()
    }

    /// A node sent this datagram; of a `coaps` node, what was in its record.
    pub fn handle_datagram(&mut self, now: Instant, endpoint: Endpoint, datagram: &[u8]) {
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        let step = peer.link.handle_datagram(datagram, now, &self.settings.timing);
        self.take(now, endpoint, step);
        self.settle(now);
    }

    /// A node cannot be reached: no route, no socket on its port, no DTLS session.
    pub fn handle_unreachable(&mut self, now: Instant, endpoint: Endpoint) {
        self.give_up(endpoint);
        self.settle(now);
    }

    /// The instant of [`Proxy::deadline`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let endpoints: Vec<_> = self.peers.keys().copied().collect();
        for endpoint in endpoints {
            while let Some(peer) = self.peers.get_mut(&endpoint)
                && peer.link.deadline().is_some_and(|due| due <= now)
            {
                let step = peer.link.handle_timeout(now);
                self.take(now, endpoint, step);
            }
        }
        let timing = self.settings.timing.clone();
        let mut stalled = Vec::new();
        for (id, connection) in &mut self.connections {
            if connection.deadline(&timing).is_some_and(|due| due <= now) {
                connection.handle_timeout(now);
                stalled.push(*id);
            }
        }
        for id in stalled {
            let job = self.jobs.values().find(|job| job.connection == Some(id)).map(|job| job.id);
            if let Some(job) = job {
                self.remove(job);
            }
        }
        self.settle(now);
    }

    /// When [`Proxy::handle_timeout`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let timing = &self.settings.timing;
        let clients = self.connections.values().filter_map(|c| c.deadline(timing));
        clients.chain(self.peers.values().filter_map(|peer| peer.link.deadline())).min()
    }

    /// What was done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes in buffers and in the cache: what [`super::Limits`] bound.
    pub fn memory(&self) -> usize {
        let connections = self.connections.values().map(Connection::buffered);
        let jobs = self.jobs.values().map(Job::buffered);
        let datagrams = self.datagrams.iter().map(|(_, datagram)| datagram.len());
        connections.chain(jobs).chain(datagrams).sum::<usize>() + self.cache.bytes()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Does what can be done without waiting: takes up requests, and sends where nodes are free.
    fn settle(&mut self, now: Instant) {
        loop {
            if let Some(id) = self.ready.pop_front() {
                self.read(now, id);
            } else if let Some(job) = self.next_job() {
                self.start(now, job);
            } else {
                return;
            }
        }
    }

    /// Takes up the requests of a connection, until one has to wait for a node.
    fn read(&mut self, now: Instant, id: ConnectionId) {
        while let Some(connection) = self.connections.get_mut(&id)
            && let Some(request) = connection.poll_request(&self.settings.limits)
        {
            self.counters.requests += 1;
            let method = Method::named(&request.head.method).unwrap_or(Method::Get);
            match plan(&self.settings, request) {
                Ok(Plan::Answer(answer)) => self.say(id, method, answer),
                Ok(Plan::Ask(ask)) => self.ask(now, id, ask),
                Err(refusal) => self.say(id, method, Answer::from(refusal)),
            }
        }
    }

    /// Answers, without a body if the method is HEAD.
    pub(super) fn say(&mut self, id: ConnectionId, method: Method, answer: Answer) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if method == Method::Head {
            connection.answer_head(&answer, Some(answer.body.len()));
        } else {
            connection.answer(answer);
        }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "network_tests.rs"]
mod network_tests;
