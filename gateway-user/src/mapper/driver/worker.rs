//! The thread: waits for sockets, timers and commands, and serves whoever is ready.
use super::{
    Admit, Command, Listening, Live, Report, WAKE,
    connection::{Connection, State, Step},
    count::{Counters, End},
    io::Io,
    load::Load,
    plan::Plan,
    timer::Timers,
};
use crate::{
    dataplane::clock,
    mapper::core::{self, Phase, Summary},
};
use mio::{Events, Interest, Poll, Token, event::Event, net::TcpListener};
use std::{
    collections::{BTreeMap, VecDeque},
    io::ErrorKind,
    net::SocketAddr,
    sync::mpsc::{Receiver, TryRecvError},
    time::{Duration, Instant},
};

/// Sockets that are reported ready at once.
const EVENTS: usize = 256;

/// What a token stands for, in its lowest two bits; the rest is a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    Wake,
    Listener(usize),
    Stream(usize),
    Datagrams(usize),
}

impl Ready {
    pub(super) const fn token(self) -> Token {
        match self {
            Self::Wake => WAKE,
            Self::Listener(place) => Token(place << 2 | 1),
            Self::Stream(place) => Token(place << 2 | 2),
            Self::Datagrams(place) => Token(place << 2 | 3),
        }
    }

    const fn of(token: Token) -> Self {
        let place = token.0 >> 2;
        match token.0 & 3 {
            1 => Self::Listener(place),
            2 => Self::Stream(place),
            3 => Self::Datagrams(place),
            _ => Self::Wake,
        }
    }
}

/// A socket that back-ends connect to.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) transparent: bool,
}

/// Everything that the thread owns.
pub(super) struct Worker {
    pub(super) poll: Poll,
    orders: Receiver<Command>,
    pub(super) plan: Plan,
    pub(super) admission: Box<dyn Admit>,
    pub(super) listeners: BTreeMap<usize, Listener>,
    /// Connections by place; places are used again.
    pub(super) connections: Vec<Option<Box<Connection>>>,
    pub(super) free: Vec<usize>,
    /// Places that have more to do.
    again: VecDeque<usize>,
    pub(super) io: Io,
    pub(super) load: Load,
    timers: Timers,
    pub(super) counters: Counters,
    /// Connections so far.
    pub(super) count: u64,
    /// Of the allow-list, when leases were last looked at.
    generation: u64,
    pub(super) chance: u64,
}

impl Worker {
    pub(super) fn new(
        poll: Poll,
        orders: Receiver<Command>,
        plan: Plan,
        admission: Box<dyn Admit>,
    ) -> Self {
        let now = Instant::now();
        let mut io = Io::new();
        io.budget.set(plan.budgets);
        Self {
            poll,
            orders,
            plan,
            generation: admission.generation(),
            admission,
            listeners: BTreeMap::new(),
            connections: Vec::new(),
            free: Vec::new(),
            again: VecDeque::new(),
            io,
            load: Load::default(),
            timers: Timers::new(now),
            counters: Counters::default(),
            count: 0,
            // for the jitter of timers: nothing that has to be secret
            chance: getrandom::u64().unwrap_or_else(|_| clock::monotonic()),
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            let wait = if self.again.is_empty() {
                self.timers.wait(now, self.live() > 0)
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!("the mapping ends, as it cannot wait for sockets: {error}");
                    return;
                }
            }
            let now = Instant::now();
            for event in &events {
                self.serve(event, now);
            }
            for _ in 0..self.again.len() {
                if let Some(place) = self.again.pop_front() {
                    self.pump(place, now);
                }
            }
            self.wake(now);
            if !self.obey() {
                return;
            }
        }
    }

    fn live(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    fn serve(&mut self, event: &Event, now: Instant) {
        match Ready::of(event.token()) {
            Ready::Wake => {}
            Ready::Listener(id) => self.accept(id, now),
            Ready::Stream(place) => {
                if event.is_error() {
                    return self.reset(place, End::ByPeer, now);
                }
                self.stream(place, event.is_readable(), event.is_read_closed(), now);
            }
            Ready::Datagrams(place) => {
                let Some(Some(connection)) = self.connections.get_mut(place) else { return };
                if let State::Mapped(mapped) = &mut connection.state {
                    self.counters.undelivered += mapped.receive(&mut self.io, now);
                    self.pump(place, now);
                }
            }
        }
    }

    fn stream(&mut self, place: usize, readable: bool, end: bool, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        match &mut connection.state {
            State::Hello if readable || end => self.hello(place, end, now),
            State::Hello => {}
            State::Waiting(_) if end => self.reset(place, End::ByPeer, now),
            State::Waiting(_) => {}
            State::Mapped(mapped) => {
                if readable || end {
                    mapped.readable(end);
                }
                self.pump(place, now);
            }
            State::Closing(_) => {
                if self.io.discard(&mut connection.tcp).unwrap_or(true) {
                    self.remove(place);
                }
            }
        }
    }

    /// Does all that a mapped connection has to do.
    pub(super) fn pump(&mut self, place: usize, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let source = connection.source.ip();
        let Connection { state: State::Mapped(mapped), tcp, id, target: Some(target), .. } =
            &mut **connection
        else {
            return;
        };
        let lost = &mut self.counters.undelivered;
        let step = mapped.pump(tcp, &mut self.io, target, lost, now);
        let resume = self.io.resume.take();
        if let Some(at) = mapped.core.poll_timeout().into_iter().chain(resume).min() {
            self.timers.keep(place, *id, at, &mut mapped.timer);
        }
        if mapped.is_blocked() && !mapped.writable {
            let interest = Interest::READABLE | Interest::WRITABLE;
            let token = Ready::Stream(place).token();
            mapped.writable = self.poll.registry().reregister(tcp, token, interest).is_ok();
        }
        let phase = mapped.core.phase();
        let shaken = mapped.handshaking && phase >= Phase::Established;
        match step {
            Step::Live => {}
            Step::Again => self.again.push_back(place),
            Step::Finished(end) => return self.finish(place, end, now),
            Step::Reset(end) => return self.reset(place, end, now),
        }
        if shaken {
            // one that is closing already may have failed
            self.counters.established += u64::from(phase == Phase::Established);
            self.load.succeed(source);
            self.shake(place, now);
        }
    }

    /// Wakes connections whose time has come, and looks at all of them now and then.
    fn wake(&mut self, now: Instant) {
        while let Some((at, place, id)) = self.timers.pop(now) {
            let Some(Some(connection)) = self.connections.get_mut(place) else { continue };
            let State::Mapped(mapped) = &mut connection.state else { continue };
            if connection.id == id && mapped.timer == Some(at) {
                mapped.timer = None;
                mapped.elapse(now);
                self.pump(place, now);
            }
        }
        if self.timers.sweep(now) {
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let generation = self.admission.generation();
        let changed = generation != self.generation;
        self.generation = generation;
        let clock = clock::monotonic();
        for place in 0..self.connections.len() {
            if let Some(end) = self.overdue(place, changed, clock, now) {
                self.reset(place, end, now);
            } else {
                self.look(place, now);
            }
        }
        self.io.budget.sweep(now);
        self.load.sweep(now);
        // those that ran out of descriptors are not told again of who is waiting
        let listeners: Vec<usize> = self.listeners.keys().copied().collect();
        for id in listeners {
            self.accept(id, now);
        }
    }

    /// Whether a connection has had its time, or its source is no longer admitted.
    fn overdue(&mut self, place: usize, changed: bool, clock: u64, now: Instant) -> Option<End> {
        let timers = self.plan.timers;
        let connection = self.connections.get_mut(place)?.as_mut()?;
        let over = |since: Instant, span| now.saturating_duration_since(since) >= span;
        match &mut connection.state {
            State::Hello if over(connection.since, timers.hello) => return Some(End::HelloTimeout),
            State::Waiting(since) if over(*since, timers.handshake) => {
                return Some(End::WaitTimeout);
            }
            // its end was counted when it came
            State::Closing(until) => return (now >= *until).then_some(End::ByPeer),
            State::Mapped(mapped) if !changed && clock < mapped.expires => return None,
            State::Hello | State::Waiting(_) | State::Mapped(_) => {}
        }
        let node = connection.target.as_ref()?.node.ip();
        let source = connection.source.ip();
        match self.admission.admit(source, node, connection.local.port()) {
            Ok(expires) => {
                if let State::Mapped(mapped) = &mut connection.state {
                    mapped.expires = expires;
                }
                None
            }
            Err(reason) => Some(End::NotAdmitted(reason)),
        }
    }

    /// Keeps the deadline of a connection that is due before the next sweep.
    fn look(&mut self, place: usize, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let Connection { state: State::Mapped(mapped), id, target: Some(target), .. } =
            &mut **connection
        else {
            return;
        };
        let busy = mapped.handshaking && self.load.is_awaited(target.node);
        if busy && mapped.core.stalled(now) >= self.plan.timers.hello {
            mapped.core.give_way(now);
            return self.pump(place, now);
        }
        match mapped.core.poll_timeout() {
            _ if mapped.core.is_held_back() => self.pump(place, now),
            Some(at) if at <= now => {
                mapped.elapse(now);
                self.pump(place, now);
            }
            Some(at) => self.timers.keep(place, *id, at, &mut mapped.timer),
            None => {}
        }
    }

    /// Does what it is told; whether to go on.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Command::Open(id, socket, transparent)) => self.open(id, socket, transparent),
                Ok(Command::Close(id)) => drop(self.listeners.remove(&id)),
                Ok(Command::Plan(plan)) => {
                    self.io.budget.set(plan.budgets);
                    self.plan = *plan;
                }
                Ok(Command::Admission(admission)) => {
                    self.admission = admission;
                    // one more than it was: every lease is looked at again
                    self.generation = self.admission.generation().wrapping_add(1);
                }
                Ok(Command::Report(answer)) => drop(answer.send(self.report())),
                Err(TryRecvError::Empty) => return true,
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn report(&self) -> Report {
        let now = Instant::now();
        let listeners = self.listeners.values();
        Report {
            listening: listeners
                .map(|listener| Listening {
                    address: listener.address,
                    transparent: listener.transparent,
                })
                .collect(),
            connections: self.connections.iter().flatten().map(|one| one.live(now)).collect(),
            counters: self.counters.clone(),
        }
    }
}

impl Connection {
    fn live(&self, now: Instant) -> Live {
        let mapped = match &self.state {
            State::Mapped(mapped) => Some(&mapped.core),
            State::Hello | State::Waiting(_) | State::Closing(_) => None,
        };
        let summary = mapped.map(core::Connection::summary);
        let count = |of: fn(&Summary) -> u64| summary.as_ref().map_or(0, of);
        Live {
            id: self.id,
            source: self.source,
            local: self.local,
            way: self.way.name(),
            node: self.target.as_ref().map(|target| target.name.clone()),
            address: self.target.as_ref().map(|target| target.node.ip()),
            phase: self.phase(),
            suite: summary.as_ref().and_then(|summary| summary.suite),
            age: now.saturating_duration_since(self.since).as_secs_f64(),
            records_to_node: count(|summary| summary.to_node.records),
            records_to_back_end: count(|summary| summary.to_backend.records),
            bytes_to_node: count(|summary| summary.to_node.bytes),
            bytes_to_back_end: count(|summary| summary.to_backend.bytes),
            retransmissions: summary.as_ref().map_or(0, |summary| summary.retransmissions),
            dropped: summary.as_ref().map_or(0, |summary| summary.dropped),
            memory: mapped.map_or(0, core::Connection::memory),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_it_stands_for() {
        for ready in [Ready::Wake, Ready::Listener(0), Ready::Stream(7), Ready::Datagrams(7)] {
            assert_eq!(Ready::of(ready.token()), ready);
        }
    }
}
