//! Where relays lead: a TCP echo, a UDP echo, and an echo that has shaken hands as a node does.
use std::{
    collections::HashMap,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    thread,
};

use anyhow::Result;
use gateway_common::{
    mapping::{
        Position,
        ack::Report,
        handshake::{Fragments, Header, kind},
        record::{self, Records, TLS12, TlsHeader},
    },
    wire::dtls::content,
};
use socket2::{Domain, Socket, Type};

/// Bytes of datagrams that may wait: those of all connections of a load.
const BACKLOG: usize = 8 << 20;

/// Echoes streams on a thread of its own until the process ends; says the port.
pub(crate) fn streams() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::Builder::new().stack_size(64 << 10).spawn(move || {
                let _ = stream.set_nodelay(true);
                // Ends when the other side does.
                let _ = std::io::copy(&mut &stream, &mut &stream);
            })?;
        }
        Ok::<(), std::io::Error>(())
    });
    Ok(port)
}

/// Echoes datagrams as they are.
pub(crate) fn datagrams() -> Result<u16> {
    serve(|_, datagram, out| out.extend_from_slice(datagram))
}

/// Answers as a node does that has a session with each peer: it plays the server's messages, reports
/// what it has, and sends each protected record back as its own next.
pub(crate) fn node() -> Result<u16> {
    let mut next = HashMap::new();
    serve(move |peer, datagram, out| {
        for record in Records::of(datagram).flatten() {
            let ours = next.entry(peer).or_insert(Position { epoch: 1, number: 1 });
            answer(record, ours, out);
        }
    })
}

fn serve(mut each: impl FnMut(SocketAddr, &[u8], &mut Vec<u8>) + Send + 'static) -> Result<u16> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.set_recv_buffer_size(BACKLOG)?;
    let socket = UdpSocket::from(socket);
    let port = socket.local_addr()?.port();
    thread::spawn(move || {
        let (mut buffer, mut out) = (vec![0; 4096], Vec::new());
        loop {
            let (length, peer) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                // A peer that is gone shows in the next call.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return error,
            };
            out.clear();
            each(peer, buffer.get(..length).unwrap_or(&[]), &mut out);
            if !out.is_empty() {
                let _ = socket.send_to(&out, peer);
            }
        }
    });
    Ok(port)
}

fn answer(record: record::Record<'_>, ours: &mut Position, out: &mut Vec<u8>) {
    let at = record.header.position;
    match (at.epoch, record.header.content) {
        (0, content::HANDSHAKE) => {
            let hello = Fragments::of(record.fragment).flatten().next();
            if hello.is_some_and(|first| first.header.kind == kind::CLIENT_HELLO) {
                *ours = Position { epoch: 1, number: 1 };
                hello_done(out);
            }
        }
        (1, content::HANDSHAKE) => {
            put(out, content::CHANGE_CIPHER_SPEC, Position { epoch: 0, number: 2 }, &[1]);
            put(out, content::HANDSHAKE, Position { epoch: 1, number: 0 }, &[0x17; 32]);
            report(out, at);
        }
        (1, content::APPLICATION_DATA) => {
            report(out, at);
            put(out, content::APPLICATION_DATA, *ours, record.fragment);
            *ours = ours.next().unwrap_or(*ours);
        }
        _ => {}
    }
}

/// ServerHello and ServerHelloDone, as a node sends them for one suite.
fn hello_done(out: &mut Vec<u8>) {
    let mut body = vec![0xfe, 0xfd];
    body.extend([0x71; 32]);
    body.extend([0, 0xc0, 0xa8, 0, 0, 9, 0xff, 1, 0, 1, 0, 0, 0x17, 0, 0]);
    let length = u32::try_from(body.len()).unwrap_or(0);
    let hello = [&Header::whole(kind::SERVER_HELLO, length, 0).write()[..], &body].concat();
    put(out, content::HANDSHAKE, Position::default(), &hello);
    let done = Header::whole(kind::SERVER_HELLO_DONE, 0, 1).write();
    put(out, content::HANDSHAKE, Position { epoch: 0, number: 1 }, &done);
}

fn report(out: &mut Vec<u8>, received: Position) {
    let next = received.next().unwrap_or(received);
    let number = received.number.wrapping_add(16);
    put(out, content::ACK, Position { epoch: 0, number }, &Report { next, received: 0 }.write());
}

fn put(out: &mut Vec<u8>, content: u8, position: Position, fragment: &[u8]) {
    let length = u16::try_from(fragment.len()).unwrap_or(u16::MAX);
    let header = record::to_dtls(TlsHeader { content, version: TLS12, length }, position);
    out.extend_from_slice(&header.write());
    out.extend_from_slice(fragment);
}
