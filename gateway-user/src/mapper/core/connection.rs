//! The connection: which part of the core each input goes to, and in which order outputs leave.
use std::{sync::Arc, time::Instant};

use bytes::BytesMut;

use super::{Output, Phase, Policy, Reason, Summary, Traffic};

/// One TLS connection of a back-end, mapped to one DTLS association with a node.
pub struct Connection {
    policy: Arc<Policy>,
}

impl Connection {
    /// A connection that was just accepted. `seed` is chance for the timers, nothing else.
    pub fn new(policy: Arc<Policy>, _seed: u64, _now: Instant) -> Self {
        Self { policy }
    }

    /// Takes whole records from the front of what the back-end sent, as far as there is room for
    /// them; what is left stays in `bytes`, for the next call with more. Fragments are not copied:
    /// they go on pointing into `bytes`' storage until the node has them.
    ///
    /// When [`Self::wants_tls`] turns true again, call this again even if nothing new came.
    pub fn handle_tls(&mut self, _now: Instant, _bytes: &mut BytesMut) {}

    /// The back-end has closed its half of the stream (FIN). A stream that was reset needs nothing
    /// but to drop the connection.
    pub fn handle_tls_end(&mut self, _now: Instant) {}

    /// The stream to the back-end takes no more (`held`), or does again. While it is held, the
    /// node's protected records are neither taken nor acknowledged, so that the node keeps them.
    pub fn hold_tls(&mut self, _held: bool) {}

    /// A datagram from the node's address and port. TLS records are made in place, over its
    /// headers.
    pub fn handle_datagram(&mut self, _now: Instant, _datagram: BytesMut) {}

    /// It is [`Self::poll_timeout`]'s time, or later.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing to do, `None` for now if there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When to call [`Self::handle_timeout`], unless something else happens first.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Whether more bytes of the back-end would be taken. While not, do not read its stream.
    pub fn wants_tls(&self) -> bool {
        true
    }

    /// Whether nothing more will come of it: drop it and its socket to the node. After
    /// [`Output::Finish`] it may live on for a while to answer the node.
    pub fn is_over(&self) -> bool {
        self.reason().is_some()
    }

    /// Why it ended, or is ending.
    pub fn reason(&self) -> Option<Reason> {
        None
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.summary().phase
    }

    /// A snapshot for `gateway status`.
    pub fn summary(&self) -> Summary {
        Summary {
            phase: Phase::Hello,
            reason: None,
            suite: self.policy.suites.first().copied(),
            to_node: Traffic::default(),
            to_backend: Traffic::default(),
            retransmissions: 0,
            dropped: 0,
        }
    }

    /// Bytes of memory that it holds: itself, its buffers and what they point to.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
    }
}
