//! `gateway sources`.
use super::{Context, show};
use crate::dataplane::{
    Maps, clock,
    maps::{named, total},
    table,
};
use clap::{Args, ValueEnum};
use gateway_common::{
    abi::SourceState,
    decide::{admission::Lease, reason::Counter},
};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::net::IpAddr;

#[derive(Debug, Args)]
pub(super) struct Sources {
    /// Order
    #[arg(long, value_enum, default_value_t = Order::Packets)]
    sort: Order,
    /// Print at most this many; 0 prints all
    #[arg(long, default_value_t = 0)]
    top: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Address,
    Packets,
    Bytes,
    Drops,
}

/// An entry in force, and what its source has done.
pub(super) struct Source {
    pub(super) source: IpNet,
    pub(super) lease: Lease,
    pub(super) state: SourceState,
    pub(super) passed: Counter,
}

/// Every entry in force.
pub(super) fn read(maps: &Maps) -> anyhow::Result<Vec<Source>> {
    let (states, passed) = (maps.source_state()?, maps.source_passed()?);
    let mut leases = Vec::new();
    for entry in maps.sources()?.iter() {
        let (address, lease) = entry.map_err(named("SOURCES"))?;
        leases.push((IpNet::from(IpAddr::from(address.0)), lease.0));
    }
    for entry in maps.prefixes()?.iter() {
        let (key, lease) = entry.map_err(named("PREFIXES"))?;
        if let Some(net) = table::net_of(&key.0) {
            leases.push((net, lease.0));
        }
    }
    leases
        .into_iter()
        .map(|(source, lease)| {
            let state = states.get(&lease.slot, 0).map_err(named("SOURCE_STATE"))?.0;
            let passed = total(&passed, lease.slot).map_err(named("SOURCE_PASSED"))?;
            Ok(Source { source, lease, state, passed })
        })
        .collect()
}

impl Source {
    fn row(&self) -> Vec<String> {
        let state = &self.state;
        vec![
            name(&self.source),
            self.passed.packets.to_string(),
            show::bytes(self.passed.bytes),
            state.drops.to_string(),
            state.answers.to_string(),
            show::bytes(state.answer_bytes),
            clock::ago(state.last_seen_ns)
                .map_or_else(|| "never".into(), |ago| format!("{} ago", show::span(ago))),
            self.expires(),
        ]
    }

    pub(super) fn expires(&self) -> String {
        match clock::left(self.lease.expires_ns) {
            None => String::from("never"),
            Some(left) if left.is_zero() => String::from("lapsed"),
            Some(left) => format!("in {}", show::span(left)),
        }
    }

    pub(super) fn json(&self) -> Value {
        let state = &self.state;
        json!({
            "source": name(&self.source),
            "packets": self.passed.packets,
            "bytes": self.passed.bytes,
            "drops": state.drops,
            "answers": state.answers,
            "answer_bytes": state.answer_bytes,
            "idle_seconds": clock::ago(state.last_seen_ns).map(|ago| ago.as_secs_f64()),
            "expires_in_seconds": clock::left(self.lease.expires_ns).map(|left| left.as_secs_f64()),
        })
    }
}

/// An address without the length that goes without saying.
pub(super) fn name(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

impl Sources {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut sources = read(&context.maps()?)?;
        sources.sort_by_key(|source| source.source);
        match self.sort {
            Order::Address => {}
            Order::Packets => sources.sort_by_key(|source| u64::MAX - source.passed.packets),
            Order::Bytes => sources.sort_by_key(|source| u64::MAX - source.passed.bytes),
            Order::Drops => sources.sort_by_key(|source| u64::MAX - source.state.drops),
        }
        if self.top > 0 {
            sources.truncate(self.top);
        }
        let header = ["SOURCE", "PACKETS", "BYTES", "DROPS", "ANSWERS", "BYTES", "LAST", "EXPIRES"];
        let text = if sources.is_empty() {
            String::from("no source is admitted: `gateway allow add ADDRESS` admits one\n")
        } else {
            show::table(&header, sources.iter().map(Source::row).collect())
        };
        let value = json!({ "sources": sources.iter().map(Source::json).collect::<Vec<_>>() });
        context.print(&text, &value)
    }
}
