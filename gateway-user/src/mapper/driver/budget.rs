//! What the nodes' network bears of what is sent to it here. The filter in the kernel drops what is
//! over a budget; this side waits, and TCP makes the back-end wait with it.
//!
//! Deviation: the filter and the mapping each keep the budgets of [`Budgets`] for themselves, as the
//! filter's state is the kernel's to write: the two together may send twice as much.
use gateway_common::decide::rate::{Arrivals, Limits};
use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Limits on datagrams to nodes, in packets and in bytes of the IP datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// To each node.
    pub node: Limits,
    /// To all of them.
    pub lln: Limits,
}

/// What of the budgets is spent.
pub(super) struct Budget {
    budgets: Budgets,
    /// Time is counted from here.
    start: Instant,
    lln: Arrivals,
    nodes: HashMap<IpAddr, Arrivals>,
}

impl Budget {
    pub(super) fn new(start: Instant) -> Self {
        let budgets = Budgets::default();
        Self { budgets, start, lln: Arrivals::default(), nodes: HashMap::new() }
    }

    /// Puts other budgets into force; what is spent stays so.
    pub(super) fn set(&mut self, budgets: Budgets) {
        self.budgets = budgets;
    }

    /// How long a datagram of so many bytes to a node has to wait.
    pub(super) fn wait(&self, node: IpAddr, bytes: usize, now: Instant) -> Duration {
        let Budgets { node: each, lln } = &self.budgets;
        let (now, bytes) = (self.clock(now), bytes as u64);
        let mut wait = lln.wait(self.lln, now, bytes);
        if !each.are_unlimited() {
            let arrivals = self.nodes.get(&node).copied().unwrap_or_default();
            wait = wait.max(each.wait(arrivals, now, bytes));
        }
        Duration::from_nanos(wait)
    }

    /// Charges a datagram to its node and to the network.
    pub(super) fn spend(&mut self, node: IpAddr, bytes: usize, now: Instant) {
        let Budgets { node: each, lln } = self.budgets;
        let (now, bytes) = (self.clock(now), bytes as u64);
        self.lln = lln.spend(self.lln, now, bytes);
        if !each.are_unlimited() {
            let arrivals = self.nodes.entry(node).or_default();
            *arrivals = each.spend(*arrivals, now, bytes);
        }
    }

    /// Forgets nodes that owe nothing.
    pub(super) fn sweep(&mut self, now: Instant) {
        let now = self.clock(now);
        self.nodes.retain(|_, arrivals| arrivals.packets > now || arrivals.bytes > now);
    }

    fn clock(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::decide::rate::Rate;

    fn node(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn packets(per_second: u64, burst: u64) -> Limits {
        Limits { packets: Rate::per_second(per_second, burst), ..Limits::default() }
    }

    #[test]
    fn each_node_has_a_budget_and_all_have_one() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        budget.set(Budgets { node: packets(10, 2), lln: packets(10, 3) });
        for _ in 0..2 {
            assert_eq!(budget.wait(node(1), 100, now), Duration::ZERO);
            budget.spend(node(1), 100, now);
        }
        assert_eq!(budget.wait(node(1), 100, now), Duration::from_millis(100));
        assert_eq!(budget.wait(node(2), 100, now), Duration::ZERO, "another node's own");
        budget.spend(node(2), 100, now);
        assert_eq!(budget.wait(node(3), 100, now), Duration::from_millis(100), "the network's");
        let later = now + Duration::from_millis(100);
        assert_eq!(budget.wait(node(1), 100, later), Duration::ZERO);
    }

    #[test]
    fn bytes_count_as_well_as_packets() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let bytes = Limits { bytes: Rate::per_second(1000, 2000), ..Limits::default() };
        budget.set(Budgets { node: bytes, ..Budgets::default() });
        budget.spend(node(1), 1500, now);
        assert_eq!(budget.wait(node(1), 1000, now), Duration::from_millis(500));
    }

    #[test]
    fn nodes_that_owe_nothing_are_forgotten() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        budget.set(Budgets { node: packets(10, 2), lln: Limits::default() });
        budget.spend(node(1), 100, now);
        budget.sweep(now);
        assert_eq!(budget.nodes.len(), 1);
        budget.sweep(now + Duration::from_secs(1));
        assert!(budget.nodes.is_empty());
    }
}
