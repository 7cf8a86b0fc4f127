//! The engine with an application on top: HTTP for those who speak TLS, CoAP for those who speak
//! DTLS. The origin is authentic, so no client can be taken for the other kind.

use std::collections::VecDeque;

use gateway_node::{
    Config, Counters, Instant, Origin, Output, Peer, Psk, PskStore, SendError, Server, SessionId,
};

use crate::{coap::Coap, http::Http, keys::Kernel, resource::Lamp};

/// Most bytes in a datagram that is sent.
pub(crate) const DATAGRAM: usize = 1_472;

type Engine = Server<Keys, Kernel, 16, 8, 16, 32, DATAGRAM, 9_000>;

/// The clients that may connect.
pub(crate) struct Keys(Vec<(Vec<u8>, Psk)>);

impl PskStore for Keys {
    fn psk(&self, identity: &[u8]) -> Option<Psk> {
        let entry = self.0.iter().find(|(known, _)| known == identity);
        entry.map(|(_, psk)| psk.clone())
    }
}

/// A connected peer.
struct Connection {
    session: SessionId,
    protocol: Protocol,
}

enum Protocol {
    Coap(Coap, VecDeque<Vec<u8>>),
    Http(Http),
}

/// The node.
pub(crate) struct Node {
    engine: Engine,
    connections: Vec<Connection>,
    lamp: Lamp,
    counters: Counters,
}

impl Node {
    pub(crate) fn new(config: Config, keys: Vec<(Vec<u8>, Psk)>, random: Kernel) -> Self {
        Self {
            engine: Engine::new(config, Keys(keys), random),
            connections: Vec::new(),
            lamp: Lamp::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, peer: Peer, datagram: &[u8]) {
        self.engine.handle_datagram(now, peer, datagram);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
    }

    /// Does what there is to do; when to come back if nothing arrives.
    pub(crate) fn drive(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        mut send: impl FnMut(Peer, &[u8]),
    ) -> Option<Instant> {
        loop {
            match self.engine.poll_output(buffer) {
                Output::Transmit { peer, datagram } => send(peer, datagram),
                Output::Connected { session, origin } => self.connected(session, origin),
                Output::Data { session, data } => self.receive(now, session, data),
                Output::Ready { session } => self.push(now, session),
                Output::Closed { session, why } => {
                    println!("closed {session:?}: {why:?}");
                    self.connections.retain(|connection| connection.session != session);
                }
                Output::Timeout(at) => {
                    self.report();
                    return at;
                }
            }
        }
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&mut self, now: Instant) {
        for connection in &self.connections {
            self.engine.close(now, connection.session);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.connections.is_empty()
    }

    fn connected(&mut self, session: SessionId, origin: Origin) {
        let identity = self.engine.identity(session).unwrap_or_default();
        println!("connected {session:?}: {origin:?} {}", String::from_utf8_lossy(identity));
        let capacity = self.engine.capacity(session).unwrap_or_default();
        let protocol = match origin {
            Origin::Dtls => Protocol::Coap(Coap::new(capacity), VecDeque::new()),
            Origin::Tls => Protocol::Http(Http::default()),
        };
        self.connections.push(Connection { session, protocol });
    }

    fn receive(&mut self, now: Instant, session: SessionId, data: &[u8]) {
        let of = |connection: &&mut Connection| connection.session == session;
        let Some(connection) = self.connections.iter_mut().find(of) else {
            return;
        };
        match &mut connection.protocol {
            Protocol::Coap(coap, queue) => match coap.answer(&mut self.lamp, data) {
                Some((answer, line)) => {
                    println!("request {session:?}: {line}");
                    queue.push_back(answer);
                }
                None => println!("request {session:?}: no answer to {} bytes", data.len()),
            },
            Protocol::Http(http) => {
                for line in http.receive(&mut self.lamp, data) {
                    println!("request {session:?}: {line}");
                }
            }
        }
        self.push(now, session);
    }

    /// Sends on until there is no room.
    fn push(&mut self, now: Instant, session: SessionId) {
        let capacity = self.engine.capacity(session).unwrap_or_default();
        let of = |connection: &&mut Connection| connection.session == session;
        let Some(connection) = self.connections.iter_mut().find(of) else {
            return;
        };
        match &mut connection.protocol {
            Protocol::Coap(_, queue) => {
                while let Some(message) = queue.front() {
                    match self.engine.send(now, session, message) {
                        Ok(()) => {}
                        Err(SendError::Busy | SendError::Closed) => return,
                        Err(error) => println!("request {session:?}: {error:?}"),
                    }
                    queue.pop_front();
                }
            }
            Protocol::Http(http) => {
                while !http.output.is_empty() {
                    let length = http.output.len().min(capacity);
                    let piece = http.output.get(..length).unwrap_or_default();
                    if self.engine.send(now, session, piece).is_err() {
                        return;
                    }
                    http.output.drain(..length);
                }
                if http.ends {
                    self.engine.close(now, session);
                }
            }
        }
    }

    /// A line when something was dropped.
    fn report(&mut self) {
        let counters = *self.engine.counters();
        if counters != self.counters {
            println!("counted {counters:?}");
            self.counters = counters;
        }
    }
}
