//! What a request of HTTP asks of CoAP, before any node hears of it.

use alloc::vec::Vec;

use super::{
    cache::Key,
    discovery,
    http::{Answer, Conditions, Directives, Request},
    message::{self, Opt, option, uint_value},
    method::Method,
    refusal::Refusal,
    settings::Settings,
    transfer::Question,
    uri::{self, Resource, Target},
};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Plan {
    /// The proxy has the answer itself.
    Answer(Answer),
    Ask(Ask),
}

/// A question for a node.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) target: Target,
    pub(crate) method: Method,
    /// Content-Formats to ask for, one after the other; none for any.
    pub(crate) accepts: Vec<u16>,
    pub(crate) if_none_match: Conditions,
    pub(crate) directives: Directives,
    /// Whether chunks can be sent.
    pub(crate) modern: bool,
    /// Options that stand for header fields, and Content-Format.
    options: Vec<Opt>,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    /// Where a response would be stored; a conditional write or read is beyond the cache.
    pub(crate) fn key(&self) -> Option<Key> {
        let conditional = message::first(&self.options, option::IF_MATCH).is_some();
        let uri = self.target.options.clone();
        let accept = self.accepts.first().copied();
        let key = Key { endpoint: self.target.endpoint, uri, accept };
        (self.method.is_safe() && !conditional).then_some(key)
    }

    /// The request, asking whether the representation with the ETag `stored` is still valid.
    pub(crate) fn question(&self, stored: Option<&[u8]>) -> Question {
        let mut options = self.target.options.clone();
        options.extend(self.options.iter().cloned());
        options.extend(self.accepts.first().map(|f| (option::ACCEPT, uint_value((*f).into()))));
        let mut etags =
            if self.method.is_safe() { self.if_none_match.tags.clone() } else { Vec::new() };
        etags.extend(stored.map(<[u8]>::to_vec).filter(|stored| !etags.contains(stored)));
        Question {
            code: self.method.code(),
            options,
            etags: etags.into_iter().map(|etag| (option::ETAG, etag)).collect(),
            body: self.body.clone(),
        }
    }

    /// Whether a 4.02 can be the client's fault: an option stands for a header field of its own.
    pub(crate) fn has_client_option(&self) -> bool {
        let client = |(n, _): &Opt| matches!(*n, option::IF_MATCH | option::IF_NONE_MATCH);
        self.options.iter().any(client) || !self.accepts.is_empty()
    }
}

/// Maps a request (RFC 8075 §5, §6), or tells what the client hears instead.
pub(crate) fn plan(settings: &Settings, request: Request) -> Result<Plan, Refusal> {
    let Request { head, body } = request;
    if head.has_passed(&settings.name) {
        return Err(Refusal::new(508, "the request has come through this proxy before"));
    }
    let method = Method::named(&head.method)
        .ok_or(Refusal::new(501, "the method has no counterpart in CoAP"))?;
    let target = match uri::resolve(settings, &head.target)? {
        Resource::Coap(target) => target,
        Resource::Links(query) => return links(method, &query),
    };
    let mut options = Vec::new();
    if let Some(media_type) = &head.content_type {
        let coding = head.content_encoding.as_deref();
        let format = settings.mapping.content_format(media_type, coding);
        let why = "the media type has no CoAP Content-Format (RFC 8075 section 6)";
        let format = format.ok_or_else(|| Refusal::new(415, why))?;
        options.push((option::CONTENT_FORMAT, uint_value(format.into())));
    } else if head.content_encoding.is_some() {
        return Err(Refusal::new(415, "Content-Encoding needs a Content-Type to be mapped"));
    }
    let if_none_match = head.if_none_match.as_deref().map(Conditions::weak).unwrap_or_default();
    options.extend(if_match(head.if_match.as_deref())?);
    options.extend(absent(method, head.if_none_match.is_some(), &if_none_match)?);
    let accepts = settings.mapping.accept(head.accept.as_deref().unwrap_or_default());
    let why = "the proxy is not set up to pass unknown Content-Formats (RFC 8075 section 6.2)";
    Ok(Plan::Ask(Ask {
        target,
        method,
        accepts: accepts.map_err(|_| Refusal::new(406, why))?,
        if_none_match,
        directives: head.cache_control.as_deref().map(Directives::read).unwrap_or_default(),
        modern: head.modern,
        options,
        body,
    }))
}

fn links(method: Method, query: &str) -> Result<Plan, Refusal> {
    if !method.is_safe() {
        return Err(Refusal::new(403, "the links of the proxy can only be read"));
    }
    let answer = Answer::new(200).with("Content-Type", "application/link-format");
    let body = discovery::links(query, None).into_bytes();
    Ok(Plan::Answer(Answer { body, ..answer }))
}

/// If-Match options; an empty one stands for `*` (RFC 7252 §5.10.8.1).
fn if_match(field: Option<&str>) -> Result<Vec<Opt>, Refusal> {
    let Some(field) = field else { return Ok(Vec::new()) };
    let conditions = Conditions::strong(field);
    if conditions.any {
        return Ok(alloc::vec![(option::IF_MATCH, Vec::new())]);
    }
    if conditions.tags.is_empty() {
        return Err(Refusal::new(412, "no node can have made this entity tag"));
    }
    Ok(conditions.tags.into_iter().map(|tag| (option::IF_MATCH, tag)).collect())
}

/// `If-None-Match: *` of a write as CoAP's option, which knows no tags.
fn absent(method: Method, present: bool, field: &Conditions) -> Result<Option<Opt>, Refusal> {
    if method.is_safe() || !present {
        return Ok(None);
    }
    let why = "CoAP knows no If-None-Match with entity tags for a write";
    field
        .any
        .then_some(Some((option::IF_NONE_MATCH, Vec::new())))
        .ok_or_else(|| Refusal::new(501, why))
}
