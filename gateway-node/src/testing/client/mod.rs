//! A client: of DTLS, or of TLS with a border router before it that maps its records.
//!
//! Its transcript is the plain concatenation of its messages in its own form, so that the server's
//! two running hashes are checked against something else than themselves.

mod handshake;

use std::{
    collections::{BTreeMap, VecDeque},
    vec,
    vec::Vec,
};

use gateway_common::{
    mapping::{
        Position,
        ack::Report,
        handshake::{Header, kind},
        record::{DtlsHeader, Records},
    },
    wire::dtls::content,
};

pub(crate) use handshake::fragments;

use super::Dice;
use crate::{
    Origin, Suite,
    handshake::{
        flight::plain,
        key::{Keys, Master, Randoms},
    },
    record::{PROTECTED, Protection},
    window::Window,
};

const TIMEOUT: u64 = 2_000;
const TRIES: u32 = 7;

/// What happened to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Connected {
        resumed: bool,
    },
    Data(Vec<u8>),
    Closed,
    Alert(u8),
    /// It gave up, as the border would with a reset.
    Reset,
}

/// What a client asks for.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) origin: Origin,
    pub(crate) suites: Vec<u16>,
    pub(crate) extended: bool,
    /// Further extensions, as they are sent.
    pub(crate) extensions: Vec<u8>,
    pub(crate) identity: Vec<u8>,
    pub(crate) psk: Vec<u8>,
    pub(crate) resume: Option<Resume>,
    /// Most bytes in a fragment of a handshake message.
    pub(crate) fragment: usize,
    pub(crate) window: usize,
}

#[derive(Clone)]
pub(crate) struct Resume {
    pub(crate) id: Vec<u8>,
    pub(crate) master: Master,
}

impl Wish {
    pub(crate) fn of(origin: Origin) -> Self {
        Self {
            origin,
            suites: vec![Suite::Ccm8 as u16, 0x00ff],
            extended: true,
            extensions: vec![],
            identity: b"node1".to_vec(),
            psk: super::world::PSK.to_vec(),
            resume: None,
            fragment: 1_000,
            window: 1,
        }
    }
}

enum Piece {
    Message(u8, u16, Vec<u8>),
    ChangeCipherSpec,
    Sealed(Vec<u8>),
}

pub(crate) struct Client {
    pub(crate) wish: Wish,
    pub(crate) dice: Dice,
    pub(crate) events: Vec<Event>,
    pub(crate) out: VecDeque<Vec<u8>>,
    pub(crate) id: Vec<u8>,
    pub(crate) master: Master,
    pub(crate) server_hello: Vec<u8>,
    pub(crate) session_hash: [u8; 32],
    pub(crate) verify: (Vec<u8>, Vec<u8>),
    pub(crate) randoms: Randoms,
    pub(crate) keys: Keys,
    cookie: Vec<u8>,
    transcript: Vec<u8>,
    suite: Option<Suite>,
    ready: bool,
    pub(crate) connected: bool,
    resumed: bool,
    closed: bool,
    number: u64,
    message_seq: u16,
    flight: Vec<Piece>,
    deadline: Option<u64>,
    timeout: u64,
    tries: u32,
    incoming: BTreeMap<u16, (Header, Vec<Option<u8>>)>,
    expected: u16,
    next: u64,
    window: Window,
    early: BTreeMap<u64, (DtlsHeader, Vec<u8>)>,
    unsent: VecDeque<(u8, Vec<u8>)>,
    unacked: BTreeMap<u64, (Vec<u8>, u64, u32)>,
}

impl Client {
    pub(crate) fn new(wish: Wish, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut randoms = Randoms::default();
        crate::Random::fill(&mut dice, &mut randoms.client);
        Self {
            wish,
            dice,
            events: vec![],
            out: VecDeque::new(),
            id: vec![],
            master: Master::default(),
            server_hello: vec![],
            session_hash: [0; 32],
            verify: (vec![], vec![]),
            randoms,
            keys: Keys::default(),
            cookie: vec![],
            transcript: vec![],
            suite: None,
            ready: false,
            connected: false,
            resumed: false,
            closed: false,
            number: 0,
            message_seq: 0,
            flight: vec![],
            deadline: None,
            timeout: TIMEOUT,
            tries: 0,
            incoming: BTreeMap::new(),
            expected: 0,
            next: 0,
            window: Window::default(),
            early: BTreeMap::new(),
            unsent: VecDeque::new(),
            unacked: BTreeMap::new(),
        }
    }

    fn is_tls(&self) -> bool {
        self.wish.origin == Origin::Tls
    }

    /// Begins with the second ClientHello, as if a border had asked for the first.
    pub(crate) fn verified(&mut self, cookie: &[u8]) {
        self.cookie = cookie.to_vec();
        self.message_seq = 1;
        self.expected = 1;
    }

    pub(crate) fn start(&mut self, now: u64) {
        self.transcript.clear();
        let wire = self.hello_body(true);
        let own = self.hello_body(!self.is_tls());
        let seq = self.message_seq;
        self.remember(kind::CLIENT_HELLO, seq, &own);
        self.message_seq += 1;
        self.flight = vec![Piece::Message(kind::CLIENT_HELLO, seq, wire)];
        self.launch(now);
    }

    fn launch(&mut self, now: u64) {
        (self.timeout, self.tries) = (TIMEOUT, 0);
        self.fly(now);
    }

    /// Sends the flight: plaintext with fresh numbers, Finished byte for byte.
    fn fly(&mut self, now: u64) {
        let mut datagram = vec![];
        for piece in &self.flight {
            match piece {
                Piece::Message(kind, seq, body) => {
                    for fragment in fragments(*kind, *seq, body, self.wish.fragment) {
                        let header = plain(content::HANDSHAKE, self.number, fragment.len());
                        let record = [header.to_vec(), fragment].concat();
                        self.number += 1;
                        if datagram.len() + record.len() > 1_232 {
                            self.out.push_back(core::mem::take(&mut datagram));
                        }
                        datagram.extend(record);
                    }
                }
                Piece::ChangeCipherSpec => {
                    datagram.extend(plain(content::CHANGE_CIPHER_SPEC, self.number, 1));
                    datagram.push(1);
                    self.number += 1;
                }
                Piece::Sealed(record) => datagram.extend(record),
            }
        }
        self.out.push_back(datagram);
        self.deadline = Some(now + self.timeout);
    }

    fn protection<'a>(&self, key: &'a crate::record::Key) -> Protection<'a> {
        let suite = self.suite.expect("a chosen suite");
        Protection { suite, origin: self.wish.origin, key }
    }

    pub(crate) fn seal(&mut self, content: u8, plaintext: &[u8]) -> Vec<u8> {
        let mut record = vec![0; plaintext.len() + 64];
        let number = self.next;
        self.next += 1;
        let length =
            self.protection(&self.keys.client).seal(content, number, plaintext, &mut record);
        record.truncate(length.expect("room"));
        record
    }

    /// Queues data; a mapped client's goes out record by record as the border repairs them.
    pub(crate) fn send(&mut self, now: u64, content: u8, plaintext: &[u8]) {
        self.unsent.push_back((content, plaintext.to_vec()));
        self.pump(now);
    }

    pub(crate) fn close(&mut self, now: u64) {
        self.send(now, content::ALERT, &[1, 0]);
    }

    fn pump(&mut self, now: u64) {
        while self.connected && !self.unsent.is_empty() {
            if self.is_tls() && self.unacked.len() >= self.wish.window {
                return;
            }
            let (content, plaintext) = self.unsent.pop_front().expect("something");
            let number = self.next;
            let record = self.seal(content, &plaintext);
            if self.is_tls() {
                let deadline = now + TIMEOUT + self.dice.below(1_000);
                self.unacked.insert(number, (record.clone(), deadline, 0));
            }
            self.out.push_back(record);
        }
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.unacked.values().map(|(_, deadline, _)| *deadline).chain(self.deadline).min()
    }

    pub(crate) fn timeout(&mut self, now: u64) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.tries += 1;
            if self.tries > TRIES {
                return self.reset();
            }
            self.timeout *= 2;
            self.fly(now);
        }
        let due: Vec<u64> =
            self.unacked.iter().filter(|(_, (_, at, _))| now >= *at).map(|(n, _)| *n).collect();
        for number in due {
            let (record, deadline, tries) = self.unacked.get_mut(&number).expect("listed");
            *tries += 1;
            if *tries > 4 {
                return self.reset();
            }
            *deadline = now + (TIMEOUT << *tries);
            self.out.push_back(record.clone());
        }
    }

    fn reset(&mut self) {
        self.deadline = None;
        self.unacked.clear();
        self.unsent.clear();
        self.closed = true;
        self.events.push(Event::Reset);
    }

    pub(crate) fn receive(&mut self, now: u64, datagram: &[u8]) {
        for record in Records::of(datagram) {
            let Ok(record) = record else {
                panic!("the server sent {datagram:02x?}");
            };
            let position = record.header.position;
            match (position.epoch, record.header.content) {
                (0, content::HANDSHAKE) => self.handshake(now, record.fragment),
                (0, content::ACK) => self.report(now, record.fragment),
                (0, content::ALERT) => self.events.push(Event::Alert(record.fragment[1])),
                (0, content::CHANGE_CIPHER_SPEC) => {}
                (PROTECTED, _) if self.ready => self.protected(now, record.header, record.fragment),
                _ => {}
            }
        }
        self.pump(now);
    }

    fn protected(&mut self, now: u64, header: DtlsHeader, fragment: &[u8]) {
        let number = header.position.number;
        if self.is_tls() {
            if number >= self.window.next() {
                self.early.insert(number, (header, fragment.to_vec()));
            }
            while let Some((header, fragment)) = self.early.remove(&self.window.next()) {
                self.open(now, header, fragment);
            }
            let next = Position { epoch: PROTECTED, number: self.window.next() };
            let report = self.early.keys().fold(Report { next, received: 0 }, |report, number| {
                let position = Position { epoch: PROTECTED, number: *number };
                report.with(position).unwrap_or(report)
            });
            let record = [plain(content::ACK, self.number, 10).to_vec(), report.write().to_vec()];
            self.number += 1;
            self.out.push_back(record.concat());
        } else if self.window.is_fresh(number) {
            self.open(now, header, fragment.to_vec());
        }
    }

    fn open(&mut self, now: u64, header: DtlsHeader, mut fragment: Vec<u8>) {
        let opened = self.protection(&self.keys.server).open(header, &mut fragment);
        let Some(range) = opened else {
            // TLS ends with bad_record_mac; DTLS drops
            if self.is_tls() {
                self.reset();
            }
            return;
        };
        self.window.update(header.position.number);
        let plaintext = fragment[range].to_vec();
        match header.content {
            content::HANDSHAKE => self.server_finished(now, &plaintext),
            content::APPLICATION_DATA => {
                assert!(self.connected, "data before Finished");
                self.events.push(Event::Data(plaintext));
            }
            content::ALERT if plaintext[1] == 0 => self.events.push(Event::Closed),
            content::ALERT => self.events.push(Event::Alert(plaintext[1])),
            other => panic!("content {other}"),
        }
    }

    fn report(&mut self, now: u64, body: &[u8]) {
        let report = Report::read(body).expect("a report");
        let has = |number| report.has(Position { epoch: PROTECTED, number });
        if has(0) && self.resumed {
            self.deadline = None;
        }
        self.unacked.retain(|number, _| !has(*number));
        self.pump(now);
    }
}
