//! Sessions that can be resumed by their ID, each in the form in which it began: the server's
//! Finished goes first then, when nothing has told yet what the client speaks (RFC 5246 §7.3).

use crate::{
    Instant, Origin, Suite,
    handshake::{hello::SESSION_ID, key::Master},
};

/// Longest identity in bytes of a session that can be resumed.
pub(crate) const IDENTITY: usize = 32;

/// What is kept of a session. All have Extended Master Secret: RFC 7627 §5.3 advises against
/// resuming others. An entry that is overwritten wipes its master secret.
#[derive(Default)]
pub(crate) struct Resumable {
    /// `None`: the entry is empty.
    pub(crate) cipher: Option<(Suite, Origin)>,
    pub(crate) id: [u8; SESSION_ID],
    pub(crate) master: Master,
    pub(crate) identity: [u8; IDENTITY],
    pub(crate) identity_length: u8,
    pub(crate) stored: Instant,
}

impl Resumable {
    /// Whether this is the session `id`, and still young enough.
    pub(crate) fn is(&self, id: &[u8], now: Instant, lifetime: u32) -> bool {
        self.cipher.is_some() && self.id == id && !self.is_expired(now, lifetime)
    }

    /// Whether this was kept long enough, and its master secret is to be wiped.
    pub(crate) fn is_expired(&self, now: Instant, lifetime: u32) -> bool {
        self.cipher.is_some() && now >= self.stored + lifetime
    }

    pub(crate) fn identity(&self) -> &[u8] {
        self.identity.get(..usize::from(self.identity_length)).unwrap_or_default()
    }
}

/// The entry that a new session may have: an empty one, or the oldest.
pub(crate) fn place(entries: &mut [Resumable]) -> Option<&mut Resumable> {
    entries.iter_mut().min_by_key(|entry| entry.cipher.map(|_| entry.stored))
}
