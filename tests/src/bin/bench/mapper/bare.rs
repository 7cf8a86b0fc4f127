//! The yardstick: a relay that frames records as datagrams and back, and does nothing else. One
//! thread, one epoll, one connected UDP socket a connection, a system call for each record.
use std::{
    collections::HashMap,
    io::{ErrorKind, IoSlice, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
};

use anyhow::{Context, Result};
use gateway_common::mapping::{
    Position,
    record::{self, DTLS_HEADER, TLS_HEADER, TlsHeader},
};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    socket::{MsgFlags, sendmsg},
};

struct Pair {
    tcp: TcpStream,
    udp: UdpSocket,
    next: Position,
    /// Only while a record is incomplete.
    part: Vec<u8>,
}

const LISTENER: u64 = u64::MAX;

/// Relays from the listener, which is standard input, to a port of this host; ends with the process.
pub(crate) fn relay(listener: &TcpListener, node: u16) -> Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(listener.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let (mut pairs, mut buffer) = (HashMap::new(), vec![0; 1 << 16]);
    loop {
        let mut events = [EpollEvent::empty(); 64];
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in events.iter().take(ready).map(EpollEvent::data) {
            if event == LISTENER {
                accept(listener, node, &epoll, &mut pairs)?;
            } else if let Some(pair) = pairs.get_mut(&(event / 2)) {
                let alive = if event % 2 == 0 { pair.up(&mut buffer) } else { pair.down() };
                if alive.is_err() {
                    pairs.remove(&(event / 2));
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    node: u16,
    epoll: &Epoll,
    pairs: &mut HashMap<u64, Pair>,
) -> Result<()> {
    while let Ok((tcp, _)) = listener.accept() {
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        udp.set_nonblocking(true)?;
        udp.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, node)))?;
        let key = u64::try_from(tcp.as_raw_fd())?;
        epoll.add(tcp.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, key * 2))?;
        epoll.add(udp.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, key * 2 + 1))?;
        let next = Position { epoch: 1, number: 0 };
        pairs.insert(key, Pair { tcp, udp, next, part: Vec::new() });
    }
    Ok(())
}

impl Pair {
    /// Records of the client, one datagram each.
    fn up(&mut self, buffer: &mut [u8]) -> Result<()> {
        let kept = self.part.len();
        buffer.get_mut(..kept).context("a part")?.copy_from_slice(&self.part);
        let read = match self.tcp.read(buffer.get_mut(kept..).context("room")?) {
            Ok(0) => anyhow::bail!("closed"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut rest = buffer.get(..kept + read).context("what was read")?;
        while let Some((header, after)) = rest.split_first_chunk::<TLS_HEADER>() {
            let header = TlsHeader::read(header);
            let Some((fragment, after)) = after.split_at_checked(header.length.into()) else {
                break;
            };
            let dtls = record::to_dtls(header, self.next).write();
            let pieces = [IoSlice::new(&dtls), IoSlice::new(fragment)];
            let none = MsgFlags::MSG_DONTWAIT;
            let _ = sendmsg::<()>(self.udp.as_raw_fd(), &pieces, &[], none, None);
            self.next = self.next.next().context("the epoch's end")?;
            rest = after;
        }
        self.part.clear();
        self.part.extend_from_slice(rest);
        if rest.is_empty() {
            self.part.shrink_to(0);
        }
        Ok(())
    }

    /// A datagram of the server, one record.
    fn down(&mut self) -> Result<()> {
        let mut datagram = [0; 2048];
        let length = match self.udp.recv(&mut datagram) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(header) = datagram.first_chunk::<DTLS_HEADER>() else { return Ok(()) };
        let tls = record::to_tls(record::DtlsHeader::read(header)).write();
        let shift = DTLS_HEADER - TLS_HEADER;
        let record = datagram.get_mut(shift..length).context("a record")?;
        if let Some(place) = record.first_chunk_mut() {
            *place = tls;
        }
        Ok(self.tcp.write_all(record)?)
    }
}
