//! A back-end and a node on one made-up clock, with a network between router and node that loses,
//! repeats and re-orders: every stream arrives byte for byte, or is reset.
use std::{cmp::Reverse, collections::BinaryHeap};

use super::*;

/// Numbers without meaning from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A node in TLS mode without its cryptography: records are opaque to the gateway anyway.
#[derive(Default)]
struct Node {
    resumes: bool,
    numbers: u64,
    pieces: Vec<(usize, Vec<u8>)>,
    hello: bool,
    keys: bool,
    finished: bool,
    answers: u8,
    next: u64,
    early: Vec<(u64, u8, Vec<u8>)>,
    taken: Vec<(u8, Vec<u8>)>,
    /// Content, fragment; the first has number `first`.
    unacknowledged: Vec<(u8, Vec<u8>)>,
    first: u64,
    timer: Option<u64>,
    tries: u32,
    gone: bool,
    out: Vec<Vec<u8>>,
}

const SESSION: [u8; 32] = [0x33; 32];

impl Node {
    fn clear(&mut self, content: u8, fragment: &[u8]) -> Vec<u8> {
        self.numbers += 1;
        dtls(content, 0, self.numbers - 1, fragment)
    }

    fn handshake(&mut self, kind: u8, seq: u16, body: &[u8]) -> Vec<u8> {
        let header = Header::whole(kind, body.len() as u32, seq);
        let (one, two) = body.split_at(body.len() / 2);
        let first = Header { fragment_length: one.len() as u32, ..header };
        let second = Header {
            fragment_offset: one.len() as u32,
            fragment_length: two.len() as u32,
            ..header
        };
        let first = self.clear(22, &[&first.write()[..], one].concat());
        [first, self.clear(22, &[&second.write()[..], two].concat())].concat()
    }

    fn flight(&mut self) {
        let id = if self.resumes { &SESSION[..] } else { &[] };
        let hello = self.handshake(2, 0, &server_hello(0xfefd, id, CCM_8, &[]));
        self.out.push(hello);
        if self.resumes {
            self.finish();
        } else {
            let done = self.handshake(14, 1, &[]);
            self.out.push(done);
        }
    }

    fn finish(&mut self) {
        let switch = self.clear(20, &[1]);
        self.out.push([switch, dtls(22, 1, 0, &hex(NODE_FINISHED))].concat());
    }

    fn take(&mut self, now: u64, datagram: &[u8]) {
        let mut heard = false;
        for (content, epoch, number, fragment) in records(datagram) {
            match (epoch, content) {
                _ if self.gone => {}
                (0, 22) => self.message(now, &fragment),
                (0, 26) => self.reported(now, Report::read(&fragment).expect("a report")),
                (1, 20..=23) if self.hello => {
                    heard = true;
                    self.record(number, content, fragment);
                }
                _ => {}
            }
        }
        self.in_order(now);
        if heard && self.finished {
            let next = Position { epoch: 1, number: self.next };
            let empty = Report { next, received: 0 };
            let report = self.early.iter().fold(empty, |report, (number, ..)| {
                report.with(Position { epoch: 1, number: *number }).unwrap_or(report)
            });
            let report = self.clear(26, &report.write());
            self.out.insert(0, report);
        }
    }

    fn message(&mut self, now: u64, fragment: &[u8]) {
        let header = Header::read(fragment.first_chunk().expect("a header"));
        if header.kind == 16 {
            self.answers += u8::from(self.keys && self.finished);
            self.keys = true;
            if self.finished && !self.resumes && self.answers <= 4 {
                self.finish();
            }
            return;
        }
        self.pieces.push((header.fragment_offset as usize, fragment[12..].to_vec()));
        let mut length = 0;
        self.pieces.sort();
        for (offset, piece) in &self.pieces {
            if *offset <= length {
                length = length.max(offset + piece.len());
            }
        }
        if length == header.length as usize {
            self.pieces.clear();
            self.hello = true;
            self.timer = Some(now + 3_000);
            self.flight();
        }
    }

    fn record(&mut self, number: u64, content: u8, fragment: Vec<u8>) {
        let known = self.early.iter().any(|(early, ..)| *early == number);
        if number >= self.next && number < self.next + 4 && !known {
            self.early.push((number, content, fragment));
        }
    }

    fn in_order(&mut self, now: u64) {
        while let Some(at) = self.early.iter().position(|(number, ..)| *number == self.next) {
            if self.next == 0 && !self.keys && !self.resumes {
                return;
            }
            let (_, content, fragment) = self.early.swap_remove(at);
            self.next += 1;
            match content {
                22 if !self.finished => {
                    assert_eq!(fragment, hex(FINISHED));
                    self.finished = true;
                    self.timer = None;
                    self.first = 1;
                    if !self.resumes {
                        self.finish();
                    }
                }
                _ => {
                    self.taken.push((content, fragment.clone()));
                    self.send(now, content, fragment.iter().map(|byte| !byte).collect());
                }
            }
        }
    }

    fn send(&mut self, now: u64, content: u8, fragment: Vec<u8>) {
        let number = self.first + self.unacknowledged.len() as u64;
        if self.unacknowledged.len() < 4 {
            self.out.push(dtls(content, 1, number, &fragment));
        }
        self.unacknowledged.push((content, fragment));
        self.timer.get_or_insert(now + 2_000);
    }

    fn reported(&mut self, now: u64, report: Report) {
        let before = self.first;
        while self.first < report.next.number && !self.unacknowledged.is_empty() {
            self.unacknowledged.remove(0);
            self.first += 1;
        }
        if self.first > before {
            self.tries = 0;
            self.timer = (!self.unacknowledged.is_empty()).then_some(now + 2_000);
            self.window();
        }
    }

    fn window(&mut self) {
        let window = self.unacknowledged.iter().take(4).zip(self.first..);
        let again = window.map(|((content, part), number)| dtls(*content, 1, number, part));
        let again: Vec<_> = again.collect();
        self.out.extend(again);
    }

    fn timeout(&mut self, now: u64) {
        self.tries += 1;
        self.timer = Some(now + (2_000 << self.tries.min(5)));
        if self.tries > 6 {
            (self.gone, self.timer) = (true, None);
        } else if self.finished {
            self.window();
        } else {
            self.flight();
        }
    }
}

/// A client that asks, waits for as many answers, and closes.
struct BackEnd {
    resumes: bool,
    questions: Vec<Vec<u8>>,
    seen: Vec<u8>,
    said: u8,
    /// What it must see before it says the next thing.
    stages: [Vec<u8>; 3],
}

impl BackEnd {
    fn new(resumes: bool, questions: Vec<Vec<u8>>) -> Self {
        let stages = Default::default();
        let mut backend = Self { resumes, questions, seen: Vec::new(), said: 0, stages };
        backend.stages = backend.expected();
        backend
    }

    fn hello(&self) -> Vec<u8> {
        let id = if self.resumes { &SESSION[..] } else { &[] };
        let padding = [&hex("00150384")[..], &[0; 900]].concat();
        tls_of(0x0301, 22, &message(1, &client_hello(id, &[CCM_8], &padding)))
    }

    fn expected(&self) -> [Vec<u8>; 3] {
        let id = if self.resumes { &SESSION[..] } else { &[] };
        let mut flight = tls(22, &message(2, &server_hello(0x0303, id, CCM_8, &[])));
        let finish = [tls(20, &[1]), tls(22, &hex(NODE_FINISHED))].concat();
        if !self.resumes {
            flight.extend(tls(22, &hex("0e000000")));
        }
        let answers = self
            .questions
            .iter()
            .map(|question| tls(23, &question.iter().map(|byte| !byte).collect::<Vec<_>>()));
        let answers: Vec<u8> = answers.flatten().collect();
        if self.resumes {
            let flight = [flight, finish].concat();
            return [flight.clone(), flight.clone(), [flight, answers].concat()];
        }
        let finished = [&flight[..], &finish].concat();
        [flight, finished.clone(), [finished, answers].concat()]
    }

    /// What it says next, given what it has seen.
    fn say(&mut self) -> Vec<u8> {
        let [flight, finished, answered] = &self.stages;
        let length = self.seen.len();
        let mut said = Vec::new();
        if self.said == 0 && length >= flight.len() {
            self.said = 1;
            said = if self.resumes { client_flight()[16..].to_vec() } else { client_flight() };
        }
        if self.said == 1 && length >= finished.len() {
            self.said = 2;
            said.extend(self.questions.iter().flat_map(|question| tls(23, question)));
        }
        if self.said == 2 && length >= answered.len() {
            self.said = 3;
            said.extend(tls(21, &[0xf0; 18]));
        }
        said
    }
}

/// Arrival, order of sending, whether to the node, datagram.
type InFlight = (u64, u64, bool, Vec<u8>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    whole: u32,
    reset: u32,
}

fn run(seed: u64, loss: u64, tally: &mut Tally) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9) | 1);
    let resumes = seed.is_multiple_of(3);
    let sizes: Vec<_> = (0..dice.roll(12) + 1).map(|_| 17 + dice.roll(1180) as usize).collect();
    let questions = sizes.iter().zip(0u8..).map(|(size, tag)| vec![tag; *size]).collect();
    let mut backend = BackEnd::new(resumes, questions);
    let mut node = Node { resumes, first: 1, ..Node::default() };
    let window = 1 + dice.roll(4) as u8;
    let retransmit = Duration::from_secs(1 + dice.roll(9));
    let mut world = World::with(Policy { window, retransmit, ..policy() });
    let start = world.now;
    let mut wire: BinaryHeap<Reverse<InFlight>> = BinaryHeap::new();
    let (mut now, mut count) = (0, 0);
    world.tls(&backend.hello());
    for _ in 0..20_000 {
        let there = world.sent().into_iter().map(|datagram| (true, datagram));
        let back = std::mem::take(&mut node.out).into_iter().map(|datagram| (false, datagram));
        for (towards_node, datagram) in there.chain(back).collect::<Vec<_>>() {
            for _ in 0..1 + u64::from(dice.roll(10) == 0) {
                if dice.roll(100) >= loss {
                    count += 1;
                    let arrival = now + 20 + dice.roll(200);
                    wire.push(Reverse((arrival, count, towards_node, datagram.clone())));
                }
            }
        }
        backend.seen.extend(world.passed());
        let said = backend.say();
        world.tls(&said);
        if !said.is_empty() {
            continue;
        }
        let arrival = wire.peek().map(|Reverse((arrival, ..))| *arrival);
        let due = world.connection.poll_timeout();
        let due = due.map(|due| due.duration_since(start).as_nanos().div_ceil(1_000_000) as u64);
        let Some(next) = [arrival, due, node.timer].into_iter().flatten().min() else {
            break;
        };
        now = now.max(next);
        world.now = start + Duration::from_millis(now);
        if due.is_some_and(|due| due <= now) {
            world.connection.handle_timeout(world.now);
            world.poll();
        }
        if node.timer.is_some_and(|timer| timer <= now) {
            node.timeout(now);
        }
        while wire.peek().is_some_and(|Reverse((arrival, ..))| *arrival <= now) {
            let Some(Reverse((_, _, towards_node, datagram))) = wire.pop() else {
                break;
            };
            if towards_node { node.take(now, &datagram) } else { world.node(&datagram) }
        }
        if world.connection.is_over() {
            break;
        }
    }
    backend.seen.extend(world.passed());
    judge(seed, &world, &backend, &node, tally);
}

fn judge(seed: u64, world: &World, backend: &BackEnd, node: &Node, tally: &mut Tally) {
    let [_, _, answered] = &backend.stages;
    let whole = [&answered[..], &tls(21, &[0x0f; 18])].concat();
    assert!(world.connection.is_over(), "seed {seed}: no end");
    let asked = backend.questions.iter().map(|question| (23, question.clone()));
    let asked: Vec<_> = asked.chain([(21, vec![0xf0; 18])]).collect();
    assert!(asked.starts_with(&node.taken), "seed {seed}: the node took what was not sent");
    if world.finished && world.connection.reason() == Some(Reason::Closed) {
        assert_eq!(backend.seen, whole, "seed {seed}: FIN after less than all, or after more");
        assert_eq!(node.taken, asked, "seed {seed}");
        tally.whole += 1;
    } else {
        let alert = world.connection.reason().and_then(Reason::alert);
        let seen = match (world.finished, &alert) {
            (true, Some(alert)) => backend.seen.strip_suffix(alert).expect("an alert"),
            _ => &backend.seen[..],
        };
        assert!(world.finished == alert.is_some() || world.reset.is_some(), "seed {seed}");
        assert!(whole.starts_with(seen), "seed {seed}: not what the node sent");
        tally.reset += 1;
    }
}

#[test]
fn without_loss_every_stream_is_whole() {
    let mut tally = Tally::default();
    (0..100).for_each(|seed| run(seed, 0, &mut tally));
    assert_eq!(tally, Tally { whole: 100, reset: 0 });
}

#[test]
fn with_loss_every_stream_is_whole_or_reset() {
    let mut tallies: Vec<Tally> = Vec::new();
    for loss in [5, 10, 20, 30, 40] {
        let mut tally = Tally::default();
        (1000 * loss..1000 * loss + 150).for_each(|seed| run(seed, loss, &mut tally));
        tallies.push(tally);
    }
    assert!(tallies[0].whole >= 145 && tallies[1].whole >= 145, "{tallies:?}");
    assert!(tallies.iter().all(|tally| tally.whole > 10), "{tallies:?}");
}
