//! The side of the clients: DTLS records on one UDP port. Those whose origin is TLS speak HTTP; CoAP
//! clients are told where the proxy function is.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
};

use gateway_node::{
    Config, Instant, Origin, Output, Peer, Psk, PskStore, SendError, Server, SessionId,
    proxy::{ConnectionId, Proxy},
};

use crate::keys::Kernel;

/// Connected clients.
pub(crate) const SESSIONS: usize = 16;

/// Answers to a CoAP client that wait for room; more are dropped, as its requests could be.
const ANSWERS: usize = 4;

/// Most bytes in a datagram to a client.
pub(crate) const DATAGRAM: usize = 1_472;

type Engine = Server<Clients, Kernel, SESSIONS, 8, 16, 32, DATAGRAM, 9_000>;

/// The identities that may connect.
struct Clients(Vec<(Vec<u8>, Psk)>);

impl PskStore for Clients {
    fn psk(&self, identity: &[u8]) -> Option<Psk> {
        let entry = self.0.iter().find(|(known, _)| known == identity);
        entry.map(|(_, psk)| psk.clone())
    }
}

struct Client {
    session: SessionId,
    protocol: Protocol,
}

enum Protocol {
    Http(ConnectionId),
    Coap(VecDeque<Vec<u8>>),
    /// No room for it: the session is being closed.
    Refused,
}

pub(crate) struct Border {
    engine: Box<Engine>,
    socket: UdpSocket,
    clients: Vec<Client>,
    /// Holds the datagram that the engine is working on.
    buffer: Vec<u8>,
}

impl Border {
    pub(crate) fn new(
        socket: UdpSocket,
        config: Config,
        keys: Vec<(Vec<u8>, Psk)>,
        random: Kernel,
    ) -> Self {
        let engine = Box::new(Engine::new(config, Clients(keys), random));
        Self { engine, socket, clients: Vec::new(), buffer: vec![0; 1 << 16] }
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Some(place) = self.buffer.get_mut(..datagram.len()) else { return };
        place.copy_from_slice(datagram);
        self.engine.handle_datagram(now, key(from), datagram);
    }

    /// Does what there is to do; when to come back if nothing arrives.
    pub(crate) fn drive(&mut self, now: Instant, proxy: &mut Proxy<Kernel>) -> Option<Instant> {
        self.engine.handle_timeout(now);
        self.push_all(now, proxy);
        loop {
            match self.engine.poll_output(&mut self.buffer) {
                Output::Transmit { peer, datagram } => transmit(&self.socket, peer, datagram),
                Output::Connected { session, origin } => {
                    let identity = self.engine.identity(session).unwrap_or_default();
                    println!("connected {origin:?} {}", String::from_utf8_lossy(identity));
                    self.connected(now, session, origin, proxy);
                }
                Output::Data { session, data } => {
                    let data = data.to_vec();
                    self.receive(now, session, &data, proxy);
                }
                Output::Ready { session } => self.push(now, session, proxy),
                Output::Closed { session, why } => {
                    println!("closed {why:?}");
                    self.closed(now, session, proxy);
                }
                Output::Timeout(at) => return at,
            }
        }
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&mut self, now: Instant) {
        for client in &self.clients {
            self.engine.close(now, client.session);
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.clients.is_empty()
    }

    fn connected(
        &mut self,
        now: Instant,
        session: SessionId,
        origin: Origin,
        proxy: &mut Proxy<Kernel>,
    ) {
        let protocol = match origin {
            Origin::Tls => proxy.open(now).map_or(Protocol::Refused, Protocol::Http),
            Origin::Dtls => Protocol::Coap(VecDeque::new()),
        };
        if matches!(protocol, Protocol::Refused) {
            self.engine.close(now, session);
        }
        self.clients.push(Client { session, protocol });
    }

    fn receive(
        &mut self,
        now: Instant,
        session: SessionId,
        data: &[u8],
        proxy: &mut Proxy<Kernel>,
    ) {
        let client = self.clients.iter_mut().find(|client| client.session == session);
        match client.map(|client| &mut client.protocol) {
            Some(Protocol::Http(connection)) => proxy.handle_bytes(now, *connection, data),
            Some(Protocol::Coap(answers)) if answers.len() < ANSWERS => {
                answers.extend(proxy.answer_coap(data));
            }
            Some(Protocol::Coap(_) | Protocol::Refused) | None => {}
        }
        self.push_all(now, proxy);
    }

    fn closed(&mut self, now: Instant, session: SessionId, proxy: &mut Proxy<Kernel>) {
        for client in self.clients.extract_if(.., |client| client.session == session) {
            if let Protocol::Http(connection) = client.protocol {
                proxy.handle_close(now, connection);
            }
        }
    }

    fn push_all(&mut self, now: Instant, proxy: &mut Proxy<Kernel>) {
        let sessions: Vec<_> = self.clients.iter().map(|client| client.session).collect();
        for session in sessions {
            self.push(now, session, proxy);
        }
    }

    /// Sends on until there is no room.
    fn push(&mut self, now: Instant, session: SessionId, proxy: &mut Proxy<Kernel>) {
        let capacity = self.engine.capacity(session).unwrap_or_default();
        let client = self.clients.iter_mut().find(|client| client.session == session);
        match client.map(|client| &mut client.protocol) {
            Some(Protocol::Http(connection)) => {
                let connection = *connection;
                loop {
                    let output = proxy.output(connection);
                    let piece = output.get(..capacity).unwrap_or(output);
                    if piece.is_empty() || self.engine.send(now, session, piece).is_err() {
                        break;
                    }
                    let sent = piece.len();
                    proxy.handle_sent(now, connection, sent);
                }
                if proxy.is_finished(connection) {
                    self.engine.close(now, session);
                }
            }
            Some(Protocol::Coap(answers)) => {
                while let Some(answer) = answers.front() {
                    if self.engine.send(now, session, answer) == Err(SendError::Busy) {
                        break;
                    }
                    answers.pop_front();
                }
            }
            Some(Protocol::Refused) | None => {}
        }
    }
}

/// Sends, or says why not: a network that is down is a lossy one.
fn transmit(socket: &UdpSocket, peer: Peer, datagram: &[u8]) {
    let mut to = address(peer);
    if socket.local_addr().is_ok_and(|local| local.is_ipv4()) {
        to.set_ip(to.ip().to_canonical());
    }
    if let Err(error) = socket.send_to(datagram, to) {
        println!("cannot send to {to}: {error}");
    }
}

fn key(from: SocketAddr) -> Peer {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut key = [0; 18];
    let bytes = ip.octets().into_iter().chain(from.port().to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    Peer(key)
}

fn address(Peer(key): Peer) -> SocketAddr {
    let (ip, port) = key.split_first_chunk::<16>().expect("18 bytes");
    let port = port.iter().fold(0, |port, byte| port << 8 | u16::from(*byte));
    SocketAddr::new(Ipv6Addr::from(*ip).into(), port)
}
