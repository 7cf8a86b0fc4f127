//! HTTP methods and their CoAP codes (RFC 7252 §5.8, RFC 8132).

use super::message::Code;

/// A method that has a counterpart in CoAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    /// CoAP has no HEAD: it is a GET of which the first block is fetched and not shown.
    Head,
    Post,
    Put,
    Delete,
    Patch,
    /// CoAP's idempotent PATCH (RFC 8132 §3); its name is not registered for HTTP.
    IPatch,
}

impl Method {
    /// The method of that name, which is case-sensitive (RFC 9110 §9.1); `None` calls for a 501.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            "iPATCH" => Self::IPatch,
            _ => return None,
        })
    }

    pub(crate) fn code(self) -> Code {
        match self {
            Self::Get | Self::Head => Code::GET,
            Self::Post => Code::POST,
            Self::Put => Code::PUT,
            Self::Delete => Code::DELETE,
            Self::Patch => Code::PATCH,
            Self::IPatch => Code::IPATCH,
        }
    }

    /// Whether it only reads (RFC 9110 §9.2.1), so that a cache may answer.
    pub(crate) fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_the_codes_of_the_registry() {
        let codes = [
            ("GET", 1),
            ("HEAD", 1),
            ("POST", 2),
            ("PUT", 3),
            ("DELETE", 4),
            ("PATCH", 6),
            ("iPATCH", 7),
        ];
        for (name, code) in codes {
            assert_eq!(Method::named(name).map(Method::code), Some(Code(code)), "{name}");
        }
    }

    #[test]
    fn methods_without_a_counterpart_are_unknown() {
        for name in ["OPTIONS", "TRACE", "CONNECT", "FETCH", "get", "", "IPATCH", "PRI"] {
            assert_eq!(Method::named(name), None, "{name}");
        }
    }
}
