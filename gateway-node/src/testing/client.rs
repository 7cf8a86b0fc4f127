//! A client: of DTLS, or of TLS with a border router before it that maps its records.
//!
//! Its transcript is the plain concatenation of its messages in its own form, so that the server's
//! two running hashes are checked against something else than themselves.

use std::{
    collections::{BTreeMap, VecDeque},
    vec,
    vec::Vec,
};

use gateway_common::{
    mapping::{
        Position,
        ack::Report,
        handshake::{Fragments, Header, kind},
        hello::ServerHello,
        record::{DTLS12, DtlsHeader, Records},
    },
    wire::dtls::content,
};
use sha2::{Digest, Sha256};

use super::Dice;
use crate::{
    Origin, Psk, Suite,
    handshake::{
        flight::plain,
        key::{CLIENT_FINISHED, Keys, Master, Randoms, SERVER_FINISHED},
    },
    record::{PROTECTED, Protection},
    transcript::Form,
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

    /// Body of the ClientHello: of DTLS, or as the router makes it.
    pub(crate) fn hello_body(&self, dtls: bool) -> Vec<u8> {
        let id = self.wish.resume.as_ref().map_or(vec![], |resume| resume.id.clone());
        let mut body = if dtls { vec![0xfe, 0xfd] } else { vec![3, 3] };
        body.extend(self.randoms.client);
        body.push(id.len() as u8);
        body.extend(id);
        if dtls {
            body.push(self.cookie.len() as u8);
            body.extend(&self.cookie);
        }
        body.extend((2 * self.wish.suites.len() as u16).to_be_bytes());
        body.extend(self.wish.suites.iter().flat_map(|suite| suite.to_be_bytes()));
        body.extend([1, 0]);
        let mut extensions = self.wish.extensions.clone();
        if self.wish.extended {
            extensions.extend([0, 23, 0, 0]);
        }
        if !extensions.is_empty() {
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
        }
        body
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

    fn remember(&mut self, kind: u8, seq: u16, body: &[u8]) {
        let header = Header::whole(kind, body.len() as u32, seq);
        self.transcript.extend(Form::of(self.wish.origin, header).as_bytes());
        self.transcript.extend(body);
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

    fn handshake(&mut self, now: u64, record: &[u8]) {
        for fragment in Fragments::of(record) {
            let fragment = fragment.expect("a fragment");
            let Header { kind, length, message_seq, .. } = fragment.header;
            if kind == kind::HELLO_VERIFY_REQUEST {
                if self.cookie.is_empty() {
                    self.cookie = fragment.body[3..].to_vec();
                    self.expected = 1;
                    self.start(now);
                }
                continue;
            }
            if message_seq < self.expected {
                if self.resumed && !self.is_tls() && self.connected {
                    self.fly(now);
                    self.deadline = None;
                }
                continue;
            }
            let (_, bytes) = self.incoming.entry(message_seq).or_insert_with(|| {
                (Header::whole(kind, length, message_seq), vec![None; length as usize])
            });
            let offset = fragment.header.fragment_offset as usize;
            for (place, byte) in bytes[offset..].iter_mut().zip(fragment.body) {
                *place = Some(*byte);
            }
            while let Some((header, bytes)) = self.incoming.get(&self.expected)
                && bytes.iter().all(Option::is_some)
            {
                let (kind, body) =
                    (header.kind, bytes.iter().flatten().copied().collect::<Vec<u8>>());
                self.incoming.remove(&self.expected);
                self.expected += 1;
                self.message(now, kind, &body);
            }
        }
    }

    fn message(&mut self, now: u64, kind: u8, body: &[u8]) {
        let seq = self.expected - 1;
        match kind {
            kind::SERVER_HELLO => {
                self.server_hello = body.to_vec();
                let hello = ServerHello::read(body).expect("a ServerHello");
                assert_eq!(hello.version, DTLS12);
                assert!(self.wish.suites.contains(&hello.suite));
                self.suite = Suite::ALL.iter().copied().find(|suite| *suite as u16 == hello.suite);
                self.randoms.server = *hello.random;
                self.id = hello.session_id.to_vec();
                let mut own = body.to_vec();
                if self.is_tls() {
                    own[..2].copy_from_slice(&[3, 3]);
                }
                self.remember(kind, seq, &own);
                let wished = self.wish.resume.as_ref();
                if let Some(resume) = wished.filter(|resume| resume.id == self.id) {
                    self.resumed = true;
                    self.master = resume.master.clone();
                    self.keys = self.master.keys(&self.randoms);
                    self.ready = true;
                }
            }
            kind::SERVER_HELLO_DONE => {
                self.remember(kind, seq, body);
                self.key_exchange(now);
            }
            other => panic!("message {other}"),
        }
    }

    fn key_exchange(&mut self, now: u64) {
        let body =
            [&(self.wish.identity.len() as u16).to_be_bytes(), &self.wish.identity[..]].concat();
        let seq = self.message_seq;
        self.message_seq += 1;
        self.remember(kind::CLIENT_KEY_EXCHANGE, seq, &body);
        self.session_hash = self.hash();
        let psk = Psk::new(&self.wish.psk).expect("a key");
        let hash = self.wish.extended.then_some(&self.session_hash);
        self.master = Master::derive(&psk, &self.randoms, hash);
        self.keys = self.master.keys(&self.randoms);
        self.ready = true;
        let finished = self.finished();
        self.flight = vec![
            Piece::Message(kind::CLIENT_KEY_EXCHANGE, seq, body),
            Piece::ChangeCipherSpec,
            Piece::Sealed(finished),
        ];
        self.launch(now);
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.transcript).into()
    }

    fn finished(&mut self) -> Vec<u8> {
        let verify_data = self.master.verify_data(CLIENT_FINISHED, &self.hash());
        self.verify.0 = verify_data.to_vec();
        let seq = self.message_seq;
        let start = self.transcript.len();
        self.remember(kind::FINISHED, seq, &verify_data);
        let message = self.transcript[start..].to_vec();
        self.seal(content::HANDSHAKE, &message)
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

    fn server_finished(&mut self, now: u64, message: &[u8]) {
        let seq = if self.resumed { self.expected } else { self.expected };
        let verify_data = self.master.verify_data(SERVER_FINISHED, &self.hash());
        let header = Header::whole(kind::FINISHED, 12, seq);
        let form = Form::of(self.wish.origin, header);
        assert_eq!(message, [form.as_bytes(), &verify_data].concat(), "the server's Finished");
        self.verify.1 = verify_data.to_vec();
        if self.connected {
            return;
        }
        self.deadline = None;
        if self.resumed {
            self.remember(kind::FINISHED, seq, &verify_data);
            let finished = self.finished();
            self.flight = vec![Piece::ChangeCipherSpec, Piece::Sealed(finished)];
            self.launch(now);
            if !self.is_tls() {
                self.deadline = None;
            }
        }
        self.connected = true;
        self.events.push(Event::Connected { resumed: self.resumed });
    }

    fn report(&mut self, now: u64, body: &[u8]) {
        let report = Report::read(body).expect("a report");
        let has = |number| report.has(Position { epoch: PROTECTED, number });
        if has(0) && (self.resumed || !self.connected) && self.resumed {
            self.deadline = None;
        }
        self.unacked.retain(|number, _| !has(*number));
        self.pump(now);
    }
}

/// The DTLS fragments of a message, at most `size` bytes of body in each.
pub(crate) fn fragments(kind: u8, seq: u16, body: &[u8], size: usize) -> Vec<Vec<u8>> {
    let whole = Header::whole(kind, body.len() as u32, seq);
    if body.is_empty() {
        return vec![whole.write().to_vec()];
    }
    let pieces = body.chunks(size).enumerate().map(|(index, piece)| {
        let header = Header {
            fragment_offset: (index * size) as u32,
            fragment_length: piece.len() as u32,
            ..whole
        };
        [header.write().to_vec(), piece.to_vec()].concat()
    });
    pieces.collect()
}
