//! A request on its way to a node: whose turn it is, and what the node says to it.

use super::{
    cache::Entry,
    core::{ConnectionId, Peer, Proxy},
    link::{Event, Link, Step, Token},
    message::Message,
    plan::Ask,
    refusal::Refusal,
    settings::Endpoint,
    transfer::{Outcome, Transfer},
};
use crate::{Instant, Random};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobId(u64);

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    /// Who waits; nobody once the client is gone.
    pub(super) connection: Option<ConnectionId>,
    pub(super) ask: Ask,
    pub(super) transfer: Option<Transfer>,
    /// Of the message that is not answered.
    pub(super) token: Option<Token>,
    /// What the node was asked to confirm.
    pub(super) stored: Option<Entry>,
    /// The next block is not asked for until the client has taken what there is.
    pub(super) paused: bool,
}

impl Job {
    /// Bytes it keeps.
    pub(super) fn buffered(&self) -> usize {
        let received = self.transfer.as_ref().map_or(0, |transfer| transfer.received().len());
        let stored = self.stored.as_ref().map_or(0, |entry| entry.payload.len());
        self.ask.body.len() + received + stored
    }
}

impl<R: Random> Proxy<R> {
    /// Answers from the cache, or lines up for the node.
    pub(super) fn ask(&mut self, now: Instant, connection: ConnectionId, ask: Ask) {
        let id = JobId(self.number());
        let (transfer, token, stored) = (None, None, None);
        let connection = Some(connection);
        let job = Job { id, connection, ask, transfer, token, stored, paused: false };
        let endpoint = job.ask.target.endpoint;
        let only_if_cached = job.ask.directives.only_if_cached;
        self.jobs.insert(id, job);
        if self.answer_from_cache(now, id) {
            return;
        }
        if only_if_cached {
            return self.fail(id, Refusal::new(504, "nothing is stored that could be used"));
        }
        if self.waiting.len() >= self.settings.limits.waiting || !self.admit(now, endpoint) {
            return self.fail(id, Refusal::new(503, "too many requests wait for nodes"));
        }
        self.waiting.push_back(id);
    }

    /// What the link has to send and to tell.
    pub(super) fn take(&mut self, now: Instant, endpoint: Endpoint, step: Step) {
        if let Some(datagram) = step.datagram {
            self.counters.messages += 1;
            self.datagrams.push_back((endpoint, datagram));
        }
        let Some(event) = step.event else { return };
        let (Event::Response(token, _)
        | Event::Acknowledged(token)
        | Event::Reset(token)
        | Event::TimedOut(token)) = &event;
        let Some(id) = self.waiting_for(endpoint, *token) else { return };
        match event {
            Event::Response(_, message) => self.respond(now, id, message),
            Event::Acknowledged(_) => self.set_aside(id),
            Event::Reset(_) => self.fail(id, Refusal::new(502, "the node rejected the message")),
            Event::TimedOut(_) => self.fail(id, Refusal::new(504, "the node does not answer")),
        }
    }

    pub(super) fn give_up(&mut self, endpoint: Endpoint) {
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        for token in peer.link.abandon() {
            if let Some(id) = self.waiting_for(endpoint, token) {
                self.fail(id, Refusal::new(502, "the node cannot be reached"));
            }
        }
    }

    /// The client of a job is gone: only what was sent, or can be stored, goes on.
    pub(super) fn orphan(&mut self, id: JobId) {
        if self.jobs.get(&id).is_some_and(|job| job.token.is_none()) {
            self.remove(id);
        }
    }

    /// The client has taken bytes: a paused transfer may go on.
    pub(super) fn resume(&mut self, now: Instant, id: ConnectionId) {
        let backlog = self.settings.limits.backlog;
        if self.output(id).len() > backlog {
            return;
        }
        let own = |job: &&mut Job| job.connection == Some(id) && job.paused;
        let Some(job) = self.jobs.values_mut().find(own) else { return };
        job.paused = false;
        let job = job.id;
        self.send(now, job);
    }

    pub(super) fn remove(&mut self, id: JobId) {
        self.jobs.remove(&id);
        self.waiting.retain(|waiting| *waiting != id);
        self.release(id);
    }

    pub(super) fn release(&mut self, id: JobId) {
        for peer in self.peers.values_mut() {
            peer.holder.take_if(|holder| *holder == id);
        }
    }

    fn waiting_for(&self, endpoint: Endpoint, token: Token) -> Option<JobId> {
        let jobs = &mut self.jobs.values();
        let same = |job: &&Job| job.token == Some(token) && job.ask.target.endpoint == endpoint;
        jobs.find(same).map(|job| job.id)
    }

    /// Makes room for what is remembered of a node.
    fn admit(&mut self, now: Instant, endpoint: Endpoint) -> bool {
        if let Some(peer) = self.peers.get_mut(&endpoint) {
            peer.used = now;
            return true;
        }
        if self.peers.len() >= self.settings.limits.endpoints {
            let idle = |endpoint: &Endpoint, peer: &Peer| {
                let wanted = |job: &Job| job.ask.target.endpoint == *endpoint;
                peer.holder.is_none() && peer.link.is_idle() && !self.jobs.values().any(wanted)
            };
            let idle = self.peers.iter().filter(|(endpoint, peer)| idle(endpoint, peer));
            let oldest = idle.min_by_key(|(_, peer)| peer.used).map(|(endpoint, _)| *endpoint);
            let Some(oldest) = oldest else { return false };
            self.peers.remove(&oldest);
        }
        let mut id = [0; 2];
        self.random.fill(&mut id);
        let link = Link::new(u16::from_be_bytes(id));
        self.peers.insert(endpoint, Peer { link, blocks: true, holder: None, used: now });
        true
    }

    /// The job that has waited the longest of those whose node is free (RFC 7252 §4.7), if the LLN
    /// can take one more (RFC 8075 §8.1).
    pub(super) fn next_job(&mut self) -> Option<JobId> {
        let busy = self.peers.values().filter(|peer| peer.holder.is_some()).count();
        if busy >= self.settings.limits.in_flight {
            return None;
        }
        let is_free = |id: &JobId| {
            let endpoint = self.jobs.get(id).map(|job| job.ask.target.endpoint);
            let peer = endpoint.and_then(|endpoint| self.peers.get(&endpoint));
            peer.is_some_and(|peer| peer.holder.is_none() && peer.link.is_free())
        };
        let position = self.waiting.iter().position(is_free)?;
        self.waiting.remove(position)
    }

    pub(super) fn start(&mut self, now: Instant, id: JobId) {
        // What waited behind another request for the same resource finds its response stored.
        if self.jobs.get(&id).is_some_and(|job| job.transfer.is_none())
            && self.answer_from_cache(now, id)
        {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(peer) = self.peers.get_mut(&job.ask.target.endpoint) else { return };
        peer.holder = Some(id);
        peer.used = now;
        if job.transfer.is_none() {
            job.stored = job.ask.key().and_then(|key| self.cache.find(&key).cloned());
            let question = job.ask.question(job.stored.as_ref().and_then(Entry::etag));
            job.transfer = Some(Transfer::new(question, self.settings.limits.block, peer.blocks));
        }
        self.send(now, id);
    }

    /// Sends the next message of a job which holds its node.
    fn send(&mut self, now: Instant, id: JobId) {
        let mut chance = [0; 5];
        self.random.fill(&mut chance);
        let [jitter, token @ ..] = chance;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let endpoint = job.ask.target.endpoint;
        let (Some(peer), Some(transfer)) = (self.peers.get_mut(&endpoint), &job.transfer) else {
            return;
        };
        job.token = Some(token);
        let timing = &self.settings.timing;
        let datagram = peer.link.request(token, transfer.request(), now, timing, jitter);
        self.counters.messages += 1;
        self.datagrams.push_back((endpoint, datagram));
    }

    /// The response will come later: others may ask the node meanwhile, unless blocks are on the way.
    fn set_aside(&mut self, id: JobId) {
        let transfer = self.jobs.get(&id).and_then(|job| job.transfer.as_ref());
        if !transfer.is_some_and(Transfer::is_under_way) {
            self.release(id);
        }
    }

    fn respond(&mut self, now: Instant, id: JobId, message: Message) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.token = None;
        let Some(transfer) = &mut job.transfer else { return };
        let outcome = transfer.handle_response(message);
        if outcome != Outcome::Again
            && let Some(peer) = self.peers.get_mut(&job.ask.target.endpoint)
        {
            peer.blocks &= transfer.knows_blocks();
        }
        match outcome {
            Outcome::Again => self.go_on(now, id),
            Outcome::Complete => self.complete(now, id),
            Outcome::Failed(refusal) => self.fail(id, refusal),
        }
    }

    /// Sends at once if the node is free, else before all others.
    pub(super) fn take_turn(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(peer) = self.peers.get_mut(&job.ask.target.endpoint) else { return };
        if peer.link.is_free() && peer.holder.is_none_or(|holder| holder == id) {
            peer.holder = Some(id);
            self.send(now, id);
        } else {
            self.waiting.push_front(id);
        }
    }

    pub(super) fn ask_for_next_format(&mut self, id: JobId) {
        self.release(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.ask.accepts.remove(0);
        job.transfer = None;
        self.waiting.push_front(id);
    }
}
