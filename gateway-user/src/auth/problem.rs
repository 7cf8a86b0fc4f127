//! Problem documents (RFC 9457): why a request was not done, for programs and for people.
use crate::lease::{self, Refusal};
use core::fmt;
use serde_json::{Map, Value, json};

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "titles and explanations are in the table below")]
pub enum Kind {
    BadRequest,
    NotFound,
    MethodNotAllowed,
    MediaType,
    TooLarge,
    Timeout,
    Unidentified,
    UnknownIdentity,
    Revoked,
    Ended,
    NodeNotAllowed,
    TunnelNotAllowed,
    Source,
    TooManyLeases,
    Crowded,
    OtherAddress,
    NoRoom,
    Failed,
}

/// A kind's name, status, title and what to do about it.
struct Entry(Kind, &'static str, u16, &'static str, &'static str);

#[rustfmt::skip]
const TABLE: [Entry; 18] = [
    Entry(Kind::BadRequest, "bad-request", 400, "The request cannot be read", "Send what /v1/openapi.json describes."),
    Entry(Kind::NotFound, "not-found", 404, "There is no such thing", "A lease that has ended is gone, and those of others are not shown."),
    Entry(Kind::MethodNotAllowed, "method-not-allowed", 405, "The method does not apply here", "The header Allow names those that do."),
    Entry(Kind::MediaType, "media-type", 415, "The body is of another kind", "Send JSON with Content-Type: application/json (curl --json)."),
    Entry(Kind::TooLarge, "too-large", 413, "The request is too large", "A body has at most 4096 bytes."),
    Entry(Kind::Timeout, "timeout", 408, "The body did not come in time", "Send it at once."),
    Entry(Kind::Unidentified, "unidentified", 403, "The certificate names nobody", "It needs a subject alternative name: a URI, a DNS name or an email address. A common name does not count."),
    Entry(Kind::UnknownIdentity, "unknown-identity", 403, "The identity has no policy here", "The router's administrator adds an [[auth.identity]] with one of the certificate's names."),
    Entry(Kind::Revoked, "revoked", 403, "The certificate is revoked", "Have another one issued."),
    Entry(Kind::Ended, "certificate-ended", 403, "The certificate has ended", "Have another one issued."),
    Entry(Kind::NodeNotAllowed, "node-not-allowed", 403, "The policy does not cover a node", "Ask for other nodes, or name none for all that the policy covers."),
    Entry(Kind::TunnelNotAllowed, "tunnel-not-allowed", 403, "The policy allows no tunnel", "The router's administrator sets tunnel = true."),
    Entry(Kind::Source, "source", 403, "Nodes cannot be reached from this address", "Ask from the address that the packets will come from: not link-local, not inside the LLN."),
    Entry(Kind::TooManyLeases, "too-many-leases", 409, "The identity holds as many leases as it may", "Delete one, or wait until one lapses. The same address renews its own."),
    Entry(Kind::Crowded, "crowded-address", 409, "The address's leases do not fit together", "Behind one address there is room for 16 nodes or prefixes and 8 ports: ask for fewer nodes."),
    Entry(Kind::OtherAddress, "other-address", 409, "The lease is for another address", "A lease is renewed from the address that it is for; POST makes one for this address."),
    Entry(Kind::NoRoom, "no-room", 503, "The router has no room for another lease", "The router's administrator raises sources.capacity."),
    Entry(Kind::Failed, "failed", 500, "The router failed", "Its log says more."),
];

impl Kind {
    fn entry(self) -> &'static Entry {
        let [first, ..] = &TABLE;
        TABLE.iter().find(|entry| entry.0 == self).unwrap_or(first)
    }

    /// Its name, the last part of its address.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The kind with a name.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|entry| entry.0)
    }

    /// Its HTTP status.
    pub fn status(self) -> u16 {
        self.entry().2
    }

    /// What a reader of its address is told.
    pub fn explanation(self) -> Value {
        let Entry(_, name, status, title, remedy) = self.entry();
        json!({ "type": address(name), "title": title, "status": status, "remedy": remedy })
    }
}

fn address(name: &str) -> String {
    format!("/v1/problems/{name}")
}

/// A problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Of which kind.
    pub kind: Kind,
    detail: String,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem, and what it is in this case.
    pub fn new(kind: Kind, detail: impl fmt::Display) -> Self {
        Self { kind, detail: detail.to_string(), members: Map::new() }
    }

    /// With a further member (RFC 9457 §3.2).
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The document.
    pub fn document(&self) -> Value {
        let Entry(_, name, status, title, remedy) = self.kind.entry();
        let mut document = self.members.clone();
        document.insert("type".into(), address(name).into());
        document.insert("title".into(), (*title).into());
        document.insert("status".into(), (*status).into());
        document.insert("detail".into(), self.detail.clone().into());
        document.insert("remedy".into(), (*remedy).into());
        Value::Object(document)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Node { node, .. } => Self::new(Kind::NodeNotAllowed, text).with("node", node),
            Refusal::Tunnel(_) => Self::new(Kind::TunnelNotAllowed, text),
            Refusal::TooMany { held, most, .. } => {
                Self::new(Kind::TooManyLeases, text).with("held", held).with("most", most)
            }
            Refusal::Source(source) => {
                Self::new(Kind::Source, text).with("source", source.to_string())
            }
            Refusal::Crowded(_) => Self::new(Kind::Crowded, text),
            Refusal::Revoked(_) => Self::new(Kind::Revoked, text),
            Refusal::Ended(_) => Self::new(Kind::Ended, text),
        }
    }
}

impl From<lease::Error> for Problem {
    fn from(error: lease::Error) -> Self {
        let text = error.to_string();
        match error {
            lease::Error::Refused(refusal) => refusal.into(),
            lease::Error::Unknown(names) if names.is_empty() => Self::new(Kind::Unidentified, text),
            lease::Error::Unknown(names) => {
                let names: Vec<String> = names.into_iter().map(|name| name.text).collect();
                Self::new(Kind::UnknownIdentity, text).with("names", names)
            }
            lease::Error::Dataplane(crate::dataplane::Error::Full { what, .. }) => {
                Self::new(Kind::NoRoom, format_args!("{what} is full"))
            }
            lease::Error::Store(_)
            | lease::Error::Allow(_)
            | lease::Error::Dataplane(_)
            | lease::Error::Agent(_)
            | lease::Error::Clock(_)
            | lease::Error::Gone => {
                tracing::error!("a lease was not granted: {text}");
                Self::new(Kind::Failed, "the lease could not be put into force")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let kinds: Vec<Kind> = Kind::all().collect();
        for kind in &kinds {
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        }
        assert_eq!(kinds.len(), Kind::Failed as usize + 1);
    }

    #[test]
    fn a_document_has_the_standards_members_and_its_own() {
        let document = Problem::new(Kind::TooManyLeases, "four").with("held", 4).document();
        assert_eq!(document["type"], "/v1/problems/too-many-leases");
        assert_eq!((&document["status"], &document["held"]), (&409.into(), &4.into()));
        assert_eq!(document["detail"], "four");
    }
}
