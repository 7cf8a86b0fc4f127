//! DTLS 1.2-PSK server for constrained nodes, with the extension that lets a border router without
//! keys map TLS to it (E2E §V-B).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "proxy")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod counters;
mod env;
#[cfg(feature = "proxy")]
pub mod proxy;
mod psk;
mod server;

pub use config::{Config, Cookie, Evict, Suite};
pub use counters::Counters;
pub use env::{Instant, Peer, Random};
pub use psk::{IDENTITY_MAX, PSK_MAX, Psk, PskStore};
pub use server::{Origin, Output, SendError, Server, SessionId, Why};
