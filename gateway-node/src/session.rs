//! A connected peer: what is left of a handshake when it is done.

use gateway_common::{
    mapping::{
        ack::{LENGTH as REPORT, Report},
        handshake::{Header, kind},
        record::DTLS_HEADER,
    },
    wire::dtls::content,
};

use crate::{
    Instant, Origin, Peer, SessionId, Suite,
    handshake::{
        flight::{finish, plain},
        hello::SESSION_ID,
        key::{Keys, VERIFY_DATA},
    },
    record::Protection,
    window::Window,
    writer::Writer,
};

/// Where a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No session.
    #[default]
    Free,
    /// Data goes both ways.
    Open,
    /// close_notify is to be sent or confirmed. The caller is told at the end, unless it was told
    /// when the peer closed.
    Closing {
        /// Whether the caller knows.
        told: bool,
    },
    /// A record was given up: a fatal alert is to be sent, once.
    Failed {
        /// Whether the caller knows of the end.
        told: bool,
    },
}

impl Stage {
    /// Whether the caller knows that the session has ended.
    pub(crate) fn is_told(self) -> bool {
        matches!(self, Self::Closing { told: true } | Self::Failed { told: true })
    }
}

/// Final flights that are sent again for a ClientKeyExchange that comes again. More would let
/// anybody drain the node's battery.
const ANSWERS: u8 = 4;

/// A connected peer.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) stage: Stage,
    pub(crate) generation: u16,
    pub(crate) peer: Option<Peer>,
    pub(crate) cipher: Option<(Suite, Origin)>,
    pub(crate) keys: Keys,
    /// Numbers received.
    pub(crate) window: Window,
    /// Number of the next protected record.
    pub(crate) next: u64,
    /// Number of the next plaintext record.
    pub(crate) number: u64,
    /// Most bytes of plaintext in a record.
    pub(crate) limit: u16,
    /// When the last authentic record came.
    pub(crate) heard: Instant,
    /// The front of the ClientHello's random: late copies of it begin nothing.
    pub(crate) hello: [u8; 8],
    pub(crate) session_id: [u8; SESSION_ID],
    pub(crate) answer: Answer,
    /// Whether the peer has sent close_notify after ours.
    pub(crate) answered: bool,
    pub(crate) due: Due,
    /// The handshake slot that has the identity, until the caller was told.
    pub(crate) connected: Option<u8>,
}

/// The final flight of a full handshake, for a client that did not get it.
#[derive(Default)]
pub(crate) struct Answer {
    /// Of the server's Finished.
    pub(crate) message_seq: u16,
    pub(crate) verify_data: [u8; VERIFY_DATA],
    /// Times that it may be sent again.
    pub(crate) left: u8,
}

/// What is to be sent beside data.
#[derive(Clone, Copy, Default)]
pub(crate) struct Due {
    pub(crate) report: bool,
    pub(crate) finish: bool,
    /// Level and description.
    pub(crate) alert: Option<[u8; 2]>,
    /// The caller was refused room and is to be told when there is some.
    pub(crate) ready: bool,
}

impl Answer {
    pub(crate) fn of(message_seq: u16, verify_data: [u8; VERIFY_DATA]) -> Self {
        Self { message_seq, verify_data, left: ANSWERS }
    }
}

impl Session {
    pub(crate) fn id(&self, index: usize) -> SessionId {
        SessionId { index: index as u8, generation: self.generation }
    }

    pub(crate) fn is_peer(&self, peer: Peer) -> bool {
        self.stage != Stage::Free && self.peer == Some(peer)
    }

    #[inline(never)]
    pub(crate) fn is_tls(&self) -> bool {
        self.cipher.is_some_and(|(_, origin)| origin == Origin::Tls)
    }

    /// How records from the peer are opened.
    pub(crate) fn inward(&self) -> Option<Protection<'_>> {
        let (suite, origin) = self.cipher?;
        Some(Protection { suite, origin, key: &self.keys.client })
    }

    /// How records to the peer are sealed.
    pub(crate) fn outward(&self) -> Option<Protection<'_>> {
        let (suite, origin) = self.cipher?;
        Some(Protection { suite, origin, key: &self.keys.server })
    }

    /// Forgets everything but the generation, which moves on.
    pub(crate) fn clear(&mut self) {
        *self = Self { generation: self.generation.wrapping_add(1), ..Self::default() };
    }

    /// The client shows that it misses the final flight.
    pub(crate) fn answer(&mut self) {
        if self.answer.left > 0 && !self.due.finish {
            self.answer.left -= 1;
            self.due.finish = true;
        }
    }

    /// Writes the report that is due.
    pub(crate) fn write_report(&mut self, report: Report, out: &mut Writer<'_>) {
        let header = plain(content::ACK, self.number, REPORT);
        if out.put(&[&header, &report.write()]) {
            self.number += 1;
            self.due.report = false;
        }
    }

    /// Writes the final flight that is due.
    pub(crate) fn write_finish(&mut self, out: &mut Writer<'_>) {
        let Some((suite, origin)) = self.cipher else {
            return;
        };
        let protection = Protection { suite, origin, key: &self.keys.server };
        let Answer { message_seq, verify_data, .. } = &self.answer;
        let header = Header::whole(kind::FINISHED, VERIFY_DATA as u32, *message_seq);
        if finish(protection, header, verify_data, &mut self.number, out) {
            self.due.finish = false;
        }
    }

    /// Most bytes of plaintext in a record of at most `datagram` bytes.
    pub(crate) fn capacity(&self, datagram: usize) -> usize {
        let overhead = self.cipher.map_or(0, |(suite, _)| suite.overhead()) + DTLS_HEADER;
        datagram.saturating_sub(overhead).min(self.limit.into())
    }
}
