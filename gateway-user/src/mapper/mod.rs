//! TLS 1.2 over TCP on the Internet's side, DTLS 1.2 over UDP on the node's (E2E §V-B), without any
//! key: headers are rewritten, loss is repaired, and everything protected passes as it is.
//!
//! [`core`] is one connection without sockets or clock, [`driver`] has the sockets, [`routing`]
//! steers what is addressed to nodes to them.
pub mod core;
pub mod driver;
pub mod routing;
