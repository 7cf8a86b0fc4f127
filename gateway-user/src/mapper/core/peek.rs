//! The ClientHello, read before the connection to a node exists.
use super::Reason;

/// What the first bytes of a stream say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The ClientHello is not complete: peek again when more bytes came.
    Incomplete,
    /// It is complete and names a server, or none (RFC 6066 §3).
    Complete {
        /// As it came; lower case it before it is looked up.
        server_name: Option<String>,
    },
    /// It will not do: send [`Reason::alert`] if there is one, and close.
    Refused(Reason),
}

/// Reads a ClientHello from the first `bytes` of a stream and takes none of them: they are for
/// [`super::Connection::handle_tls`]. `limit` is the greatest body, as in
/// [`super::Policy::handshake_limit`].
pub fn peek_client_hello(_bytes: &[u8], _limit: usize) -> Hello {
    Hello::Incomplete
}
