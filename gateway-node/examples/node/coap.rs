//! CoAP (RFC 7252) with block-wise transfer (RFC 7959): one message a record.

use coap_lite::{
    BlockHandler, BlockHandlerConfig, CoapOption, CoapRequest, ContentFormat, MessageClass,
    MessageType, Packet, RequestType, ResponseType,
};

use crate::resource::{Lamp, Media, Method, Request, Response, Status};

/// Answers messages of a session.
pub(crate) struct Coap {
    blocks: BlockHandler<u16>,
}

impl Coap {
    /// For messages of at most `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        let config = BlockHandlerConfig {
            max_total_message_size: capacity.min(1_152),
            ..BlockHandlerConfig::default()
        };
        Self { blocks: BlockHandler::new(config) }
    }

    /// The answer to a message, and a line about it; neither where there is none to give.
    pub(crate) fn answer(&mut self, lamp: &mut Lamp, message: &[u8]) -> Option<(Vec<u8>, String)> {
        let packet = Packet::from_bytes(message).ok()?;
        if packet.header.code == MessageClass::Empty {
            return ping(&packet);
        }
        let mut request = CoapRequest::from_packet(packet, 0_u16);
        request.response.as_ref()?;
        if !self
            .blocks
            .intercept_request(&mut request)
            .unwrap_or_else(|error| request.apply_from_error(error))
        {
            respond(lamp, &mut request);
            if let Err(error) = self.blocks.intercept_response(&mut request) {
                request.apply_from_error(error);
            }
        }
        let response = request.response.as_ref()?;
        let line = format!(
            "{:?} /{} {:?}",
            request.get_method(),
            request.get_path(),
            response.get_status()
        );
        Some((response.message.to_bytes().ok()?, line))
    }
}

/// An empty confirmable message asks for a reset (RFC 7252 §4.3).
fn ping(packet: &Packet) -> Option<(Vec<u8>, String)> {
    if packet.header.get_type() != MessageType::Confirmable {
        return None;
    }
    let mut reset = Packet::new();
    reset.header.set_type(MessageType::Reset);
    reset.header.message_id = packet.header.message_id;
    Some((reset.to_bytes().ok()?, "ping".to_owned()))
}

fn respond(lamp: &mut Lamp, request: &mut CoapRequest<u16>) {
    let query = request.message.get_option(CoapOption::UriQuery);
    let query = query.map_or_else(String::new, |pairs| {
        let pairs: Vec<_> = pairs.iter().map(|pair| String::from_utf8_lossy(pair)).collect();
        pairs.join("&")
    });
    let method = match request.get_method() {
        RequestType::Get => Method::Get,
        RequestType::Post => Method::Post,
        RequestType::Put => Method::Put,
        RequestType::Delete
        | RequestType::Fetch
        | RequestType::Patch
        | RequestType::IPatch
        | RequestType::UnKnown => Method::Other,
    };
    let format = request.message.get_content_format();
    let answer = lamp.answer(&Request {
        method,
        path: &format!("/{}", request.get_path()),
        query: &query,
        media: media(format),
        body: &request.message.payload,
    });
    let Some(response) = request.response.as_mut() else {
        return;
    };
    let Response { status, media, body } = answer;
    response.set_status(code(status, method));
    if !body.is_empty() {
        response.message.set_content_format(content_format(media));
    }
    response.message.payload = body;
}

fn media(format: Option<ContentFormat>) -> Media {
    if format == Some(ContentFormat::ApplicationJSON) {
        Media::Json
    } else if format.is_none() || format == Some(ContentFormat::TextPlain) {
        Media::Text
    } else {
        Media::Octets
    }
}

fn content_format(media: Media) -> ContentFormat {
    match media {
        Media::Text => ContentFormat::TextPlain,
        Media::Json => ContentFormat::ApplicationJSON,
        Media::Links => ContentFormat::ApplicationLinkFormat,
        Media::Octets => ContentFormat::ApplicationOctetStream,
    }
}

/// RFC 7252 §5.8: only GET is answered with Content.
fn code(status: Status, method: Method) -> ResponseType {
    match status {
        Status::Content if method == Method::Get => ResponseType::Content,
        Status::Content | Status::Changed => ResponseType::Changed,
        Status::BadRequest => ResponseType::BadRequest,
        Status::NotFound => ResponseType::NotFound,
        Status::MethodNotAllowed => ResponseType::MethodNotAllowed,
        Status::TooLarge => ResponseType::RequestEntityTooLarge,
    }
}
