//! When the node is told what has come of it. Each record is reported, but a report of its own is a
//! datagram, and a frame in the LLN; one that waits a moment rides with the next record instead.
//!
//! Only the first record after one of the back-end's waits: it is an answer, and where that is all of
//! it, the back-end says something next. A node that goes on by itself is told at once, as its window
//! may be full.
use std::time::{Duration, Instant};

use super::{Policy, chance::after};

/// Longest wait of a report, unless a node's timer is near to it: a person does not notice, and the
/// next of requests in a row is long there.
const WAIT: Duration = Duration::from_millis(50);
/// The part of the node's own timer that a report may wait: the rest is the network's.
const PART: u32 = 4;

/// The report that is owed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owed {
    /// None.
    Nothing {
        /// What the node says next answers a record for it.
        answering: bool,
    },
    /// With the next record, or alone by then.
    Later(Instant),
    /// At once.
    Now,
}

impl Owed {
    /// The node's Finished answers the back-end's, or will be answered by it.
    pub(super) const fn new() -> Self {
        Self::Nothing { answering: true }
    }

    /// A record went to the node for the first time, and with it what was owed.
    pub(super) fn asked(&mut self) {
        if let Self::Nothing { answering } = self {
            *answering = true;
        }
    }

    /// A record of the node went on in its turn.
    pub(super) fn answered(&mut self, now: Instant, policy: &Policy) {
        let wait = WAIT.min(policy.ack_timeout / PART);
        *self = match self {
            Self::Nothing { answering: true } => Self::Later(after(now, wait)),
            Self::Nothing { answering: false } | Self::Later(_) | Self::Now => Self::Now,
        };
    }

    /// The node must know at once: it sent something twice, or something is missing.
    pub(super) fn urge(&mut self) {
        *self = Self::Now;
    }

    /// It has been told.
    pub(super) fn told(&mut self) {
        *self = Self::Nothing { answering: false };
    }

    /// Whether there is something to tell.
    pub(super) fn is_owed(&self) -> bool {
        !matches!(self, Self::Nothing { .. })
    }

    /// Whether it is time to tell it even if nothing else goes to the node.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self {
            Self::Nothing { .. } => false,
            Self::Later(due) => *due <= now,
            Self::Now => true,
        }
    }

    /// When it will be.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Later(due) => Some(*due),
            Self::Nothing { .. } | Self::Now => None,
        }
    }
}
