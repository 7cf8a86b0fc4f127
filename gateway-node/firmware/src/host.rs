//! What every program does around its own: bytes to packets, packets to datagrams, time.
use core::net::SocketAddrV6;

use gateway_node::Instant;

use crate::board::{self, Board};
use crate::packet::{self, HEADERS, MTU, Packet, Path};
use crate::slip::{self, Decoder};

/// Bytes of randomness that the first frame on the line brings: the emulated board has no source
/// of its own. A real node seeds itself from its TRNG.
pub const SEED: usize = 32;

/// What lies behind the port.
pub trait Application {
    /// The UDP port.
    const PORT: u16;

    /// Takes a datagram of `length` bytes, with which `buffer` begins.
    fn receive(&mut self, now: Instant, from: SocketAddrV6, buffer: &mut [u8], length: usize);

    /// What is to be sent: to whom, and how many bytes at the start of `buffer`, which otherwise is
    /// left as `receive` got it.
    fn poll(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(SocketAddrV6, usize)>;

    /// What came of it since the last report.
    fn report(&mut self) -> Report;
}

/// What the engine did for a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Clock cycles to read it, and to write what it led to.
    pub receive: u32,
    /// Clock cycles to seal answers to it.
    pub send: u32,
    /// Handshakes completed since the start.
    pub connected: u32,
}

/// Runs an application that is made from the seed. It has a place of its own, as the host has, so
/// that the stack holds only work.
pub fn run<A: Application>(application: fn([u8; SEED]) -> Option<&'static mut A>) -> ! {
    if let Some(host) = Host::new()
        && let Some(application) = application(host.seed())
    {
        host.say(b"seeded\n");
        // what it took to get here were copies on their way to their places
        board::paint_stack();
        loop {
            host.board.sleep();
            host.read(application);
            host.answer(application);
        }
    }
    cortex_m::peripheral::SCB::sys_reset()
}

struct Host {
    board: Board,
    decoder: Decoder<MTU>,
    /// Apart from the decoder's, which may hold half a packet when there is something to send.
    packet: [u8; MTU],
    /// The address at which we were asked last.
    own: Option<SocketAddrV6>,
}

impl Host {
    #[inline(never)]
    fn new() -> Option<&'static mut Self> {
        let board = Board::take()?;
        let host: Option<&'static mut Self> = cortex_m::singleton!(
            : Host = Host { board, decoder: Decoder::default(), packet: [0; MTU], own: None }
        );
        let host = host?;
        host.say(b"up\n");
        Some(host)
    }

    fn seed(&mut self) -> [u8; SEED] {
        loop {
            self.board.sleep();
            while let Some(byte) = self.board.line.read() {
                let frame = self.decoder.push(byte).unwrap_or_default();
                if let Ok(seed) = frame.try_into() {
                    return seed;
                }
            }
        }
    }

    fn read<A: Application>(&mut self, application: &mut A) {
        while let Some(byte) = self.board.line.read() {
            let frame = self.decoder.push(byte).unwrap_or_default();
            let length = frame.len();
            if length > 0
                && let Some(room) = self.packet.get_mut(..length)
            {
                room.copy_from_slice(frame);
                self.take(application, length);
            }
        }
    }

    fn take<A: Application>(&mut self, application: &mut A, length: usize) {
        let packet = self.packet.get_mut(..length).unwrap_or_default();
        let (path, length) = match packet::read(packet) {
            Some(Packet::Datagram(path, payload)) => (path, payload.len()),
            Some(Packet::Echo) => return self.transmit(length),
            None => return,
        };
        if path.to.port() == A::PORT {
            self.own = Some(path.to);
            application.receive(board::now(), path.from, self.payload(), length);
            self.answer(application);
            self.report(length, application.report());
        }
    }

    fn answer<A: Application>(&mut self, application: &mut A) {
        let Some(from) = self.own else { return };
        while let Some((to, length)) = application.poll(board::now(), self.payload()) {
            if let Some(length) = packet::write(&mut self.packet, Path { from, to }, length) {
                self.transmit(length);
            }
        }
    }

    fn payload(&mut self) -> &mut [u8] {
        self.packet.get_mut(HEADERS..).unwrap_or_default()
    }

    fn transmit(&mut self, length: usize) {
        let packet = self.packet.get(..length).unwrap_or_default();
        slip::encode(packet).for_each(|byte| self.board.line.write(byte));
    }

    /// One line for each datagram, and the most stack so far.
    fn report(&mut self, length: usize, report: Report) {
        let figures: [(&[u8], u32); 5] = [
            (b"datagram ", u32::try_from(length).unwrap_or(u32::MAX)),
            (b" receive ", report.receive),
            (b" send ", report.send),
            (b" connected ", report.connected),
            (b" stack ", u32::try_from(board::stack_used()).unwrap_or(u32::MAX)),
        ];
        for (name, figure) in figures {
            self.say(name);
            self.number(figure);
        }
        self.say(b"\n");
    }

    /// In decimals, without the weight of [`core::fmt`].
    fn number(&mut self, value: u32) {
        let mut digits = [0; 10];
        let mut rest = value;
        let mut first = digits.len();
        for (place, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or_default());
            (rest, first) = (rest / 10, place);
            if rest == 0 {
                break;
            }
        }
        let digits = digits.get(first..).unwrap_or_default();
        digits.iter().for_each(|digit| self.board.console.write(*digit));
    }

    fn say(&mut self, words: &[u8]) {
        words.iter().for_each(|byte| self.board.console.write(*byte));
    }
}
