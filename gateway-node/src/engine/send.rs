//! Data and alerts on their way out.

use gateway_common::{mapping::sequence::NUMBER_MAX, wire::dtls::content};

use crate::{
    SendError, SessionId,
    alert::{CLOSE_NOTIFY, WARNING},
    records::State,
    session::Stage,
};

use super::Engine;

impl Engine<'_> {
    pub(crate) fn send(&mut self, id: SessionId, plaintext: &[u8]) -> Result<(), SendError> {
        let index = self.session_at(id).ok_or(SendError::Closed)?;
        let capacity = self.capacity(id).ok_or(SendError::Closed)?;
        if plaintext.len() > capacity {
            return Err(SendError::TooLong(capacity));
        }
        if self.queue(index, content::APPLICATION_DATA, plaintext).is_none() {
            if let Some(session) = self.sessions.get_mut(index) {
                session.due.ready = true;
            }
            return Err(SendError::Busy);
        }
        Ok(())
    }

    pub(crate) fn capacity(&self, id: SessionId) -> Option<usize> {
        let datagram = self.config.datagram().min(self.records.size);
        let session = self.sessions.get(self.session_at(id)?)?;
        Some(session.capacity(datagram))
    }

    pub(crate) fn close(&mut self, id: SessionId) {
        if let Some(index) = self.session_at(id)
            && let Some(session) = self.sessions.get_mut(index)
        {
            session.stage = Stage::Closing { told: false };
            session.due.alert = Some([WARNING, CLOSE_NOTIFY]);
            session.heard = self.common.now;
        }
    }

    /// Whether another record of a session may go out. A mapped client's are counted: each stays
    /// until it is confirmed.
    pub(super) fn has_room(&self, index: usize) -> bool {
        let mapped = self.sessions.get(index).is_some_and(|session| session.is_tls());
        let window = usize::from(self.config.ack_window.clamp(1, 4));
        self.records.free().is_some() && (!mapped || self.records.outgoing(index) < window)
    }

    /// Seals a record into a slot; `None` where there is no room.
    pub(super) fn queue(&mut self, index: usize, content: u8, plaintext: &[u8]) -> Option<()> {
        if !self.has_room(index) {
            return None;
        }
        let slot = self.records.free()?;
        let session = self.sessions.get_mut(index)?;
        let number = session.next;
        if number > NUMBER_MAX {
            return None;
        }
        let space = self.records.space(slot);
        let length = session.outward()?.seal(content, number, plaintext, space)?;
        session.next += 1;
        self.records.fill(slot, State::Due, index, number, length);
        Some(())
    }
}
