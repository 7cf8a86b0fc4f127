//! The yardstick: a relay of datagrams that proves and hides nothing. One thread, one epoll, one
//! connected socket for each peer, a system call for each datagram.
use std::{
    collections::HashMap,
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
};

use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const DATAGRAM: usize = 2048;
const FRONT: u64 = u64::MAX;

struct Relay {
    front: UdpSocket,
    node: SocketAddr,
    epoll: Epoll,
    /// Towards the node, by descriptor, and whom for.
    backs: HashMap<u64, (UdpSocket, SocketAddr)>,
    peers: HashMap<SocketAddr, u64>,
}

/// Relays what comes to the address `listen` to `node`, and what it answers, until it is killed.
pub(crate) fn run(listen: SocketAddr, node: SocketAddr) -> Result<()> {
    let front = UdpSocket::bind(listen)?;
    front.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(front.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, FRONT))?;
    println!("{}", front.local_addr()?);
    let mut relay = Relay { front, node, epoll, backs: HashMap::new(), peers: HashMap::new() };
    let mut buffer = [0; DATAGRAM];
    loop {
        let mut events = [EpollEvent::empty(); 64];
        let ready = relay.epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in events.iter().take(ready).map(EpollEvent::data) {
            if event == FRONT { relay.up(&mut buffer)? } else { relay.down(event, &mut buffer)? }
        }
    }
}

impl Relay {
    fn up(&mut self, buffer: &mut [u8]) -> Result<()> {
        let (length, peer) = match self.front.recv_from(buffer) {
            Ok(received) => received,
            Err(error) if is_nothing(error.kind()) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let key = match self.peers.get(&peer) {
            Some(key) => *key,
            None => self.open(peer)?,
        };
        let (back, _) = self.backs.get(&key).context("a socket for each peer")?;
        // what the way has no room for is lost
        let _ = back.send(buffer.get(..length).unwrap_or_default());
        Ok(())
    }

    fn down(&self, key: u64, buffer: &mut [u8]) -> Result<()> {
        let (back, peer) = self.backs.get(&key).context("a socket for each event")?;
        match back.recv(buffer) {
            Ok(length) => {
                let _ = self.front.send_to(buffer.get(..length).unwrap_or_default(), peer);
                Ok(())
            }
            Err(error) if is_nothing(error.kind()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&mut self, peer: SocketAddr) -> Result<u64> {
        let back = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        back.set_nonblocking(true)?;
        back.connect(self.node)?;
        let key = u64::try_from(back.as_raw_fd())?;
        self.epoll.add(back.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, key))?;
        self.backs.insert(key, (back, peer));
        self.peers.insert(peer, key);
        Ok(key)
    }
}

/// Neither a datagram nor the end: a peer that is gone is nothing new.
fn is_nothing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::ConnectionRefused)
}
