//! Responses as bytes (RFC 9112 §4, §6).

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::super::{refusal::Refusal, status};

/// A response of which everything is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Another reason phrase than the usual one.
    pub(crate) reason: Option<&'static str>,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, reason: None, fields: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }
}

impl From<Refusal> for Answer {
    /// Status and sentence as plain text.
    fn from(refusal: Refusal) -> Self {
        let body =
            format!("{} {}: {}\n", refusal.status, status::reason(refusal.status), refusal.why);
        let answer = Self { body: body.into_bytes(), ..Self::new(refusal.status) };
        answer.with("Content-Type", "text/plain; charset=utf-8")
    }
}

/// How a client finds the end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Known(usize),
    /// In chunks.
    Chunked,
    /// Not told: the answer to a HEAD whose GET would be chunked.
    Untold,
}

/// Status line and header fields.
pub(super) fn head(answer: &Answer, length: Length, close: bool) -> Vec<u8> {
    let reason = answer.reason.unwrap_or_else(|| status::reason(answer.status));
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", answer.status);
    for (name, value) in &answer.fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        // RFC 9110 §8.6: neither of these has a body, nor may it tell a length of 0 for it.
        Length::Known(_) if matches!(answer.status, 204 | 304) => {}
        Length::Known(length) => text.push_str(&format!("Content-Length: {length}\r\n")),
        Length::Chunked => text.push_str("Transfer-Encoding: chunked\r\n"),
        Length::Untold => {}
    }
    if close {
        text.push_str("Connection: close\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// A chunk; `bytes` are not empty, since that would end the body.
pub(super) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_what_clients_read() {
        let answer = Answer::new(200).with("Age", 5);
        let bytes = head(&answer, Length::Known(3), true);
        let text = "HTTP/1.1 200 OK\r\nAge: 5\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
        assert_eq!(bytes, text.as_bytes());
        assert_eq!(
            head(&Answer::new(204), Length::Known(0), false),
            b"HTTP/1.1 204 No Content\r\n\r\n"
        );
    }

    #[test]
    fn a_refusal_explains_itself() {
        let answer = Answer::from(Refusal::new(404, "no node has this name"));
        assert_eq!(answer.body, b"404 Not Found: no node has this name\n");
    }

    #[test]
    fn a_chunk_tells_its_size_in_hexadecimal() {
        assert_eq!(chunk(&[b'x'; 16]), b"10\r\nxxxxxxxxxxxxxxxx\r\n");
    }
}
