//! Sealed records that wait: to be sent, to be confirmed, or for a gap before them to close.
//!
//! One pool for all sessions. Records are kept sealed: they cost 29 bytes more than their plaintext
//! and are sent again without a cipher.

use crate::Instant;

/// What a slot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Free,
    /// To be sent.
    Due,
    /// Sent to a mapped client, not yet confirmed.
    Sent,
    /// Received from a mapped client before its turn.
    Held,
}

/// A slot.
#[derive(Clone, Copy, Default)]
pub(crate) struct Slot {
    pub(crate) state: State,
    pub(crate) session: u8,
    pub(crate) retries: u8,
    length: u16,
    pub(crate) number: u64,
    pub(crate) deadline: Instant,
    pub(crate) timeout: u32,
}

/// The pool: slot `i` has the i-th `size` bytes.
pub(crate) struct Records<'a> {
    pub(crate) slots: &'a mut [Slot],
    pub(crate) bytes: &'a mut [u8],
    pub(crate) size: usize,
}

impl Records<'_> {
    /// An empty slot.
    pub(crate) fn free(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.state == State::Free)
    }

    /// All the bytes of a slot.
    pub(crate) fn space(&mut self, index: usize) -> &mut [u8] {
        let from = index * self.size;
        self.bytes.get_mut(from..from + self.size).unwrap_or_default()
    }

    /// What is in a slot.
    pub(crate) fn contents(&self, index: usize) -> &[u8] {
        let from = index * self.size;
        let length = self.slots.get(index).map_or(0, |slot| usize::from(slot.length));
        self.bytes.get(from..from + length).unwrap_or_default()
    }

    /// Says what was put into a slot.
    pub(crate) fn fill(
        &mut self,
        index: usize,
        state: State,
        session: usize,
        number: u64,
        length: usize,
    ) {
        if let Some(slot) = self.slots.get_mut(index) {
            let (session, length) = (session as u8, length as u16);
            *slot = Slot { state, session, length, number, ..Slot::default() };
        }
    }

    pub(crate) fn release(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.state = State::Free;
        }
    }

    /// Frees the slots of a session.
    pub(crate) fn release_all(&mut self, session: usize) {
        for slot in self.slots.iter_mut().filter(|slot| usize::from(slot.session) == session) {
            slot.state = State::Free;
        }
    }

    /// The slots of a session.
    pub(crate) fn of(&self, session: usize) -> impl Iterator<Item = (usize, &Slot)> {
        self.slots
            .iter()
            .enumerate()
            .filter(move |(_, slot)| usize::from(slot.session) == session)
            .filter(|(_, slot)| slot.state != State::Free)
    }

    /// Records of a session that are not confirmed.
    pub(crate) fn outgoing(&self, session: usize) -> usize {
        self.of(session).filter(|(_, slot)| slot.state != State::Held).count()
    }

    /// The first record of a session that is to be sent.
    pub(crate) fn first_due(&self, session: usize) -> Option<usize> {
        self.of(session)
            .filter(|(_, slot)| slot.state == State::Due)
            .min_by_key(|(_, slot)| slot.number)
            .map(|(index, _)| index)
    }

    /// A record of a session that waited for this number.
    pub(crate) fn held(&self, session: usize, number: u64) -> Option<usize> {
        self.of(session)
            .find(|(_, slot)| slot.state == State::Held && slot.number == number)
            .map(|(index, _)| index)
    }
}
