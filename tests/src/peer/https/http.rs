//! HTTP/1.1 as far as the clients need it that only pipe bytes.

use anyhow::{Context, Result, ensure};

/// The status of an answer that has no body.
const NO_CONTENT: u16 = 204;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: &'static str,
    /// Path.
    pub path: String,
    /// Body, if it has one.
    pub body: Option<String>,
    /// Whether it asks the server to close after the answer.
    pub last: bool,
}

impl Request {
    /// GET.
    pub fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), body: None, last: false }
    }

    /// POST.
    pub fn post(path: &str, body: impl Into<String>) -> Self {
        Self { method: "POST", path: path.to_owned(), body: Some(body.into()), last: false }
    }

    /// PUT.
    pub fn put(path: &str, body: impl Into<String>) -> Self {
        Self { method: "PUT", ..Self::post(path, body) }
    }

    /// Asks the server to close after the answer.
    pub fn last(mut self) -> Self {
        self.last = true;
        self
    }

    /// As it is sent.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        if self.last {
            text.push_str("Connection: close\r\n");
        }
        if let Some(body) = &self.body {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(self.body.as_deref().unwrap_or_default());
        text.into_bytes()
    }
}

/// A body of `length` printable bytes, in which every 16 say where they stand.
pub fn body(length: usize) -> String {
    let lines = (0..length.div_ceil(16)).map(|line| format!("{:015}\n", line * 16));
    lines.collect::<String>()[..length].to_owned()
}

/// What the example node has at `/large?bytes=length`: numbered lines.
pub fn large(length: usize) -> String {
    let lines = (0..length.div_ceil(16)).map(|line| format!("{line:015}\n"));
    lines.collect::<String>()[..length].to_owned()
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

impl Answer {
    /// The body, if the status is a good one.
    pub fn ok(self) -> Result<String> {
        ensure!((200..300).contains(&self.status), "{}: {}", self.status, self.body);
        Ok(self.body)
    }

    /// Reads the first response in `bytes`; `None` while it is not all there.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>> {
        let text = String::from_utf8_lossy(bytes);
        let Some(begin) = text.find("HTTP/1.") else { return Ok(None) };
        let Some((head, rest)) = text[begin..].split_once("\r\n\r\n") else { return Ok(None) };
        let status = head.split(' ').nth(1).context("no status code")?.parse()?;
        let length = match status {
            NO_CONTENT => 0,
            _ => content_length(head).with_context(|| format!("no Content-Length: {head}"))?,
        };
        Ok(rest.get(..length).map(|body| Self { status, body: body.to_owned() }))
    }
}

fn content_length(head: &str) -> Option<usize> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next()?.1.trim().parse().ok()
}
