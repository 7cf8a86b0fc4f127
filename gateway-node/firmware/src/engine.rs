//! The engine as this node has it: what it takes of the board's 64 KiB, its key and its chance.
use core::net::{Ipv6Addr, SocketAddrV6};

use gateway_node::{Config, Peer, Psk, PskStore, Random, Server, Suite};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Sessions at once, and handshakes.
pub const SESSIONS: usize = 4;
const HANDSHAKES: usize = 2;
const RESUMABLE: usize = 4;
const RECORDS: usize = 2;
const DATAGRAM: usize = 1_232;
const REASSEMBLY: usize = 1_800;

/// The engine with its key and its chance.
pub type Engine =
    Server<Keys, Chance, SESSIONS, HANDSHAKES, RESUMABLE, RECORDS, DATAGRAM, REASSEMBLY>;

/// The only client, known to everybody who reads this: a real node has keys of its own.
const IDENTITY: &[u8] = b"node1";
const KEY: &[u8] = b"0123456789abcdef";

/// The node's keys.
#[derive(Debug)]
pub struct Keys;

impl PskStore for Keys {
    fn psk(&self, identity: &[u8]) -> Option<Psk> {
        if identity == IDENTITY { Psk::new(KEY) } else { None }
    }
}

/// Random bytes, grown from a seed.
#[derive(Debug)]
pub struct Chance(ChaCha20Rng);

impl Random for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// An engine without sessions, for the one suite of constrained nodes (RFC 7925 §4.2).
pub fn new(seed: [u8; 32]) -> Engine {
    let config = Config { suites: &[Suite::Ccm8], ..Config::default() };
    Server::new(config, Keys, Chance(ChaCha20Rng::from_seed(seed)))
}

/// What the engine knows a peer by.
pub fn peer(address: SocketAddrV6) -> Peer {
    let mut bytes = [0; 18];
    let (host, port) = bytes.split_at_mut(16);
    host.copy_from_slice(&address.ip().octets());
    port.copy_from_slice(&address.port().to_be_bytes());
    Peer(bytes)
}

/// Where such a peer is.
pub fn address(peer: Peer) -> SocketAddrV6 {
    let (host, port) = peer.0.split_at(16);
    let host = Ipv6Addr::from(<[u8; 16]>::try_from(host).unwrap_or_default());
    let port = u16::from_be_bytes(<[u8; 2]>::try_from(port).unwrap_or_default());
    SocketAddrV6::new(host, port, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_address() {
        let there = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 40_000, 0, 0);
        assert_eq!(address(peer(there)), there);
    }

    #[test]
    fn only_the_client_it_knows_has_a_key() {
        assert!(Keys.psk(b"node1").is_some());
        assert!(Keys.psk(b"node2").is_none());
    }
}
