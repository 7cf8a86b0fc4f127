//! Connections through a relay, and records echoed over them. None of its time is counted.
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use gateway_common::{
    mapping::{
        handshake::{self, kind},
        record::{TLS_HEADER, TLS12, TlsHeader},
    },
    wire::dtls::content,
};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes, for proxies that are reached through a TLS client of their own.
    Plain,
    /// TLS records without a handshake.
    Framed,
    /// TLS records after the messages of a handshake, which no relay without keys can tell from a
    /// true one.
    Handshaken,
}

/// Nothing takes longer here than this, unless the relay stalls.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, and what has come of the echo that it waits for.
pub(crate) struct Connection {
    stream: TcpStream,
    kind: Kind,
    got: usize,
}

impl Connection {
    /// Connects, and shakes hands where the kind asks for it. Numbered sources, because one address
    /// has too few ports for all.
    pub(crate) fn open(kind: Kind, port: u16, number: u32) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        let host = u8::try_from(number / 20_000 % 200).unwrap_or(0);
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2 + host), 0)).into())?;
        socket.set_tcp_nodelay(true)?;
        // Thousands of connections must not wait for their old ports.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        let mut connection = Self { stream: socket.into(), kind, got: 0 };
        if kind == Kind::Handshaken {
            connection.shake_hands().context("the relay's handshake")?;
        }
        Ok(connection)
    }

    fn shake_hands(&mut self) -> Result<()> {
        self.stream.write_all(&client_hello())?;
        self.read_until(|header, body| {
            header.content == content::HANDSHAKE && ends_with_done(body)
        })?;
        self.stream.write_all(&client_finished())?;
        let mut ciphered = false;
        self.read_until(|header, _| {
            let finished = ciphered && header.content == content::HANDSHAKE;
            ciphered |= header.content == content::CHANGE_CIPHER_SPEC;
            finished
        })
    }

    fn read_until(&mut self, mut last: impl FnMut(TlsHeader, &[u8]) -> bool) -> Result<()> {
        loop {
            let mut header = [0; TLS_HEADER];
            self.stream.read_exact(&mut header)?;
            let header = TlsHeader::read(&header);
            let mut body = vec![0; header.length.into()];
            self.stream.read_exact(&mut body)?;
            ensure!(header.content != content::ALERT, "alert {body:?}");
            if last(header, &body) {
                return Ok(());
            }
        }
    }

    /// Sends a record of so many bytes.
    fn put(&mut self, size: usize) -> Result<()> {
        let record = match self.kind {
            Kind::Plain => vec![0x5a; size],
            Kind::Framed | Kind::Handshaken => record(content::APPLICATION_DATA, &vec![0x5a; size]),
        };
        Ok(self.stream.write_all(&record)?)
    }

    /// Takes what is there, and says how many echoes that completes.
    fn take(&mut self, size: usize, buffer: &mut [u8]) -> Result<usize> {
        let header = if self.kind == Kind::Plain { 0 } else { TLS_HEADER };
        let read = self.stream.read(buffer).context("the relay stalled")?;
        ensure!(read > 0, "the relay hung up");
        self.got += read;
        let whole = self.got / (size + header);
        self.got %= size + header;
        Ok(whole)
    }

    /// One record there and back.
    pub(crate) fn echo(&mut self, size: usize) -> Result<()> {
        let mut buffer = [0; 4096];
        self.put(size)?;
        while self.take(size, &mut buffer)? == 0 {}
        Ok(())
    }
}

/// What to keep going.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// What connections carry.
    pub(crate) kind: Kind,
    /// The relay's port.
    pub(crate) port: u16,
    /// Bytes in a record.
    pub(crate) size: usize,
    /// Connections.
    pub(crate) connections: u32,
    /// Echoes that each waits for at once.
    pub(crate) window: usize,
}

/// Records in full flow.
pub(crate) struct Flow {
    load: Load,
    connections: Vec<Connection>,
    epoll: Epoll,
}

impl Flow {
    /// Opens the connections and sees an echo on each.
    pub(crate) fn open(load: Load) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut connections = Vec::new();
        for number in 0..load.connections {
            let mut connection = Connection::open(load.kind, load.port, number)?;
            connection.echo(load.size)?;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number.into());
            epoll.add(connection.stream.as_fd(), event)?;
            connections.push(connection);
        }
        Ok(Self { load, connections, epoll })
    }

    /// Echoes for so long; how many came.
    pub(crate) fn run(&mut self, time: Duration) -> Result<u64> {
        let size = self.load.size;
        for connection in &mut self.connections {
            (0..self.load.window).try_for_each(|_| connection.put(size))?;
        }
        let (start, mut echoes, mut buffer) = (Instant::now(), 0, vec![0; 1 << 16]);
        while start.elapsed() < time {
            let mut events = [EpollEvent::empty(); 64];
            let ready = self.epoll.wait(&mut events, EpollTimeout::from(1000u16))?;
            ensure!(ready > 0, "the relay stalled after {echoes} echoes");
            for event in events.iter().take(ready) {
                let number = usize::try_from(event.data())?;
                let connection = self.connections.get_mut(number).context("a known connection")?;
                let whole = connection.take(size, &mut buffer)?;
                (0..whole).try_for_each(|_| connection.put(size))?;
                echoes += whole as u64;
            }
        }
        Ok(echoes)
    }
}

/// Connections one after another for so long, an echo on each; how many there were.
pub(crate) fn connect_and_close(load: Load, time: Duration) -> Result<u64> {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        Connection::open(load.kind, load.port, u32::try_from(count)?)?.echo(load.size)?;
        count += 1;
    }
    Ok(count)
}

fn record(content: u8, fragment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(fragment.len()).unwrap_or(u16::MAX);
    [&TlsHeader { content, version: TLS12, length }.write()[..], fragment].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(0);
    [&handshake::Header::whole(kind, length, 0).tls()[..], body].concat()
}

/// As OpenSSL sends it for one suite, less what a relay does not read.
fn client_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x17; 32]);
    body.extend([0, 0, 4, 0xc0, 0xa8, 0, 0xff, 1, 0, 0, 4, 0, 0x17, 0, 0]);
    record(content::HANDSHAKE, &message(kind::CLIENT_HELLO, &body))
}

/// ClientKeyExchange, ChangeCipherSpec and what looks like a Finished of CCM_8.
fn client_finished() -> Vec<u8> {
    let exchange = message(kind::CLIENT_KEY_EXCHANGE, b"\x00\x05node1");
    let mut flight = record(content::HANDSHAKE, &exchange);
    flight.extend(record(content::CHANGE_CIPHER_SPEC, &[1]));
    flight.extend(record(content::HANDSHAKE, &[0x17; 32]));
    flight
}

fn ends_with_done(flight: &[u8]) -> bool {
    flight.ends_with(&[kind::SERVER_HELLO_DONE, 0, 0, 0])
}
