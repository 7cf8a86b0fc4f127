//! Sockets that back-ends connect to.
use super::Error;
use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// Connections that the kernel has made and nobody has taken yet. Beyond, it sends SYN cookies.
const BACKLOG: i32 = 1024;

/// Addresses to listen on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doors {
    /// The router's own addresses and ports.
    pub own: BTreeSet<SocketAddr>,
    /// Loopback addresses to which the kernel steers what is for nodes, at ports of its choice.
    pub transparent: BTreeSet<IpAddr>,
}

impl Doors {
    /// What the configuration asks for, given whether the LLN speaks IPv6 and IPv4.
    pub fn new(config: &crate::config::Mapper, ports: &[u16], v6: bool, v4: bool) -> Self {
        let mut doors = Self::default();
        if !config.enabled {
            return doors;
        }
        for port in config.own_ports() {
            doors.own.extend(config.listen.iter().map(|ip| SocketAddr::new(*ip, port)));
        }
        if config.transparent && !ports.is_empty() {
            let loopback: [(bool, IpAddr); 2] =
                [(v6, Ipv6Addr::LOCALHOST.into()), (v4, Ipv4Addr::LOCALHOST.into())];
            doors.transparent.extend(loopback.iter().filter(|(on, _)| *on).map(|(_, ip)| *ip));
        }
        doors
    }
}

/// A socket of the router's own.
///
/// # Errors
/// [`Error::Listen`].
pub(super) fn own(at: SocketAddr) -> Result<TcpListener, Error> {
    open(at, false).map_err(|source| Error::Listen { at, source })
}

/// A socket for what is addressed to others.
///
/// # Errors
/// [`Error::Transparent`].
pub(super) fn transparent(at: IpAddr) -> Result<TcpListener, Error> {
    open(SocketAddr::new(at, 0), true).map_err(Error::Transparent)
}

/// Accepted sockets inherit the options: no delay, and a reset instead of FIN whenever one is closed
/// that was not ended on purpose, even by the end of the process. A client must never take a
/// connection that broke for one that was complete (`protocol.md` A8).
fn open(at: SocketAddr, transparent: bool) -> std::io::Result<TcpListener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(at), kind, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(at.ip() != IpAddr::from(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    if transparent {
        // the option of IPv4 covers IPv6 sockets too
        socket.set_ip_transparent_v4(true)?;
    }
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
