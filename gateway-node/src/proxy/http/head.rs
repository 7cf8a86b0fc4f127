//! Request line and header fields (RFC 9112 §3, §5), and how long the body is (§6).

use alloc::string::{String, ToString};

use httparse::{EMPTY_HEADER, Error, Header, Status};

use super::super::{refusal::Refusal, settings::Limits};

/// Header fields in a request; more get a 431.
const FIELDS: usize = 64;

/// How the end of the body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// A request without its body. Fields that came several times are joined by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    /// HTTP/1.1, not 1.0.
    pub(crate) modern: bool,
    pub(super) persistent: bool,
    pub(super) framing: Framing,
    pub(super) expects_continue: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) via: Option<String>,
}

/// The head at the beginning of `bytes` and its length, or `None` while its end is missing.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Option<(Head, usize)>, Refusal> {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let window = bytes.get(..limits.head).unwrap_or(bytes);
    let length = match request.parse(window) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return unfinished(bytes, limits),
        Err(error) => return Err(refused(error)),
    };
    let target = request.path.unwrap_or_default();
    if target.len() > limits.target {
        return Err(Refusal::new(414, "the request target is too long"));
    }
    let modern = request.version == Some(1);
    let fields = Fields(request.headers);
    if modern && fields.count("host") != 1 {
        return Err(Refusal::new(400, "a request of HTTP/1.1 has exactly one Host field"));
    }
    let head = Head {
        method: request.method.unwrap_or_default().to_string(),
        target: target.to_string(),
        modern,
        persistent: modern && !fields.lists("connection", "close"),
        framing: framing(&fields, modern, limits)?,
        expects_continue: expectation(&fields)?,
        content_type: fields.joined("content-type"),
        content_encoding: fields.joined("content-encoding"),
        accept: fields.joined("accept"),
        if_match: fields.joined("if-match"),
        if_none_match: fields.joined("if-none-match"),
        cache_control: fields.joined("cache-control").or_else(|| fields.joined("pragma")),
        via: fields.joined("via"),
    };
    Ok(Some((head, length)))
}

fn unfinished(bytes: &[u8], limits: &Limits) -> Result<Option<(Head, usize)>, Refusal> {
    // The longest method and the version need fewer bytes than this beside the target.
    let line = limits.target.saturating_add(64);
    if bytes.len() > line && !bytes.iter().take(line).skip(2).any(|byte| *byte == b'\n') {
        return Err(Refusal::new(414, "the request line is too long"));
    }
    if bytes.len() >= limits.head {
        return Err(Refusal::new(431, "the header fields are too long"));
    }
    Ok(None)
}

fn refused(error: Error) -> Refusal {
    match error {
        Error::TooManyHeaders => Refusal::new(431, "there are more than 64 header fields"),
        Error::Version => Refusal::new(505, "the proxy speaks HTTP/1.1 and 1.0"),
        Error::HeaderName | Error::HeaderValue | Error::NewLine | Error::Status | Error::Token => {
            Refusal::new(400, "this is not a request of HTTP/1.1")
        }
    }
}

/// RFC 9112 §6.3. What could be read in two ways is refused.
fn framing(fields: &Fields<'_>, modern: bool, limits: &Limits) -> Result<Framing, Refusal> {
    let lengths = fields.joined("content-length");
    if let Some(coding) = fields.joined("transfer-encoding") {
        if lengths.is_some() || !modern {
            let why = "Transfer-Encoding goes neither with Content-Length nor with HTTP/1.0";
            return Err(Refusal::new(400, why));
        }
        return if coding.eq_ignore_ascii_case("chunked") {
            Ok(Framing::Chunked)
        } else {
            Err(Refusal::new(501, "the only transfer coding that the proxy knows is chunked"))
        };
    }
    let Some(lengths) = lengths else { return Ok(Framing::Length(0)) };
    let mut values = lengths.split(',').map(str::trim);
    let first = values.next().unwrap_or_default();
    let digits = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || values.any(|value| value != first) {
        return Err(Refusal::new(400, "Content-Length is not one number"));
    }
    let length = first.parse().ok().filter(|length| *length <= limits.body);
    length.map(Framing::Length).ok_or(TOO_LARGE)
}

pub(super) const TOO_LARGE: Refusal = Refusal::new(413, "the body is larger than the proxy takes");

fn expectation(fields: &Fields<'_>) -> Result<bool, Refusal> {
    match fields.joined("expect") {
        None => Ok(false),
        Some(expect) if expect.eq_ignore_ascii_case("100-continue") => Ok(true),
        Some(_) => Err(Refusal::new(417, "the only expectation that can be met is 100-continue")),
    }
}

struct Fields<'a>(&'a [Header<'a>]);

impl Fields<'_> {
    fn named(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let same = move |field: &&Header<'_>| field.name.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|field| field.value)
    }

    fn count(&self, name: &str) -> usize {
        self.named(name).count()
    }

    fn joined(&self, name: &str) -> Option<String> {
        let mut joined: Option<String> = None;
        for value in self.named(name) {
            let value = String::from_utf8_lossy(value);
            match &mut joined {
                Some(joined) => {
                    joined.push_str(", ");
                    joined.push_str(value.trim());
                }
                None => joined = Some(value.trim().to_string()),
            }
        }
        joined
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        let joined = self.joined(name).unwrap_or_default();
        joined.split(',').any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Head {
        read(text.as_bytes(), &Limits::default()).expect(text).expect("complete").0
    }

    fn status(text: &str) -> u16 {
        read(text.as_bytes(), &Limits::default()).expect_err(text).status
    }

    #[test]
    fn a_request_is_read_to_the_end_of_its_head() {
        let text = "PUT /lamp/light?on HTTP/1.1\r\nHost: p\r\nAccept: a/b\r\nAccept: c/d\r\n\
                    Content-Length: 3\r\nExpect: 100-Continue\r\n\r\nabc";
        let (head, length) =
            read(text.as_bytes(), &Limits::default()).expect("valid").expect("complete");
        assert_eq!(length, text.len() - 3);
        assert_eq!((&*head.method, &*head.target), ("PUT", "/lamp/light?on"));
        assert_eq!(head.accept.as_deref(), Some("a/b, c/d"));
        assert_eq!(head.framing, Framing::Length(3));
        assert!(head.expects_continue && head.persistent && head.modern);
    }

    #[test]
    fn connections_persist_as_their_version_says() {
        assert!(head("GET / HTTP/1.1\r\nHost: p\r\n\r\n").persistent);
        assert!(!head("GET / HTTP/1.1\r\nHost: p\r\nConnection: x, Close\r\n\r\n").persistent);
        assert!(!head("GET / HTTP/1.0\r\n\r\n").persistent);
    }

    #[test]
    fn bodies_that_could_be_read_in_two_ways_are_refused() {
        let with = |fields| status(&format!("POST / HTTP/1.1\r\nHost: p\r\n{fields}\r\n\r\n"));
        assert_eq!(with("Content-Length: 3\r\nTransfer-Encoding: chunked"), 400);
        assert_eq!(with("Content-Length: 3\r\nContent-Length: 4"), 400);
        assert_eq!(with("Content-Length: 3, 4"), 400);
        assert_eq!(with("Content-Length: +3"), 400);
        assert_eq!(with("Content-Length: -3"), 400);
        assert_eq!(with("Content-Length:"), 400);
        assert_eq!(with("Transfer-Encoding: gzip, chunked"), 501);
        assert_eq!(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 501);
        assert_eq!(with("Content-Length: 65537"), 413);
        assert_eq!(with("Content-Length: 99999999999999999999999"), 413);
        assert_eq!(with("Expect: tea"), 417);
        assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        let twice = "POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(head(twice).framing, Framing::Length(3));
    }

    #[test]
    fn heads_that_are_none_are_refused() {
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/2.0\r\n\r\n"), 505);
        assert_eq!(status("\x16\x03\x01\x02\x00\x01"), 400);
        assert_eq!(status("GET /\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost : p\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: p\r\nA: b\r\n c\r\n\r\n"), 400);
    }

    #[test]
    fn heads_that_are_too_long_are_refused_before_they_end() {
        let long = "x".repeat(10_000);
        assert_eq!(status(&format!("GET /{long}")), 414);
        assert_eq!(status(&format!("GET /{}", &long[..3_000])), 414);
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\nHost: p\r\n\r\n", &long[..2_048])), 414);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: p\r\nA: {long}")), 431);
        let many = "A: b\r\n".repeat(65);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
    }

    #[test]
    fn an_unfinished_head_is_waited_for() {
        let text = "GET /lamp HTTP/1.1\r\nHost: p\r\n\r\n";
        for length in 0..text.len() {
            let part = text.as_bytes().get(..length).expect("within");
            assert_eq!(read(part, &Limits::default()), Ok(None), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_head_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, &Limits::default());
        }

        #[test]
        fn any_fields_are_a_head_or_not(fields in "[A-Za-z:,;=\" \r\n0-9*/-]{0,200}") {
            let text = format!("POST /a HTTP/1.1\r\n{fields}\r\n\r\n");
            let _ = read(text.as_bytes(), &Limits::default());
        }
    }
}
