//! What a node's response is in HTTP (RFC 8075 §6.5.3, §7).

use alloc::{format, string::String};

use super::{
    cache::{self, Entry},
    http::{Answer, entity_tag},
    media,
    message::{self, Code, Opt, option},
    plan::Ask,
    refusal::Refusal,
    settings::Settings,
    status,
    uri::encode,
};
use crate::Instant;

/// Status and fields for a response with these options; the body is the caller's to add.
/// `payload`: whether there is or will be one.
pub(crate) fn answer(
    settings: &Settings,
    ask: &Ask,
    code: Code,
    options: &[Opt],
    payload: bool,
) -> Result<Answer, Refusal> {
    let status = status::http(code, payload, ask.has_client_option())
        .ok_or(Refusal::new(502, "the node's response has a code that ends no request"))?;
    let mut answer = via(Answer::new(status), settings);
    if code == Code::METHOD_NOT_ALLOWED {
        answer.reason = Some("CoAP server returned 4.05");
    }
    if payload {
        answer = content(answer, code, options);
    }
    if let Some(etag) = message::first(options, option::ETAG) {
        answer = answer.with("ETag", entity_tag(etag));
    }
    if code == Code::CREATED {
        answer = location(answer, &ask.target.base, options);
    }
    if code == Code::CONTENT && ask.method.is_safe() {
        answer = answer.with("Cache-Control", format!("max-age={}", cache::max_age(options)));
    }
    if let Some(seconds) = retry_after(code, options) {
        answer = answer.with("Retry-After", seconds);
    }
    Ok(answer)
}

/// A stored representation, or only that it has not changed.
pub(crate) fn stored(settings: &Settings, ask: &Ask, entry: &Entry, now: Instant) -> Answer {
    let known = entry.etag().is_some_and(|etag| ask.if_none_match.tags.iter().any(|t| t == etag));
    let unchanged = known || ask.if_none_match.any;
    let mut answer = via(Answer::new(if unchanged { 304 } else { 200 }), settings);
    if !unchanged {
        answer = content(answer, Code::CONTENT, &entry.options);
        answer.body.clone_from(&entry.payload);
    }
    if let Some(etag) = entry.etag() {
        answer = answer.with("ETag", entity_tag(etag));
    }
    let answer = answer.with("Cache-Control", format!("max-age={}", entry.max_age()));
    match entry.age(now) {
        0 => answer,
        age => answer.with("Age", age),
    }
}

/// A 2.03 that confirms what the client has.
pub(crate) fn not_modified(settings: &Settings, etag: &[u8], options: &[Opt]) -> Answer {
    via(Answer::new(304), settings)
        .with("ETag", entity_tag(etag))
        .with("Cache-Control", format!("max-age={}", cache::max_age(options)))
}

fn via(answer: Answer, settings: &Settings) -> Answer {
    answer.with("Via", format!("CoAP/1 {}", settings.name))
}

/// Content-Type and Content-Encoding. An error without a Content-Format carries a diagnostic
/// message, which is text (RFC 7252 §5.5.2).
fn content(answer: Answer, code: Code, options: &[Opt]) -> Answer {
    let format = message::uint(options, option::CONTENT_FORMAT);
    let format = format.and_then(|format| u16::try_from(format).ok());
    let format = format.or_else(|| (code.class() != 2).then_some(0));
    let Some(format) = format else { return answer };
    let (media_type, coding) = media::content_type(format);
    let answer = answer.with("Content-Type", media_type);
    match coding {
        Some(coding) => answer.with("Content-Encoding", coding),
        None => answer,
    }
}

fn location(answer: Answer, base: &str, options: &[Opt]) -> Answer {
    let mut location = String::from(base);
    for segment in message::all(options, option::LOCATION_PATH) {
        location.push('/');
        location.push_str(&encode(segment));
    }
    for (index, argument) in message::all(options, option::LOCATION_QUERY).enumerate() {
        location.push(if index == 0 { '?' } else { '&' });
        location.push_str(&encode(argument));
    }
    if location == base { answer } else { answer.with("Location", location) }
}

/// RFC 8075 §7, note 8; a 4.29 tells it the same way (RFC 8516 §3).
fn retry_after(code: Code, options: &[Opt]) -> Option<u32> {
    let tells = code == Code::SERVICE_UNAVAILABLE || code == Code::response(4, 29);
    message::uint(options, option::MAX_AGE).filter(|_| tells)
}
