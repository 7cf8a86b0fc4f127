//! A mapped connection between a back-end and a node that say anything.
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use gateway_common::mapping::{
    Position,
    ack::Report,
    handshake::Header,
    record::{DTLS12, DtlsHeader, Records, TLS12, TlsHeader},
};
use gateway_user::mapper::core::{Connection, Output, Policy};

use super::script::Script;

const SUITE: u16 = 0xc0a8;

/// How far the connection is, then steps.
pub fn mapper(data: &[u8]) {
    let mut script = Script(data);
    let Some([start, window]) = script.take() else {
        return;
    };
    let mut world = World::new(window);
    for input in opening().into_iter().take(usize::from(start % 5)) {
        world.input(input);
    }
    while let Some(input) = step(&mut script) {
        world.input(input);
    }
    for _ in 0..8 {
        world.input(Input::Wait(1200));
    }
    assert!(world.connection.is_over(), "every connection ends");
}

enum Input {
    Stream(Vec<u8>),
    Datagram(Vec<u8>),
    Wait(u64),
    End,
    Hold(bool),
}

fn step(script: &mut Script<'_>) -> Option<Input> {
    let [operation] = script.take()?;
    Some(match operation % 9 {
        0 => {
            let [content] = script.take()?;
            Input::Stream(tls(content, &bytes(script)?))
        }
        1 => Input::Stream(bytes(script)?),
        2 => {
            let [content, epoch, number] = script.take()?;
            Input::Datagram(dtls(content, epoch, number, &bytes(script)?))
        }
        3 => {
            let [kind, seq] = script.take()?;
            Input::Datagram(message(kind, seq, &bytes(script)?))
        }
        4 => {
            let [next, received] = script.take()?;
            Input::Datagram(report(next, received))
        }
        5 => {
            let [seconds] = script.take()?;
            Input::Wait(seconds.into())
        }
        6 => Input::Datagram(bytes(script)?),
        7 => {
            let [held] = script.take()?;
            Input::Hold(held & 1 == 1)
        }
        _ => Input::End,
    })
}

fn bytes(script: &mut Script<'_>) -> Option<Vec<u8>> {
    let [length] = script.take()?;
    let (bytes, rest) = script.0.split_at_checked(length.into())?;
    script.0 = rest;
    Some(bytes.to_vec())
}

/// A full handshake, step by step.
fn opening() -> Vec<Input> {
    let mut offer = vec![3, 3];
    offer.extend([7; 32]);
    offer.extend([0, 0, 2, 0xc0, 0xa8, 1, 0]);
    let mut choice = vec![0xfe, 0xfd];
    choice.extend([9; 32]);
    choice.extend([0, 0xc0, 0xa8, 0]);
    let hello = [&Header::whole(1, offer.len() as u32, 0).tls()[..], &offer].concat();
    let keys = [&Header::whole(16, 3, 0).tls()[..], &[0, 1, 9]].concat();
    let finish = [dtls(20, 0, 9, &[1]), dtls(22, 1, 0, &[5; 32])].concat();
    vec![
        Input::Stream(tls(22, &hello)),
        Input::Datagram([message(2, 0, &choice), message(14, 1, &[])].concat()),
        Input::Stream([tls(22, &keys), tls(20, &[1]), tls(22, &[6; 32])].concat()),
        Input::Datagram([report(1, 0), finish].concat()),
    ]
}

fn tls(content: u8, fragment: &[u8]) -> Vec<u8> {
    let header = TlsHeader { content, version: TLS12, length: fragment.len() as u16 };
    [&header.write()[..], fragment].concat()
}

fn dtls(content: u8, epoch: u8, number: u8, fragment: &[u8]) -> Vec<u8> {
    let position = Position { epoch: epoch.into(), number: number.into() };
    let length = fragment.len() as u16;
    let header = DtlsHeader { content, version: DTLS12, position, length };
    [&header.write()[..], fragment].concat()
}

fn message(kind: u8, seq: u8, body: &[u8]) -> Vec<u8> {
    let header = Header::whole(kind, body.len() as u32, seq.into());
    dtls(22, 0, 0, &[&header.write()[..], body].concat())
}

fn report(next: u8, received: u8) -> Vec<u8> {
    let next = Position { epoch: 1, number: next.into() };
    dtls(26, 0, 0, &Report { next, received: received.into() }.write())
}

struct World {
    connection: Connection,
    policy: Arc<Policy>,
    now: Instant,
    left: BytesMut,
    /// Records of epoch 1 that were sent: the same number, the same bytes.
    protected: BTreeMap<u64, Vec<u8>>,
    clear: Option<u64>,
    switched: bool,
    finished: bool,
    reset: bool,
}

impl World {
    fn new(window: u8) -> Self {
        let policy = Arc::new(Policy { window, max_datagram: 300, ..Policy::new(vec![SUITE]) });
        let now = Instant::now();
        Self {
            connection: Connection::new(Arc::clone(&policy), 7, now),
            policy,
            now,
            left: BytesMut::new(),
            protected: BTreeMap::new(),
            clear: None,
            switched: false,
            finished: false,
            reset: false,
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Stream(bytes) => {
                self.left.extend_from_slice(&bytes);
                self.connection.handle_tls(self.now, &mut self.left);
            }
            Input::Datagram(bytes) => self.connection.handle_datagram(self.now, bytes[..].into()),
            Input::Wait(seconds) => self.wait(Duration::from_secs(seconds)),
            Input::End => self.connection.handle_tls_end(self.now),
            Input::Hold(held) => self.connection.hold_tls(held),
        }
        self.poll();
        let memory = self.connection.memory();
        assert!(memory <= self.policy.memory_max(), "{memory} bytes");
        // what the back-end may have left unread is a record that is not whole, or waits for room
        assert!(!self.connection.wants_tls() || self.left.len() < 5 + (1 << 13));
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let mut steps = 0;
        while let Some(due) = self.connection.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.connection.handle_timeout(self.now);
            self.poll();
            steps += 1;
            assert!(steps < 1000, "a timer that does not move");
        }
        self.now = until;
    }

    fn poll(&mut self) {
        while let Some(output) = self.connection.poll_output() {
            assert!(!self.reset, "{output:?} after a reset");
            match output {
                Output::Datagram(datagram) => self.datagram(&datagram.to_vec()),
                Output::Tls(bytes) => self.tls(&bytes),
                Output::Finish => {
                    assert!(!self.finished);
                    self.finished = true;
                }
                Output::Reset(_) => self.reset = true,
            }
        }
    }

    fn datagram(&mut self, datagram: &[u8]) {
        assert!(!datagram.is_empty() && datagram.len() <= self.policy.max_datagram);
        for record in Records::of(datagram) {
            let record = record.expect("a record");
            let Position { epoch, number } = record.header.position;
            assert_eq!(record.header.version, DTLS12);
            match epoch {
                0 => {
                    assert!(self.clear.is_none_or(|last| number > last), "a number twice");
                    self.clear = Some(number);
                }
                _ => {
                    assert_eq!(epoch, 1);
                    let known = self.protected.entry(number).or_insert(record.fragment.to_vec());
                    assert_eq!(known, record.fragment, "another record under the same number");
                }
            }
        }
    }

    fn tls(&mut self, mut bytes: &[u8]) {
        assert!(!self.finished, "bytes after FIN");
        while let Some((header, rest)) = bytes.split_first_chunk::<5>() {
            let header = TlsHeader::read(header);
            assert_eq!(header.version, TLS12);
            assert!((20..=23).contains(&header.content) && header.length > 0);
            let switch = header.content == 20;
            assert!(!(switch && self.switched), "ChangeCipherSpec twice");
            self.switched |= switch;
            bytes = &rest[usize::from(header.length)..];
        }
        assert!(bytes.is_empty(), "part of a record");
    }
}
