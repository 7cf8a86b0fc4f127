//! One connection: its sockets, and the core between them.
use super::{
    Way,
    count::End,
    io::{self, Io},
    plan::Target,
};
use crate::mapper::core::{self, Output, Phase};
use bytes::{Bytes, BytesMut};
use mio::net::{TcpStream, UdpSocket};
use socket2::SockRef;
use std::{
    collections::VecDeque,
    io::ErrorKind,
    net::{Shutdown, SocketAddr},
    sync::Arc,
    time::Instant,
};

/// Reads of one stream before others have their turn.
const READS: usize = 8;

/// A back-end's connection.
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) source: SocketAddr,
    /// Where it connected to.
    pub(super) local: SocketAddr,
    pub(super) way: Way,
    pub(super) since: Instant,
    pub(super) tcp: TcpStream,
    pub(super) target: Option<Arc<Target>>,
    pub(super) state: State,
}

/// How far it is.
pub(super) enum State {
    /// Its ClientHello is not complete; what there is of it lies in the kernel.
    Hello,
    /// It waits for the node's time, since then.
    Waiting(Instant),
    /// It is mapped.
    Mapped(Box<Mapped>),
    /// The stream was ended, and the back-end has until then to end it too.
    Closing(Instant),
}

/// A connection to a node.
pub(super) struct Mapped {
    pub(super) core: core::Connection,
    pub(super) udp: UdpSocket,
    /// When the lease ends, on the kernel's monotonic clock in ns.
    pub(super) expires: u64,
    /// The deadline that is kept for it.
    pub(super) timer: Option<Instant>,
    /// Whether the node still works on its handshake.
    pub(super) handshaking: bool,
    /// Whether it is told when the stream takes more.
    pub(super) writable: bool,
    /// A record of which not all is there, or for which there was no room.
    tail: BytesMut,
    /// What the stream did not take yet.
    unsent: VecDeque<Bytes>,
    /// Whether the core knows of it.
    held: bool,
    /// Whether the stream may have more.
    readable: bool,
    /// Whether the back-end has ended it, so that reading must go on to its end.
    half_closed: bool,
    /// Whether its end was read.
    ended: bool,
    /// Whether the tail is to be offered again.
    stalled: bool,
    finish: Finish,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Finish {
    No,
    Wanted,
    Done,
}

/// What becomes of a connection.
pub(super) enum Step {
    /// It goes on.
    Live,
    /// It goes on, but has not read all that there is: others first.
    Again,
    /// The core is done with it. The stream was ended: it remains to be seen to its end.
    Finished(End),
    /// It is to be reset.
    Reset(End),
}

impl Mapped {
    pub(super) fn new(core: core::Connection, udp: UdpSocket, expires: u64) -> Self {
        Self {
            core,
            udp,
            expires,
            timer: None,
            handshaking: true,
            writable: false,
            tail: BytesMut::new(),
            unsent: VecDeque::new(),
            held: false,
            readable: true,
            half_closed: false,
            ended: false,
            stalled: false,
            finish: Finish::No,
        }
    }

    /// The stream has something to read, or is at its end.
    pub(super) fn readable(&mut self, end: bool) {
        self.readable = true;
        self.half_closed |= end;
    }

    /// Tells the core the time, if that is what it waits for.
    pub(super) fn elapse(&mut self, now: Instant) {
        if self.core.poll_timeout().is_some_and(|due| due <= now) {
            self.core.handle_timeout(now);
        }
    }

    /// Whether the stream did not take all that it was to take.
    pub(super) fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Tells the node what it waits for, before the connection is dropped.
    pub(super) fn part(&mut self, io: &mut Io, target: &Target, now: Instant) {
        let (node, most) = (target.node.ip(), target.most());
        if io.budget.wait(node, most, now).is_zero()
            && let Some(report) = self.core.last_report()
        {
            io.budget.spend(node, report.len() + target.headers(), now);
            io.datagrams.push(report);
            io.send(&self.udp);
        }
    }

    /// Takes what the node sent; how many datagrams were reported as not delivered.
    pub(super) fn receive(&mut self, io: &mut Io, now: Instant) -> u64 {
        let mut refused = 0;
        loop {
            let core = &mut self.core;
            match io.receive(&self.udp, |datagram| core.handle_datagram(now, datagram)) {
                Ok(true) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // ICMP said that nobody listens there: the node may be back in a moment
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    refused += 1;
                    if refused > 8 {
                        return refused;
                    }
                }
                Ok(false) | Err(_) => return refused,
            }
        }
    }

    /// Does all that there is to do.
    pub(super) fn pump(
        &mut self,
        tcp: &mut TcpStream,
        io: &mut Io,
        target: &Target,
        lost: &mut u64,
        now: Instant,
    ) -> Step {
        for _ in 0..READS {
            let Ok(progress) = self.pull(tcp, io, now) else {
                return Step::Reset(End::ByPeer);
            };
            if let Some(step) = self.push(tcp, io, target, lost, now) {
                return step;
            }
            if !progress {
                return Step::Live;
            }
        }
        Step::Again
    }

    /// Reads from the stream once, if the core wants more; whether it did.
    fn pull(&mut self, tcp: &mut TcpStream, io: &mut Io, now: Instant) -> std::io::Result<bool> {
        if !self.core.wants_tls() {
            return Ok(false);
        }
        if self.stalled {
            self.stalled = false;
            self.offer(BytesMut::new(), now);
            return Ok(true);
        }
        if !self.readable || self.ended {
            return Ok(false);
        }
        let chunk = match io.read(tcp) {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(false);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        if chunk.bytes.is_empty() {
            self.ended = true;
            self.core.handle_tls_end(now);
        } else {
            self.readable = !chunk.drained || self.half_closed;
            self.offer(chunk.bytes, now);
        }
        Ok(true)
    }

    /// Gives bytes to the core. What it leaves is copied out of the shared block, as it may stay.
    fn offer(&mut self, mut bytes: BytesMut, now: Instant) {
        if self.tail.is_empty() {
            self.core.handle_tls(now, &mut bytes);
            if !bytes.is_empty() {
                self.tail = BytesMut::from(&*bytes);
            }
        } else {
            self.tail.extend_from_slice(&bytes);
            self.core.handle_tls(now, &mut self.tail);
            if self.tail.is_empty() {
                self.tail = BytesMut::new();
            }
        }
        self.stalled = !self.tail.is_empty() && !self.core.wants_tls();
    }

    /// Does what the core wants done.
    fn push(
        &mut self,
        tcp: &mut TcpStream,
        io: &mut Io,
        target: &Target,
        lost: &mut u64,
        now: Instant,
    ) -> Option<Step> {
        let mut reset = None;
        self.admit(io, target, now);
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Datagram(datagram) => {
                    let bytes = datagram.len() + target.headers();
                    io.budget.spend(target.node.ip(), bytes, now);
                    io.datagrams.push(datagram);
                    self.admit(io, target, now);
                }
                Output::Tls(bytes) if self.unsent.is_empty() => io.pieces.push_back(bytes),
                Output::Tls(bytes) => self.unsent.push_back(bytes),
                Output::Finish => self.finish = Finish::Wanted,
                Output::Reset(reason) => reset = Some(reason),
            }
        }
        io.resume = io.resume.filter(|_| self.core.is_held_back());
        *lost += io.send(&self.udp);
        if let Some(reason) = reset {
            io.pieces.clear();
            return Some(Step::Reset(End::Core(reason)));
        }
        if self.flush(tcp, io).is_err() {
            io.pieces.clear();
            return Some(Step::Reset(End::ByPeer));
        }
        if self.core.is_over() {
            return Some(self.over());
        }
        None
    }

    /// Lets the core say something to the node if the budgets let the largest datagram go.
    fn admit(&mut self, io: &mut Io, target: &Target, now: Instant) {
        let wait = io.budget.wait(target.node.ip(), target.most(), now);
        self.core.hold_node(!wait.is_zero());
        io.resume = (!wait.is_zero()).then(|| now + wait);
    }

    /// Writes what waits for the stream, and ends it where that is due.
    fn flush(&mut self, tcp: &mut TcpStream, io: &mut Io) -> std::io::Result<()> {
        if self.unsent.is_empty() {
            io::write(tcp, &mut io.pieces)?;
            // only what the stream does not take costs the connection memory
            self.unsent.extend(io.pieces.drain(..));
        } else {
            io::write(tcp, &mut self.unsent)?;
        }
        self.hold(!self.unsent.is_empty());
        if self.finish == Finish::Wanted && self.unsent.is_empty() {
            finish(tcp)?;
            self.finish = Finish::Done;
        }
        Ok(())
    }

    fn hold(&mut self, held: bool) {
        if held != self.held {
            self.held = held;
            self.core.hold_tls(held);
        }
        if !held && self.unsent.capacity() > 0 {
            self.unsent = VecDeque::new();
        }
    }

    fn over(&self) -> Step {
        let end = End::Core(self.core.reason().unwrap_or(core::Reason::Closed));
        match self.finish {
            // to the last byte, or it is none
            Finish::Done => Step::Finished(end),
            Finish::Wanted => Step::Live,
            Finish::No => Step::Reset(end),
        }
    }
}

/// Ends a stream with FIN: on purpose, so that closing it later resets nothing.
pub(super) fn finish(tcp: &TcpStream) -> std::io::Result<()> {
    SockRef::from(tcp).set_linger(None)?;
    tcp.shutdown(Shutdown::Write)
}

impl Connection {
    /// The name of its phase.
    pub(super) fn phase(&self) -> &'static str {
        match &self.state {
            State::Hello => "hello",
            State::Waiting(_) => "waiting",
            State::Closing(_) => "closing",
            State::Mapped(mapped) => match mapped.core.phase() {
                Phase::Hello | Phase::Handshake => "handshake",
                Phase::Established => "established",
                Phase::Closing | Phase::Over => "closing",
            },
        }
    }
}
