//! Handshakes on their way (RFC 4279, RFC 5246 §7.3, RFC 6347 §4.2), one slot each.
//!
//! ```text
//! client or router                               node          Stage
//! ClientHello                     -->
//!                                 <--  (HelloVerifyRequest)     none is kept
//! (ClientHello with cookie)       -->
//!                                 <--  ServerHello              KeyExchange
//!                                      ServerHelloDone
//! ClientKeyExchange               -->                           Finished
//! [ChangeCipherSpec] Finished     -->                           Done: a Session goes on
//!                                 <--  [ChangeCipherSpec] Finished
//!
//! ClientHello with session ID     -->
//!                                 <--  ServerHello              Resumed
//!                                      [ChangeCipherSpec] Finished
//! [ChangeCipherSpec] Finished     -->                           Done
//! ```
//!
//! Whether the client speaks TLS or DTLS shows at its Finished, the first thing that only it can
//! make. Until then nothing it sends is authentic, and nothing can end a handshake but time: another
//! ClientKeyExchange replaces the last one, as the true one comes again with each flight.

pub(crate) mod cookie;
pub(crate) mod finished;
pub(crate) mod flight;
pub(crate) mod hello;
pub(crate) mod key;
pub(crate) mod reassembly;

use gateway_common::mapping::handshake::{Header, kind};
use zeroize::Zeroize;

use crate::{Instant, Origin, Peer, Psk, Suite, psk::IDENTITY_MAX, transcript::Transcript};

use finished::Secrets;
use flight::Flight;
use hello::{Choice, SESSION_ID};
use key::Randoms;

/// Where a handshake stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No handshake.
    Free,
    /// ServerHello and ServerHelloDone are sent.
    KeyExchange,
    /// ClientKeyExchange is here.
    Finished,
    /// ServerHello and Finished of an abbreviated handshake are sent, in this form.
    Resumed(Origin),
    /// The session has begun; the identity stays until the caller has had a chance to read it.
    Done,
}

/// A handshake.
pub(crate) struct Handshake {
    pub(crate) stage: Stage,
    pub(crate) peer: Peer,
    pub(crate) suite: Suite,
    /// Extended Master Secret.
    pub(crate) extended: bool,
    /// Most bytes in a record to the peer.
    pub(crate) limit: u16,
    /// Of the ClientHello, and of the ServerHello.
    pub(crate) message_seq: u16,
    pub(crate) randoms: Randoms,
    pub(crate) session_id: [u8; SESSION_ID],
    transcript: Transcript,
    pub(crate) identity: [u8; IDENTITY_MAX],
    pub(crate) identity_length: u8,
    psk: Option<Psk>,
    pub(crate) secrets: Secrets,
    pub(crate) flight: Flight,
    /// Whether ChangeCipherSpec and Finished of an abbreviated handshake are to be sent.
    finish_due: bool,
    /// Number of the next plaintext record.
    pub(crate) number: u64,
    born: Instant,
    /// When it began, or its first ClientKeyExchange came.
    pub(crate) moved: Instant,
    /// When the flight is sent again.
    pub(crate) deadline: Instant,
    timeout: u32,
    /// ClientHellos that came again and were answered.
    answers: u8,
    trials: u8,
    tried: Instant,
}

/// Answers to a ClientHello that comes again.
const ANSWERS: u8 = 8;

/// Least time without progress, in milliseconds, after which a handshake can be displaced, where the
/// first timeout of a flight is shorter still.
const PATIENCE: u32 = 2_000;

/// Longest timeout of a flight, in milliseconds (RFC 6347 §4.2.4.1).
const TIMEOUT_MAX: u32 = 60_000;

impl Handshake {
    pub(crate) fn new() -> Self {
        Self {
            stage: Stage::Free,
            peer: Peer([0; 18]),
            suite: Suite::Ccm8,
            extended: false,
            limit: 0,
            message_seq: 0,
            randoms: Randoms::default(),
            session_id: [0; SESSION_ID],
            transcript: Transcript::default(),
            identity: [0; IDENTITY_MAX],
            identity_length: 0,
            psk: None,
            secrets: Secrets::default(),
            flight: Flight::new(),
            finish_due: false,
            number: 0,
            born: Instant(0),
            moved: Instant(0),
            deadline: Instant(0),
            timeout: 0,
            answers: 0,
            trials: 0,
            tried: Instant(0),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.stage = Stage::Free;
        self.forget_secrets();
        self.identity.zeroize();
        self.identity_length = 0;
        self.finish_due = false;
        self.answers = 0;
        self.trials = 0;
    }

    /// Begins with a ClientHello that is accepted; the caller has drawn the server's random and the
    /// session ID, which is sent if the session is `named`. `None` where the hello has no image in
    /// TLS.
    #[must_use]
    pub(crate) fn begin(
        &mut self,
        choice: &Choice,
        message_seq: u16,
        hello: &[u8],
        named: bool,
    ) -> Option<()> {
        self.suite = choice.suite;
        self.extended = choice.extended;
        self.limit = choice.limit();
        self.message_seq = message_seq;
        self.transcript.add(kind::CLIENT_HELLO, message_seq, hello)?;
        let random = &self.randoms.server;
        let session_id: &[u8] = if named { &self.session_id } else { &[] };
        let out = &mut self.flight.bytes;
        self.flight.length = choice.server_hello(message_seq, random, session_id, out);
        self.flight.restart();
        let body = self.flight.bytes.get(12..self.flight.length)?;
        self.transcript.add(kind::SERVER_HELLO, message_seq, body)
    }

    /// Ends the flight of a full handshake.
    #[must_use]
    pub(crate) fn hello_done(&mut self) -> Option<()> {
        let message_seq = self.message_seq + 1;
        let header = Header::whole(kind::SERVER_HELLO_DONE, 0, message_seq).write();
        let place = self.flight.bytes.get_mut(self.flight.length..)?.first_chunk_mut()?;
        *place = header;
        self.flight.length += header.len();
        self.stage = Stage::KeyExchange;
        self.transcript.add(kind::SERVER_HELLO_DONE, message_seq, &[])
    }

    /// Takes the identity of a ClientKeyExchange, and the key for it. Only the first one is progress,
    /// or others could keep the slot by as many as they like.
    pub(crate) fn key_exchange(&mut self, now: Instant, identity: &[u8], psk: Psk) {
        if self.stage == Stage::KeyExchange {
            self.moved = now;
        }
        self.set_identity(identity);
        self.psk = Some(psk);
        self.secrets = Secrets::default();
        self.stage = Stage::Finished;
    }

    fn set_identity(&mut self, identity: &[u8]) {
        if let Some(place) = self.identity.get_mut(..identity.len()) {
            place.copy_from_slice(identity);
            self.identity_length = identity.len() as u8;
        }
    }

    /// Keeps the identity, and nothing else that is secret or large.
    pub(crate) fn forget_secrets(&mut self) {
        self.psk = None;
        self.secrets = Secrets::default();
        self.transcript.clear();
    }

    pub(crate) fn identity(&self) -> &[u8] {
        self.identity.get(..usize::from(self.identity_length)).unwrap_or_default()
    }

    /// Takes the slot, and starts the clocks.
    pub(crate) fn start(&mut self, peer: Peer, number: u64, now: Instant, timeout: u32) {
        (self.peer, self.number) = (peer, number);
        (self.born, self.moved, self.tried, self.timeout) = (now, now, now, timeout);
        self.deadline = now + timeout;
    }

    /// The ClientHello came again: so does the flight, a few times.
    pub(crate) fn answer(&mut self, now: Instant) {
        if self.answers < ANSWERS && self.stage != Stage::Done {
            self.answers += 1;
            self.resend(now);
        }
    }

    /// Sends the flight again.
    pub(crate) fn resend(&mut self, now: Instant) {
        self.flight.restart();
        self.finish_due = matches!(self.stage, Stage::Resumed(_));
        self.deadline = now + self.timeout;
    }

    /// Doubles the timeout when it has run out.
    pub(crate) fn back_off(&mut self) {
        self.timeout = self.timeout.saturating_mul(2).min(TIMEOUT_MAX);
    }

    /// Whether the flight is sent again at the deadline: until the client has shown that it has it.
    pub(crate) fn is_timed(&self) -> bool {
        matches!(self.stage, Stage::KeyExchange | Stage::Resumed(_))
    }

    /// Whether someone else may have the slot: it did not move for the first timeout of a flight,
    /// in which a client that is there would have answered.
    pub(crate) fn is_displaceable(&self, now: Instant, flight_timeout: u32) -> bool {
        match self.stage {
            Stage::Free => true,
            Stage::Done => false,
            Stage::KeyExchange | Stage::Finished | Stage::Resumed(_) => {
                now >= self.moved + flight_timeout.max(PATIENCE)
            }
        }
    }

    /// When it is forgotten.
    pub(crate) fn end(&self, lifetime: u32) -> Instant {
        self.born + lifetime
    }
}
