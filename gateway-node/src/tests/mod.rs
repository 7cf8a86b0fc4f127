//! A server and clients of both protocols.

mod handshake;
mod network;
mod vectors;
