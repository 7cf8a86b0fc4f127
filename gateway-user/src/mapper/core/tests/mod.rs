//! The core against scripts: what goes in on one side, what must come out on the other. Messages
//! and protected records are those of `protocol.md` A17, from a handshake of an unmodified client.
mod arq;
mod close;
mod flights;
mod gap;
mod known;
mod memory;
mod order;
mod properties;
mod refusals;
mod reports;
mod simulation;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use gateway_common::mapping::{Position, ack::Report, handshake::Header, record::DtlsHeader};

use super::{Connection, Output, Policy, Reason};

const CCM_8: u16 = 0xc0a8;
const GCM: u16 = 0x00a8;
const FINISHED: &str = "00000000000000002741aef0d2b397a05a20d1d8ca2e47092697752e0ef81771";
const NODE_FINISHED: &str = "00000000000000007f991fe4006d0db535d3781b2b7f7127dcd5784ee1424637";
const REQUEST: &str = "0000000000000001c54d4a567ad32e89104160e7a4d9074b1055258f3538b05ab933";

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| text.get(at..at + 2).expect("an even number of digits");
    let digits = (0..text.len()).step_by(2);
    digits.map(|at| u8::from_str_radix(digit(at), 16).expect("hexadecimal")).collect()
}

/// Body of a TLS ClientHello.
fn client_hello(session_id: &[u8], suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(0..32);
    body.push(session_id.len() as u8);
    body.extend_from_slice(session_id);
    body.extend_from_slice(&(2 * suites.len() as u16).to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend_from_slice(&[1, 0]);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(extensions);
    body
}

/// That of A17: extended_master_secret.
fn hello() -> Vec<u8> {
    client_hello(&[], &[CCM_8, 0x00ff], &hex("00170000"))
}

/// Body of a ServerHello, in the form of `version`.
fn server_hello(version: u16, session_id: &[u8], suite: u16, extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend(0x80..0xa0);
    body.push(session_id.len() as u8);
    body.extend_from_slice(session_id);
    body.extend_from_slice(&suite.to_be_bytes());
    body.push(0);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(extensions);
    body
}

fn node_hello(version: u16) -> Vec<u8> {
    server_hello(version, &[], CCM_8, &hex("ff0100010000170000"))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&Header::whole(kind, body.len() as u32, 0).tls()[..], body].concat()
}

fn tls(content: u8, fragment: &[u8]) -> Vec<u8> {
    tls_of(0x0303, content, fragment)
}

fn tls_of(version: u16, content: u8, fragment: &[u8]) -> Vec<u8> {
    let [high, low] = (fragment.len() as u16).to_be_bytes();
    let [major, minor] = version.to_be_bytes();
    [&[content, major, minor, high, low], fragment].concat()
}

fn dtls(content: u8, epoch: u16, number: u64, fragment: &[u8]) -> Vec<u8> {
    let header = DtlsHeader {
        content,
        version: 0xfefd,
        position: Position { epoch, number },
        length: fragment.len() as u16,
    };
    [&header.write()[..], fragment].concat()
}

/// A whole handshake message in a record of epoch 0.
fn dtls_message(number: u64, kind: u8, message_seq: u16, body: &[u8]) -> Vec<u8> {
    let header = Header::whole(kind, body.len() as u32, message_seq);
    dtls(22, 0, number, &[&header.write()[..], body].concat())
}

fn report(next: u64, received: u16) -> Vec<u8> {
    let next = Position { epoch: 1, number: next };
    dtls(26, 0, 100, &Report { next, received }.write())
}

/// A connection with a made-up clock, and what came out of it.
struct World {
    connection: Connection,
    now: Instant,
    to_node: Vec<Vec<u8>>,
    to_backend: Vec<u8>,
    finished: bool,
    reset: Option<Reason>,
    left: BytesMut,
}

impl World {
    fn new() -> Self {
        Self::with(policy())
    }

    fn with(policy: Policy) -> Self {
        let now = Instant::now();
        let connection = Connection::new(Arc::new(policy), 7, now);
        Self {
            connection,
            now,
            to_node: Vec::new(),
            to_backend: Vec::new(),
            finished: false,
            reset: None,
            left: BytesMut::new(),
        }
    }

    /// After a full handshake, with what it sent thrown away.
    fn established(policy: Policy) -> Self {
        let mut world = Self::with(policy);
        world.tls(&tls_of(0x0301, 22, &message(1, &hello())));
        world.node(&node_flight(0));
        world.tls(&client_flight());
        world.node(&[report(1, 0), node_finish(2)].concat());
        world.pass(1); // until Finished is reported
        world.to_backend.clear();
        world.to_node.clear();
        world
    }

    fn tls(&mut self, bytes: &[u8]) {
        self.left.extend_from_slice(bytes);
        self.connection.handle_tls(self.now, &mut self.left);
        self.poll();
    }

    fn end(&mut self) {
        self.connection.handle_tls_end(self.now);
        self.poll();
    }

    fn node(&mut self, datagram: &[u8]) {
        self.connection.handle_datagram(self.now, datagram.into());
        self.poll();
    }

    /// Lets time pass, with all that is due in it.
    fn pass(&mut self, seconds: u64) {
        self.pass_for(Duration::from_secs(seconds));
    }

    fn pass_for(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..1000 {
            let Some(due) = self.connection.poll_timeout().filter(|due| *due <= until) else {
                break;
            };
            assert!(due >= self.now, "a deadline in the past");
            self.now = due;
            self.connection.handle_timeout(due);
            self.poll();
        }
        self.now = until;
    }

    fn poll(&mut self) {
        while let Some(output) = self.connection.poll_output() {
            assert!(self.reset.is_none(), "{output:?} after a reset");
            match output {
                Output::Datagram(datagram) => self.to_node.push(datagram.to_vec()),
                Output::Tls(bytes) => {
                    assert!(!self.finished, "bytes after FIN");
                    self.to_backend.extend_from_slice(&bytes);
                }
                Output::Finish => self.finished = true,
                Output::Reset(reason) => self.reset = Some(reason),
            }
        }
    }

    fn sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.to_node)
    }

    fn passed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_backend)
    }
}

fn policy() -> Policy {
    Policy::new(vec![CCM_8])
}

/// ServerHello and ServerHelloDone in one datagram.
fn node_flight(number: u64) -> Vec<u8> {
    let hello = dtls_message(number, 2, 0, &node_hello(0xfefd));
    [hello, dtls_message(number + 1, 14, 1, &[])].concat()
}

/// ClientKeyExchange, ChangeCipherSpec, Finished.
fn client_flight() -> Vec<u8> {
    let keys = tls(22, &message(16, &hex("00056e6f646531")));
    [keys, tls(20, &[1]), tls(22, &hex(FINISHED))].concat()
}

/// ChangeCipherSpec and Finished of the node.
fn node_finish(number: u64) -> Vec<u8> {
    [dtls(20, 0, number, &[1]), dtls(22, 1, 0, &hex(NODE_FINISHED))].concat()
}

/// A datagram's records as (content, epoch, number, fragment).
fn records(datagram: &[u8]) -> Vec<(u8, u16, u64, Vec<u8>)> {
    let records = gateway_common::mapping::record::Records::of(datagram);
    let record = records.map(|record| record.expect("a datagram that is well-formed"));
    record
        .map(|record| {
            let Position { epoch, number } = record.header.position;
            assert_eq!(record.header.version, 0xfefd);
            (record.header.content, epoch, number, record.fragment.to_vec())
        })
        .collect()
}
