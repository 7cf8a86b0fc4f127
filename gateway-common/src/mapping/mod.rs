//! TLS 1.2 ↔ DTLS 1.2, field by field (E2E §V-B, Table I): what the border router rewrites and what
//! the node undoes when it recomputes `Finished`. Neither needs a key for it.
//!
//! | field | TLS 1.2 | DTLS 1.2 | here |
//! | --- | --- | --- | --- |
//! | record version | 03 03 | fe fd | [`record`] |
//! | epoch, sequence number | implicit | explicit, 2 + 6 bytes | [`sequence`] |
//! | handshake header | type, length | and `message_seq`, fragment offset and length | [`handshake`] |
//! | `client_version`, `server_version` | 03 03 | fe fd | [`image`] |
//! | ClientHello cookie | – | vector of 0 to 255 bytes after the session ID | [`image`] |
//! | loss repair | TCP | hop-local reports between router and node | [`ack`] |
//!
//! Everything else passes byte for byte: extensions above all, as they are in both transcripts, and
//! whatever is protected.
pub mod ack;
pub mod handshake;
pub mod hello;
pub mod image;
mod reader;
pub mod record;
pub mod sequence;

pub use sequence::Position;

#[cfg(test)]
mod tests;
