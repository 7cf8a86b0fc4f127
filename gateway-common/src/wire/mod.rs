//! Headers as they lie on the wire, and the one parser that walks them.
pub mod dtls;
pub mod icmp;
pub mod ip;
pub mod parse;

pub use ip::{Address, Prefix};

/// Why a packet could not be walked to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It ends before a header does.
    Truncated,
    /// A header's length field contradicts the packet.
    Length,
    /// More extension headers, or longer ones, than [`parse::EXTENSIONS_MAX`] allows.
    ExtensionChain,
    /// An IPv6 packet that carries an IPv4-mapped address (RFC 4942 §2.2).
    MappedAddress,
}
