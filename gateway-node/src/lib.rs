//! DTLS 1.2-PSK server for constrained nodes, with the extension that lets a border router without
//! keys map TLS to it (E2E §V-B).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod alert;
mod config;
mod counters;
mod crypto;
mod engine;
mod env;
mod handshake;
mod psk;
mod record;
mod records;
mod resumption;
mod server;
mod session;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transcript;
mod window;
mod writer;

pub use config::{Config, Cookie, DATAGRAM_MIN, Evict, Suite};
pub use counters::Counters;
pub use env::{Instant, Peer, Random};
pub use psk::{IDENTITY_MAX, PSK_MAX, Psk, PskStore};
pub use server::{Origin, Output, SendError, Server, SessionId, Why};
