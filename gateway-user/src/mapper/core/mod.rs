//! One mapped connection, sans-IO: bytes of TCP, datagrams and time in; bytes of TCP, datagrams and
//! a deadline out. No socket, no clock, no key.
//!
//! ```text
//! back-end ──handle_tls──▶ ┌────────────┐ ──poll_output──▶ Output::Datagram ──▶ node
//!                          │ Connection │
//! back-end ◀──Output::Tls── └────────────┘ ◀──handle_datagram───────────────── node
//!                handle_timeout ▲  ▼ poll_timeout
//! ```
//!
//! After each `handle_*`: [`Connection::poll_output`] until `None`, then wait until
//! [`Connection::poll_timeout`], and drop the connection once [`Connection::is_over`]. Before a
//! node is known, [`peek_client_hello`] reads the server name from the stream's first bytes.
mod assembly;
mod backend;
mod chance;
mod connection;
mod end;
mod flight;
mod handshake;
mod hello;
mod memory;
mod node;
mod output;
mod peek;
mod policy;
mod poll;
mod reason;
mod receiver;
mod report;
mod sender;
mod stream;
mod summary;

pub use connection::Connection;
pub use output::{Datagram, Output};
pub use peek::{Hello, peek_client_hello};
pub use policy::Policy;
pub use reason::Reason;
pub use summary::{Phase, Summary, Traffic};

#[cfg(test)]
mod tests;
