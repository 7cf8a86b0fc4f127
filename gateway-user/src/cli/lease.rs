//! `gateway lease`.
use super::{Context, show, sources};
use crate::{
    agent,
    dataplane::{self, Maps, Pins},
    lease::View,
};
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{collections::HashMap, net::IpAddr, time::Duration};

#[derive(Debug, Subcommand)]
pub(super) enum Lease {
    /// Leases of back-ends that have proved what they are, with what their sources have done
    List,
    /// End leases at once
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// A lease's name, an identity or an address: all leases that have it end
    which: String,
}

impl Lease {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List => list(context),
            Self::Revoke(revoke) => revoke.run(context),
        }
    }
}

fn list(context: &Context) -> anyhow::Result<()> {
    let config = context.view()?;
    let leases = leases(context)?;
    let live = match Maps::open(&Pins::new(&config.state.bpffs)) {
        Ok(maps) => sources::read(&maps)?,
        Err(dataplane::Error::NotRunning(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let live: HashMap<IpAddr, sources::Source> = live
        .into_iter()
        .filter(|source| source.source.prefix_len() == source.source.max_prefix_len())
        .map(|source| (source.source.addr(), source))
        .collect();
    let header =
        ["LEASE", "IDENTITY", "WAY", "SOURCE", "NODES", "EXPIRES", "PACKETS", "BYTES", "DROPS"];
    let rows = leases.iter().map(|lease| row(lease, live.get(&lease.source))).collect();
    let text =
        if leases.is_empty() { String::from("no leases\n") } else { show::table(&header, rows) };
    let values: Vec<Value> =
        leases.iter().map(|lease| value(lease, live.get(&lease.source))).collect();
    context.print(&text, &json!({ "leases": values }))
}

/// Without an agent leases count that the configuration has a policy for: a broken one has none.
fn leases(context: &Context) -> anyhow::Result<Vec<View>> {
    match context.config() {
        Ok(config) => Ok(agent::leases(&config)?),
        Err(error) => {
            agent::leases_of_agent(&context.view()?.state.runtime).map_err(|_none_runs| error)
        }
    }
}

fn row(lease: &View, live: Option<&sources::Source>) -> Vec<String> {
    let counts = live.map(|live| {
        let passed = live.passed;
        [passed.packets.to_string(), show::bytes(passed.bytes), live.state.drops.to_string()]
    });
    let [packets, volume, drops] = counts.unwrap_or_else(|| ["-", "-", "-"].map(String::from));
    let left = show::span(Duration::from_secs(lease.expires_in));
    let nodes = if lease.nodes.is_empty() { "all".to_owned() } else { lease.nodes.join(" ") };
    vec![
        lease.id.to_string(),
        lease.identity.clone(),
        lease.way.as_str().to_owned(),
        lease.source.to_string(),
        nodes,
        if lease.in_force { format!("in {left}") } else { "not in force".to_owned() },
        packets,
        volume,
        drops,
    ]
}

fn value(lease: &View, live: Option<&sources::Source>) -> Value {
    let mut value = json!({
        "packets": live.map(|live| live.passed.packets),
        "bytes": live.map(|live| live.passed.bytes),
        "drops": live.map(|live| live.state.drops),
    });
    if let (Value::Object(all), Value::Object(lease)) = (&mut value, json!(lease)) {
        all.extend(lease);
    }
    value
}

impl Revoke {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let config = context.config()?;
        let address: Option<IpAddr> = self.which.parse().ok();
        let meant = |lease: &View| {
            lease.identity == self.which
                || lease.id.to_string() == self.which
                || address == Some(lease.source)
        };
        let mut ended = Vec::new();
        for lease in agent::leases(&config)?.into_iter().filter(meant) {
            ended.extend(agent::revoke(&config, lease.id)?);
        }
        if ended.is_empty() {
            bail!("no lease {}: `gateway lease list` shows them", self.which);
        }
        let line = |lease: &View| {
            format!("ended {} of {} for {}\n", lease.id, lease.identity, lease.source)
        };
        let text: String = ended.iter().map(line).collect();
        context.print(&text, &json!({ "ended": ended }))
    }
}
