//! What a tunnel may carry, as a pure decision.
use super::frame::Flow;
use crate::{config::Config, lease::Terms, mapper::driver::budget::Budgets};
use core::net::IpAddr;
use gateway_common::{
    decide::rate::Limits,
    frame::Offset,
    wire::dtls::{self, Layout},
};
use ipnet::IpNet;

/// Why a datagram is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node is none of the LLN's.
    #[error("this address is not in the LLN")]
    Outside,
    /// The policy does not cover the node.
    #[error("the policy does not cover this node")]
    Node,
    /// The policy does not cover the port.
    #[error("the policy does not cover this port")]
    Port,
    /// It is no DTLS.
    #[error("only DTLS is carried: this datagram is something else")]
    NotDtls,
    /// It is too large.
    #[error("the datagram is larger than the LLN takes")]
    Oversize,
    /// There are too many flows.
    #[error("the tunnel has as many flows as it may")]
    Flows,
    /// It exceeds the rate.
    #[error("over the rate")]
    Rate,
    /// The router has no socket for it.
    #[error("the router has no socket for it")]
    Socket,
}

/// What holds for every tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The LLN.
    pub prefixes: Vec<IpNet>,
    /// Ports where a policy names none.
    pub ports: Vec<u16>,
    /// Largest IP datagram into the LLN, in bytes.
    pub max_datagram: usize,
    /// Flows of a tunnel at once.
    pub flows: usize,
    /// How long a flow without packets is kept.
    pub idle: core::time::Duration,
    /// What each node and all of them bear, whichever tunnels it comes from.
    pub budgets: Budgets,
}

/// Bytes of a datagram to this node with its headers.
pub(super) const fn length(flow: &Flow, inner: &[u8]) -> usize {
    inner.len() + headers(&flow.node)
}

/// Bytes of IP and UDP headers before a datagram to this node.
const fn headers(node: &IpAddr) -> usize {
    if node.is_ipv4() { 28 } else { 48 }
}

impl Rules {
    /// What the filter asks of packets into the LLN, asked of tunnels.
    pub fn new(config: &Config, prefixes: Vec<IpNet>) -> Self {
        Self {
            prefixes,
            ports: config.lln.dtls_ports.clone(),
            max_datagram: config.lln.max_datagram as usize,
            flows: config.auth.tunnel.flows as usize,
            idle: config.auth.tunnel.idle,
            budgets: Budgets { node: config.rates.node, lln: config.rates.lln },
        }
    }

    /// Whether a datagram may go to a node, by these rules and the terms of its tunnel.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn permit(&self, terms: &Terms, flow: &Flow, inner: &[u8]) -> Result<(), Refusal> {
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&flow.node));
        let ports = if terms.ports.is_empty() { &self.ports } else { &terms.ports };
        if !within(&self.prefixes) {
            Err(Refusal::Outside)
        } else if !terms.nodes.is_empty() && !within(&terms.nodes) {
            Err(Refusal::Node)
        } else if !ports.contains(&flow.port) {
            Err(Refusal::Port)
        } else if length(flow, inner) > self.max_datagram {
            Err(Refusal::Oversize)
        } else if !is_dtls(inner) {
            Err(Refusal::NotDtls)
        } else {
            Ok(())
        }
    }
}

/// Whether a datagram is DTLS records to its end, as the filter sees it.
fn is_dtls(datagram: &[u8]) -> bool {
    let Some(end) = Offset::START.advance(datagram.len()) else { return false };
    let mut at = Offset::START;
    while at < end {
        at = match dtls::record(datagram, at, end) {
            Some(Layout::Clear(record)) => record.end,
            Some(Layout::Opaque { end, .. }) => end,
            None => return false,
        };
    }
    !datagram.is_empty()
}

/// What a tunnel has spent of its rate. It lives as long as the tunnel's lease is used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    packets: u64,
    bytes: u64,
}

impl Budget {
    /// Spends a datagram to `flow` at `now_ns`, or nothing at all.
    ///
    /// # Errors
    /// [`Refusal::Rate`].
    pub fn charge(
        &mut self,
        limits: &Limits,
        now_ns: u64,
        flow: &Flow,
        inner: &[u8],
    ) -> Result<(), Refusal> {
        let length = length(flow, inner) as u64;
        let packets = limits.packets.conform(self.packets, now_ns, 1).ok_or(Refusal::Rate)?;
        let bytes = limits.bytes.conform(self.bytes, now_ns, length).ok_or(Refusal::Rate)?;
        *self = Self { packets, bytes };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use gateway_common::decide::rate::{Rate, SECOND};
    use proptest::prelude::*;

    const RECORD: [u8; 16] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3];

    fn rules() -> Rules {
        Rules {
            prefixes: vec!["2001:db8:1::/64".parse().unwrap()],
            ports: vec![5684],
            max_datagram: 128,
            flows: 4,
            idle: Duration::from_secs(1),
            budgets: Budgets::default(),
        }
    }

    fn terms(nodes: &[&str], ports: &[u16]) -> Terms {
        let nodes = nodes.iter().map(|node| node.parse().unwrap()).collect();
        Terms { nodes, ports: ports.to_vec(), limits: Limits::default() }
    }

    fn flow(node: &str, port: u16) -> Flow {
        Flow { number: 0, node: node.parse().unwrap(), port }
    }

    #[test]
    fn nodes_and_ports_are_those_of_the_policy() {
        let all = terms(&[], &[]);
        let one = terms(&["2001:db8:1::7/128", "2001:db8:9::/64"], &[61_616]);
        let permit = |terms, node, port| rules().permit(terms, &flow(node, port), &RECORD);
        assert_eq!(permit(&all, "2001:db8:1::7", 5684), Ok(()));
        assert_eq!(permit(&all, "2001:db8:1::7", 61_616), Err(Refusal::Port));
        assert_eq!(permit(&all, "2001:db8:2::7", 5684), Err(Refusal::Outside));
        assert_eq!(permit(&one, "2001:db8:9::7", 61_616), Err(Refusal::Outside));
        assert_eq!(permit(&one, "2001:db8:1::8", 61_616), Err(Refusal::Node));
        assert_eq!(permit(&one, "2001:db8:1::7", 61_616), Ok(()));
        assert_eq!(permit(&one, "2001:db8:1::7", 5684), Err(Refusal::Port));
    }

    #[test]
    fn only_dtls_that_fits_is_carried() {
        let permit =
            |inner: &[u8]| rules().permit(&terms(&[], &[]), &flow("2001:db8:1::7", 5684), inner);
        assert_eq!(permit(&[RECORD, RECORD].concat()), Ok(()));
        assert_eq!(permit(&RECORD[..15]), Err(Refusal::NotDtls));
        assert_eq!(permit(&[&RECORD[..], &[0x40, 1]].concat()), Err(Refusal::NotDtls));
        assert_eq!(permit(&[]), Err(Refusal::NotDtls));
        assert_eq!(permit(&RECORD.repeat(6)), Err(Refusal::Oversize));
    }

    #[test]
    fn a_refusal_spends_nothing() {
        let limits = Limits { packets: Rate::per_second(10, 2), bytes: Rate::per_second(64, 64) };
        let (mut budget, flow) = (Budget::default(), flow("2001:db8:1::7", 5684));
        assert_eq!(budget.charge(&limits, SECOND, &flow, &RECORD), Ok(()));
        for _ in 0..9 {
            assert_eq!(budget.charge(&limits, SECOND, &flow, &RECORD), Err(Refusal::Rate));
        }
        assert_eq!(budget.charge(&limits, SECOND * 2, &flow, &RECORD), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = rules().permit(&terms(&[], &[]), &flow("2001:db8:1::7", 5684), &bytes);
        }
    }
}
