//! What time brings.

use crate::{
    Instant, Why, counters::count, handshake, records::State, resumption::Resumable, session::Stage,
};

use super::Engine;

/// Times that a record is sent again before its session is given up (RFC 7252 §4.8).
const RETRIES: u8 = 4;

/// Milliseconds for which a closing session still confirms what comes.
const LINGER: u32 = 10_000;

impl Engine<'_> {
    /// Does what is overdue, up to one session's end.
    pub(super) fn elapse(&mut self) {
        let (now, config) = (self.common.now, self.config);
        let lifetime = config.resumption_lifetime;
        for entry in self.resumable.iter_mut().filter(|entry| entry.is_expired(now, lifetime)) {
            *entry = Resumable::default();
        }
        for handshake in self.handshakes.iter_mut() {
            if matches!(handshake.stage, handshake::Stage::Free | handshake::Stage::Done) {
                continue;
            }
            if now >= handshake.end(config.handshake_lifetime) {
                handshake.clear();
                count(&mut self.common.counters.expired);
            } else if handshake.is_timed() && now >= handshake.deadline {
                handshake.back_off();
                handshake.resend(now);
            }
        }
        if let Some(index) = self.overdue_record() {
            return self.give_up(index);
        }
        let overdue = |index: &usize| self.idle_end(*index).is_some_and(|end| now >= end);
        if let Some(index) = (0..self.sessions.len()).find(overdue) {
            let open = self.sessions.get(index).is_some_and(|s| s.stage == Stage::Open);
            self.end(index, if open { Why::Idle } else { Why::Local });
        }
    }

    /// Marks records that are to be sent again; the session of one that was sent too often.
    fn overdue_record(&mut self) -> Option<usize> {
        let now = self.common.now;
        for slot in self.records.slots.iter_mut() {
            if slot.state == State::Sent && now >= slot.deadline {
                if slot.retries >= RETRIES {
                    return Some(slot.session.into());
                }
                slot.retries += 1;
                slot.timeout = slot.timeout.saturating_mul(2);
                slot.state = State::Due;
            }
        }
        None
    }

    /// A mapped client's side misses a record for good: TLS can go on no more, and ends with a fatal
    /// alert, so the session is not resumed either (RFC 5246 §7.2.2).
    fn give_up(&mut self, index: usize) {
        self.records.release_all(index);
        self.forget(index);
        if let Some(session) = self.sessions.get_mut(index) {
            session.stage = Stage::Failed { told: session.stage.is_told() };
        }
    }

    /// First timeout of a record: times a random 1 to 1.5 (RFC 7252 §4.8).
    pub(super) fn ack_timeout(&mut self) -> u32 {
        let mut byte = [0];
        self.random.fill(&mut byte);
        let timeout = self.config.ack_timeout;
        timeout.saturating_add((timeout >> 9).saturating_mul(u32::from(byte[0])))
    }

    /// When there is something to do next.
    #[inline(never)]
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let handshakes = self
            .handshakes
            .iter()
            .filter(|handshake| {
                !matches!(handshake.stage, handshake::Stage::Free | handshake::Stage::Done)
            })
            .map(|handshake| {
                let end = handshake.end(self.config.handshake_lifetime);
                if handshake.is_timed() { end.min(handshake.deadline) } else { end }
            });
        let records =
            self.records.slots.iter().filter(|s| s.state == State::Sent).map(|s| s.deadline);
        let sessions = (0..self.sessions.len()).filter_map(|index| self.idle_end(index));
        handshakes.chain(records).chain(sessions).min()
    }

    /// When a session ends if nothing more comes. What is not confirmed has a clock of its own.
    fn idle_end(&self, index: usize) -> Option<Instant> {
        let session = self.sessions.get(index)?;
        let idle = self.config.idle_timeout;
        match session.stage {
            Stage::Free | Stage::Failed { .. } => None,
            Stage::Open => Some(session.heard + idle),
            Stage::Closing { .. } if self.records.outgoing(index) > 0 => None,
            Stage::Closing { .. } => Some(session.heard + LINGER.min(idle)),
        }
    }
}
