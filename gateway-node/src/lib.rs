//! DTLS 1.2-PSK server for constrained nodes, with the extension that lets a border router without
//! keys map TLS to it (E2E §V-B).
//!
//! No allocation, no clock, no socket, no `unsafe`: the caller brings datagrams, the time, random
//! bytes and keys, and gets datagrams, data and events. All memory is in [`Server`], its size is in
//! its type.
//!
//! # The loop
//!
//! Three calls, and one buffer for what comes and what goes. Data is decrypted where it arrived.
//!
//! ```no_run
//! use std::net::UdpSocket;
//! # use gateway_node::{Config, Instant, Output, Peer, Psk, Server};
//! # fn now() -> Instant { Instant(0) }
//! # fn random(bytes: &mut [u8]) {}
//! # fn key(from: std::net::SocketAddr) -> Peer { Peer([0; 18]) }
//! # fn address(peer: Peer) -> std::net::SocketAddr { ([0, 0, 0, 0], 0).into() }
//!
//! let keys = |identity: &[u8]| Psk::new(b"sixteen secrets!").filter(|_| identity == b"client");
//! let mut server: Server<_, _, 4, 2> = Server::new(Config::default(), keys, random);
//! let socket = UdpSocket::bind("[::]:5684")?;
//! let mut buffer = [0; 1_280];
//! loop {
//!     let wake = loop {
//!         match server.poll_output(&mut buffer) {
//!             Output::Transmit { peer, datagram } => _ = socket.send_to(datagram, address(peer)),
//!             Output::Data { session, data } => {
//!                 let answer = data.to_vec();
//!                 let _ = server.send(now(), session, &answer);
//!             }
//!             Output::Connected { .. } | Output::Ready { .. } | Output::Closed { .. } => {}
//!             Output::Timeout(at) => break at,
//!         }
//!     };
//!     let nap = wake.map(|at| std::time::Duration::from_millis(at.since(now()).max(1)));
//!     socket.set_read_timeout(nap)?;
//!     match socket.recv_from(&mut buffer) {
//!         Ok((length, from)) => server.handle_datagram(now(), key(from), &buffer[..length]),
//!         Err(_) => server.handle_timeout(now()),
//!     }
//! }
//! # #[expect(unreachable_code, reason = "the loop has no end")]
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Two protocols, one server
//!
//! ```text
//! DTLS client                                             node
//!     ClientHello                                  -->
//!                                                  <--    HelloVerifyRequest
//!     ClientHello with cookie                      -->
//!                                                  <--    ServerHello, ServerHelloDone
//!     ClientKeyExchange, [CCS], Finished (24 B)    -->
//!                                                  <--    [CCS], Finished (24 B)
//!
//! TLS client        border router                         node
//!     ClientHello  -->  fe fd, no cookie           -->
//!                  <--  03 03                      <--    ServerHello, ServerHelloDone
//!     ClientKeyExchange, [CCS], Finished (16 B)    -->
//!                                                  <--    report, [CCS], Finished (16 B)
//!     records      -->  one record, one record     -->
//!                  <--                             <--    report
//! ```
//!
//! The router changes what is in clear (E2E Table I) and cannot touch Finished: in it the client has
//! authenticated the messages as TLS has them. So the server hashes each handshake twice, as it is
//! and as its TLS image, and the client's Finished, the first thing that only the client can make,
//! says which of the two it saw: the [`Origin`] of a session is authentic. From then on TLS's
//! sequence numbers and version are what records authenticate.
//!
//! A TLS origin is a byte stream: records are taken in order and without gaps, confirmed to the
//! router and sent again, byte for byte, until the router confirms them. A DTLS origin is what DTLS
//! always is.
//!
//! # What it does not do
//!
//! Certificates, (EC)DHE, tickets, connection IDs, renegotiation, DTLS 1.3. Plain PSK has no forward
//! secrecy: whoever learns a key later can read what was recorded.
//!
//! # Memory
//!
//! A connected session weighs less than 256 bytes, a handshake on its way less than a KiB more. Each
//! waiting record takes a datagram, shared by all, and one buffer joins fragments: clients of today
//! send ClientHellos of 1,528 bytes.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "proxy")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod alert;
mod config;
mod counters;
mod crypto;
mod engine;
mod env;
mod handshake;
#[cfg(feature = "proxy")]
pub mod proxy;
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
