//! The node's engine, which says back what it hears.
use std::collections::VecDeque;

use gateway_node::{
    Config, Cookie, Instant, Origin, Output, Peer, Psk, SendError, Server, SessionId, Why,
};

use super::{
    client::{IDENTITY, KEY},
    world::Dice,
};

type Engine = Server<fn(&[u8]) -> Option<Psk>, Dice>;

pub struct Node {
    engine: Engine,
    /// Peer and datagram.
    pub out: Vec<(u8, Vec<u8>)>,
    pub heard: Vec<u8>,
    pub timeout: Option<u64>,
    pub ended: Option<Why>,
    answers: VecDeque<(SessionId, Vec<u8>)>,
}

fn key(identity: &[u8]) -> Option<Psk> {
    (identity == IDENTITY.as_bytes()).then(|| Psk::new(&KEY)).flatten()
}

impl Node {
    pub fn new(dice: &mut Dice) -> Self {
        let cookies = [Cookie::Off, Cookie::Foreign, Cookie::Required];
        let config = Config {
            cookie: cookies[dice.roll(3) as usize],
            flight_timeout: 1000 + dice.roll(8000) as u32,
            ack_window: 1 + dice.roll(4) as u8,
            ..Config::default()
        };
        let engine = Server::new(config, key as fn(&[u8]) -> Option<Psk>, Dice(dice.roll(1 << 40)));
        let answers = VecDeque::new();
        Self { engine, out: Vec::new(), heard: Vec::new(), timeout: None, ended: None, answers }
    }

    pub fn is_empty(&self) -> bool {
        self.engine.is_empty()
    }

    pub fn handle_datagram(&mut self, now: u64, peer: u8, datagram: &[u8]) {
        let mut buffer = [0; 2048];
        buffer[..datagram.len()].copy_from_slice(datagram);
        self.engine.handle_datagram(Instant(now), Peer([peer; 18]), datagram);
        self.poll(now, &mut buffer);
    }

    pub fn handle_timeout(&mut self, now: u64) {
        self.engine.handle_timeout(Instant(now));
        self.poll(now, &mut [0; 2048]);
    }

    fn poll(&mut self, now: u64, buffer: &mut [u8; 2048]) {
        loop {
            match self.engine.poll_output(buffer) {
                Output::Transmit { peer, datagram } => {
                    self.out.push((peer.0[0], datagram.to_vec()));
                }
                Output::Connected { origin, .. } => assert_eq!(origin, Origin::Tls),
                Output::Data { session, data } => {
                    self.heard.extend_from_slice(data);
                    self.answers.push_back((session, data.to_vec()));
                }
                Output::Ready { .. } => {}
                Output::Closed { why, .. } => self.ended = Some(why),
                Output::Timeout(at) => {
                    self.timeout = at.map(|at| at.0);
                    if !self.answer(now) {
                        return;
                    }
                }
            }
        }
    }

    /// Sends an answer, or a part; whether there is something to poll for.
    fn answer(&mut self, now: u64) -> bool {
        let Some((session, mut answer)) = self.answers.pop_front() else {
            return false;
        };
        let most = self.engine.capacity(session).unwrap_or(answer.len());
        let rest = answer.split_off(most.min(answer.len()));
        match self.engine.send(Instant(now), session, &answer) {
            Ok(()) if rest.is_empty() => {}
            Ok(()) => self.answers.push_front((session, rest)),
            Err(SendError::Busy) => {
                answer.extend(rest);
                self.answers.push_front((session, answer));
                return false;
            }
            Err(SendError::Closed) => {}
            Err(SendError::TooLong(most)) => panic!("{most} bytes are its own capacity"),
        }
        true
    }
}
