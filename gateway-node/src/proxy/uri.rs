//! Which CoAP resource a request target stands for (RFC 8075 §5).
//!
//! | request target | form |
//! | --- | --- |
//! | `/lamp/light?on` | null mapping (§5.2): the node called `lamp` |
//! | `/hc/coap://%5B2001:db8::1%5D/light?on` | default mapping (§5.3), template `{+tu}` |
//! | `/hc/?target_uri=coap://lamp/light?on` | simple form (§5.4.1) |
//! | `/hc/coap/lamp/light?on` | enhanced form (§5.4.2), template `{+s}/{+hp}{+p}{+qq}` |
//! | `coap://lamp/light` | absolute form, as to a forward proxy (RFC 9112 §3.2.2) |
//!
//! In all forms the authority may be the name of a node instead of its address.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{
    message::{Opt, option},
    refusal::Refusal,
    settings::{Endpoint, Node, Settings, is_unicast},
};

/// Where the proxy function is anchored: the HC Proxy URI of RFC 8075 §5.1.
pub(crate) const HC: &str = "/hc/";

/// What a request target stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    /// A resource of a node.
    Coap(Target),
    /// The links of the proxy itself, with the query that filters them.
    Links(String),
}

/// A resource of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// Uri-Path and Uri-Query options.
    pub(crate) options: Vec<Opt>,
    /// What the Location of a new resource of this node begins with.
    pub(crate) base: String,
}

/// Finds the resource, or says what the client hears.
pub(crate) fn resolve(settings: &Settings, target: &str) -> Result<Resource, Refusal> {
    if has_coap_scheme(target) {
        return unpack(settings, target).map(Resource::Coap);
    }
    let origin_form = strip_http_authority(target);
    let (path, query) = match origin_form.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin_form, None),
    };
    if !path.starts_with('/') {
        return Err(Refusal::new(400, "the request target is not a path"));
    }
    if path == "/.well-known/core" {
        return Ok(Resource::Links(query.unwrap_or_default().to_string()));
    }
    if let Some(rest) = origin_form.strip_prefix(HC) {
        return unpack(settings, &embedded(rest)?).map(Resource::Coap);
    }
    let (name, path) = split_name(path);
    let node = settings.nodes.iter().find(|node| node.name == name);
    let node = node.ok_or(Refusal::new(404, "no node has this name"))?;
    let base = format!("/{name}");
    finish(node.endpoint, Some(node), path, query, base).map(Resource::Coap)
}

/// `/name/path` as name and path.
fn split_name(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix('/').unwrap_or(path);
    rest.find('/').and_then(|slash| rest.split_at_checked(slash)).unwrap_or((rest, ""))
}

fn strip_http_authority(target: &str) -> &str {
    let lower =
        |scheme: &str| target.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    let scheme = ["http://", "https://"].into_iter().find(|scheme| lower(scheme));
    let Some(rest) = scheme.and_then(|scheme| target.get(scheme.len()..)) else { return target };
    rest.find(['/', '?']).and_then(|end| rest.get(end..)).unwrap_or("/")
}

/// The Target CoAP URI in what follows the HC Proxy URI.
fn embedded(rest: &str) -> Result<String, Refusal> {
    let uri = rest.strip_prefix("?target_uri=").unwrap_or(rest);
    if has_coap_scheme(uri) {
        return Ok(uri.to_string());
    }
    for scheme in ["coap", "coaps"] {
        let enhanced = rest.strip_prefix(scheme).and_then(|rest| rest.strip_prefix('/'));
        if let Some(authority) = enhanced.filter(|rest| !rest.starts_with('/')) {
            return Ok(format!("{scheme}://{authority}"));
        }
    }
    // Form libraries encode what a template would leave as it is.
    let decoded = decode(uri)?;
    has_coap_scheme(&decoded).then_some(decoded).ok_or(Refusal::new(
        400,
        "no coap:// or coaps:// URI follows /hc/ (RFC 8075 section 5.3.1)",
    ))
}

fn has_coap_scheme(uri: &str) -> bool {
    split_scheme(uri).is_some()
}

/// Whether it is `coaps`, and what follows the two slashes.
fn split_scheme(uri: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let secure = scheme.eq_ignore_ascii_case("coaps");
    (secure || scheme.eq_ignore_ascii_case("coap")).then_some((secure, rest))
}

/// A Target CoAP URI as a resource (RFC 7252 §6.4).
fn unpack(settings: &Settings, uri: &str) -> Result<Target, Refusal> {
    let (secure, rest) = split_scheme(uri).ok_or(Refusal::new(400, "not a CoAP URI"))?;
    if rest.contains('#') {
        return Err(Refusal::new(400, "a CoAP URI has no fragment"));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let (endpoint, node) = find(settings, secure, authority)?;
    finish(endpoint, node, path, query, base(endpoint))
}

fn base(endpoint: Endpoint) -> String {
    let uri = endpoint.to_string();
    format!("{HC}{}", uri.replace('[', "%5B").replace(']', "%5D"))
}

/// The node that an authority names, if it may be reached (RFC 8075 §10.3, §10.4).
fn find<'s>(
    settings: &'s Settings,
    secure: bool,
    authority: &str,
) -> Result<(Endpoint, Option<&'s Node>), Refusal> {
    let authority = decode(authority)?;
    let named = |node: &&Node| node.name == authority && node.endpoint.secure == secure;
    if let Some(node) = settings.nodes.iter().find(named) {
        return Ok((node.endpoint, Some(node)));
    }
    let port = if secure { 5684 } else { 5683 };
    let address = literal(&authority, port)
        .ok_or(Refusal::new(403, "the host is neither an address nor the name of a node"))?;
    if !is_unicast(address) {
        return Err(Refusal::new(403, "multicast is not supported (RFC 8075 section 8.4)"));
    }
    let endpoint = Endpoint { secure, address };
    if let Some(node) = settings.nodes.iter().find(|node| node.endpoint == endpoint) {
        return Ok((endpoint, Some(node)));
    }
    if secure || !settings.prefixes.iter().any(|prefix| prefix.contains(address.ip())) {
        return Err(Refusal::new(403, "the proxy is not set up to reach this node"));
    }
    Ok((endpoint, None))
}

/// `address[:port]` with brackets around IPv6.
fn literal(authority: &str, default_port: u16) -> Option<SocketAddr> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (IpAddr::V6(host.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let colon = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at_checked(colon)?;
            (IpAddr::V4(host.parse().ok()?), port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some("") => default_port,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
        None => port.is_empty().then_some(default_port)?,
    };
    Some(SocketAddr::new(host, port))
}

/// Path and query as options, and the access check on what they decode to.
fn finish(
    endpoint: Endpoint,
    node: Option<&Node>,
    path: &str,
    query: Option<&str>,
    base: String,
) -> Result<Target, Refusal> {
    let mut segments = Vec::new();
    if !matches!(path, "" | "/") {
        for segment in path.split('/').skip(1) {
            segments.push(component(segment)?);
        }
    }
    if segments.iter().any(|segment| segment == "." || segment == "..") {
        return Err(Refusal::new(400, "dot segments have no place in a CoAP path"));
    }
    if !is_allowed(node, &segments) {
        return Err(Refusal::new(403, "the proxy does not show this resource of the node"));
    }
    let path = segments.into_iter().map(|segment| (option::URI_PATH, segment.into_bytes()));
    let mut options: Vec<Opt> = path.collect();
    for argument in query.iter().filter(|query| !query.is_empty()).flat_map(|q| q.split('&')) {
        options.push((option::URI_QUERY, component(argument)?.into_bytes()));
    }
    Ok(Target { endpoint, options, base })
}

fn is_allowed(node: Option<&Node>, segments: &[String]) -> bool {
    let allow = node.map(|node| node.allow.as_slice()).unwrap_or_default();
    if allow.is_empty() {
        return !matches!(segments, [first, second, ..] if first == ".well-known" && second == "core");
    }
    allow.iter().any(|prefix| {
        let wanted = prefix.split('/').filter(|segment| !segment.is_empty());
        let mut asked = segments.iter();
        wanted.into_iter().all(|wanted| asked.next().is_some_and(|segment| segment == wanted))
    })
}

/// A path segment or query argument as the value of its option: at most 255 bytes of UTF-8 (RFC 7252
/// §5.10).
fn component(text: &str) -> Result<String, Refusal> {
    let value = decode(text)?;
    if value.len() > 255 {
        return Err(Refusal::new(
            414,
            "a part of the path or query is longer than CoAP's 255 bytes",
        ));
    }
    Ok(value)
}

fn decode(text: &str) -> Result<String, Refusal> {
    let malformed = Refusal::new(400, "malformed percent-encoding, or not UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(malformed) };
        bytes.push(u8::try_from(high << 4 | low).unwrap_or(0));
    }
    String::from_utf8(bytes).map_err(|_| malformed)
}

/// What a client must write for a segment or argument that a node chose.
pub(crate) fn encode(value: &[u8]) -> String {
    let mut text = String::new();
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~!$'()*+,;:@=".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
#[path = "uri_tests.rs"]
mod tests;
