//! The client's side of a handshake, in its own form.

use std::{vec, vec::Vec};

use gateway_common::{
    mapping::{
        handshake::{Fragments, Header, kind},
        hello::ServerHello,
        record::DTLS12,
    },
    wire::dtls::content,
};
use sha2::{Digest, Sha256};

use super::{Client, Event, Piece};
use crate::{
    Psk, Suite,
    handshake::key::{CLIENT_FINISHED, Master, SERVER_FINISHED},
    transcript::Form,
};

impl Client {
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

    pub(super) fn handshake(&mut self, now: u64, record: &[u8]) {
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

    pub(super) fn message(&mut self, now: u64, kind: u8, body: &[u8]) {
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

    pub(super) fn key_exchange(&mut self, now: u64) {
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

    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.transcript).into()
    }

    pub(super) fn finished(&mut self) -> Vec<u8> {
        let verify_data = self.master.verify_data(CLIENT_FINISHED, &self.hash());
        self.verify.0 = verify_data.to_vec();
        let seq = self.message_seq;
        let start = self.transcript.len();
        self.remember(kind::FINISHED, seq, &verify_data);
        let message = self.transcript[start..].to_vec();
        self.seal(content::HANDSHAKE, &message)
    }

    pub(super) fn server_finished(&mut self, now: u64, message: &[u8]) {
        let seq = self.expected;
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

    pub(super) fn remember(&mut self, kind: u8, seq: u16, body: &[u8]) {
        let header = Header::whole(kind, body.len() as u32, seq);
        self.transcript.extend(Form::of(self.wish.origin, header).as_bytes());
        self.transcript.extend(body);
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
