//! What is known of a DTLS association from the outside, and what follows from it.
//!
//! Everything that counts is learned from the node: nothing that arrives from the Internet proves
//! anything to a router without keys. A node sends ChangeCipherSpec only in a handshake that it
//! agreed to, and a protected record only after a valid Finished. Until then its back-end has a
//! small budget. Budgets refill with time and no state latches: an attacker who forges the exact
//! addresses and ports can compete for them, not lock the back-end out.
use super::Reason;
use crate::wire::dtls::{Hello, Record, content, handshake};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How far an association has come. Eight bytes, replaced in one compare-and-swap.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct Progress {
    /// Which of the associations that followed each other on the same addresses and ports.
    pub incarnation: u32,
    /// The epoch that the node has reached.
    pub epoch: u16,
    /// What is known: the constants of this type.
    pub flags: u16,
}

impl Progress {
    /// The node has sent a DTLS record.
    pub const ANSWERED: u16 = 1;
    /// The node has sent ServerHello and not yet ChangeCipherSpec.
    pub const HANDSHAKE: u16 = 2;
    /// The node has sent a protected record, which it does after a valid Finished.
    pub const PROVEN: u16 = 4;
    /// The node has asked for a cookie.
    pub const COOKIE: u16 = 8;
    /// The node has accepted a cookie: the back-end's address is its own.
    pub const VALIDATED: u16 = 16;
    /// The node spoke first.
    pub const NODE_INITIATED: u16 = 32;

    /// The start of an association, of which nothing is known.
    #[inline(always)]
    pub const fn new(incarnation: u32, flags: u16) -> Self {
        Self { incarnation, epoch: 0, flags }
    }

    /// From the eight bytes as they lie in memory.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        zerocopy::transmute!(bits)
    }

    /// The eight bytes as they lie in memory.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        zerocopy::transmute!(self)
    }

    /// Whether all of `flags` are known.
    #[inline(always)]
    pub const fn has(self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// Whether the back-end's address is proved, so that answers to it need no limit.
    #[inline(always)]
    pub const fn address_proved(self) -> bool {
        self.flags & (Self::PROVEN | Self::VALIDATED | Self::NODE_INITIATED) != 0
    }

    /// What follows from a record that the node sent. `new_hello`: its random is not that of the
    /// last ServerHello, so it is no late copy.
    #[inline(always)]
    pub const fn node_sent(self, record: &Record, hello: Option<&Hello>, new_hello: bool) -> Self {
        let mut next = self;
        next.flags |= Self::ANSWERED;
        if record.epoch > 0 {
            next.flags |= Self::PROVEN;
            if record.epoch > next.epoch {
                next.epoch = record.epoch;
            }
        }
        if record.content == content::CHANGE_CIPHER_SPEC {
            // opens a new association on the same ports (epoch 0) or renews its keys
            if record.epoch > 0 {
                let renewed = record.epoch.saturating_add(1);
                if renewed > next.epoch {
                    next.epoch = renewed;
                }
            } else if self.has(Self::HANDSHAKE) {
                next.incarnation = self.incarnation.wrapping_add(1);
                next.epoch = 1;
                next.flags &= !Self::HANDSHAKE;
            }
        }
        if let Some(hello) = hello
            && record.epoch == 0
        {
            match hello.kind {
                handshake::SERVER_HELLO if new_hello => {
                    next.flags |= Self::HANDSHAKE;
                    if self.has(Self::COOKIE) {
                        next.flags |= Self::VALIDATED;
                    }
                }
                handshake::HELLO_VERIFY_REQUEST => next.flags |= Self::COOKIE,
                _ => {}
            }
        }
        next
    }

    /// What a back-end's record may cost before it passes.
    #[inline(always)]
    pub const fn gate(self, record: &Record) -> Gate {
        match record.content {
            content::CHANGE_CIPHER_SPEC..=content::HANDSHAKE => {}
            content::APPLICATION_DATA if record.epoch > 0 => {}
            _ => return Gate::Closed(Reason::RecordType),
        }
        if record.epoch == 0 {
            return Gate::Budget(1, Reason::Unproven);
        }
        if self.has(Self::ANSWERED) && record.epoch > self.epoch.saturating_add(1) {
            return Gate::Closed(Reason::Epoch);
        }
        if self.has(Self::PROVEN) {
            return Gate::Open;
        }
        let finished = record.content == content::HANDSHAKE && record.sequence < FINISHED_TRIES;
        if self.has(Self::HANDSHAKE) && !finished {
            return Gate::Budget(PREMATURE_COST, Reason::Premature);
        }
        Gate::Budget(1, Reason::Unproven)
    }

    /// Whether a known number with other bytes means that one of the two was forged.
    ///
    /// Not in epoch 0, where a restarted back-end repeats its numbers, and not for the Finished of
    /// a new association, which comes before the ChangeCipherSpec that opens it.
    #[inline(always)]
    pub const fn judges_conflicts(self, record: &Record) -> bool {
        record.epoch > 0 && !(self.has(Self::HANDSHAKE) && record.content == content::HANDSHAKE)
    }
}

/// Sequence numbers that a Finished and its retransmissions take.
const FINISHED_TRIES: u64 = 16;
/// What a record of application data costs while the handshake is under way.
const PREMATURE_COST: u64 = 8;

/// Whether a record may pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// It may, at this price from the association's small budget; or else it ends so.
    Budget(u64, Reason),
    /// It may not.
    Closed(Reason),
}

/// Whether the node has reported `sequence` of `epoch` as long past: everything below `next`
/// arrived, and the window of 64 behind it (RFC 6347 §4.1.2.6) is gone too.
#[inline(always)]
pub const fn stale(confirmed_epoch: u16, next: u64, epoch: u16, sequence: u64) -> bool {
    epoch == confirmed_epoch && sequence.saturating_add(64) <= next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Offset;
    use proptest::prelude::*;

    fn record(content: u8, epoch: u16, sequence: u64) -> Record {
        Record { content, epoch, sequence, length: 32, body: Offset::START, end: Offset::START }
    }

    fn hello(kind: u8) -> Hello {
        Hello { kind, fragment_offset: 0, random: [1, 2] }
    }

    const CCS: u8 = content::CHANGE_CIPHER_SPEC;
    const DATA: u8 = content::APPLICATION_DATA;

    /// The node's side of a full handshake with cookie.
    fn connected(start: Progress) -> Progress {
        start
            .node_sent(&record(22, 0, 0), Some(&hello(handshake::HELLO_VERIFY_REQUEST)), false)
            .node_sent(&record(22, 0, 1), Some(&hello(handshake::SERVER_HELLO)), true)
            .node_sent(&record(CCS, 0, 3), None, false)
            .node_sent(&record(22, 1, 0), None, false)
    }

    #[test]
    fn a_handshake_opens_the_next_association() {
        let first = connected(Progress::new(9, 0));
        assert_eq!((first.incarnation, first.epoch), (10, 1));
        assert!(first.has(Progress::PROVEN | Progress::VALIDATED | Progress::ANSWERED));
        assert!(!first.has(Progress::HANDSHAKE));
        let second = connected(first);
        assert_eq!(second.incarnation, 11);
    }

    #[test]
    fn a_repeated_change_cipher_spec_opens_nothing() {
        let first = connected(Progress::new(9, 0));
        let again = first
            .node_sent(&record(22, 0, 4), Some(&hello(handshake::SERVER_HELLO)), false)
            .node_sent(&record(CCS, 0, 5), None, false);
        assert_eq!(again, first);
    }

    #[test]
    fn renegotiation_reaches_the_next_epoch() {
        let renewed = connected(Progress::new(0, 0)).node_sent(&record(CCS, 1, 9), None, false);
        assert_eq!(renewed.epoch, 2);
        assert_eq!(renewed.gate(&record(DATA, 2, 0)), Gate::Open);
        assert_eq!(renewed.gate(&record(DATA, 4, 0)), Gate::Closed(Reason::Epoch));
    }

    #[test]
    fn a_late_change_cipher_spec_takes_no_epoch_back() {
        let third = connected(Progress::new(0, 0)).node_sent(&record(DATA, 3, 0), None, false);
        assert_eq!(third.node_sent(&record(CCS, 1, 9), None, false).epoch, 3);
    }

    #[test]
    fn gates() {
        let cold = Progress::new(0, 0);
        assert_eq!(cold.gate(&record(DATA, 1, 9)), Gate::Budget(1, Reason::Unproven));
        assert_eq!(cold.gate(&record(DATA, 7, 9)), Gate::Budget(1, Reason::Unproven));
        assert_eq!(cold.gate(&record(DATA, 0, 9)), Gate::Closed(Reason::RecordType));
        assert_eq!(cold.gate(&record(content::ACK, 0, 9)), Gate::Closed(Reason::RecordType));
        let shaking =
            cold.node_sent(&record(22, 0, 0), Some(&hello(handshake::SERVER_HELLO)), true);
        assert_eq!(shaking.gate(&record(22, 1, 0)), Gate::Budget(1, Reason::Unproven));
        assert!(matches!(shaking.gate(&record(DATA, 1, 1)), Gate::Budget(_, Reason::Premature)));
        assert_eq!(shaking.gate(&record(22, 2, 0)), Gate::Closed(Reason::Epoch));
        let up = connected(cold);
        assert_eq!(up.gate(&record(DATA, 1, 1)), Gate::Open);
        assert_eq!(up.gate(&record(22, 0, 3)), Gate::Budget(1, Reason::Unproven));
    }

    #[test]
    fn a_finished_before_its_association_conflicts_with_nothing() {
        let again = connected(Progress::new(0, 0)).node_sent(
            &record(22, 0, 0),
            Some(&hello(handshake::SERVER_HELLO)),
            true,
        );
        assert!(!again.judges_conflicts(&record(22, 1, 0)));
        assert!(again.judges_conflicts(&record(DATA, 1, 1)));
        assert!(!again.judges_conflicts(&record(22, 0, 1)));
    }

    #[test]
    fn stale_is_a_window_below_what_the_node_confirmed() {
        assert!(stale(1, 100, 1, 36));
        assert!(!stale(1, 100, 1, 37));
        assert!(!stale(1, 100, 2, 0));
        assert!(!stale(1, 0, 1, 0));
    }

    proptest! {
        #[test]
        fn bits_round_trip(bits: u64) {
            prop_assert_eq!(Progress::from_bits(bits).bits(), bits);
        }

        #[test]
        fn nothing_the_node_sends_ever_locks_its_back_end_out(
            sent in proptest::collection::vec((20u8..27, 0u16..4, any::<bool>(), 0u8..5), 0..40),
        ) {
            let mut progress = Progress::new(0, 0);
            for (content, epoch, fresh, kind) in sent {
                let hello = (content == 22).then(|| hello(kind));
                progress = progress.node_sent(&record(content, epoch, 0), hello.as_ref(), fresh);
                let finished = progress.gate(&record(22, progress.epoch + 1, 0));
                prop_assert!(!matches!(finished, Gate::Closed(_)));
                let data = progress.gate(&record(DATA, progress.epoch.max(1), 5));
                prop_assert!(!matches!(data, Gate::Closed(_)));
            }
        }
    }
}
