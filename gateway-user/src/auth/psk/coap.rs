//! The REST interface over CoAP (RFC 7252), sans-IO: bytes to what is asked for, and back.
//!
//! Paths, bodies and meanings are those of [`rest`], without `/v1` or with it. A refusal has the
//! problem's name and detail as a diagnostic payload (RFC 7252 §5.5.2).
use crate::auth::{
    holder::Outcome,
    problem::{Kind, Problem},
    rest::{self, Action, Refused},
};
use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
use serde_json::json;

/// `application/json` (RFC 7252 §12.3) and `application/link-format` (RFC 6690 §7.4).
const JSON: u16 = 50;
const LINKS: u16 = 40;
/// Bytes of a body in one message: what is longer comes in blocks (RFC 7959).
const BLOCK: usize = 1024;
/// What `/.well-known/core` says.
const RESOURCES: &str = "</leases>;rt=\"gateway.leases\";ct=50,</health>;ct=50";

/// What came.
#[derive(Debug)]
pub(super) enum Message {
    /// A request.
    Request(Box<Request>),
    /// An empty message that wants a sign of life: answer with these bytes.
    Ping(Vec<u8>),
    /// Something that needs no answer; whoever sent it is alive.
    Other,
}

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    /// By which a repeated message is known (RFC 7252 §4.2).
    pub(super) id: u16,
    /// What is asked for.
    pub(super) asked: Asked,
    token: Vec<u8>,
    confirmable: bool,
    block: Option<Block>,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Asked {
    /// Something that a holder may do.
    Action(Action),
    /// What there is (RFC 6690).
    Resources,
    /// Something that cannot be done.
    Refused(Refused),
    /// A critical option that is not known (RFC 7252 §5.4.1).
    Option(u16),
}

/// What it is answered with.
#[derive(Debug)]
pub(super) enum Reply {
    /// What came of an action.
    Done(Result<Outcome, Refused>),
    /// What there is.
    Resources,
    /// An option that is not known.
    Option(u16),
}

/// A block of a body (RFC 7959 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    number: usize,
    size: usize,
}

/// Reads a message; nothing if it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Message> {
    let packet = Packet::from_bytes(bytes).ok()?;
    if packet.header.get_version() != 1 {
        return None;
    }
    let confirmable = packet.header.get_type() == MessageType::Confirmable;
    match packet.header.code {
        MessageClass::Request(_) => Some(Message::Request(Box::new(request(packet, confirmable)))),
        MessageClass::Empty | MessageClass::Reserved(_) if confirmable => {
            Some(Message::Ping(empty(MessageType::Reset, packet.header.message_id)))
        }
        MessageClass::Empty | MessageClass::Reserved(_) | MessageClass::Response(_) => {
            Some(Message::Other)
        }
    }
}

/// An empty confirmable message, which every endpoint answers (RFC 7252 §4.3).
pub(super) fn ping(id: u16) -> Vec<u8> {
    empty(MessageType::Confirmable, id)
}

fn empty(kind: MessageType, id: u16) -> Vec<u8> {
    let mut packet = Packet::new();
    packet.header.set_type(kind);
    packet.header.code = MessageClass::Empty;
    packet.header.message_id = id;
    packet.to_bytes().unwrap_or_default()
}

fn request(packet: Packet, confirmable: bool) -> Request {
    Request {
        id: packet.header.message_id,
        asked: asked(&packet),
        token: packet.get_token().to_vec(),
        confirmable,
        block: packet.get_first_option(CoapOption::Block2).map(|value| Block::read(value)),
    }
}

fn asked(packet: &Packet) -> Asked {
    const KNOWN: [CoapOption; 8] = [
        CoapOption::UriHost,
        CoapOption::UriPort,
        CoapOption::UriPath,
        CoapOption::UriQuery,
        CoapOption::Accept,
        CoapOption::Block2,
        CoapOption::Block1,
        CoapOption::IfNoneMatch,
    ];
    let critical = |number: &u16| number % 2 == 1 && !KNOWN.contains(&CoapOption::from(*number));
    if let Some(number) = packet.options().map(|(number, _)| *number).find(critical) {
        return Asked::Option(number);
    }
    let path = path(packet);
    let method = match u8::from(packet.header.code) {
        1 => "GET",
        2 => "POST",
        3 => "PUT",
        4 => "DELETE",
        _ => "this method",
    };
    if (method, path.as_str()) == ("GET", "/v1/.well-known/core") {
        return Asked::Resources;
    }
    let part = packet.get_first_option(CoapOption::Block1).map(|value| number(value));
    if part.is_some_and(|value| value >> 3 != 0) {
        let text = "a body must come in one message";
        return Asked::Refused(Problem::new(Kind::TooLarge, text).into());
    }
    let format = packet.get_first_option(CoapOption::ContentFormat).map(|value| number(value));
    let media = match format {
        None => "application/json",
        Some(format) if format == usize::from(JSON) => "application/json",
        Some(_) => "of another format than application/json (50)",
    };
    match rest::read(method, &path, Some(media), &packet.payload) {
        Ok(Action::Describe | Action::Explain(_)) => {
            let text = "descriptions are served over HTTPS";
            Asked::Refused(Problem::new(Kind::NotFound, text).into())
        }
        Ok(action) => Asked::Action(action),
        Err(refused) => Asked::Refused(refused),
    }
}

/// The path as the REST interface has it.
fn path(packet: &Packet) -> String {
    let segments = packet.get_option(CoapOption::UriPath).into_iter().flatten();
    let texts: Vec<String> =
        segments.map(|segment| String::from_utf8_lossy(segment).into_owned()).collect();
    let rest = texts.strip_prefix(&["v1".to_owned()][..]).unwrap_or(&texts);
    format!("/v1/{}", rest.join("/"))
}

/// An unsigned number as options have it (RFC 7252 §3.2).
fn number(value: &[u8]) -> usize {
    value.iter().take(4).fold(0, |all, byte| all << 8 | usize::from(*byte))
}

impl Block {
    fn read(value: &[u8]) -> Self {
        let value = number(value);
        // an exponent of 7 is reserved: the largest size stands in for it
        Self { number: value >> 4, size: 16 << (value & 7).min(6) }
    }

    fn value(self, more: bool) -> Vec<u8> {
        let exponent = self.size.trailing_zeros().saturating_sub(4) as usize;
        let value = self.number << 4 | usize::from(more) << 3 | exponent;
        let bytes = u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
        bytes.into_iter().skip_while(|byte| *byte == 0).collect()
    }
}

/// What is answered: code, format, body, place.
struct Content {
    code: u8,
    format: Option<u16>,
    body: String,
    place: Option<String>,
}

impl Content {
    const fn plain(code: u8, body: String) -> Self {
        Self { code, format: None, body, place: None }
    }

    fn new(reply: Reply) -> Self {
        let json = |code, body: String| Self { code, format: Some(JSON), body, place: None };
        match reply {
            Reply::Resources => {
                Self { format: Some(LINKS), ..Self::plain(code(2, 5), RESOURCES.to_owned()) }
            }
            Reply::Option(number) => {
                Self::plain(code(4, 2), format!("critical option {number} is not known"))
            }
            Reply::Done(Ok(Outcome::Found(value))) => json(code(2, 5), value.to_string()),
            Reply::Done(Ok(Outcome::Granted(view))) => {
                let place = Some(view.id.to_string());
                Self { place, ..json(code(2, 1), json!(view).to_string()) }
            }
            Reply::Done(Ok(Outcome::Renewed(view))) => json(code(2, 4), json!(view).to_string()),
            Reply::Done(Ok(Outcome::Ended)) => Self::plain(code(2, 2), String::new()),
            Reply::Done(Err(refused)) => {
                let problem = refused.problem;
                let text = format!("{}: {}", problem.kind.name(), problem.detail());
                Self::plain(refusal(problem.kind.status()), text)
            }
        }
    }
}

const fn code(class: u8, detail: u8) -> u8 {
    class << 5 | detail
}

/// CoAP's code for a status of HTTP (RFC 7252 §12.1.2, RFC 8132 §5).
fn refusal(status: u16) -> u8 {
    match status {
        408 => code(4, 8),
        413 => code(4, 13),
        415 => code(4, 15),
        400..=415 => code(4, (status - 400) as u8),
        503 => code(5, 3),
        _ => code(5, 0),
    }
}

impl Request {
    /// The answer's bytes; `own` numbers one that is no acknowledgement.
    pub(super) fn answer(&self, reply: Reply, own: u16) -> Vec<u8> {
        let content = Content::new(reply);
        let mut packet = Packet::new();
        let (kind, id) = if self.confirmable {
            (MessageType::Acknowledgement, self.id)
        } else {
            (MessageType::NonConfirmable, own)
        };
        packet.header.set_type(kind);
        packet.header.message_id = id;
        packet.header.code = MessageClass::from(content.code);
        packet.set_token(self.token.clone());
        for segment in content.place.iter().flat_map(|id| ["leases", id.as_str()]) {
            packet.add_option(CoapOption::LocationPath, segment.as_bytes().to_vec());
        }
        if let Some(format) = content.format {
            packet.add_option(CoapOption::ContentFormat, vec![format as u8]);
        }
        packet.payload = self.part(&mut packet, content.body.into_bytes());
        packet.to_bytes().unwrap_or_default()
    }

    /// The part of a body that was asked for, or its beginning.
    fn part(&self, packet: &mut Packet, body: Vec<u8>) -> Vec<u8> {
        if self.block.is_none() && body.len() <= BLOCK {
            return body;
        }
        let block = self.block.unwrap_or(Block { number: 0, size: BLOCK });
        let begin = block.number.saturating_mul(block.size).min(body.len());
        let end = (begin + block.size).min(body.len());
        packet.add_option(CoapOption::Block2, block.value(end < body.len()));
        body.get(begin..end).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    fn message(method: u8, path: &str, payload: &[u8]) -> Packet {
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Confirmable);
        packet.header.code = MessageClass::from(method);
        packet.header.message_id = 7;
        packet.set_token(vec![1, 2]);
        for segment in path.split('/') {
            packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        }
        packet.payload = payload.to_vec();
        packet
    }

    fn parsed(packet: &Packet) -> Request {
        match read(&packet.to_bytes().unwrap()) {
            Some(Message::Request(request)) => *request,
            other => panic!("{other:?}"),
        }
    }

    fn answer(request: &Request, reply: Reply) -> Packet {
        Packet::from_bytes(&request.answer(reply, 9)).unwrap()
    }

    #[test]
    fn requests_are_those_of_the_rest_interface() {
        let ttl = rest::Terms { ttl: Some(Duration::from_secs(20)), nodes: Vec::new() };
        let Asked::Action(action) = parsed(&message(2, "leases", b"{\"ttl\": 20}")).asked else {
            panic!("refused");
        };
        assert_eq!(action, Action::Grant(ttl));
        for path in ["leases", "v1/leases"] {
            let asked = parsed(&message(1, path, b"")).asked;
            assert!(matches!(asked, Asked::Action(Action::List)), "{asked:?}");
        }
        let core = parsed(&message(1, ".well-known/core", b"")).asked;
        assert!(matches!(core, Asked::Resources), "{core:?}");
    }

    #[test]
    fn refusals_have_codes_of_coap() {
        let refused = |packet: &Packet| {
            let request = parsed(packet);
            let reply = match parsed(packet).asked {
                Asked::Refused(refused) => Reply::Done(Err(refused)),
                Asked::Option(number) => Reply::Option(number),
                other @ (Asked::Action(_) | Asked::Resources) => panic!("{other:?}"),
            };
            answer(&request, reply).header.get_code()
        };
        assert_eq!(refused(&message(2, "leases", b"{")), "4.00");
        assert_eq!(refused(&message(1, "lamps", b"")), "4.04");
        assert_eq!(refused(&message(5, "leases", b"")), "4.05");
        let mut text = message(2, "leases", b"{}");
        text.add_option(CoapOption::ContentFormat, vec![0]);
        assert_eq!(refused(&text), "4.15");
        let mut blocks = message(2, "leases", b"{");
        blocks.add_option(CoapOption::Block1, vec![0x0e]);
        assert_eq!(refused(&blocks), "4.13");
        let mut critical = message(1, "leases", b"");
        critical.add_option(CoapOption::Unknown(65_001), vec![]);
        assert_eq!(refused(&critical), "4.02");
    }

    #[test]
    fn a_long_list_comes_in_blocks() {
        let body = json!({ "leases": "x".repeat(2000) });
        let mut whole: Vec<u8> = Vec::new();
        for number in 0_u8.. {
            let mut packet = message(1, "leases", b"");
            if number > 0 {
                packet.add_option(CoapOption::Block2, vec![number << 4 | 6]);
            }
            let reply = Reply::Done(Ok(Outcome::Found(body.clone())));
            let answer = answer(&parsed(&packet), reply);
            assert_eq!(answer.get_token(), [1, 2]);
            whole.extend(&answer.payload);
            let block = answer.get_first_option(CoapOption::Block2).unwrap();
            if super::number(block) & 8 == 0 {
                break;
            }
        }
        assert_eq!(whole, body.to_string().into_bytes());
    }

    #[test]
    fn an_empty_message_is_answered_with_a_reset() {
        let Some(Message::Ping(answer)) = read(&ping(513)) else { panic!("no ping") };
        assert_eq!(answer, [0x70, 0, 2, 1]);
        assert!(matches!(read(&answer), Some(Message::Other)));
        assert!(read(&[0xc0, 1, 0, 0]).is_none(), "another version");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, block: [u8; 4]) {
            if let Some(Message::Request(request)) = read(&bytes) {
                let _ = request.answer(Reply::Resources, 1);
            }
            let _ = Block::read(&block).value(true);
        }
    }
}
