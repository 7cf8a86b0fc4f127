//! Every way a mapped connection can end, with its name for counters, its text for people and,
//! where one can still be read, the alert for the back-end.
use std::fmt;

use gateway_common::{
    mapping::record::{self, TlsHeader},
    wire::dtls::content,
};

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Both sides closed.
    Closed,
    /// An alert in clear, from either side, ended the handshake.
    Alert,
    /// What came first is no TLS, or a record or message does not parse.
    Malformed,
    /// A message or record that has no place at this point.
    Unexpected,
    /// The back-end offers no TLS 1.2, or changed its mind.
    Version,
    /// None of the suites that the back-end offers is one of the node's.
    NoCommonSuite,
    /// A handshake message over the limit.
    Oversize,
    /// A record over what TLS allows.
    RecordOverflow,
    /// No node of this name.
    UnknownName,
    /// As many handshakes with this node, or of this source, as are allowed.
    Busy,
    /// The node chose another version than DTLS 1.2.
    NodeVersion,
    /// The node chose a suite that is not one of its own, or one that must not be mapped.
    NodeSuite,
    /// The node's message does not parse, or is over the limit.
    NodeMalformed,
    /// The node asks for a cookie, which the policy forbids.
    Cookie,
    /// A protected record does not fit the node's network.
    RecordTooLarge,
    /// A handshake in an established connection.
    Renegotiation,
    /// The handshake did not end in time.
    HandshakeTimeout,
    /// The node did not acknowledge a record.
    NoAnswer,
    /// A record of the node is missing, and it has had the time to send it again.
    Gap,
    /// The back-end closed the stream without closing the session, and the node has had its time.
    Truncated,
    /// Nothing came for too long.
    Idle,
}

/// The level of an alert that ends the connection (RFC 5246 §7.2).
pub(super) const FATAL: u8 = 2;
/// The one alert that ends it without an error (RFC 5246 §7.2.1).
pub(super) const CLOSE_NOTIFY: u8 = 0;

impl Reason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 21] = [
        Self::Closed,
        Self::Alert,
        Self::Malformed,
        Self::Unexpected,
        Self::Version,
        Self::NoCommonSuite,
        Self::Oversize,
        Self::RecordOverflow,
        Self::UnknownName,
        Self::Busy,
        Self::NodeVersion,
        Self::NodeSuite,
        Self::NodeMalformed,
        Self::Cookie,
        Self::RecordTooLarge,
        Self::Renegotiation,
        Self::HandshakeTimeout,
        Self::NoAnswer,
        Self::Gap,
        Self::Truncated,
        Self::Idle,
    ];

    /// Its name in counters and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Alert => "alert",
            Self::Malformed => "malformed",
            Self::Unexpected => "unexpected",
            Self::Version => "version",
            Self::NoCommonSuite => "no_common_suite",
            Self::Oversize => "oversize",
            Self::RecordOverflow => "record_overflow",
            Self::UnknownName => "unknown_name",
            Self::Busy => "busy",
            Self::NodeVersion => "node_version",
            Self::NodeSuite => "node_suite",
            Self::NodeMalformed => "node_malformed",
            Self::Cookie => "cookie",
            Self::RecordTooLarge => "record_too_large",
            Self::Renegotiation => "renegotiation",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::NoAnswer => "no_answer",
            Self::Gap => "gap",
            Self::Truncated => "truncated",
            Self::Idle => "idle",
        }
    }

    /// The alert in clear that tells the back-end, as a whole TLS record. `None` where no alert
    /// fits. After the node's ChangeCipherSpec none can be read any more, and only a reset is left.
    ///
    /// A message over the gateway's limit gets handshake_failure and not record_overflow: no record
    /// broke TLS's limit; the two sides have no acceptable set of parameters, and a back-end that
    /// offers fewer key shares gets through (RFC 5246 §7.2.2).
    pub fn alert(self) -> Option<[u8; 7]> {
        let description = self.description()?;
        let header =
            TlsHeader { content: content::ALERT, version: record::TLS12, length: 2 }.write();
        let [content, major, minor, high, low] = header;
        Some([content, major, minor, high, low, FATAL, description])
    }

    const fn description(self) -> Option<u8> {
        match self {
            Self::Unexpected => Some(10),
            Self::RecordOverflow => Some(22),
            Self::NoCommonSuite
            | Self::Oversize
            | Self::NodeSuite
            | Self::NodeMalformed
            | Self::Cookie => Some(40),
            Self::Malformed => Some(50),
            Self::Version | Self::NodeVersion => Some(70),
            Self::Busy | Self::HandshakeTimeout => Some(80),
            Self::UnknownName => Some(112),
            Self::Closed
            | Self::Alert
            | Self::RecordTooLarge
            | Self::Renegotiation
            | Self::NoAnswer
            | Self::Gap
            | Self::Truncated
            | Self::Idle => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Closed => "closed by both sides",
            Self::Alert => "handshake ended by an alert",
            Self::Malformed => "the back-end's bytes are not well-formed TLS",
            Self::Unexpected => "a message of the back-end has no place at this point",
            Self::Version => "the back-end does not offer TLS 1.2",
            Self::NoCommonSuite => "the back-end offers no cipher suite that the node speaks",
            Self::Oversize => "a handshake message of the back-end is over the limit",
            Self::RecordOverflow => "a record of the back-end is longer than TLS allows",
            Self::UnknownName => "no node has the server name that the back-end asks for",
            Self::Busy => "too many handshakes in flight",
            Self::NodeVersion => "the node chose another version than DTLS 1.2",
            Self::NodeSuite => "the node chose a cipher suite that is not configured for it",
            Self::NodeMalformed => "a handshake message of the node does not parse or is too long",
            Self::Cookie => "the node asks for a cookie, and its policy says `cookies = false`",
            Self::RecordTooLarge => {
                "a record does not fit the node's network: \
                 let the back-end negotiate max_fragment_length"
            }
            Self::Renegotiation => "renegotiation, which is not mapped",
            Self::HandshakeTimeout => "the handshake did not end in time",
            Self::NoAnswer => "the node does not acknowledge what it is sent",
            Self::Gap => "a record of the node is missing for good",
            Self::Truncated => "the back-end closed the stream without close_notify",
            Self::Idle => "nothing came from either side for too long",
        })
    }
}
