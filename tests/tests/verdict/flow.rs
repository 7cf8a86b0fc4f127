//! A back-end and a node who talk, and their packets.

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
};

use tests::{lab::topology::NODE, packet::Packet};

use super::world::NODE_V4;

/// Both ends of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The back-end.
    pub peer: SocketAddr,
    /// The node.
    pub node: SocketAddr,
}

impl Flow {
    /// From a port that no other flow of this test has, to the first node's DTLS port.
    pub fn of(peer: impl Into<IpAddr>) -> Self {
        thread_local!(static NEXT: Cell<u16> = const { Cell::new(40_000) });
        NEXT.set(NEXT.get() + 1);
        let peer = SocketAddr::new(peer.into(), NEXT.get());
        let node: IpAddr = match peer {
            SocketAddr::V4(_) => NODE_V4.into(),
            SocketAddr::V6(_) => NODE.into(),
        };
        Self { peer, node: SocketAddr::new(node, 5684) }
    }

    /// The same to another node.
    pub fn to(mut self, node: impl Into<IpAddr>) -> Self {
        self.node.set_ip(node.into());
        self
    }

    /// The same to another port of the node.
    pub fn port(mut self, port: u16) -> Self {
        self.node.set_port(port);
        self
    }

    /// A datagram to the node, to be changed.
    pub fn packet(&self, payload: impl AsRef<[u8]>) -> Packet {
        Packet::udp(self.peer, self.node).payload(payload)
    }

    /// A datagram to the node.
    pub fn inward(&self, payload: impl AsRef<[u8]>) -> Vec<u8> {
        self.packet(payload).build()
    }

    /// A datagram from the node, to be changed.
    pub fn reply(&self, payload: impl AsRef<[u8]>) -> Packet {
        Packet::udp(self.node, self.peer).payload(payload)
    }

    /// A datagram from the node.
    pub fn outward(&self, payload: impl AsRef<[u8]>) -> Vec<u8> {
        self.reply(payload).build()
    }

    /// A datagram from the node as an ICMP error quotes it.
    pub fn quoted(&self) -> Vec<u8> {
        self.reply(b"reply").raw_ip().build()
    }

    /// A segment to the node.
    pub fn segment(&self) -> Packet {
        Packet::tcp(self.peer, self.node)
    }
}
