//! The server's work, without the sizes of its tables: compiled once for all of them.

mod connect;
mod hello;
mod input;
pub(crate) mod output;
mod protected;
mod send;
mod timer;

use crate::{
    Config, Counters, Instant, Peer, PskStore, Random, SessionId, Why,
    handshake::{
        Handshake,
        cookie::{Baker, COOKIE},
        reassembly::{Holder, Reassembly},
    },
    records::Records,
    resumption::Resumable,
    session::{Session, Stage},
};
use gateway_common::mapping::record::DtlsHeader;

/// What is neither a table nor the caller's.
pub(crate) struct Common {
    pub(crate) now: Instant,
    pub(crate) counters: Counters,
    pub(crate) baker: Baker,
    /// The datagram in the caller's buffer.
    pub(crate) datagram: Option<Datagram>,
    /// Who has the reassembly buffer.
    pub(crate) holder: Option<Holder>,
    /// An answer that needs no state.
    pub(crate) reply: Option<(Peer, DtlsHeader, Reply)>,
    /// A session of which the caller has to be told that it is no more.
    pub(crate) ended: Option<(SessionId, Why)>,
    /// The session and the handshake slot that the caller was told of last.
    pub(crate) proved: Option<(SessionId, u8)>,
}

/// A datagram that is being read.
#[derive(Clone, Copy)]
pub(crate) struct Datagram {
    pub(crate) peer: Peer,
    /// Where the next record starts.
    pub(crate) at: usize,
    pub(crate) end: usize,
}

/// An answer that needs no state.
#[derive(Clone, Copy)]
pub(crate) enum Reply {
    HelloVerifyRequest([u8; COOKIE]),
    /// A fatal alert.
    Alert(u8),
}

/// A server at work.
pub(crate) struct Engine<'a> {
    pub(crate) config: &'a Config,
    pub(crate) keys: &'a dyn PskStore,
    pub(crate) random: &'a mut dyn Random,
    pub(crate) common: &'a mut Common,
    pub(crate) sessions: &'a mut [Session],
    pub(crate) handshakes: &'a mut [Handshake],
    pub(crate) resumable: &'a mut [Resumable],
    pub(crate) records: Records<'a>,
    pub(crate) reassembly: &'a mut [u8],
}

impl Common {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self {
            now: Instant(0),
            counters: Counters::default(),
            baker: Baker { secret: *secret },
            datagram: None,
            holder: None,
            reply: None,
            ended: None,
            proved: None,
        }
    }
}

impl Engine<'_> {
    /// The buffer in which fragments are joined.
    fn assembly(&mut self) -> Reassembly<'_> {
        Reassembly { bytes: self.reassembly, holder: &mut self.common.holder }
    }

    fn session_of(&self, peer: Peer) -> Option<usize> {
        self.sessions.iter().position(|session| session.is_peer(peer))
    }

    /// The slot of a session that the caller knows.
    pub(crate) fn session_at(&self, id: SessionId) -> Option<usize> {
        let index = usize::from(id.index);
        let session = self.sessions.get(index)?;
        (session.stage == Stage::Open && session.generation == id.generation).then_some(index)
    }

    fn handshake_of(&self, peer: Peer) -> Option<usize> {
        use crate::handshake::Stage;
        self.handshakes.iter().position(|handshake| {
            handshake.peer == peer && !matches!(handshake.stage, Stage::Free | Stage::Done)
        })
    }

    /// Frees a session; the caller will be told unless it knows.
    fn end(&mut self, index: usize, why: Why) {
        self.records.release_all(index);
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        if !session.stage.is_told() && session.connected.is_none() {
            self.common.ended = Some((session.id(index), why));
        }
        if let Some(slot) = session.connected
            && let Some(handshake) = self.handshakes.get_mut(usize::from(slot))
        {
            handshake.clear();
        }
        session.clear();
    }
}
