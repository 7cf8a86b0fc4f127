//! HTTP/1.1 (RFC 9112), the part of it that clients of a small server use: persistent connections,
//! Content-Length and chunked bodies, Expect.

use crate::resource::{BODY_MAX, Lamp, Media, Method, Request, Response, Status, allowed};

/// Most bytes in a request's head.
const HEAD_MAX: usize = 8 * 1024;

const HEADERS_MAX: usize = 64;

/// A connection: bytes in, bytes out.
#[derive(Default)]
pub(crate) struct Http {
    input: Vec<u8>,
    /// What is to be sent.
    pub(crate) output: Vec<u8>,
    /// Whether the connection ends when that is sent.
    pub(crate) ends: bool,
    /// Whether 100 (Continue) was said for the request at the front.
    continued: bool,
}

/// What the head of a request says.
struct Head {
    method: String,
    target: String,
    length: usize,
    body: Framing,
    media: Media,
    expects: bool,
    keeps: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// Why a request cannot be read.
enum Unread {
    Partial,
    Refused(Status),
}

impl Http {
    /// Takes bytes, and returns a line for each request that they end.
    pub(crate) fn receive(&mut self, lamp: &mut Lamp, bytes: &[u8]) -> Vec<String> {
        self.input.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while !self.ends && !self.input.is_empty() {
            match self.request(lamp) {
                Ok(line) => lines.push(line),
                Err(Unread::Partial) => break,
                Err(Unread::Refused(status)) => {
                    // where the next request begins is not known
                    self.ends = true;
                    self.respond(&Response::failed(status), "", true, false);
                    lines.push(format!("? {status:?}"));
                }
            }
        }
        lines
    }

    fn request(&mut self, lamp: &mut Lamp) -> Result<String, Unread> {
        let head = head(&self.input)?;
        let rest = self.input.get(head.length..).unwrap_or_default();
        let (body, used) = match body(rest, head.body) {
            Ok(body) => body,
            Err(Unread::Partial) => {
                if head.expects && !self.continued {
                    self.continued = true;
                    self.output.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                return Err(Unread::Partial);
            }
            Err(refused) => return Err(refused),
        };
        let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
        let is_head = head.method == "HEAD";
        let method = match head.method.as_str() {
            "GET" | "HEAD" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            _ => Method::Other,
        };
        let request = Request { method, path, query, media: head.media, body: &body };
        let response = lamp.answer(&request);
        self.respond(&response, path, !head.keeps, is_head);
        self.ends = !head.keeps;
        self.continued = false;
        self.input.drain(..head.length + used);
        let length = response.body.len();
        Ok(format!("{} {} {:?} {length}", head.method, head.target, response.status))
    }

    fn respond(&mut self, response: &Response, path: &str, ends: bool, without_body: bool) {
        let status = match response.status {
            Status::Content => "200 OK",
            Status::Changed => "204 No Content",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::TooLarge => "413 Content Too Large",
        };
        let mut head = format!("HTTP/1.1 {status}\r\n");
        if response.status == Status::MethodNotAllowed {
            head += &format!("Allow: {}\r\n", allowed(path));
        }
        if response.status != Status::Changed {
            let media = media_type(response.media);
            head +=
                &format!("Content-Type: {media}\r\nContent-Length: {}\r\n", response.body.len());
        }
        if ends {
            head += "Connection: close\r\n";
        }
        self.output.extend(head.as_bytes());
        self.output.extend(b"\r\n");
        if !without_body {
            self.output.extend(&response.body);
        }
    }
}

fn head(input: &[u8]) -> Result<Head, Unread> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() <= HEAD_MAX => return Err(Unread::Partial),
        Ok(httparse::Status::Partial) => return Err(Unread::Refused(Status::TooLarge)),
        Err(_) => return Err(Unread::Refused(Status::BadRequest)),
    };
    let find = |name: &str| {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
    };
    let connection = find("connection").unwrap_or_default();
    let keeps = match request.version {
        Some(1) => !connection.contains("close"),
        Some(_) | None => connection.contains("keep-alive"),
    };
    Ok(Head {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        length,
        body: framing(find("transfer-encoding"), find("content-length"))?,
        media: match find("content-type").as_deref() {
            Some("application/json") => Media::Json,
            Some("application/octet-stream") => Media::Octets,
            Some(_) | None => Media::Text,
        },
        expects: find("expect").as_deref() == Some("100-continue"),
        keeps,
    })
}

/// RFC 9112 §6.3; a request that says both could be read in two ways.
fn framing(encoding: Option<String>, length: Option<String>) -> Result<Framing, Unread> {
    let bad = Err(Unread::Refused(Status::BadRequest));
    match (encoding.as_deref(), length.as_deref()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some("chunked"), None) => Ok(Framing::Chunked),
        (None, Some(digits)) => match digits.parse() {
            Ok(length) if length <= BODY_MAX => Ok(Framing::Length(length)),
            Ok(_) => Err(Unread::Refused(Status::TooLarge)),
            Err(_) => bad,
        },
        (Some(_), _) => bad,
    }
}

/// The body, and how many bytes it took.
fn body(input: &[u8], framing: Framing) -> Result<(Vec<u8>, usize), Unread> {
    match framing {
        Framing::Length(length) => match input.get(..length) {
            Some(body) => Ok((body.to_vec(), length)),
            None => Err(Unread::Partial),
        },
        Framing::Chunked => chunked(input),
    }
}

fn chunked(input: &[u8]) -> Result<(Vec<u8>, usize), Unread> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let (data, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete((data, size))) => (data, size),
            Ok(httparse::Status::Partial) => return Err(Unread::Partial),
            Err(_) => return Err(Unread::Refused(Status::BadRequest)),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > BODY_MAX - body.len() {
            return Err(Unread::Refused(Status::TooLarge));
        }
        if size == 0 {
            let trailer = rest.get(data - 2..).unwrap_or_default();
            let end = trailer.windows(4).position(|four| four == b"\r\n\r\n");
            let end = end.ok_or(Unread::Partial)?;
            return Ok((body, at + data - 2 + end + 4));
        }
        body.extend(rest.get(data..data + size).ok_or(Unread::Partial)?);
        at += data + size + 2;
        if input.len() < at {
            return Err(Unread::Partial);
        }
    }
}

fn media_type(media: Media) -> &'static str {
    match media {
        Media::Text => "text/plain",
        Media::Json => "application/json",
        Media::Links => "application/link-format",
        Media::Octets => "application/octet-stream",
    }
}
