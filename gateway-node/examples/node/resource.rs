//! What the node has: a thermometer, a lamp, an echo, and something large. CoAP and HTTP both ask
//! here.

/// Most bytes in a request's body.
pub(crate) const BODY_MAX: usize = 16 * 1024;

/// Most bytes that `/large` gives.
const LARGE_MAX: usize = 1 << 20;

/// A method that both protocols have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Other,
}

/// How a request ended, for both protocols to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Content,
    Changed,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TooLarge,
}

/// Media types that both protocols have a name for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Text,
    Json,
    Links,
    Octets,
}

pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) media: Media,
    pub(crate) body: &'a [u8],
}

pub(crate) struct Response {
    pub(crate) status: Status,
    pub(crate) media: Media,
    pub(crate) body: Vec<u8>,
}

/// The node's only state.
pub(crate) struct Lamp {
    state: Vec<u8>,
}

const RESOURCES: &str =
    "</sensors/temperature>;rt=\"temperature\";ct=0,</large>;sz=4096,</echo>,</lamp>";

impl Lamp {
    pub(crate) fn new() -> Self {
        Self { state: b"off".to_vec() }
    }

    pub(crate) fn answer(&mut self, request: &Request<'_>) -> Response {
        let Request { method, path, query, media, body } = *request;
        let text = |body: &[u8]| Response::new(Status::Content, Media::Text, body);
        match (path, method) {
            _ if body.len() > BODY_MAX => Response::failed(Status::TooLarge),
            ("/" | "/.well-known/core", Method::Get) => {
                Response::new(Status::Content, Media::Links, RESOURCES.as_bytes())
            }
            ("/sensors/temperature", Method::Get) => text(b"21.5"),
            ("/large", Method::Get) => match size(query) {
                Some(size) => text(&large(size)),
                None => Response::failed(Status::BadRequest),
            },
            ("/echo", Method::Post | Method::Put) => Response::new(Status::Content, media, body),
            ("/lamp", Method::Get) => text(&self.state),
            ("/lamp", Method::Put | Method::Post) => {
                self.state = body.to_vec();
                Response::new(Status::Changed, Media::Text, &[])
            }
            (
                "/" | "/.well-known/core" | "/sensors/temperature" | "/large" | "/echo" | "/lamp",
                _,
            ) => Response::failed(Status::MethodNotAllowed),
            _ => Response::failed(Status::NotFound),
        }
    }
}

/// What HTTP's Allow says of a path.
pub(crate) fn allowed(path: &str) -> &'static str {
    match path {
        "/echo" => "POST, PUT",
        "/lamp" => "GET, HEAD, POST, PUT",
        _ => "GET, HEAD",
    }
}

impl Response {
    pub(crate) fn new(status: Status, media: Media, body: &[u8]) -> Self {
        Self { status, media, body: body.to_vec() }
    }

    pub(crate) fn failed(status: Status) -> Self {
        let body: &[u8] = match status {
            Status::BadRequest => b"bad request",
            Status::NotFound => b"not found",
            Status::MethodNotAllowed => b"method not allowed",
            Status::TooLarge => b"too large",
            Status::Content | Status::Changed => b"",
        };
        Self::new(status, Media::Text, body)
    }
}

fn size(query: &str) -> Option<usize> {
    match query.split('&').find_map(|pair| pair.strip_prefix("bytes=")) {
        Some(digits) => digits.parse().ok().filter(|size| *size <= LARGE_MAX),
        None => Some(4_096),
    }
}

/// Numbered lines, so that a reader sees what is missing.
fn large(size: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|line| format!("{line:015}\n").into_bytes());
    lines.take(size).collect()
}
