//! The ClientHello, read before the connection to a node exists.
use gateway_common::{
    mapping::{handshake::kind, record::TLS_HEADER},
    wire::dtls::content,
};

use super::{
    Reason, hello,
    stream::{self, Message, Messages, Stage},
};

/// What the first bytes of a stream say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The ClientHello is not complete: peek again when more bytes came.
    Incomplete,
    /// It is complete and names a server, or none (RFC 6066 §3).
    Complete {
        /// As it came; compare it without regard to case.
        server_name: Option<String>,
    },
    /// It will not do: send [`Reason::alert`] if there is one, and close.
    Refused(Reason),
}

/// Reads a ClientHello from the first `bytes` of a stream and takes none of them: they are for
/// [`super::Connection::handle_tls`]. `limit` is the greatest body, as in
/// [`super::Policy::handshake_limit`]; more than twice that is never asked for.
pub fn peek_client_hello(bytes: &[u8], limit: usize) -> Hello {
    let message = first_message(bytes, limit);
    match message.and_then(|message| message.map(|message| server_name(&message)).transpose()) {
        Ok(Some(server_name)) => Hello::Complete { server_name },
        Ok(None) => Hello::Incomplete,
        Err(reason) => Hello::Refused(reason),
    }
}

fn first_message(mut bytes: &[u8], limit: usize) -> Result<Option<Message>, Reason> {
    let mut messages = Messages::default();
    while let Some(header) = stream::header(bytes, Stage::Hello, limit)? {
        if header.content != content::HANDSHAKE {
            return Err(Reason::Unexpected);
        }
        let end = TLS_HEADER + usize::from(header.length);
        let Some((record, rest)) = bytes.split_at_checked(end) else {
            return Ok(None);
        };
        messages.push(record.get(TLS_HEADER..).unwrap_or_default());
        if let Some(message) = messages.next(limit)? {
            return Ok(Some(message));
        }
        bytes = rest;
    }
    Ok(None)
}

fn server_name(message: &Message) -> Result<Option<String>, Reason> {
    if message.kind != kind::CLIENT_HELLO {
        return Err(Reason::Unexpected);
    }
    let Some(name) = hello::client_hello(&message.body)?.server_name() else {
        return Ok(None);
    };
    // host names are ASCII (RFC 6066 §3)
    let name = str::from_utf8(name).ok().filter(|name| name.is_ascii());
    name.map(|name| Some(name.to_owned())).ok_or(Reason::Malformed)
}
