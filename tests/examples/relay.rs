//! The mapper's driver as a process of its own, with peers that go through the motions of a
//! handshake without any cryptography: what is measured is the relaying.
//!
//! ```text
//! relay node PORT                                  a node that echoes
//! relay serve TCP-PORT NODE-PORT [WINDOW]          the mapper between them
//! relay rec PORT SIZE CONNECTIONS FLIGHT SECONDS   records, FLIGHT outstanding on each connection
//! relay conn PORT SECONDS                          connections with one record, one after another
//! relay idle PORT COUNT                            connections that are held until stdin closes
//! ```

use std::{
    collections::HashMap,
    env,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use gateway_common::decide::Reason;
use gateway_user::{
    config::Config,
    mapper::driver::{Admit, Doors, Driver, Plan},
};
use nix::{
    libc::linger,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        socket::{setsockopt, sockopt},
    },
};

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["node", port] => node(port.parse()?),
        ["serve", port, node] => serve(port, node, "4"),
        ["serve", port, node, window] => serve(port, node, window),
        ["rec", port, size, connections, flight, seconds] => records(
            port.parse()?,
            size.parse()?,
            connections.parse()?,
            flight.parse()?,
            seconds.parse()?,
        ),
        ["conn", port, seconds] => connections(port.parse()?, seconds.parse()?),
        ["idle", port, count] => idle(port.parse()?, count.parse()?),
        _ => bail!("relay node|serve|rec|conn|idle …: see the source"),
    }
}

struct Everyone;

impl Admit for Everyone {
    fn generation(&self) -> u64 {
        0
    }

    fn admit(&self, _: IpAddr, _: IpAddr, _: u16) -> Result<u64, Reason> {
        Ok(u64::MAX)
    }
}

fn serve(port: &str, node: &str, window: &str) -> Result<()> {
    let text = format!(
        "[mapper]\nlisten = [\"127.0.0.1\"]\nwindow = {window}\ndtls_port = {node}\n\
         [mapper.limits]\nconnections = 60000\nconnections_per_source = 60000\n\
         handshakes_per_node = 16\nhandshakes_per_source = 1024\nwaiting_per_node = 1024\n\
         [[mapper.node]]\nname = \"node\"\naddress = \"192.0.2.1\"\nports = [{port}]\n"
    );
    let mut config = Config::parse(&text, "relay")?.mapper;
    // a configuration would refuse loopback: nothing comes from there through an interface
    if let Some(node) = config.nodes.first_mut() {
        node.address = [127, 0, 0, 1].into();
    }
    let mut driver = Driver::start(Plan::new(&config), Box::new(Everyone))?;
    driver.apply(Plan::new(&config), &Doors::new(&config, &[], false, false))?;
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    if let Ok(report) = driver.report()?.blocking_recv() {
        println!("{:#?}", report.counters);
    }
    Ok(())
}

fn dtls(content: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let sequence = &sequence.to_be_bytes()[2..];
    [&[content, 0xfe, 0xfd], &epoch.to_be_bytes()[..], sequence, &length, body].concat()
}

fn handshake(kind: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
    let length = &u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes()[1..];
    [&[kind], length, &[0, sequence, 0, 0, 0], length, body].concat()
}

fn report(sequence: u64, next: u64) -> Vec<u8> {
    dtls(26, 0, sequence, &[&[0, 1], &next.to_be_bytes()[2..], &[0, 0][..]].concat())
}

/// What the node knows of a peer: its own epoch-0 records, and those it has taken and sent.
#[derive(Default)]
struct Peer {
    clear: u64,
    next: u64,
    sent: u64,
}

fn node(port: u16) -> Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", port))?;
    let mut peers: HashMap<SocketAddr, Peer> = HashMap::new();
    let mut buffer = [0; 2048];
    println!("ready");
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let peer = peers.entry(from).or_default();
        let mut answer = Vec::new();
        let mut rest = &buffer[..length];
        while rest.len() >= 13 {
            let (header, after) = rest.split_at(13);
            let (body, after) =
                after.split_at(usize::from(header[11]) << 8 | usize::from(header[12]));
            answer.extend(respond(peer, header, body));
            rest = after;
        }
        if !answer.is_empty() {
            socket.send_to(&answer, from)?;
        }
    }
}

fn respond(peer: &mut Peer, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut clear = |content, body: &[u8]| {
        peer.clear += 1;
        dtls(content, 0, peer.clear - 1, body)
    };
    match (header[0], header[4]) {
        (22, 0) if body[0] == 1 => {
            let hello = [&[0xfe, 0xfd][..], &[9; 32], &[0, 0xc0, 0xa8, 0]].concat();
            let first = clear(22, &handshake(2, 0, &hello));
            let done = clear(22, &handshake(14, 1, &[]));
            (peer.next, peer.sent) = (0, 1);
            [first, done].concat()
        }
        (22, 1) => {
            peer.next = 1;
            let change = clear(20, &[1]);
            peer.clear += 1;
            [report(peer.clear - 1, 1), change, dtls(22, 1, 0, &[5; 32])].concat()
        }
        (23, 1) => {
            peer.next += 1;
            peer.clear += 1;
            peer.sent += 1;
            [report(peer.clear - 1, peer.next), dtls(23, 1, peer.sent - 1, body)].concat()
        }
        _ => Vec::new(),
    }
}

fn tls(content: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[content, 3, 3], &length[..], body].concat()
}

/// A client behind its handshake.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        // closing resets, so that no port is kept for a minute
        setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut client = Self { stream, input: Vec::new() };
        let hello = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0xa8, 1, 0]].concat();
        let length = u8::try_from(hello.len())?;
        client.stream.write_all(&tls(22, &[&[1, 0, 0, length], &hello[..]].concat()))?;
        while !client.record()?.ends_with(&[14, 0, 0, 0]) {}
        let exchange = tls(22, &[16, 0, 0, 3, 0, 1, b'a']);
        let flight = [exchange, tls(20, &[1]), tls(22, &[6; 32])].concat();
        client.stream.write_all(&flight)?;
        client.record().context("ChangeCipherSpec")?;
        client.record().context("Finished")?;
        Ok(client)
    }

    /// Waits for one record and returns its body.
    fn record(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(record) = self.next() {
                return Ok(record);
            }
            self.fill()?;
        }
    }

    /// The body of the next record, if it is there.
    fn next(&mut self) -> Option<Vec<u8>> {
        let [_, _, _, high, low] = self.input.first_chunk()?;
        let end = 5 + (usize::from(*high) << 8 | usize::from(*low));
        let record = self.input.get(5..end)?.to_vec();
        self.input.drain(..end);
        Some(record)
    }

    /// Reads once.
    fn fill(&mut self) -> Result<()> {
        let mut bytes = [0; 16384];
        let length = self.stream.read(&mut bytes)?;
        if length == 0 {
            bail!("closed");
        }
        self.input.extend_from_slice(&bytes[..length]);
        Ok(())
    }
}

/// One thread for all of them, which the mapper's process has not to wake for each.
fn records(port: u16, size: usize, count: usize, flight: usize, seconds: f64) -> Result<()> {
    // what a record of this size is under AES-128-CCM_8
    let record = tls(23, &vec![3; size + 16]);
    let clients: Result<Vec<Client>> = (0..count).map(|_| Client::connect(port)).collect();
    let mut clients = clients?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (place, client) in (0..).zip(&clients) {
        epoll.add(&client.stream, EpollEvent::new(EpollFlags::EPOLLIN, place))?;
    }
    println!("go");
    thread::sleep(Duration::from_millis(300));
    for client in &mut clients {
        client.stream.write_all(&record.repeat(flight))?;
    }
    let (begin, mut done) = (Instant::now(), 0_u64);
    let mut events = [EpollEvent::empty(); 64];
    while begin.elapsed().as_secs_f64() < seconds {
        let ready = epoll.wait(&mut events, 1000_u16)?;
        if ready == 0 {
            bail!("stalled");
        }
        for event in &events[..ready] {
            let client = &mut clients[usize::try_from(event.data())?];
            client.fill()?;
            while client.next().is_some() {
                done += 1;
                client.stream.write_all(&record)?;
            }
        }
    }
    println!("{done} {:.3}", begin.elapsed().as_secs_f64());
    thread::sleep(Duration::from_millis(200));
    Ok(())
}

fn connections(port: u16, seconds: f64) -> Result<()> {
    println!("go");
    thread::sleep(Duration::from_millis(300));
    let (begin, mut done) = (Instant::now(), 0);
    while begin.elapsed().as_secs_f64() < seconds {
        let mut client = Client::connect(port)?;
        client.stream.write_all(&tls(23, &[3; 80]))?;
        client.record()?;
        done += 1;
    }
    println!("{done} {:.3}", begin.elapsed().as_secs_f64());
    Ok(())
}

fn idle(port: u16, count: usize) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(port)?;
        client.stream.write_all(&tls(23, &[3; 80]))?;
        client.record()?;
        clients.push(client);
    }
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
