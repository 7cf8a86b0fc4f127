//! An HTTP-CoAP proxy inside the LLN (E2E §VI, RFC 8075): HTTPS-PSK clients come through the border
//! router, which maps their TLS to DTLS and reads nothing; nodes only need to speak CoAP.
//!
//! ```text
//! coap-server-notls -A ::1 -p 5685 &
//! cargo run -p gateway-node --features proxy --example proxy -- --listen '[::1]:5684' \
//!     --psk-identity client --psk 6b6579 --node 'lamp=coap://[::1]:5685'
//! ```
//!
//! Then `GET /lamp/time` over HTTPS, through a border router that maps port 443 to this port.

mod args;
mod border;
mod dtls;
#[path = "../common/keys.rs"]
mod keys;
mod lln;

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, UdpSocket},
    process::ExitCode,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant as Clock},
};

use clap::Parser;
use gateway_node::{
    Instant,
    proxy::{Endpoint, Proxy},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use args::Args;
use border::Border;
use keys::Kernel;
use lln::Lln;

/// Events that wait for the loop; behind them datagrams wait in the kernel, and are lost there.
const QUEUE: usize = 256;

/// Milliseconds for which clients may confirm that the proxy is going.
const LAST_WORDS: u64 = 2_000;

/// What the threads that wait tell the loop.
enum Event {
    /// A datagram on the port for clients.
    Client(SocketAddr, Vec<u8>),
    /// A datagram of a node.
    Node(Endpoint, Vec<u8>),
    /// The kernel says that a node cannot be reached.
    Unreachable(Endpoint),
    Stop,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let random = || Kernel::open().map_err(|error| format!("no random bytes: {error}"));
    let proxy = Proxy::new(args.settings()?, random()?)?;
    let socket = UdpSocket::bind(args.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let (tell, events) = sync_channel(QUEUE);
    stop_on_signals(tell.clone())?;
    listen(socket.try_clone()?, tell.clone());
    println!("listening on {}", socket.local_addr()?);
    let border = Border::new(socket, args.config(), args.client_keys()?, random()?);
    let lln = Lln::new(args.node_keys()?, tell);
    Loop { proxy, border, lln, start: Clock::now() }.run(&events);
    Ok(())
}

/// All state has one owner.
struct Loop {
    proxy: Proxy<Kernel>,
    border: Border,
    lln: Lln,
    start: Clock,
}

impl Loop {
    fn run(mut self, events: &Receiver<Event>) {
        let mut ending: Option<Instant> = None;
        let mut counters = *self.proxy.counters();
        loop {
            let wake = self.drive();
            let now = self.now();
            if counters != *self.proxy.counters() {
                counters = *self.proxy.counters();
                println!("counted {counters:?}");
            }
            if ending.is_some_and(|end| end <= now || self.border.is_idle()) {
                println!("stopped");
                return;
            }
            let wake = wake.into_iter().chain(ending).min();
            let nap = wake.map_or(60_000, |at| at.since(now).clamp(1, 60_000));
            match events.recv_timeout(Duration::from_millis(nap)) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    ending = Some(now + u32::try_from(LAST_WORDS).unwrap_or(0));
                    self.border.close_all(now);
                }
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Client(from, datagram) => self.border.handle_datagram(now, from, &datagram),
            Event::Node(endpoint, datagram) => {
                self.lln.handle_datagram(now, endpoint, &datagram, &mut self.proxy);
            }
            Event::Unreachable(endpoint) => {
                self.lln.forget(endpoint);
                self.proxy.handle_unreachable(now, endpoint);
            }
            Event::Stop => {}
        }
    }

    /// Moves what can be moved; when to come back if nothing happens.
    fn drive(&mut self) -> Option<Instant> {
        let now = self.now();
        if self.proxy.deadline().is_some_and(|due| due <= now) {
            self.proxy.handle_timeout(now);
        }
        let nodes = self.lln.drive(now, &mut self.proxy);
        let clients = self.border.drive(now, &mut self.proxy);
        // What clients asked for meanwhile.
        let again = self.lln.drive(now, &mut self.proxy);
        nodes.into_iter().chain(clients).chain(again).chain(self.proxy.deadline()).min()
    }

    fn now(&self) -> Instant {
        Instant(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

fn stop_on_signals(tell: SyncSender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || signals.forever().try_for_each(|_| tell.send(Event::Stop)));
    Ok(())
}

fn listen(socket: UdpSocket, tell: SyncSender<Event>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let event = match socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    Event::Client(from, buffer.get(..length).unwrap_or_default().to_vec())
                }
                // An ICMP error about an earlier datagram is not this socket's end.
                Err(error) if is_passing(&error) => continue,
                Err(error) => {
                    eprintln!("error: cannot receive: {error}");
                    Event::Stop
                }
            };
            if tell.send(event).is_err() {
                return;
            }
        }
    });
}

/// Errors after which a UDP socket goes on.
fn is_passing(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == ErrorKind::Interrupted || kind == ErrorKind::WouldBlock || is_unreachable(error)
}

/// Errors that ICMP brought, or a route that is missing.
fn is_unreachable(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == ErrorKind::ConnectionRefused
        || kind == ErrorKind::HostUnreachable
        || kind == ErrorKind::NetworkUnreachable
}
