//! What the proxy serves and how much it takes, with the defaults and why.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::{block::BlockSize, media::Mapping};

/// A CoAP server: where it listens, and whether DTLS guards the way to it (`coaps`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Whether datagrams travel in DTLS; the driver sees to that.
    pub secure: bool,
    /// Unicast address and UDP port.
    pub address: SocketAddr,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coap{}://{}", if self.secure { "s" } else { "" }, self.address)
    }
}

/// A node that clients may reach, as `/name/path` and as its CoAP URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// First segment of the path: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Paths that may be asked for, each with all below it. None stands for all but
    /// `/.well-known/core`, which RFC 8075 §10.4 wants protected.
    pub allow: Vec<String>,
}

/// Addresses whose nodes are reached by plain CoAP without being named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Any address in it.
    pub address: IpAddr,
    /// In bits.
    pub length: u8,
}

impl Prefix {
    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let host = width.saturating_sub(u32::from(self.length));
            a.checked_shr(host).unwrap_or(0) == b.checked_shr(host).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Bounds of what is kept, in bytes where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. Default: 16.
    pub connections: usize,
    /// Request line and header fields, at most 64 fields. Default: 8,192.
    pub head: usize,
    /// Request target. Default: 2,048.
    pub target: usize,
    /// Body of a request. It is kept whole, as a node may want it again in other blocks (RFC 7959
    /// §2.9.2). Default: 65,536.
    pub body: usize,
    /// A response that is not complete by then is passed on in chunks as its blocks arrive; one
    /// that is gets a length, can be cached, and is fetched anew when it changes on the way.
    /// Default: 16,384.
    pub collect: usize,
    /// Bytes that wait for a slow client before the next block is asked for. Default: 4,096.
    pub backlog: usize,
    /// Requests that wait for nodes, all together; more get a 503. Default: 64.
    pub waiting: usize,
    /// Requests on the way in the LLN at one time (RFC 8075 §8.1). Default: 4.
    pub in_flight: usize,
    /// Nodes of which something is remembered. Default: 64.
    pub endpoints: usize,
    /// Cached responses. Default: 262,144.
    pub cache: usize,
    /// Largest block asked for or sent; also the BLOCKWISE_THRESHOLD of RFC 8075 §8.3. Default: 256,
    /// a few frames of IEEE 802.15.4.
    pub block: BlockSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16,
            head: 8_192,
            target: 2_048,
            body: 65_536,
            collect: 16_384,
            backlog: 4_096,
            waiting: 64,
            in_flight: 4,
            endpoints: 64,
            cache: 262_144,
            block: BlockSize::of(256).unwrap_or(BlockSize::LARGEST),
        }
    }
}

/// Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// First timeout of a confirmable message, times a random 1 to 1.5. Default: 2,000 (RFC 7252
    /// §4.8).
    pub ack_timeout: u32,
    /// MAX_RETRANSMIT. Default: 4 (RFC 7252 §4.8).
    pub max_retransmit: u8,
    /// For a separate response after its acknowledgement. Default: 452,000, which is MAX_RTT +
    /// MAX_SERVER_RESPONSE_DELAY (RFC 8075 §8.5).
    pub response: u32,
    /// For the next bytes of a request that has begun, and for a client to take a response.
    /// Default: 60,000.
    pub stalled: u32,
    /// For the next request of a connection. Default: 120,000.
    pub keep_alive: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ack_timeout: 2_000,
            max_retransmit: 4,
            response: 452_000,
            stalled: 60_000,
            keep_alive: 120_000,
        }
    }
}

/// Settings of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Nodes by name; nothing else but `prefixes` can be reached.
    pub nodes: Vec<Node>,
    /// Further nodes, by their CoAP URI only.
    pub prefixes: Vec<Prefix>,
    /// What the proxy calls itself in Via: letters, digits, `-`, `_` and `.`. Two proxies in a row
    /// need different ones, since one that meets its own name refuses the request as a loop.
    pub name: String,
    /// Where clients find the proxy, as in `https://p.example.com`: the anchor of its links for those
    /// who ask by CoAP.
    pub origin: Option<String>,
    /// Media types.
    pub mapping: Mapping,
    /// Bounds.
    pub limits: Limits,
    /// Times.
    pub timing: Timing,
}

impl Settings {
    /// The defaults, with these nodes.
    pub fn new(nodes: Vec<Node>) -> Self {
        Self {
            nodes,
            prefixes: Vec::new(),
            name: "hc".to_string(),
            origin: None,
            mapping: Mapping::default(),
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if !is_name(&self.name) {
            return Err(SettingsError::Name(self.name.clone()));
        }
        if let Some(origin) = self.origin.as_ref().filter(|origin| !is_origin(origin)) {
            return Err(SettingsError::Origin(origin.clone()));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            if !is_name(&node.name) || matches!(&*node.name, "hc" | ".well-known" | "." | "..") {
                return Err(SettingsError::Name(node.name.clone()));
            }
            if self.nodes.iter().take(index).any(|other| other.name == node.name) {
                return Err(SettingsError::Twice(node.name.clone()));
            }
            if !is_unicast(node.endpoint.address) {
                return Err(SettingsError::Address(node.endpoint));
            }
        }
        Ok(())
    }
}

/// Why a proxy cannot start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsError {
    /// A name has other characters than allowed, or is taken by the proxy itself.
    Name(String),
    /// Two nodes have that name.
    Twice(String),
    /// Not scheme, host and perhaps port.
    Origin(String),
    /// The address is multicast, unspecified or broadcast, or the port is 0.
    Address(Endpoint),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "the name {name:?} cannot be used: take letters, digits, `-`, `_` and `.`, and not \
                 `hc` or `.well-known`"
            ),
            Self::Twice(name) => write!(f, "two nodes are called {name:?}: rename one"),
            Self::Origin(origin) => {
                write!(f, "{origin:?} is no origin: write it like https://p.example.com:5684")
            }
            Self::Address(endpoint) => {
                write!(f, "{endpoint} is not one node: give its unicast address and port")
            }
        }
    }
}

impl core::error::Error for SettingsError {}

/// Whether an address can be that of one node.
pub(crate) fn is_unicast(address: SocketAddr) -> bool {
    let one = match address.ip().to_canonical() {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    };
    one && address.port() != 0
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 63 && name.bytes().all(allowed)
}

fn is_origin(origin: &str) -> bool {
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]".contains(&b);
    authority.is_some_and(|authority| !authority.is_empty() && authority.bytes().all(allowed))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn node(name: &str, address: &str) -> Node {
        let address = address.parse().expect("an address");
        let endpoint = Endpoint { secure: false, address };
        Node { name: name.to_string(), endpoint, allow: vec![] }
    }

    #[test]
    fn prefixes_contain_their_addresses_only() {
        let prefix = |address: &str, length| Prefix {
            address: address.parse().expect("an address"),
            length,
        };
        let holds = |p: Prefix, address: &str| p.contains(address.parse().expect("an address"));
        assert!(holds(prefix("2001:db8::", 64), "2001:db8::1"));
        assert!(!holds(prefix("2001:db8::", 64), "2001:db8:0:1::1"));
        assert!(!holds(prefix("2001:db8::", 64), "10.0.0.1"));
        assert!(holds(prefix("10.0.0.0", 8), "10.1.2.3"));
        assert!(!holds(prefix("10.0.0.0", 8), "11.1.2.3"));
        assert!(holds(prefix("::", 0), "2001:db8::1"));
        assert!(holds(prefix("::1", 128), "::1"));
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let check = |nodes| Settings::new(nodes).check();
        assert_eq!(check(vec![node("lamp", "[2001:db8::1]:5683")]), Ok(()));
        for name in ["", "hc", ".well-known", "a/b", "a b", "..", "ä"] {
            let refused = SettingsError::Name(name.to_string());
            assert_eq!(check(vec![node(name, "[2001:db8::1]:5683")]), Err(refused));
        }
        for address in
            ["[ff02::fd]:5683", "224.0.1.187:5683", "[::ffff:224.0.1.187]:5683", "[::1]:0"]
        {
            let refused = check(vec![node("lamp", address)]);
            assert!(matches!(refused, Err(SettingsError::Address(_))), "{address}");
        }
        for (origin, works) in
            [("https://p.example:5684", true), ("p.example", false), ("https://\"", false)]
        {
            let origin = Some(origin.to_string());
            assert_eq!(Settings { origin, ..Settings::new(vec![]) }.check().is_ok(), works);
        }
        let twice = vec![node("lamp", "[::1]:5683"), node("lamp", "[::1]:5685")];
        assert_eq!(check(twice), Err(SettingsError::Twice("lamp".to_string())));
    }
}
