//! How much is going on, by source and by node, and what of it is too much.
use super::count::End;
use crate::config::mapper::Limits;
use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
};

#[derive(Debug, Default)]
struct Source {
    connections: u32,
    handshakes: u32,
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
        let of = self.sources.entry(source).or_default();
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
        let Some(of) = self.sources.get_mut(&source) else { return };
        of.connections = of.connections.saturating_sub(1);
        if of.connections == 0 {
            self.sources.remove(&source);
        }
    }

    /// Counts a handshake of a connected source in: now, or when it is its turn.
    pub(super) fn begin(
        &mut self,
        place: usize,
        source: IpAddr,
        node: SocketAddr,
        limits: &Limits,
    ) -> Result<Turn, End> {
        let of = self.sources.entry(source).or_default();
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
        if let Some(of) = self.sources.get_mut(&source) {
            of.handshakes = of.handshakes.saturating_sub(1);
        }
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
        assert_eq!(load.begin(10, source(1), node(), &LIMITS), Ok(Turn::Now));
        assert_eq!(load.begin(11, source(2), node(), &LIMITS), Ok(Turn::Later));
        assert_eq!(load.begin(12, source(3), node(), &LIMITS), Err(End::Waiting));
        assert_eq!(load.next(node(), &LIMITS), None);
        load.free(node());
        assert_eq!(load.next(node(), &LIMITS), Some(11));
        load.free(node());
        assert_eq!(load.next(node(), &LIMITS), None);
        assert!(load.nodes.is_empty());
    }

    #[test]
    fn who_left_the_queue_is_not_called() {
        let mut load = Load::default();
        load.connect(source(1), &LIMITS).unwrap();
        load.begin(10, source(1), node(), &LIMITS).unwrap();
        load.begin(11, source(1), node(), &LIMITS).unwrap();
        assert_eq!(load.begin(12, source(1), node(), &LIMITS), Err(End::SourceHandshakes));
        load.leave(11, node());
        load.end(source(1));
        load.free(node());
        assert_eq!(load.next(node(), &LIMITS), None);
    }
}
