//! TLS 1.2 over TCP on the Internet's side, DTLS 1.2 over UDP on the node's (E2E §V-B), without any
//! key: headers are rewritten, loss is repaired, and everything protected passes as it is.
pub mod core;
