//! A UDP socket that answers from the address it was asked at, whatever the routes say.
use core::net::{IpAddr, Ipv6Addr};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage,
        recvmsg, sendmsg, setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, Ipv6V6Only},
    },
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    net::SocketAddr,
    os::fd::AsRawFd as _,
};
use tokio::{io::Interest, net::UdpSocket};

/// The two ends of a datagram's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Way {
    /// Who sent it.
    pub(crate) peer: SocketAddr,
    /// The router's address and port that it was sent to.
    pub(crate) local: SocketAddr,
}

/// Room for datagrams that wait, in bytes: a burst of handshakes must not be lost.
const ROOM: usize = 1 << 20;

/// Errors in a row that are passed over at once.
const ERRORS: usize = 64;

/// The socket.
pub(super) struct Socket {
    inner: UdpSocket,
    v4: bool,
    port: u16,
}

impl Socket {
    /// `[::]` is every address, of IPv4 too, whatever the system's default.
    pub(super) fn bind(at: SocketAddr) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(at);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
        if at.is_ipv6() {
            setsockopt(&socket, Ipv6V6Only, &!at.ip().is_unspecified())?;
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
        }
        let _ = socket.set_recv_buffer_size(ROOM);
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        Ok(Self { inner: UdpSocket::from_std(socket.into())?, v4: at.is_ipv4(), port: at.port() })
    }

    /// Waits until there may be a datagram.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.inner.readable().await
    }

    /// The next datagram; nothing when there is none.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<(usize, Way)> {
        for _ in 0..ERRORS {
            match self.inner.try_io(Interest::READABLE, || self.receive_one(buffer)) {
                Ok(found) => return found,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // what an earlier datagram of ours met, such as a closed port: no news here
                Err(_) => {}
            }
        }
        None
    }

    fn receive_one(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Way)>> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.inner.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags)?;
        let peer = message.address.as_ref().and_then(address);
        let local = message.cmsgs()?.find_map(|part| local(&part));
        let local = local.map(|address| SocketAddr::new(address, self.port));
        Ok(peer.zip(local).map(|(peer, local)| (message.bytes, Way { peer, local })))
    }

    /// Sends a datagram; what the system has no room for is lost, as on the way.
    pub(super) fn send(&self, way: &Way, datagram: &[u8]) {
        let _ = self.send_one(way, datagram);
    }

    fn send_one(&self, way: &Way, datagram: &[u8]) -> io::Result<usize> {
        let parts = [IoSlice::new(datagram)];
        let fd = self.inner.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent = match (self.v4, way.local.ip(), way.peer) {
            (true, IpAddr::V4(local), SocketAddr::V4(peer)) => {
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: source,
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let from = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(fd, &parts, &from, flags, Some(&SockaddrIn::from(peer)))
            }
            (false, local, SocketAddr::V6(peer)) => {
                let source = libc::in6_addr { s6_addr: mapped(local).octets() };
                let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: 0 };
                let from = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmsg(fd, &parts, &from, flags, Some(&SockaddrIn6::from(peer)))
            }
            (true | false, _, _) => Err(Errno::EAFNOSUPPORT),
        };
        Ok(sent?)
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v6 = storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()));
    v6.or_else(|| storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into())))
}

fn local(part: &ControlMessageOwned) -> Option<IpAddr> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's list may grow")]
    match part {
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
        }
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(info.ipi_addr.s_addr.to_ne_bytes().into()))
        }
        _ => None,
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
