//! Client, mapper and node on one clock, with a bad network between the latter two.
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use gateway_node::Random;
use gateway_user::mapper::core::{Connection, Output, Policy, Reason};

use super::{client::Client, node::Node};

/// Numbers without meaning from a seed (splitmix64): the node's secrets need none here.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }
}

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.roll(256) as u8);
    }
}

/// In percent, and milliseconds by which a datagram may be late.
#[derive(Clone, Copy)]
pub struct Weather {
    pub loss: u64,
    pub duplication: u64,
    pub jitter: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything arrived, both ways, and both sides closed.
    Whole,
    /// The client knows that it did not.
    Broken(Reason),
}

pub struct World {
    pub node: Node,
    pub suite: Option<u16>,
    /// That were sent to the node.
    pub datagrams: u64,
    now: u64,
    start: Instant,
    dice: Dice,
    weather: Weather,
    peer: u8,
    wire: BinaryHeap<Reverse<InFlight>>,
    sent: u64,
}

/// Arrival, order of sending, peer, whether to the node, datagram.
type InFlight = (u64, u64, u8, bool, Vec<u8>);

impl World {
    pub fn new(seed: u64, weather: Weather) -> Self {
        let mut dice = Dice(seed);
        let node = Node::new(&mut dice);
        Self {
            node,
            suite: None,
            datagrams: 0,
            now: 0,
            start: Instant::now(),
            dice,
            weather,
            peer: 0,
            wire: BinaryHeap::new(),
            sent: 0,
        }
    }

    /// One to ten of 1 to 1,100 bytes: what a record for the node may have.
    pub fn questions(&mut self) -> Vec<Vec<u8>> {
        let count = 1 + self.dice.roll(10);
        (0..count).map(|tag| vec![tag as u8; 1 + self.dice.roll(1100) as usize]).collect()
    }

    /// One connection from its beginning to its end.
    pub fn run(&mut self, client: &mut Client) -> Ended {
        let window = 1 + self.dice.roll(4) as u8;
        let retransmit = Duration::from_secs(1 + self.dice.roll(9));
        let suites = vec![0xc0a8, 0xc0a4];
        let policy = Policy { window, retransmit, ..Policy::new(suites) };
        let seed = self.dice.roll(1 << 40);
        let mut router = Connection::new(Arc::new(policy), seed, self.instant());
        self.peer += 1;
        self.node.heard.clear();
        let mut stream = BytesMut::new();
        let mut finished = false;
        for _ in 0..50_000 {
            finished |= self.exchange(client, &mut router, &mut stream);
            if router.is_over() || !self.advance(&mut router) {
                break;
            }
        }
        assert!(router.is_over(), "no end at {} ms: {:?}", self.now, router.summary());
        self.suite = router.summary().suite;
        let reason = router.reason().expect("over for a reason");
        judge(client, &self.node, finished, reason)
    }

    /// Moves bytes until nothing moves; whether FIN was sent.
    fn exchange(
        &mut self,
        client: &mut Client,
        router: &mut Connection,
        stream: &mut BytesMut,
    ) -> bool {
        let mut finished = false;
        loop {
            client.step();
            stream.extend_from_slice(&std::mem::take(&mut client.pipe().outgoing));
            router.handle_tls(self.instant(), stream);
            let mut moved = false;
            while let Some(output) = router.poll_output() {
                moved = true;
                match output {
                    Output::Datagram(datagram) => self.send(self.peer, true, datagram.to_vec()),
                    Output::Tls(bytes) => client.pipe().incoming.extend(&bytes),
                    Output::Finish => (finished, client.pipe().ended) = (true, true),
                    Output::Reset(_) => return false,
                }
            }
            for (peer, datagram) in std::mem::take(&mut self.node.out) {
                self.send(peer, false, datagram);
            }
            if !moved {
                return finished;
            }
        }
    }

    fn send(&mut self, peer: u8, to_node: bool, datagram: Vec<u8>) {
        assert!(datagram.len() <= 1232, "more than the node's network takes");
        self.datagrams += u64::from(to_node);
        let copies = 1 + u64::from(self.dice.roll(100) < self.weather.duplication);
        for _ in 0..copies {
            if self.dice.roll(100) >= self.weather.loss {
                self.sent += 1;
                let arrival = self.now + 20 + self.dice.roll(self.weather.jitter + 1);
                self.wire.push(Reverse((arrival, self.sent, peer, to_node, datagram.clone())));
            }
        }
    }

    /// Goes on to the next thing that happens; whether there is one.
    fn advance(&mut self, router: &mut Connection) -> bool {
        let arrival = self.wire.peek().map(|Reverse((arrival, ..))| *arrival);
        let due = router.poll_timeout().map(|due| due - self.start);
        let due = due.map(|due| due.as_nanos().div_ceil(1_000_000) as u64);
        let Some(next) = [arrival, due, self.node.timeout].into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(next);
        if due.is_some_and(|due| due <= self.now) {
            router.handle_timeout(self.instant());
        }
        if self.node.timeout.is_some_and(|timeout| timeout <= self.now) {
            self.node.handle_timeout(self.now);
        }
        while self.wire.peek().is_some_and(|Reverse((arrival, ..))| *arrival <= self.now) {
            let Some(Reverse((_, _, peer, to_node, datagram))) = self.wire.pop() else {
                break;
            };
            if to_node {
                self.node.handle_datagram(self.now, peer, &datagram);
            } else if peer == self.peer {
                router.handle_datagram(self.instant(), datagram[..].into());
            }
        }
        true
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }
}

fn judge(client: &mut Client, node: &Node, finished: bool, reason: Reason) -> Ended {
    client.step();
    let asked = client.asked();
    assert!(asked.starts_with(&node.heard), "the node heard what was not said");
    assert!(asked.starts_with(&client.heard), "the client heard what was not said");
    if reason == Reason::Closed {
        assert!(finished && client.is_closed(), "{:?}", client.error);
        assert!(client.heard == asked && node.heard == asked, "short, and nobody knows");
        return Ended::Whole;
    }
    // an alert in clear before the handshake ends is an error to the client, and so is a reset
    assert!(!finished || client.error.is_some() && client.heard.is_empty(), "{reason}");
    Ended::Broken(reason)
}
