//! The same resource over HTTP/1.1 ([RFC 9112](https://www.rfc-editor.org/rfc/rfc9112)).

/// Longest request head.
const HEAD: usize = 512;
const HEADERS: usize = 16;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 51\r\n\r\n\
    hello from a Cortex-M3 with 64 KiB of RAM, no heap\n";
/// 64 bytes, as long as the answer over CoAP.
const NOT_FOUND: &[u8] =
    b"HTTP/1.1 404 Not Found\r\nServer: cortex-m3\r\nContent-Length: 0\r\n\r\n";
const NOT_ALLOWED: &[u8] =
    b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n";
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The requests of one connection, put together out of its pieces.
#[derive(Debug)]
pub struct Requests {
    head: [u8; HEAD],
    length: usize,
}

impl Default for Requests {
    fn default() -> Self {
        Self { head: [0; HEAD], length: 0 }
    }
}

/// What a piece of the byte stream led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request goes on.
    Wait,
    /// Send this, and read on.
    Reply(&'static [u8]),
    /// Send this, and end the connection.
    Last(&'static [u8]),
}

impl Requests {
    /// Takes the next piece. Bytes after a request are dropped: pipelining is not understood, and
    /// a body is refused with its method.
    pub fn push(&mut self, piece: &[u8]) -> Answer {
        let end = self.length + piece.len();
        let Some(room) = self.head.get_mut(self.length..end) else {
            return Answer::Last(BAD);
        };
        room.copy_from_slice(piece);
        self.length = end;
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let head = self.head.get(..self.length).unwrap_or_default();
        match request.parse(head) {
            Ok(httparse::Status::Partial) => return Answer::Wait,
            Ok(httparse::Status::Complete(_)) => {}
            Err(_) => return Answer::Last(BAD),
        }
        let answer = match (request.method, request.path) {
            (Some("GET"), Some("/hello")) => Answer::Reply(OK),
            (Some("GET"), _) => Answer::Reply(NOT_FOUND),
            _ => Answer::Last(NOT_ALLOWED),
        };
        self.length = 0;
        answer
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn the_body_is_as_long_as_it_says() {
        let head = OK.len() - crate::coap::HELLO.len();
        let (head, body) = OK.split_at(head);
        let length = body.len().to_string();
        assert_eq!(body, crate::coap::HELLO);
        assert!(core::str::from_utf8(head).expect("text").contains(&length));
    }

    #[test]
    fn a_request_may_come_byte_by_byte() {
        let mut requests = Requests::default();
        let (last, head) = b"GET /hello HTTP/1.1\r\nHost: node\r\n\r\n".split_last().expect("some");
        for byte in head {
            assert_eq!(requests.push(&[*byte]), Answer::Wait);
        }
        assert_eq!(requests.push(&[*last]), Answer::Reply(OK));
        assert_eq!(requests.push(b"GET / HTTP/1.1\r\n\r\n"), Answer::Reply(NOT_FOUND));
    }

    #[test]
    fn what_is_no_request_ends_the_connection() {
        for piece in [&[b'A'; 513][..], b"\0", b"POST /hello HTTP/1.1\r\n\r\n"] {
            assert!(matches!(Requests::default().push(piece), Answer::Last(_)));
        }
    }
}
