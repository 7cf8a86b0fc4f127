//! A verified Finished makes a session.

use crate::{
    Evict, Origin, Why,
    counters::count,
    handshake,
    resumption::place,
    session::{Answer, Session, Stage},
    window::Window,
};

use super::Engine;

impl Engine<'_> {
    /// Begins the session of a handshake whose client is authentic; only now an older one of the
    /// same peer ends (RFC 6347 §4.2.8).
    pub(super) fn connect(&mut self, slot: usize, origin: Origin, number: u64) {
        let Some(index) = self.session_slot(slot) else {
            return count(&mut self.common.counters.crowded);
        };
        let Some(full) = self.open_session(slot, index, origin, number) else {
            return;
        };
        count(&mut self.common.counters.connected);
        if full {
            self.store(slot, origin);
        }
        if let Some(handshake) = self.handshakes.get_mut(slot) {
            handshake.forget_secrets();
        }
    }

    /// Moves what a session needs out of the handshake; whether that was a full one.
    fn open_session(
        &mut self,
        slot: usize,
        index: usize,
        origin: Origin,
        number: u64,
    ) -> Option<bool> {
        let handshake = self.handshakes.get_mut(slot)?;
        let session = self.sessions.get_mut(index)?;
        let mut window = Window::default();
        window.update(number);
        let full = handshake.stage == handshake::Stage::Finished;
        let answer = if full {
            let message_seq = handshake.server_finished().message_seq;
            Answer::of(message_seq, handshake.secrets.finished)
        } else {
            Answer::default()
        };
        *session = Session {
            stage: Stage::Open,
            generation: session.generation,
            peer: Some(handshake.peer),
            cipher: Some((handshake.suite, origin)),
            keys: core::mem::take(&mut handshake.secrets.keys),
            window,
            next: 1,
            number: handshake.number,
            limit: handshake.limit,
            heard: self.common.now,
            hello: handshake.randoms.client.first_chunk().copied().unwrap_or_default(),
            session_id: handshake.session_id,
            answer,
            connected: Some(slot as u8),
            ..Session::default()
        };
        session.due.finish = full;
        session.due.report = origin == Origin::Tls;
        handshake.stage = handshake::Stage::Done;
        Some(full)
    }

    /// A slot for the session: the one of the same peer, a free one, or another's.
    fn session_slot(&mut self, slot: usize) -> Option<usize> {
        let peer = self.handshakes.get(slot)?.peer;
        if let Some(index) = self.session_of(peer) {
            self.end(index, Why::Replaced);
            return Some(index);
        }
        let (index, session) = self.sessions.iter().enumerate().min_by_key(|(_, session)| {
            // free ones first, then those that are closing, then the one idle the longest
            match session.stage {
                Stage::Free => (0, session.heard),
                Stage::Closing { .. } | Stage::Failed { .. } => (1, session.heard),
                Stage::Open => (2, session.heard),
            }
        })?;
        match (session.stage, self.config.evict) {
            (Stage::Open, Evict::Never) => return None,
            (Stage::Open | Stage::Closing { .. } | Stage::Failed { .. }, _) => {
                self.end(index, Why::Evicted)
            }
            (Stage::Free, _) => {}
        }
        Some(index)
    }

    /// Keeps what resumption needs.
    fn store(&mut self, slot: usize, origin: Origin) {
        let Some(handshake) = self.handshakes.get(slot) else {
            return;
        };
        let Some(entry) = place(self.resumable) else {
            return;
        };
        let identity = handshake.identity();
        let Some(place) = entry.identity.get_mut(..identity.len()) else {
            return;
        };
        if handshake.extended {
            place.copy_from_slice(identity);
            entry.identity_length = identity.len() as u8;
            entry.cipher = Some((handshake.suite, origin));
            entry.id = handshake.session_id;
            entry.master = handshake.secrets.master.clone();
            entry.stored = self.common.now;
        }
    }
}
