//! A server and clients of both protocols.

mod attack;
mod handshake;
mod limits;
mod network;
mod resumption;
mod seeds;
mod vectors;
