//! The server: datagrams and time in, datagrams, data and events out.

use zeroize::Zeroizing;

use crate::{
    Config, Counters, DATAGRAM_MIN, Instant, Peer, PskStore, Random,
    counters::count,
    engine::{Common, Datagram, Engine, output::Step},
    handshake::{self, Handshake},
    records::{Records, Slot},
    resumption::Resumable,
    session::{self, Session},
};

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

/// A DTLS 1.2-PSK server with room for `SESSIONS` connected peers and `HANDSHAKES` on their way, at
/// most 255 of each.
///
/// `RESUMABLE` sessions can be resumed later. `RECORDS` records of up to `DATAGRAM` bytes wait for
/// being sent or confirmed, at least one; all sessions share them, as they share the `REASSEMBLY`
/// bytes in which fragmented messages are joined (8 of 9 bytes hold the message).
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
    common: Common,
    sessions: [Session; SESSIONS],
    handshakes: [Handshake; HANDSHAKES],
    pub(crate) resumable: [Resumable; RESUMABLE],
    slots: [Slot; RECORDS],
    records: [[u8; DATAGRAM]; RECORDS],
    reassembly: [u8; REASSEMBLY],
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
    #[inline(never)]
    pub fn new(config: Config, keys: K, mut random: R) -> Self {
        const {
            assert!(SESSIONS <= 255 && HANDSHAKES <= 255 && RECORDS > 0 && DATAGRAM >= DATAGRAM_MIN)
        };
        let mut secret = Zeroizing::new([0; 32]);
        random.fill(secret.as_mut_slice());
        Self {
            config,
            keys,
            random,
            common: Common::new(&secret),
            sessions: core::array::from_fn(|_| Session::default()),
            handshakes: core::array::from_fn(|_| Handshake::new()),
            resumable: core::array::from_fn(|_| Resumable::default()),
            slots: [Slot::default(); RECORDS],
            records: [[0; DATAGRAM]; RECORDS],
            reassembly: [0; REASSEMBLY],
        }
    }

    /// Takes a datagram from `peer`. It is read where it is: the next calls of
    /// [`Server::poll_output`], until one says [`Output::Timeout`], must get a buffer that begins
    /// with it.
    pub fn handle_datagram(&mut self, now: Instant, peer: Peer, datagram: &[u8]) {
        self.handle_timeout(now);
        let common = &mut self.common;
        let next = Datagram { peer, at: 0, end: datagram.len() };
        if common.datagram.replace(next).is_some() {
            count(&mut common.counters.crowded);
        }
    }

    /// Tells the time when nothing else happened.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.common.now = self.common.now.max(now);
    }

    /// What is to be done next; to be called until it says [`Output::Timeout`], after each of the
    /// other calls. The buffer has [`Config::max_datagram`] bytes or more.
    pub fn poll_output<'b>(&mut self, buffer: &'b mut [u8]) -> Output<'b> {
        match self.engine().poll(buffer) {
            Step::Transmit(peer, length) => {
                Output::Transmit { peer, datagram: buffer.get(..length).unwrap_or_default() }
            }
            Step::Connected(session, origin) => Output::Connected { session, origin },
            Step::Data(session, range) => {
                Output::Data { session, data: buffer.get_mut(range).unwrap_or_default() }
            }
            Step::Ready(session) => Output::Ready { session },
            Step::Closed(session, why) => Output::Closed { session, why },
            Step::Timeout(at) => Output::Timeout(at),
        }
    }

    /// Seals `plaintext` as one record, which [`Server::poll_output`] will transmit; to a TLS origin
    /// again until it is confirmed.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub fn send(
        &mut self,
        now: Instant,
        session: SessionId,
        plaintext: &[u8],
    ) -> Result<(), SendError> {
        self.handle_timeout(now);
        self.engine().send(session, plaintext)
    }

    /// Most bytes that [`Server::send`] takes at once: what a datagram holds, or what the client
    /// asked for (RFC 6066 §4). `None` where there is no such session.
    pub fn capacity(&mut self, session: SessionId) -> Option<usize> {
        self.engine().capacity(session)
    }

    /// Ends a session with close_notify, after what is queued. [`Output::Closed`] will tell when it
    /// has arrived, or is sent if nothing confirms it.
    pub fn close(&mut self, now: Instant, session: SessionId) {
        self.handle_timeout(now);
        self.engine().close(session);
    }

    /// The identity that the peer of a session has proved: known from [`Output::Connected`] to the
    /// next call of [`Server::poll_output`].
    pub fn identity(&self, session: SessionId) -> Option<&[u8]> {
        let (_, slot) = self.common.proved.filter(|(id, _)| *id == session)?;
        Some(self.handshakes.get(usize::from(slot))?.identity())
    }

    /// What was dropped and why.
    pub fn counters(&self) -> &Counters {
        &self.common.counters
    }

    /// Whether nobody is connected, or on the way to it.
    pub fn is_empty(&self) -> bool {
        self.sessions.iter().all(|session| session.stage == session::Stage::Free)
            && self.handshakes.iter().all(|handshake| handshake.stage == handshake::Stage::Free)
    }

    fn engine(&mut self) -> Engine<'_> {
        Engine {
            config: &self.config,
            keys: &self.keys,
            random: &mut self.random,
            common: &mut self.common,
            sessions: &mut self.sessions,
            handshakes: &mut self.handshakes,
            resumable: &mut self.resumable,
            records: Records {
                slots: &mut self.slots,
                bytes: self.records.as_flattened_mut(),
                size: DATAGRAM,
            },
            reassembly: &mut self.reassembly,
        }
    }
}
