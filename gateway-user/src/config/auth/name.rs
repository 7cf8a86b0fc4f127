//! Names that a certificate can prove, and patterns for them.
//!
//! A name is one of the certificate's subject alternative names (RFC 5280 §4.2.1.6): a URI, a DNS
//! name or an email address. The subject's common name counts for nothing (RFC 9525 §2).
use crate::config::units::Invalid;
use serde::{Serialize, Serializer};

/// Kinds of names, in the order in which a certificate's names are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A uniform resource identifier, such as `urn:dev:mac:0024beffff804ff1` (RFC 9039).
    Uri,
    /// A host name.
    Dns,
    /// An email address.
    Email,
}

/// A name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Its kind.
    pub kind: Kind,
    /// As the certificate has it; host names in lower case.
    pub text: String,
}

impl Name {
    /// A name of that kind, or `None` when it is no text that a log or a listing can show.
    pub fn new(kind: Kind, text: &str) -> Option<Self> {
        const LONGEST: usize = 256;
        let plain = |c: char| c.is_ascii_graphic();
        let good = (1..=LONGEST).contains(&text.len()) && text.chars().all(plain);
        let text = match kind {
            Kind::Dns => text.to_ascii_lowercase(),
            Kind::Uri | Kind::Email => text.to_owned(),
        };
        (good && text != "*").then_some(Self { kind, text })
    }
}

/// Whom a policy is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Everybody whose certificate is valid.
    Everybody,
    /// Every host name that ends so, with its dot.
    Suffix(String),
    /// One name of any kind.
    One(String),
}

impl Pattern {
    /// Reads a name, `*.example.com` or `*`.
    ///
    /// # Errors
    /// What could not be a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let wanted = "expected a name of the certificate (URI, DNS or email) such as \
                      \"pump-7.example\", \"*.example\" for every host below it, or \"*\" for \
                      everybody";
        let refuse = || Invalid::text(text, wanted);
        if text == "*" {
            return Ok(Self::Everybody);
        }
        if let Some(suffix) = text.strip_prefix('*') {
            let rest = suffix.strip_prefix('.').and_then(|rest| Name::new(Kind::Dns, rest));
            let rest = rest.filter(|name| !name.text.contains('*')).ok_or_else(refuse)?;
            return Ok(Self::Suffix(format!(".{}", rest.text)));
        }
        let name = Name::new(Kind::Uri, text).filter(|name| !name.text.contains('*'));
        name.map(|name| Self::One(name.text)).ok_or_else(refuse)
    }

    /// Whether it covers a name whose kind is not known any more.
    pub fn covers_text(&self, text: &str) -> bool {
        let kinds = [Kind::Uri, Kind::Dns, Kind::Email];
        kinds.iter().any(|kind| Name::new(*kind, text).is_some_and(|name| self.covers(&name)))
    }

    /// Whether it covers a name.
    pub fn covers(&self, name: &Name) -> bool {
        match (self, name.kind) {
            (Self::Everybody, _) => true,
            (Self::Suffix(suffix), Kind::Dns) => {
                name.text.len() > suffix.len() && name.text.ends_with(suffix.as_str())
            }
            (Self::Suffix(_), Kind::Uri | Kind::Email) => false,
            (Self::One(own), Kind::Dns) => own.eq_ignore_ascii_case(&name.text),
            (Self::One(own), Kind::Uri | Kind::Email) => *own == name.text,
        }
    }
}

impl core::fmt::Display for Pattern {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Everybody => out.write_str("*"),
            Self::Suffix(suffix) => write!(out, "*{suffix}"),
            Self::One(name) => out.write_str(name),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}
