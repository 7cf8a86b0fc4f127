//! What a node speaks and bears, and how patient the gateway is with it: configuration, shared by
//! all connections to the node.
use std::time::Duration;

use gateway_common::mapping::{handshake, record};

/// How connections to one node are mapped. Nothing in it knows a key exchange: which suites a node
/// speaks is for the one who configures it to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Cipher suites that the node speaks, by IANA's numbers. RSA and RSA_PSK are never let
    /// through, whatever stands here (`protocol.md` A3).
    pub suites: Vec<u16>,
    /// Bytes of UDP payload that reach the node unfragmented: 1,280 less the headers of IPv6 and
    /// UDP. What the gateway frames itself is sized to it.
    pub max_datagram: usize,
    /// Greatest handshake message, either way, that is put together again, in bytes of its body.
    pub handshake_limit: usize,
    /// Protected records on their way to the node unacknowledged, 1 to 4 (NSTART of RFC 7252 §4.7).
    pub window: u8,
    /// First timer of a handshake flight, doubled each time up to 60 s (RFC 7925 §11: 9 s).
    pub retransmit: Duration,
    /// From the first ClientHello byte until both sides' Finished arrived.
    pub handshake_timeout: Duration,
    /// First timer of a protected record; times 1 to 1.5 by chance, doubled each time
    /// (RFC 7252 §4.8).
    pub ack_timeout: Duration,
    /// How often a protected record is sent again before the node counts as gone.
    pub retries: u8,
    /// How long a connection half closed is waited for, before it is reset (`protocol.md` A13).
    pub linger: Duration,
    /// A connection without a record either way for so long is reset.
    pub idle: Duration,
    /// Bytes on their way to the node above which no more are taken from the back-end.
    pub queue_limit: usize,
    /// Whether a HelloVerifyRequest is answered, as RFC 6347 §4.2.1 asks of a client. Otherwise it
    /// ends the connection.
    pub cookies: bool,
}

/// Of IPv6's minimum MTU of 1,280 bytes, without the headers of IPv6 and UDP (RFC 8200 §5).
const MAX_DATAGRAM: usize = 1280 - 40 - 8;
/// Less than the smallest MTU with headers leaves no room for a handshake fragment worth sending.
const MIN_DATAGRAM: usize = 64;
const MAX_WINDOW: u8 = 4;
/// A record in clear without a handshake header (RFC 5246 §6.2.1).
const HANDSHAKE_MAX: usize = (1 << 14) - handshake::TLS_HEADER;

impl Policy {
    /// The defaults for a node that speaks `suites`.
    pub fn new(suites: Vec<u16>) -> Self {
        Self {
            suites,
            max_datagram: MAX_DATAGRAM,
            handshake_limit: 4096,
            window: 1,
            retransmit: Duration::from_secs(9),
            handshake_timeout: Duration::from_secs(120),
            ack_timeout: Duration::from_secs(2),
            retries: 4,
            linger: Duration::from_secs(5),
            idle: Duration::from_secs(30 * 60),
            queue_limit: 8 << 10,
            cookies: true,
        }
    }

    /// Bytes that a datagram of the gateway's own framing may have.
    pub(super) fn datagram(&self) -> usize {
        self.max_datagram.max(MIN_DATAGRAM)
    }

    /// Bytes that the fragment of a protected record towards the node may have: it cannot be cut
    /// without the key, and must fit a datagram (RFC 6347 §4.1.1).
    pub(super) fn record(&self) -> usize {
        self.datagram() - record::DTLS_HEADER
    }

    /// Greatest handshake message: no more than one TLS record holds, as some stack refuses a
    /// message that is cut over two.
    pub(super) fn handshake(&self) -> usize {
        self.handshake_limit.min(HANDSHAKE_MAX)
    }

    /// How long a node tries to send a record: MAX_TRANSMIT_WAIT of RFC 7252 §4.8.2. The node is
    /// taken to be as patient as the gateway.
    pub(super) fn transmit_wait(&self) -> Duration {
        let times = 1u32.checked_shl(u32::from(self.retries) + 1).map_or(u32::MAX, |all| all - 1);
        self.ack_timeout.saturating_mul(3).saturating_mul(times) / 2
    }

    /// Protected records in flight, within what the ARQ can name.
    pub(super) fn window(&self) -> usize {
        self.window.clamp(1, MAX_WINDOW).into()
    }
}
