//! The connection: which part of the core each input goes to, and in which order outputs leave.
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use gateway_common::mapping::record;

use super::{
    Phase, Policy, Reason, Summary, Traffic,
    chance::{Chance, after},
    flight::Clear,
    handshake::{Handshake, Step},
    receiver::Receiver,
    report::Owed,
    sender::Sender,
};

/// One TLS connection of a back-end, mapped to one DTLS association with a node.
pub struct Connection {
    pub(super) policy: Arc<Policy>,
    /// Of the latest input.
    pub(super) now: Instant,
    pub(super) chance: Chance,
    pub(super) end: End,
    /// Until both sides have finished.
    pub(super) handshake: Option<Box<Handshake>>,
    /// The back-end's ChangeCipherSpec has come.
    pub(super) protected: bool,
    pub(super) clear: Clear,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) report: Owed,
    pub(super) tls: VecDeque<Bytes>,
    pub(super) held: bool,
    /// The way to the node takes nothing for now.
    pub(super) node_held: bool,
    pub(super) close: Close,
    /// When a half-closed connection is given up.
    pub(super) linger: Option<Instant>,
    /// When a missing record of the node is.
    pub(super) gap: Option<Instant>,
    /// When the latest record came.
    pub(super) active: Instant,
    pub(super) suite: Option<u16>,
    pub(super) to_node: Traffic,
    pub(super) to_backend: Traffic,
    pub(super) retransmissions: u32,
    pub(super) dropped: u32,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    /// A reset is to be polled.
    Failing(Reason),
    /// A FIN is to be polled, after all else.
    Finishing(Reason),
    /// The stream has its FIN, and the node its answers until then. Not longer, even if it has not
    /// reported the last alert: one that has forgotten the session never will.
    Draining(Instant),
    Over(Reason),
}

/// What the two sides have closed. An alert is only known to be one: it may be a warning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Close {
    /// The back-end's last record is an alert.
    pub(super) backend: bool,
    /// So is the node's.
    pub(super) node: bool,
    /// FIN from the back-end.
    pub(super) stream: bool,
}

impl Connection {
    /// A connection that was just accepted. `seed` is chance for the timers, nothing else.
    pub fn new(policy: Arc<Policy>, seed: u64, now: Instant) -> Self {
        let deadline = after(now, policy.handshake_timeout);
        Self {
            policy,
            now,
            chance: Chance(seed),
            end: End::Open,
            handshake: Some(Box::new(Handshake::new(now, deadline))),
            protected: false,
            clear: Clear::default(),
            sender: Sender::new(),
            receiver: Receiver::new(),
            report: Owed::new(),
            tls: VecDeque::new(),
            held: false,
            node_held: false,
            close: Close::default(),
            linger: None,
            gap: None,
            active: now,
            suite: None,
            to_node: Traffic::default(),
            to_backend: Traffic::default(),
            retransmissions: 0,
            dropped: 0,
        }
    }

    /// Takes whole records from the front of what the back-end sent, as far as there is room for
    /// them; what is left stays in `bytes`, for the next call with more. Protected fragments are
    /// not copied: they go on pointing into the storage of `bytes` until the node has them.
    ///
    /// When [`Self::wants_tls`] turns true again, call this again even if nothing new came.
    pub fn handle_tls(&mut self, now: Instant, bytes: &mut BytesMut) {
        self.now = now;
        while self.wants_tls() {
            match self.take_record(bytes) {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => self.fail(reason),
            }
        }
        if self.end != End::Open {
            bytes.clear();
        }
    }

    /// The back-end has closed its half of the stream (FIN), and [`Self::handle_tls`] has taken all
    /// that it will. A stream that was reset needs nothing but to drop the connection.
    pub fn handle_tls_end(&mut self, now: Instant) {
        self.now = now;
        if self.end != End::Open || self.close.stream {
            return;
        }
        self.close.stream = true;
        match self.handshake.as_deref().map(|handshake| handshake.step) {
            Some(Step::ClientHello) => self.end = End::Finishing(Reason::Truncated),
            Some(Step::ServerHello | Step::ClientFinished | Step::Resuming) => {
                self.reset(Reason::Truncated);
            }
            Some(Step::ServerFinished | Step::Resumed) | None => self.closing(),
        }
    }

    /// The stream to the back-end takes no more (`held`), or does again. While it is held, the
    /// node's protected records are neither taken nor acknowledged, so that the node keeps them.
    pub fn hold_tls(&mut self, held: bool) {
        self.held = held;
    }

    /// The way to the node takes no more (`held`), or does again. While it is held, no datagram is
    /// polled; what waits for the node keeps the back-end waiting once the queue is full.
    pub fn hold_node(&mut self, held: bool) {
        self.node_held = held;
    }

    /// How long the handshake has not moved, on either side; zero where there is none.
    pub fn stalled(&self, now: Instant) -> Duration {
        let moved = self.handshake.as_deref().map(|handshake| handshake.moved);
        moved.map_or(Duration::ZERO, |moved| now.saturating_duration_since(moved))
    }

    /// Ends a handshake for the sake of others that wait for the node.
    pub fn give_way(&mut self, now: Instant) {
        self.now = now;
        if self.handshake.is_some() {
            self.fail(Reason::Busy);
        }
    }

    /// A datagram from the node's address and port. TLS records are made in place, over its
    /// headers. One that is not well-formed to its end is noise.
    pub fn handle_datagram(&mut self, now: Instant, datagram: BytesMut) {
        self.now = now;
        let open = matches!(self.end, End::Open | End::Draining(_));
        if !open || record::Records::of(&datagram).any(|record| record.is_err()) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        if let Err(reason) = self.take_datagram(datagram) {
            self.fail(reason);
        }
    }

    /// It is [`Self::poll_timeout`]'s time, or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        let passed = match self.end {
            End::Open => self.open_timeout(),
            End::Draining(until) if until <= now => {
                self.end = End::Over(Reason::Closed);
                Ok(())
            }
            End::Draining(_) => self.sender.handle_timeout(now, self.policy.retries),
            End::Failing(_) | End::Finishing(_) | End::Over(_) => Ok(()),
        };
        if let Err(reason) = passed {
            self.fail(reason);
        }
    }

    fn open_timeout(&mut self) -> Result<(), Reason> {
        let now = self.now;
        if self.linger.is_some_and(|linger| linger <= now) {
            let closed = self.close.backend;
            return Err(if closed { Reason::NoAnswer } else { Reason::Truncated });
        }
        if self.gap.is_some_and(|gap| gap <= now) {
            return Err(Reason::Gap);
        }
        if after(self.active, self.policy.idle) <= now {
            return Err(Reason::Idle);
        }
        let Some(handshake) = &mut self.handshake else {
            return self.sender.handle_timeout(now, self.policy.retries);
        };
        if handshake.deadline <= now {
            return Err(Reason::HandshakeTimeout);
        }
        if let Some(next) = handshake.timer.and_then(|timer| timer.passed(now)) {
            handshake.timer = Some(next);
            self.transmit_again();
        }
        Ok(())
    }

    /// Whether more bytes of the back-end would be taken. While not, do not read its stream.
    pub fn wants_tls(&self) -> bool {
        let open = self.end == End::Open && !self.close.stream;
        open && self.sender.cost() <= self.policy.queue_limit
    }

    /// Whether nothing more will come of it: drop it and its socket to the node. After
    /// [`super::Output::Finish`] it may live on for a while to answer the node.
    pub fn is_over(&self) -> bool {
        matches!(self.end, End::Over(_))
    }

    /// Why it ended, or is ending.
    pub fn reason(&self) -> Option<Reason> {
        match self.end {
            End::Open => None,
            End::Draining(_) => Some(Reason::Closed),
            End::Failing(reason) | End::Finishing(reason) | End::Over(reason) => Some(reason),
        }
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        let step = self.handshake.as_deref().map(|handshake| handshake.step);
        let closing = self.close.stream || self.close.node || self.close.backend;
        match (self.end, step) {
            (End::Over(_), _) => Phase::Over,
            (End::Failing(_) | End::Finishing(_) | End::Draining(_), _) => Phase::Closing,
            (End::Open, Some(Step::ClientHello)) => Phase::Hello,
            (End::Open, Some(_)) => Phase::Handshake,
            (End::Open, None) if closing => Phase::Closing,
            (End::Open, None) => Phase::Established,
        }
    }

    /// A snapshot for `gateway status`.
    pub fn summary(&self) -> Summary {
        Summary {
            phase: self.phase(),
            reason: self.reason(),
            suite: self.suite,
            to_node: self.to_node,
            to_backend: self.to_backend,
            retransmissions: self.retransmissions,
            dropped: self.dropped,
        }
    }

    /// Bytes of memory that it holds: itself, its buffers, and what of the caller's buffers it
    /// keeps alive, without what an allocator adds.
    pub fn memory(&self) -> usize {
        let tls: usize = self.tls.iter().map(Bytes::len).sum();
        let handshake = self.handshake.as_ref().map_or(0, |handshake| handshake.memory());
        let queues = self.tls.capacity() * size_of::<Bytes>() + tls;
        size_of::<Self>() + queues + handshake + self.sender.memory() + self.receiver.memory()
    }
}
