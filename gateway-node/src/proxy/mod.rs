//! An HTTP-CoAP proxy that stands inside the LLN (RFC 8075, E2E §VI).
//!
//! The border router maps TLS to DTLS and cannot read what it carries, so HTTP becomes CoAP behind
//! it: on a device that ends the TLS session with [`crate::Server`], and serves nodes which speak
//! only CoAP.
//!
//! ```text
//! HTTPS client ──TLS──▶ border router ──mapped──▶ proxy ──CoAP or CoAPS──▶ node
//! ```
//!
//! Sans-IO like the engine, but with an allocator: whoever speaks HTTP for a network of nodes is of
//! the Linux class, and requests, caches and blocks have sizes that only their users know. All of it
//! is bounded by [`Limits`].
//!
//! # What is mapped
//!
//! | HTTP | CoAP | how |
//! | --- | --- | --- |
//! | request target | node, Uri-Path, Uri-Query | `/name/path` and the forms of RFC 8075 §5 below `/hc/` |
//! | GET, PUT, POST, DELETE, PATCH, iPATCH | the same | HEAD is a GET of which one block is fetched |
//! | status | response code | RFC 8075 §7, Table 2 |
//! | Content-Type, Content-Encoding, Accept | Content-Format, Accept | RFC 8075 §6, strict or [`Mapping`]'s loose |
//! | ETag, If-Match, If-None-Match | the same | the tag's bytes in hexadecimal |
//! | Cache-Control, Age, Retry-After | Max-Age | RFC 7252 §5.6, RFC 9111 |
//! | Location | Location-Path, Location-Query | in the form in which the request was written |
//! | body of any length | Block1, Block2 | RFC 7959, sizes agreed with the node |
//!
//! A response is collected up to [`Limits::collect`] bytes, so that it has a length, can be stored,
//! and is fetched anew if it changes between two blocks; a longer one is passed on in chunks as its
//! blocks arrive, and no faster than the client takes them. One that breaks off ends without its
//! last chunk.
//!
//! # Who may ask for what
//!
//! Clients have proved themselves by their key before a byte of HTTP is read. They reach the nodes
//! that are named in [`Settings`] or lie in its prefixes, never a multicast address, and
//! `/.well-known/core` of a node only where that is allowed. A node sees one request at a time
//! (NSTART of RFC 7252 §4.7), the LLN [`Limits::in_flight`].
//!
//! # What is not done
//!
//! Observe (RFC 8075 §8.2): the cache validates instead. Multicast (§8.4): 403. Transcoding (§6.5).
//! Storing responses other than 2.05. TLS with certificates (§10): the engine has PSK.
//!
//! Deviation: RFC 8075 §5.3.2 has a client encode the brackets of an IPv6 address; without that
//! they are taken as well, as are target URIs that are wholly percent-encoded in `target_uri`.
//!
//! Deviation: RFC 9110 §6.6.1 wants a Date from whoever has a clock; the proxy has none of the day.

mod block;
mod cache;
mod core;
mod deliver;
mod discovery;
mod http;
mod job;
mod link;
mod media;
mod message;
mod method;
mod native;
mod plan;
mod refusal;
mod reply;
mod settings;
mod status;
mod transfer;
mod uri;
#[cfg(test)]
mod world;

pub use self::core::{ConnectionId, Counters, Proxy};
pub use block::BlockSize;
pub use media::Mapping;
pub use settings::{Endpoint, Limits, Node, Prefix, Settings, SettingsError, Timing};
