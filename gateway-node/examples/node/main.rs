//! A node for Linux: a lamp and a thermometer on one UDP port, for CoAP over DTLS and for HTTP over
//! TLS that a border router maps.
//!
//! ```text
//! cargo run -p gateway-node --example node -- --psk-identity node1 --psk 6b6579
//! coap-client-openssl -u node1 -k key coaps://127.0.0.1/sensors/temperature
//! ```

mod args;
mod coap;
mod http;
#[path = "../common/keys.rs"]
mod keys;
mod node;
mod resource;

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use gateway_node::{Instant, Peer};

use args::Args;
use keys::Kernel;
use node::Node;

/// Longest wait for a datagram, so that a signal between the check and the wait is not lost.
const NAP: Duration = Duration::from_millis(500);

/// Milliseconds for which peers may confirm that the node is going.
const LAST_WORDS: u64 = 2_000;

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let random = Kernel::open().map_err(|error| format!("no random bytes: {error}"))?;
    let node = Node::new(args.config(), args.client_keys()?, random);
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let socket = UdpSocket::bind(args.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    println!("listening on {}", socket.local_addr()?);
    run(node, &socket, &stop)?;
    println!("stopped");
    Ok(())
}

/// Serves until it is told to stop, and the peers know.
fn run(mut node: Node, socket: &UdpSocket, stop: &AtomicBool) -> io::Result<()> {
    let clock = std::time::Instant::now();
    let now = || Instant(u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX));
    let mut buffer = vec![0; 1 << 16];
    let mut ending = None;
    loop {
        if stop.load(Ordering::Relaxed) && ending.is_none() {
            ending = Some(now());
            node.close_all(now());
        }
        node.handle_timeout(now());
        let wake = node.drive(now(), &mut buffer, |peer, datagram| send(socket, peer, datagram));
        if ending.is_some_and(|since| node.is_closed() || now().since(since) > LAST_WORDS) {
            return Ok(());
        }
        let nap = wake.map_or(NAP, |at| Duration::from_millis(at.since(now())).min(NAP));
        socket.set_read_timeout(Some(nap.max(Duration::from_millis(1))))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                node.handle_datagram(now(), key(from), datagram);
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Errors after which the socket goes on: nothing came, or an ICMP error about an earlier datagram.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
    )
}

/// Sends, or says why not: a network that is down is a lossy one.
fn send(socket: &UdpSocket, peer: Peer, datagram: &[u8]) {
    let mut to = address(peer);
    if socket.local_addr().is_ok_and(|local| local.is_ipv4()) {
        to.set_ip(to.ip().to_canonical());
    }
    if let Err(error) = socket.send_to(datagram, to) {
        println!("cannot send to {to}: {error}");
    }
}

fn key(from: SocketAddr) -> Peer {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut key = [0; 18];
    for (place, byte) in
        key.iter_mut().zip(ip.octets().into_iter().chain(from.port().to_be_bytes()))
    {
        *place = byte;
    }
    Peer(key)
}

fn address(Peer(key): Peer) -> SocketAddr {
    let (ip, port) = key.split_first_chunk::<16>().expect("18 bytes");
    let port = port.iter().fold(0, |port, byte| port << 8 | u16::from(*byte));
    SocketAddr::new(Ipv6Addr::from(*ip).into(), port)
}
