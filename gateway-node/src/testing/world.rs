//! A server and clients on a made-up clock, with a network that a seed makes bad.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    vec,
    vec::Vec,
};

use super::{
    Dice,
    client::{Client, Event},
};
use crate::{
    Config, Cookie, Instant, Origin, Output, Peer, Psk, SendError, Server, SessionId, Why,
};

pub(crate) const PSK: [u8; 16] =
    *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";

fn psk(identity: &[u8]) -> Option<Psk> {
    if identity == b"node1" { Psk::new(&PSK) } else { None }
}

pub(crate) type Node = Server<fn(&[u8]) -> Option<Psk>, Dice, 3, 2, 2, 6>;

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Connected(SessionId, Origin, Vec<u8>),
    Data(SessionId, Vec<u8>),
    Closed(SessionId, Why),
}

/// How bad the network is, in percent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    /// Milliseconds by which a datagram may be late.
    pub(crate) jitter: u64,
}

/// When it arrives, the how manieth it is, whether at the server, whose it is, and what.
type Flying = (u64, u64, bool, usize, Vec<u8>);

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) server: Node,
    pub(crate) clients: Vec<Client>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) weather: Weather,
    /// Milliseconds that a datagram from or to a client takes.
    pub(crate) delay: fn(usize) -> u64,
    /// Every datagram that was sent: to the server or not, and its bytes.
    pub(crate) wire: Vec<(bool, Vec<u8>)>,
    /// What an attacker on the path makes of a datagram, to the server or not.
    pub(crate) tamper: fn(bool, &mut Vec<u8>),
    /// What an attacker sends after each datagram to the server, as its sender.
    pub(crate) inject: fn(&mut Dice, &[u8]) -> Vec<Vec<u8>>,
    /// The server sends back what it gets.
    pub(crate) echo: bool,
    pending: BTreeMap<u8, (SessionId, Vec<u8>)>,
    dice: Dice,
    queue: BinaryHeap<Reverse<Flying>>,
    count: u64,
}

pub(crate) fn open() -> Config {
    Config { cookie: Cookie::Off, ..Config::default() }
}

pub(crate) fn peer(index: usize) -> Peer {
    Peer([index as u8; 18])
}

impl World {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        Self {
            now: 1_000_000,
            server: Server::new(config, psk as fn(&[u8]) -> Option<Psk>, Dice(seed ^ 0x5eed)),
            clients: vec![],
            seen: vec![],
            weather: Weather::default(),
            delay: |_| 10,
            wire: vec![],
            tamper: |_, _| (),
            inject: |_, _| vec![],
            echo: true,
            pending: BTreeMap::new(),
            dice: Dice(seed),
            queue: BinaryHeap::new(),
            count: 0,
        }
    }

    pub(crate) fn join(&mut self, client: Client) -> usize {
        self.clients.push(client);
        let index = self.clients.len() - 1;
        self.clients[index].start(self.now);
        index
    }

    /// Runs until nothing is on its way and no clock before `end` milliseconds from now.
    pub(crate) fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        self.flush();
        loop {
            let server = self.poll().map(|at| at.0);
            self.flush();
            let arrival = self.queue.peek().map(|Reverse((at, ..))| *at);
            let clients = self.clients.iter().filter_map(Client::deadline);
            let next = clients.chain(arrival).chain(server).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                self.poll();
                return;
            };
            assert!(server.is_none_or(|at| at > self.now), "the server is done with this instant");
            self.now = self.now.max(next);
            for client in &mut self.clients {
                client.timeout(self.now);
            }
            while let Some(Reverse((at, ..))) = self.queue.peek()
                && *at <= self.now
            {
                let Reverse((_, _, to_server, index, datagram)) = self.queue.pop().expect("peeked");
                if to_server {
                    self.deliver(peer(index), &datagram);
                    for forged in (self.inject)(&mut self.dice, &datagram) {
                        self.deliver(peer(index), &forged);
                    }
                } else {
                    self.clients[index].receive(self.now, &datagram);
                }
            }
            self.flush();
        }
    }

    pub(crate) fn deliver(&mut self, peer: Peer, datagram: &[u8]) {
        let mut buffer = [0; 2_048];
        buffer[..datagram.len()].copy_from_slice(datagram);
        self.server.handle_datagram(Instant(self.now), peer, &buffer[..datagram.len()]);
        self.drain(&mut buffer);
    }

    fn poll(&mut self) -> Option<Instant> {
        self.server.handle_timeout(Instant(self.now));
        self.drain(&mut [0; 2_048])
    }

    fn drain(&mut self, buffer: &mut [u8]) -> Option<Instant> {
        for _ in 0..10_000 {
            match self.server.poll_output(buffer) {
                Output::Transmit { peer, datagram } => {
                    let (to, datagram) = (usize::from(peer.0[0]), datagram.to_vec());
                    self.post(false, to, datagram);
                }
                Output::Connected { session, origin } => {
                    let identity = self.server.identity(session).expect("an identity").to_vec();
                    self.seen.push(Seen::Connected(session, origin, identity));
                }
                Output::Data { session, data } => {
                    let data = data.to_vec();
                    if self.echo {
                        let entry = self.pending.entry(session.index).or_insert((session, vec![]));
                        if entry.0 != session {
                            *entry = (session, vec![]);
                        }
                        entry.1.extend(&data);
                        self.push(session);
                    }
                    self.seen.push(Seen::Data(session, data));
                }
                Output::Ready { session } => self.push(session),
                Output::Closed { session, why } => self.seen.push(Seen::Closed(session, why)),
                Output::Timeout(at) => return at,
            }
        }
        panic!("the server has no end");
    }

    /// Sends on what a session has to say.
    fn push(&mut self, session: SessionId) {
        let Some((id, data)) = self.pending.get_mut(&session.index) else {
            return;
        };
        while !data.is_empty() && *id == session {
            let Some(capacity) = self.server.capacity(session) else {
                return;
            };
            let length = data.len().min(capacity);
            match self.server.send(Instant(self.now), session, &data[..length]) {
                Ok(()) => drop(data.drain(..length)),
                Err(SendError::Busy | SendError::Closed) => return,
                Err(SendError::TooLong(most)) => panic!("{length} of {most}"),
            }
        }
    }

    fn flush(&mut self) {
        for index in 0..self.clients.len() {
            while let Some(datagram) = self.clients[index].out.pop_front() {
                self.post(true, index, datagram);
            }
        }
    }

    fn post(&mut self, to_server: bool, index: usize, mut datagram: Vec<u8>) {
        (self.tamper)(to_server, &mut datagram);
        self.wire.push((to_server, datagram.clone()));
        let Weather { loss, duplication, jitter } = self.weather;
        let copies = 1 + u64::from(self.dice.percent(duplication));
        for _ in 0..copies {
            if !self.dice.percent(loss) {
                let at = self.now + (self.delay)(index) + self.dice.below(jitter + 1);
                self.count += 1;
                self.queue.push(Reverse((at, self.count, to_server, index, datagram.clone())));
            }
        }
    }

    pub(crate) fn events(&self, client: usize) -> &[Event] {
        &self.clients[client].events
    }

    pub(crate) fn is_connected(&self, client: usize) -> bool {
        self.events(client).iter().any(|event| matches!(event, Event::Connected { .. }))
    }

    /// Whether the server has forgotten everybody.
    pub(crate) fn is_empty(&self) -> bool {
        self.server.is_empty()
    }

    /// What a client got, one after another.
    pub(crate) fn received(&self, client: usize) -> Vec<u8> {
        self.events(client)
            .iter()
            .filter_map(|event| match event {
                Event::Data(data) => Some(data.as_slice()),
                Event::Connected { .. } | Event::Closed | Event::Alert(_) | Event::Reset => None,
            })
            .collect::<Vec<_>>()
            .concat()
    }
}
