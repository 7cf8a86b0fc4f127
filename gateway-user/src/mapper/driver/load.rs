//! How much is going on, by source and by node, and what of it is too much.
use super::count::End;
use crate::config::mapper::Limits;
use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

/// Handshakes that may fail in a row before the source has to wait: a mistyped key, a bad radio.
const PARDONED: u32 = 4;
/// First wait, doubled with each failure.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Doublings at most: about a minute.
const DOUBLINGS: u32 = 6;
/// Failures are remembered for so long after the latest.
const MEMORY: Duration = Duration::from_secs(300);
/// Sources that are remembered without a connection. More are forgotten as they leave.
const REMEMBERED: usize = 4096;

#[derive(Debug, Default)]
struct Source {
    connections: u32,
    handshakes: u32,
    /// Handshakes that failed in a row.
    failures: u32,
    /// When the latest did.
    failed: Option<Instant>,
}

impl Source {
    fn waits(&self, now: Instant) -> bool {
        let Some(doublings) = self.failures.checked_sub(PARDONED + 1) else { return false };
        let wait = BACK_OFF * (1 << doublings.min(DOUBLINGS));
        self.failed.is_some_and(|failed| now < failed + wait)
    }
}

/// Who counts as one source: an IPv4 address, or a /64 of IPv6, in which a host takes addresses as it
/// likes (RFC 8981).
fn one(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[derive(Debug, Default)]
struct Node {
    handshakes: u32,
    /// Places of connections that wait, in the order in which they came.
    waiting: VecDeque<usize>,
}

/// What is going on.
#[derive(Debug, Default)]
pub(super) struct Load {
    connections: u32,
    /// By what [`one`] says.
    sources: HashMap<IpAddr, Source>,
    nodes: HashMap<SocketAddr, Node>,
}

/// Whether a node has time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    Later,
}

impl Load {
    /// Counts a connection in.
    pub(super) fn connect(&mut self, source: IpAddr, limits: &Limits) -> Result<(), End> {
        if self.connections >= limits.connections {
            return Err(End::Connections);
        }
        let of = self.sources.entry(one(source)).or_default();
        if of.connections >= limits.connections_per_source {
            return Err(End::SourceConnections);
        }
        of.connections += 1;
        self.connections += 1;
        Ok(())
    }

    /// Counts it out.
    pub(super) fn disconnect(&mut self, source: IpAddr) {
        self.connections = self.connections.saturating_sub(1);
        let Some(of) = self.sources.get_mut(&one(source)) else { return };
        of.connections = of.connections.saturating_sub(1);
        let idle = of.connections == 0;
        let forgiven = of.failures == 0;
        if idle && (forgiven || self.sources.len() > REMEMBERED) {
            self.sources.remove(&one(source));
        }
    }

    /// Counts a handshake of a connected source in: now, or when it is its turn.
    pub(super) fn begin(
        &mut self,
        place: usize,
        (source, node): (IpAddr, SocketAddr),
        limits: &Limits,
        now: Instant,
    ) -> Result<Turn, End> {
        let of = self.sources.entry(one(source)).or_default();
        if of.waits(now) {
            return Err(End::BackOff);
        }
        if of.handshakes >= limits.handshakes_per_source {
            return Err(End::SourceHandshakes);
        }
        let at = self.nodes.entry(node).or_default();
        let turn = if at.handshakes < limits.handshakes_per_node && at.waiting.is_empty() {
            at.handshakes += 1;
            Turn::Now
        } else if at.waiting.len() < limits.waiting_per_node as usize {
            at.waiting.push_back(place);
            Turn::Later
        } else {
            return Err(End::Waiting);
        };
        of.handshakes += 1;
        Ok(turn)
    }

    /// Counts a source's handshake out, whether it was its turn or not.
    pub(super) fn end(&mut self, source: IpAddr) {
        if let Some(of) = self.sources.get_mut(&one(source)) {
            of.handshakes = of.handshakes.saturating_sub(1);
        }
    }

    /// A source's handshake was completed: what failed before is forgiven.
    pub(super) fn succeed(&mut self, source: IpAddr) {
        if let Some(of) = self.sources.get_mut(&one(source)) {
            (of.failures, of.failed) = (0, None);
        }
    }

    /// A source's handshake failed at the node.
    pub(super) fn fail(&mut self, source: IpAddr, now: Instant) {
        if let Some(of) = self.sources.get_mut(&one(source)) {
            of.failures = of.failures.saturating_add(1);
            of.failed = Some(now);
        }
    }

    /// Forgets failures that are long past.
    pub(super) fn sweep(&mut self, now: Instant) {
        let past = |at: Instant| now.saturating_duration_since(at) >= MEMORY;
        self.sources.retain(|_, of| {
            if of.failed.is_some_and(past) {
                (of.failures, of.failed) = (0, None);
            }
            of.connections > 0 || of.failures > 0
        });
    }

    /// Whether somebody waits for a node.
    pub(super) fn is_awaited(&self, node: SocketAddr) -> bool {
        self.nodes.get(&node).is_some_and(|at| !at.waiting.is_empty())
    }

    /// The node has done with a handshake.
    pub(super) fn free(&mut self, node: SocketAddr) {
        if let Some(at) = self.nodes.get_mut(&node) {
            at.handshakes = at.handshakes.saturating_sub(1);
        }
    }

    /// A connection waits no longer.
    pub(super) fn leave(&mut self, place: usize, node: SocketAddr) {
        if let Some(at) = self.nodes.get_mut(&node) {
            at.waiting.retain(|waiting| *waiting != place);
        }
    }

    /// The next connection whose turn it is with a node, counted in.
    pub(super) fn next(&mut self, node: SocketAddr, limits: &Limits) -> Option<usize> {
        let at = self.nodes.get_mut(&node)?;
        if at.handshakes == 0 && at.waiting.is_empty() {
            self.nodes.remove(&node);
            return None;
        }
        if at.handshakes >= limits.handshakes_per_node {
            return None;
        }
        let place = at.waiting.pop_front()?;
        at.handshakes += 1;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 4,
        connections_per_source: 3,
        handshakes_per_node: 1,
        handshakes_per_source: 2,
        waiting_per_node: 1,
    };

    fn source(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn node() -> SocketAddr {
        "[2001:db8::1]:5684".parse().unwrap()
    }

    #[test]
    fn connections_are_limited_in_all_and_by_source() {
        let mut load = Load::default();
        for _ in 0..3 {
            load.connect(source(1), &LIMITS).unwrap();
        }
        assert_eq!(load.connect(source(1), &LIMITS), Err(End::SourceConnections));
        load.connect(source(2), &LIMITS).unwrap();
        assert_eq!(load.connect(source(3), &LIMITS), Err(End::Connections));
        load.disconnect(source(1));
        load.connect(source(3), &LIMITS).unwrap();
    }

    #[test]
    fn a_node_gets_one_handshake_after_the_other() {
        let mut load = Load::default();
        for last in 1..4 {
            load.connect(source(last), &LIMITS).unwrap();
        }
        assert_eq!(load.begin(10, (source(1), node()), &LIMITS, Instant::now()), Ok(Turn::Now));
        assert_eq!(load.begin(11, (source(2), node()), &LIMITS, Instant::now()), Ok(Turn::Later));
        assert_eq!(load.begin(12, (source(3), node()), &LIMITS, Instant::now()), Err(End::Waiting));
        assert_eq!(load.next(node(), &LIMITS), None);
        load.free(node());
        assert_eq!(load.next(node(), &LIMITS), Some(11));
        load.free(node());
        assert_eq!(load.next(node(), &LIMITS), None);
        assert!(load.nodes.is_empty());
    }

    #[test]
    fn a_64_of_ipv6_is_one_source() {
        let mut load = Load::default();
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        for last in 1..4 {
            load.connect(at(&format!("2001:db8:0:1::{last}")), &LIMITS).unwrap();
        }
        let fourth = at("2001:db8:0:1:ffff::4");
        assert_eq!(load.connect(fourth, &LIMITS), Err(End::SourceConnections));
        load.connect(at("2001:db8:0:2::1"), &LIMITS).unwrap();
        load.disconnect(at("2001:db8:0:1::3"));
        load.disconnect(at("2001:db8:0:2::1"));
        load.connect(fourth, &LIMITS).unwrap();
    }

    #[test]
    fn failed_handshakes_make_a_source_wait_longer_each_time() {
        let mut load = Load::default();
        let (limits, mut now) = (Limits { handshakes_per_node: 16, ..LIMITS }, Instant::now());
        let attempt = |load: &mut Load, now| {
            load.connect(source(1), &limits).unwrap();
            let begun = load.begin(1, (source(1), node()), &limits, now);
            if begun.is_ok() {
                load.fail(source(1), now);
                load.end(source(1));
                load.free(node());
            }
            load.disconnect(source(1));
            begun
        };
        for _ in 0..=PARDONED {
            attempt(&mut load, now).unwrap();
        }
        for doublings in 0..10 {
            let wait = BACK_OFF * (1 << doublings.min(DOUBLINGS));
            now += wait - Duration::from_millis(1);
            assert_eq!(attempt(&mut load, now), Err(End::BackOff));
            now += Duration::from_millis(1);
            attempt(&mut load, now).unwrap();
        }
        load.connect(source(2), &limits).unwrap();
        load.begin(2, (source(2), node()), &limits, now).unwrap();
        load.sweep(now + MEMORY);
        attempt(&mut load, now).unwrap();
    }

    #[test]
    fn a_handshake_that_succeeds_forgives_the_failed() {
        let (mut load, now) = (Load::default(), Instant::now());
        load.connect(source(1), &LIMITS).unwrap();
        (0..20).for_each(|_| load.fail(source(1), now));
        assert_eq!(load.begin(1, (source(1), node()), &LIMITS, now), Err(End::BackOff));
        load.succeed(source(1));
        assert_eq!(load.begin(1, (source(1), node()), &LIMITS, now), Ok(Turn::Now));
    }

    #[test]
    fn who_left_the_queue_is_not_called() {
        let mut load = Load::default();
        load.connect(source(1), &LIMITS).unwrap();
        load.begin(10, (source(1), node()), &LIMITS, Instant::now()).unwrap();
        load.begin(11, (source(1), node()), &LIMITS, Instant::now()).unwrap();
        assert_eq!(
            load.begin(12, (source(1), node()), &LIMITS, Instant::now()),
            Err(End::SourceHandshakes)
        );
        load.leave(11, node());
        load.end(source(1));
        load.free(node());
        assert_eq!(load.next(node(), &LIMITS), None);
    }
}
