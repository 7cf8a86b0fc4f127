//! The node's engine against whatever comes: it stands, it ends, it stays within its limits.
//!
//! Its random bytes are known, so a recorded session connects again; gateway-node's tests write such
//! sessions into the corpus.

use std::collections::BTreeSet;

use gateway_node::{Config, Cookie, Instant, Output, Peer, Psk, Random, Server, SessionId};

use super::script::Script;

/// Where the clock starts, in milliseconds, and what the generator starts from.
const START: u64 = 1_000_000;
const SEED: u64 = 1 ^ 0x5eed;

const KEY: [u8; 16] = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";

/// More outputs than an input can cause.
const OUTPUTS_MAX: usize = 1_000;

type Node = Server<fn(&[u8]) -> Option<Psk>, Generator, 3, 2, 2, 6>;

/// A byte of configuration, then steps: 0 a datagram (peer, length, bytes), 1 time, 2 send, 3 close.
pub fn node(data: &[u8]) {
    let mut script = Script(data);
    let Some([settings]) = script.take() else {
        return;
    };
    let mut run = Run::new(config(settings));
    while let Some([step, who]) = script.take() {
        let done = match step & 3 {
            0 => script.take().map(|length| {
                let length = usize::from(u16::from_be_bytes(length)).min(script.0.len());
                let (datagram, rest) = script.0.split_at(length);
                script.0 = rest;
                run.datagram(Peer([who; 18]), datagram);
            }),
            1 => script.number().map(|wait| run.wait(wait)),
            2 => script.take().map(|[length]| run.send(who, length)),
            _ => {
                run.close(who);
                Some(())
            }
        };
        if done.is_none() {
            return;
        }
    }
}

fn config(settings: u8) -> Config {
    Config {
        cookie: match settings & 3 {
            0 | 3 => Cookie::Off,
            1 => Cookie::Required,
            _ => Cookie::Foreign,
        },
        ack_window: settings >> 2 & 7,
        max_datagram: if settings & 0x40 == 0 { 1_232 } else { 90 },
        ..Config::default()
    }
}

fn psk(identity: &[u8]) -> Option<Psk> {
    if identity == b"node1" { Psk::new(&KEY) } else { None }
}

struct Run {
    node: Node,
    now: u64,
    limit: usize,
    sessions: Vec<SessionId>,
}

impl Run {
    fn new(config: Config) -> Self {
        let limit = config.max_datagram;
        let node = Node::new(config, psk as fn(&[u8]) -> Option<Psk>, Generator(SEED));
        Self { node, now: START, limit, sessions: Vec::new() }
    }

    fn datagram(&mut self, peer: Peer, datagram: &[u8]) {
        let mut buffer = vec![0; datagram.len().max(1_300)];
        for (place, byte) in buffer.iter_mut().zip(datagram) {
            *place = *byte;
        }
        self.node.handle_datagram(Instant(self.now), peer, datagram);
        self.drain(&mut buffer);
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now = self.now.saturating_add(milliseconds);
        self.node.handle_timeout(Instant(self.now));
        self.drain(&mut [0; 1_300]);
    }

    fn send(&mut self, who: u8, length: u8) {
        if let Some(session) = self.sessions.get(usize::from(who)).copied() {
            let _ = self.node.send(Instant(self.now), session, &vec![who; length.into()]);
            self.drain(&mut [0; 1_300]);
        }
    }

    fn close(&mut self, who: u8) {
        if let Some(session) = self.sessions.get(usize::from(who)).copied() {
            self.node.close(Instant(self.now), session);
            self.drain(&mut [0; 1_300]);
        }
    }

    fn drain(&mut self, buffer: &mut [u8]) {
        let mut told = BTreeSet::new();
        for _ in 0..OUTPUTS_MAX {
            match self.node.poll_output(buffer) {
                Output::Transmit { datagram, .. } => self.sent(datagram),
                Output::Connected { session, .. } => {
                    assert!(!self.sessions.contains(&session));
                    assert_eq!(self.node.identity(session), Some(b"node1".as_slice()));
                    self.sessions.push(session);
                }
                Output::Data { session, data } => {
                    assert!(self.sessions.contains(&session) && !data.is_empty());
                    let answer = data.to_vec();
                    let _ = self.node.send(Instant(self.now), session, &answer);
                }
                Output::Ready { session } => assert!(self.node.capacity(session).is_some()),
                Output::Closed { session, .. } => {
                    assert!(told.insert(format!("{session:?}")), "told twice");
                    assert_eq!(self.node.capacity(session), None);
                    let known = self.sessions.iter().position(|other| *other == session);
                    self.sessions.remove(known.expect("a session that was connected"));
                }
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at.0 > self.now || self.now == u64::MAX));
                    return;
                }
            }
        }
        panic!("no end of output");
    }

    /// A datagram of whole records within the limit.
    fn sent(&self, datagram: &[u8]) {
        assert!(!datagram.is_empty() && datagram.len() <= self.limit);
        let mut rest = datagram;
        while let Some((header, body)) = rest.split_first_chunk::<13>() {
            let [content, 0xfe, _, _, _, _, _, _, _, _, _, high, low] = *header else {
                panic!("not DTLS: {header:02x?}");
            };
            assert!((20..=26).contains(&content));
            rest =
                body.get(usize::from(u16::from_be_bytes([high, low]))..).expect("a whole record");
        }
        assert!(rest.is_empty());
    }
}

/// SplitMix64.
struct Generator(u64);

impl Random for Generator {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (z ^ (z >> 31)) as u8;
        }
    }
}
