//! From a connection that came in to one that is mapped, and from there to its end.
use super::{
    Way,
    connection::{Connection, Mapped, State, finish},
    count::End,
    load::Turn,
    plan::Target,
    worker::{Listener, Ready, Worker},
};
use crate::mapper::core::{self, Hello, peek_client_hello};
use mio::{
    Interest,
    net::{TcpListener, TcpStream, UdpSocket},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, ErrorKind, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

/// Greatest body of a ClientHello, where the node and so its policy is not known yet.
const HELLO_LIMIT: usize = 4096;
/// Connections taken from one socket before others have their turn.
const ACCEPTS: usize = 64;

impl Worker {
    /// Listens on one more socket.
    pub(super) fn open(&mut self, id: usize, mut socket: TcpListener, transparent: bool) {
        let token = Ready::Listener(id).token();
        let registered = self.poll.registry().register(&mut socket, token, Interest::READABLE);
        match registered.and_then(|()| socket.local_addr()) {
            Ok(address) => {
                self.listeners.insert(id, Listener { socket, address, transparent });
            }
            Err(error) => tracing::error!("a socket is not listened on: {error}"),
        }
    }

    /// Takes the connections that came in.
    pub(super) fn accept(&mut self, id: usize, now: Instant) {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listeners.get(&id) else { return };
            let (address, transparent) = (listener.address, listener.transparent);
            match listener.socket.accept() {
                Ok((tcp, source)) => self.connect(tcp, source, address, transparent, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_exhausted(&error) => {
                    self.counters.no_descriptors += 1;
                    return;
                }
                // of the one connection: it is gone already
                Err(_) => {}
            }
        }
        // the socket will not say again that it has more
        self.poll_again(id);
    }

    fn poll_again(&mut self, id: usize) {
        let Some(listener) = self.listeners.get_mut(&id) else { return };
        let (token, interest) = (Ready::Listener(id).token(), Interest::READABLE);
        let _ = self.poll.registry().reregister(&mut listener.socket, token, interest);
    }

    fn connect(
        &mut self,
        tcp: TcpStream,
        source: SocketAddr,
        address: SocketAddr,
        transparent: bool,
        now: Instant,
    ) {
        let source = canonical(source);
        let local = if transparent { tcp.local_addr().unwrap_or(address) } else { address };
        let local = canonical(local);
        let (way, target) = if transparent {
            (Way::Address, Some(self.plan.at(local.ip())))
        } else {
            let target = self.plan.behind(local.port());
            (if target.is_some() { Way::Port } else { Way::Name }, target)
        };
        self.counters.accept(way);
        if let Err(end) = self.enter(source, local, target.as_deref()) {
            // dropped without a word, the stream is reset
            return self.counters.end(end);
        }
        self.count += 1;
        let (id, since, state) = (self.count, now, State::Hello);
        self.insert(Connection { id, source, local, way, since, tcp, target, state });
    }

    fn enter(
        &mut self,
        source: SocketAddr,
        local: SocketAddr,
        target: Option<&Target>,
    ) -> Result<(), End> {
        if let Some(target) = target {
            let (source, node) = (source.ip(), target.node.ip());
            self.admission.admit(source, node, local.port()).map_err(End::NotAdmitted)?;
        }
        self.load.connect(source.ip(), &self.plan.limits)
    }

    fn insert(&mut self, mut connection: Connection) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        // whether it takes more is asked once there is too much for it
        let token = Ready::Stream(place).token();
        let registry = self.poll.registry();
        if registry.register(&mut connection.tcp, token, Interest::READABLE).is_err() {
            self.load.disconnect(connection.source.ip());
            self.free.push(place);
            return self.counters.end(End::NoSocket);
        }
        if let Some(slot) = self.connections.get_mut(place) {
            *slot = Some(Box::new(connection));
        }
    }

    /// Looks at the first bytes of a stream, until they are a whole ClientHello.
    pub(super) fn hello(&mut self, place: usize, end: bool, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let target = connection.target.clone();
        let limit = target.as_ref().map_or(HELLO_LIMIT, |target| target.policy.handshake_limit);
        let hello = match self.io.peek(&connection.tcp) {
            Ok((bytes, room)) => {
                let hello = peek_client_hello(bytes, limit);
                let over = hello == Hello::Incomplete && !room;
                if over { Hello::Refused(core::Reason::Oversize) } else { hello }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Hello::Incomplete,
            Err(_) => return self.reset(place, End::ByPeer, now),
        };
        match hello {
            Hello::Incomplete if end => self.reset(place, End::ByPeer, now),
            Hello::Incomplete => {}
            Hello::Refused(reason) => self.refuse(place, reason, now),
            Hello::Complete { server_name } => {
                let named = || self.plan.named(&server_name?);
                match target.or_else(named) {
                    Some(target) => self.begin(place, target, now),
                    None => self.refuse(place, core::Reason::UnknownName, now),
                }
            }
        }
    }

    /// The node is known: its turn, or a place in its queue.
    fn begin(&mut self, place: usize, target: Arc<Target>, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let (source, node) = (connection.source.ip(), target.node);
        connection.target = Some(target);
        let port = connection.local.port();
        if let Err(reason) = self.admission.admit(source, node.ip(), port) {
            return self.reset(place, End::NotAdmitted(reason), now);
        }
        match self.load.begin(place, (source, node), &self.plan.limits, now) {
            Err(end) => self.reset(place, end, now),
            Ok(Turn::Later) => connection.state = State::Waiting(now),
            Ok(Turn::Now) => self.map(place, now),
        }
    }

    /// Opens the way to the node. A place in the node's handshakes was counted in before.
    fn map(&mut self, place: usize, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let Some(target) = connection.target.clone() else { return };
        let (source, port) = (connection.source.ip(), connection.local.port());
        let expires = self.admission.admit(source, target.node.ip(), port);
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let interface = self.plan.interface(target.node.ip());
        let udp = leg(target.node, interface).and_then(|mut udp| {
            let token = Ready::Datagrams(place).token();
            self.poll.registry().register(&mut udp, token, Interest::READABLE)?;
            Ok(udp)
        });
        match (udp, expires) {
            (Ok(udp), Ok(expires)) => {
                let policy = Arc::clone(&target.policy);
                let core = core::Connection::new(policy, self.chance, now);
                connection.state = State::Mapped(Box::new(Mapped::new(core, udp, expires)));
                self.pump(place, now);
            }
            (_, Err(reason)) => self.abandon(place, End::NotAdmitted(reason), now),
            (Err(error), _) => {
                tracing::warn!("no way to node {} at {}: {error}", target.name, target.node);
                self.abandon(place, End::NoSocket, now);
            }
        }
    }

    /// Gives up a handshake whose turn it was.
    fn abandon(&mut self, place: usize, end: End, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let (source, target) = (connection.source.ip(), connection.target.take());
        connection.state = State::Closing(now);
        self.counters.end(end);
        self.remove(place);
        self.load.end(source);
        if let Some(target) = target {
            self.load.free(target.node);
            self.call(target.node, now);
        }
    }

    /// The handshake of a mapped connection is over: the next may begin.
    pub(super) fn shake(&mut self, place: usize, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let State::Mapped(mapped) = &mut connection.state else { return };
        if !std::mem::take(&mut mapped.handshaking) {
            return;
        }
        let Some(node) = connection.target.as_ref().map(|target| target.node) else { return };
        self.load.end(connection.source.ip());
        self.load.free(node);
        self.call(node, now);
    }

    /// Maps those whose turn it is with a node.
    fn call(&mut self, node: SocketAddr, now: Instant) {
        while let Some(place) = self.load.next(node, &self.plan.limits) {
            self.map(place, now);
        }
    }

    /// Says why not, in an alert that the back-end can read, and ends the stream.
    fn refuse(&mut self, place: usize, reason: core::Reason, now: Instant) {
        let end = End::Core(reason);
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let Some(alert) = reason.alert() else {
            return self.reset(place, end, now);
        };
        // seven bytes at the start of a stream fit
        match connection.tcp.write_all(&alert).and_then(|()| finish(&connection.tcp)) {
            Ok(()) => self.finish(place, end, now),
            Err(_) => self.reset(place, End::ByPeer, now),
        }
    }

    /// The stream was ended; the back-end has a while to end its half. What it still sends must be
    /// read: closing a socket with bytes in it resets the stream, and with it our last words.
    pub(super) fn finish(&mut self, place: usize, end: End, now: Instant) {
        self.part(place, end, now);
        let until = now + self.plan.timers.close;
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        connection.state = State::Closing(until);
        if self.io.discard(&mut connection.tcp).unwrap_or(true) {
            self.remove(place);
        }
    }

    /// Resets a stream.
    pub(super) fn reset(&mut self, place: usize, end: End, now: Instant) {
        self.part(place, end, now);
        self.remove(place);
    }

    /// Counts a connection's end, and lets the next go to its node.
    fn part(&mut self, place: usize, end: End, now: Instant) {
        self.judge(place, end, now);
        self.shake(place, now);
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let node = connection.target.as_ref().map(|target| target.node);
        match (&mut connection.state, node) {
            (State::Closing(_), _) => return,
            (State::Waiting(_), Some(node)) => {
                self.load.leave(place, node);
                self.load.end(connection.source.ip());
            }
            (State::Mapped(mapped), _) => {
                if let Some(target) = &connection.target {
                    mapped.part(&mut self.io, target, now);
                }
                self.counters.sum(&mapped.core.summary());
            }
            (State::Hello | State::Waiting(_), _) => {}
        }
        self.counters.end(end);
    }

    /// Holds a handshake against its source that cost the node something and failed: the node's
    /// Finished, which only the right key calls forth, has not come.
    fn judge(&mut self, place: usize, end: End, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let State::Mapped(mapped) = &connection.state else { return };
        let pardoned = matches!(end, End::NotAdmitted(_) | End::Core(core::Reason::Busy));
        if mapped.handshaking && !pardoned && mapped.core.summary().to_backend.records == 0 {
            self.load.fail(connection.source.ip(), now);
        }
    }

    /// Forgets a connection. Closing its sockets takes them out of the poll.
    pub(super) fn remove(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::take) else {
            return;
        };
        self.load.disconnect(connection.source.ip());
        self.free.push(place);
    }
}

/// A socket of its own for a connection to a node: the kernel chooses address and port, and passes
/// on only what comes from the node, over the interface where it is.
fn leg(node: SocketAddr, interface: Option<&str>) -> io::Result<UdpSocket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(node), kind, Some(Protocol::UDP))?;
    if let Some(name) = interface {
        socket.bind_device(Some(name.as_bytes()))?;
    }
    socket.connect(&node.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// An IPv4 address as such, whatever socket it came through.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_exhausted(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    error.raw_os_error().is_some_and(|code| [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(&code))
}
