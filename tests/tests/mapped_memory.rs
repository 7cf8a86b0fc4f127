//! What an idle mapped connection costs, as the kernel counts it. A process of its own: nothing else
//! may allocate meanwhile.
use std::{fs, sync::Arc, time::Instant};

use bytes::BytesMut;
use gateway_common::mapping::{
    Position,
    ack::Report,
    handshake::Header,
    record::{DTLS12, DtlsHeader, TLS12, TlsHeader},
};
use gateway_user::mapper::core::{Connection, Output, Phase, Policy};

const CONNECTIONS: usize = 5000;

#[test]
fn five_thousand_idle_connections_cost_a_kibibyte_each_at_most() {
    let policy = Arc::new(Policy::new(vec![0xc0a8]));
    let warm: Vec<_> = (0..10).map(|seed| established(&policy, seed)).collect();
    let before = resident();
    let mut connections = Vec::with_capacity(CONNECTIONS);
    connections.extend((0..CONNECTIONS as u64).map(|seed| established(&policy, seed)));
    let each = (resident() - before) / CONNECTIONS;
    eprintln!("{each} bytes each, of them {} in the struct", size_of::<Connection>());
    assert!(each <= Policy::IDLE_MEMORY, "{each} bytes each");
    drop((warm, connections));
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes << 10
}

/// After a handshake, a question of 200 bytes and an answer of 500.
fn established(policy: &Arc<Policy>, seed: u64) -> Connection {
    let now = Instant::now();
    let mut connection = Connection::new(Arc::clone(policy), seed, now);
    let mut tell = |backend: &[u8], node: &[u8]| {
        connection.handle_tls(now, &mut BytesMut::from(backend));
        drain(&mut connection);
        connection.handle_datagram(now, BytesMut::from(node));
        drain(&mut connection);
    };
    let hello = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0xa8, 1, 0]].concat();
    let choice = [&[0xfe, 0xfd][..], &[9; 32], &[0, 0xc0, 0xa8, 0]].concat();
    let keys = tls(22, &message(16, &[0, 1, 9]));
    tell(
        &tls(22, &message(1, &hello)),
        &[node_message(2, 0, &choice), node_message(14, 1, &[])].concat(),
    );
    tell(
        &[keys, tls(20, &[1]), tls(22, &[6; 32])].concat(),
        &[dtls(20, 0, &[1]), dtls(22, 1, &[5; 32])].concat(),
    );
    let next = Position { epoch: 1, number: 2 };
    let report = dtls(26, 0, &Report { next, received: 0 }.write());
    let mut answer = dtls(23, 1, &[5; 500]);
    answer[10] = 1;
    tell(&tls(23, &[6; 200]), &[report, answer].concat());
    assert_eq!(connection.phase(), Phase::Established);
    assert_eq!(connection.summary().to_backend.records, 2);
    connection
}

fn drain(connection: &mut Connection) {
    while let Some(output) = connection.poll_output() {
        assert!(matches!(output, Output::Datagram(_) | Output::Tls(_)), "{output:?}");
    }
}

fn tls(content: u8, fragment: &[u8]) -> Vec<u8> {
    let header = TlsHeader { content, version: TLS12, length: fragment.len() as u16 };
    [&header.write()[..], fragment].concat()
}

/// Number 0 of the epoch: that of a report does not matter.
fn dtls(content: u8, epoch: u16, fragment: &[u8]) -> Vec<u8> {
    let (position, length) = (Position { epoch, number: 0 }, fragment.len() as u16);
    let header = DtlsHeader { content, version: DTLS12, position, length };
    [&header.write()[..], fragment].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&Header::whole(kind, body.len() as u32, 0).tls()[..], body].concat()
}

fn node_message(kind: u8, seq: u16, body: &[u8]) -> Vec<u8> {
    let header = Header::whole(kind, body.len() as u32, seq);
    dtls(22, 0, &[&header.write()[..], body].concat())
}
