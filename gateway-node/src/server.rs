//! The server: datagrams and time in, datagrams, data and events out.

use crate::{Config, Counters, Instant, Peer, PskStore, Random};

/// In whose form the peer made its records (E2E §V-B).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A DTLS client.
    Dtls,
    /// A TLS client behind a border router that maps records.
    Tls,
}

/// A session, from [`Output::Connected`] to [`Output::Closed`]; stale ones are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId {
    pub(crate) index: u8,
    pub(crate) generation: u16,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The peer said so (close_notify).
    Peer,
    /// The peer sent a fatal alert with this number (RFC 5246 §7.2).
    Alert(u8),
    /// [`Server::close`] was called, and what was to be sent is sent.
    Local,
    /// No authentic record for [`Config::idle_timeout`].
    Idle,
    /// A mapped client's side did not confirm a record after four retries.
    Unreachable,
    /// The same peer completed another handshake (RFC 6347 §4.2.8).
    Replaced,
    /// Another peer needed the room.
    Evicted,
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no such session, or it is closing.
    Closed,
    /// No room now: [`Output::Ready`] will tell.
    Busy,
    /// More than fits a record: so many bytes do.
    TooLong(usize),
}

/// What the caller is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'b> {
    /// Send this datagram.
    Transmit {
        /// To whom.
        peer: Peer,
        /// The UDP payload.
        datagram: &'b [u8],
    },
    /// A handshake is complete. [`Server::identity`] knows the identity until the next call of
    /// [`Server::poll_output`].
    Connected {
        /// The new session.
        session: SessionId,
        /// DTLS, or TLS through the border.
        origin: Origin,
    },
    /// Data from the peer, decrypted where it arrived. Of a TLS origin these are pieces of a byte
    /// stream without gaps; of a DTLS origin, messages that may be lost or re-ordered.
    Data {
        /// From whom.
        session: SessionId,
        /// What.
        data: &'b mut [u8],
    },
    /// [`Server::send`] had answered [`SendError::Busy`] and has room now.
    Ready {
        /// Where.
        session: SessionId,
    },
    /// A session has ended.
    Closed {
        /// Which; it is not valid any more.
        session: SessionId,
        /// Why.
        why: Why,
    },
    /// Nothing until the next datagram, or until this instant if there is one.
    Timeout(Option<Instant>),
}

/// A DTLS 1.2-PSK server with room for `SESSIONS` connected peers and `HANDSHAKES` on their way.
///
/// `RESUMABLE` sessions can be resumed later. `RECORDS` records of up to `DATAGRAM` bytes wait for
/// being sent or confirmed; all sessions share them, as they share the `REASSEMBLY` bytes in which
/// fragmented messages are joined (8 of 9 bytes hold the message).
#[derive(Debug)]
pub struct Server<
    K,
    R,
    const SESSIONS: usize = 4,
    const HANDSHAKES: usize = 2,
    const RESUMABLE: usize = 4,
    const RECORDS: usize = 2,
    const DATAGRAM: usize = 1_232,
    const REASSEMBLY: usize = 1_800,
> {
    config: Config,
    keys: K,
    random: R,
    counters: Counters,
    now: Instant,
}

impl<
    K: PskStore,
    R: Random,
    const SESSIONS: usize,
    const HANDSHAKES: usize,
    const RESUMABLE: usize,
    const RECORDS: usize,
    const DATAGRAM: usize,
    const REASSEMBLY: usize,
> Server<K, R, SESSIONS, HANDSHAKES, RESUMABLE, RECORDS, DATAGRAM, REASSEMBLY>
{
    /// A server without sessions.
    pub fn new(config: Config, keys: K, random: R) -> Self {
        Self { config, keys, random, counters: Counters::default(), now: Instant(0) }
    }

    /// Takes a datagram from `peer`. It stays in the caller's buffer: the next calls of
    /// [`Server::poll_output`] must get the buffer that begins with it.
    pub fn handle_datagram(&mut self, now: Instant, _peer: Peer, _datagram: &[u8]) {
        self.now = self.now.max(now);
    }

    /// Tells the time when nothing else happened.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// What is to be done next; to be called until it says [`Output::Timeout`].
    pub fn poll_output<'b>(&mut self, _buffer: &'b mut [u8]) -> Output<'b> {
        Output::Timeout(None)
    }

    /// Seals `plaintext` as one record and queues it.
    pub fn send(
        &mut self,
        now: Instant,
        _session: SessionId,
        _plaintext: &[u8],
    ) -> Result<(), SendError> {
        self.now = self.now.max(now);
        Err(SendError::Closed)
    }

    /// Most bytes that [`Server::send`] takes at once.
    pub fn capacity(&self, _session: SessionId) -> Option<usize> {
        None
    }

    /// Ends a session with close_notify, after what is queued.
    pub fn close(&mut self, now: Instant, _session: SessionId) {
        self.now = self.now.max(now);
    }

    /// The identity that the peer of a session proved, right after [`Output::Connected`].
    pub fn identity(&self, _session: SessionId) -> Option<&[u8]> {
        None
    }

    /// What was dropped and why.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
