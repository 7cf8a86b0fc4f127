//! The node at work in QEMU, asked by OpenSSL: natively, and as TLS through the router.
use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use tests::{
    lab::{
        Gateway, Lab, Microcontroller, Namespace,
        gateway::{EVERYDAY, ROOMY},
        mcu::{self, Pace},
        topology::{BACKEND, NODE, ROUTER, at},
        until,
    },
    peer::{
        Psk,
        coap::COAPS,
        openssl::{self, Protocol, Session},
    },
};

/// Instructions in a cycle of the board's clock, with `-icount shift=0`.
const INSTRUCTIONS: u64 = 80;

const SOON: Duration = Duration::from_secs(60);
const PORT: u16 = 8443;
const MCU: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x20);

/// Requests whose costs are averaged.
const REQUESTS: u64 = 16;

/// Length of a UDP payload with one record of 64 bytes.
const RECORD: u64 = 13 + 8 + 64 + 8;
/// The same with a confirmation.
const CONFIRMATION: u64 = 13 + 10;

/// A request of 64 bytes for an answer of 64: NON, GET, token, /hello, payload.
fn coap() -> Vec<u8> {
    let mut request = b"\x58\x01\x00\x01tokentok\xb5hello\xff".to_vec();
    request.resize(63, b'.');
    request.push(b'\n');
    request
}

fn http() -> Vec<u8> {
    let (front, back) = ("GET /none HTTP/1.1\r\nX: ", "\r\n\r\n");
    let filler = ".".repeat(64 - front.len() - back.len());
    [front, &filler, back].concat().into_bytes()
}

/// Instructions, and bytes of stack.
#[derive(Debug)]
pub(crate) struct Costs {
    pub(crate) handshake: u64,
    pub(crate) receive: u64,
    pub(crate) send: u64,
    pub(crate) confirmation: u64,
    pub(crate) stack: u64,
}

impl Costs {
    pub(crate) fn record(&self) -> u64 {
        self.receive + self.send
    }
}

/// By DTLS, with its cookie.
pub(crate) fn native() -> Result<Costs> {
    let namespace = Namespace::new("size")?;
    namespace.device("lo").address("2001:db8:1::1/64")?;
    let mut board = boot(&namespace)?;
    let settings = openssl::Settings::new(&namespace, &Psk::default());
    let client = settings.connect_within(at(MCU, COAPS), SOON)?;
    costs(&mut board, client, &coap())
}

/// By TLS through the router.
pub(crate) fn mapped() -> Result<Costs> {
    let lab = Lab::new()?;
    lab.node.set_sysctl("ipv6/conf/all/forwarding", "1")?;
    lab.router.run(&["ip", "route", "add", &MCU.to_string(), "via", &NODE.to_string()])?;
    let mut board = boot(&lab.node)?;
    let node = format!("[[mapper.node]]\nname = \"mcu\"\naddress = \"{MCU}\"\nports = [{PORT}]\n");
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}{node}"))?;
    gateway.allow(BACKEND, &[])?;
    let settings = openssl::Settings::new(&lab.backend, &Psk::default()).protocol(Protocol::Tls12);
    let client = settings.connect_within(at(ROUTER, PORT), SOON)?;
    costs(&mut board, client, &http())
}

fn boot(namespace: &Namespace) -> Result<Microcontroller> {
    Microcontroller::boot(namespace, "mcu0", MCU, &mcu::image("firmware")?, Pace::Counted)
}

fn costs(board: &mut Microcontroller, mut client: Session, request: &[u8]) -> Result<Costs> {
    board.console.wait_for_line("connected 1", SOON)?;
    // a confirmation may come along with a request: that counts, but is no measure of either
    let answers = |board: &Microcontroller| lines(board).filter(|line| line.send > 0).count();
    for number in 1..=REQUESTS {
        client.child.send(request)?;
        let come = until(SOON, || answers(board) as u64 >= number);
        ensure!(come, "no answer: {}", board.console.output());
    }
    client.close()?;
    ensure!(board.starts() == 1, "the board panicked");
    let handshake: u64 = lines(board).take_while(|line| line.connected == 0).map(Line::all).sum();
    let last = lines(board).find(|line| line.connected == 1).context("no handshake")?;
    let requests = || lines(board).filter(Line::is_request);
    ensure!(requests().count() > 0, "no request was measured: {}", board.console.output());
    let confirmation = mean(lines(board).filter(Line::is_confirmation).map(Line::all));
    // reading one that came along is no part of reading the request
    let along = |line: &Line| if line.has_confirmation() { confirmation / INSTRUCTIONS } else { 0 };
    Ok(Costs {
        handshake: (handshake + last.all()) * INSTRUCTIONS,
        receive: mean(requests().map(|line| line.receive - along(&line))),
        send: mean(requests().map(|line| line.send)),
        confirmation,
        stack: lines(board).map(|line| line.stack).max().unwrap_or(0),
    })
}

fn mean(cycles: impl Iterator<Item = u64>) -> u64 {
    let (count, sum) = cycles.fold((0, 0), |(count, sum), cycles| (count + 1, sum + cycles));
    (sum * INSTRUCTIONS).checked_div(count).unwrap_or(0)
}

/// What the board says of a datagram.
struct Line {
    length: u64,
    receive: u64,
    send: u64,
    connected: u64,
    stack: u64,
}

impl Line {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut field = |name| {
            let found = words.next() == Some(name);
            words.next()?.parse().ok().filter(|_| found)
        };
        Some(Self {
            length: field("datagram")?,
            receive: field("receive")?,
            send: field("send")?,
            connected: field("connected")?,
            stack: field("stack")?,
        })
    }

    fn all(self) -> u64 {
        self.receive + self.send
    }

    fn is_request(&self) -> bool {
        let record = self.length == RECORD || self.has_confirmation();
        self.connected == 1 && record && self.send > 0
    }

    fn has_confirmation(&self) -> bool {
        self.length == RECORD + CONFIRMATION
    }

    fn is_confirmation(&self) -> bool {
        self.connected == 1 && self.length == CONFIRMATION
    }
}

fn lines(board: &Microcontroller) -> impl Iterator<Item = Line> {
    let output = board.console.output();
    output.lines().filter_map(Line::read).collect::<Vec<_>>().into_iter()
}
