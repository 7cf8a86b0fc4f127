//! `gateway allow`.
use super::{Context, show, sources};
use crate::{
    agent,
    allow::{self, Change, Entry, List},
    config::{
        Config, prefix,
        read::{BYTE_BURST_MAX, PACKET_BURST},
        units::{self, PerSecond, Throttle},
    },
    dataplane::{self, Maps, Pins, table},
};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use core::ops::RangeInclusive;
use gateway_common::wire::Address;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

#[derive(Debug, Subcommand)]
pub(super) enum Allow {
    /// Admit a back-end, or a prefix of back-ends; replaces its present entry
    Add(Add),
    /// Withdraw an entry
    Remove(Remove),
    /// Entries, with what their sources have done
    List,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Address or prefix
    #[arg(value_parser = prefix::unicast)]
    source: IpNet,
    /// Node, or prefix of nodes, that it may reach; several times for several [default: all]
    #[arg(long = "node", value_name = "ADDRESS", value_parser = prefix::unicast)]
    nodes: Vec<IpNet>,
    /// Port that it may reach; several times for several [default: every service port]
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// Packets a second, such as 20/s or unlimited [default: rate.source of the configuration]
    #[arg(long, value_parser = units::rate)]
    rate: Option<PerSecond>,
    /// Packets at once [default: two seconds' worth]
    #[arg(long, requires = "rate")]
    burst: Option<u64>,
    /// Bytes a second, such as 8KiB/s or unlimited [default: rate.source of the configuration]
    #[arg(long, value_parser = units::byte_rate)]
    bytes: Option<PerSecond>,
    /// Bytes at once, such as 16KiB [default: two seconds' worth]
    #[arg(long, requires = "bytes", value_parser = units::bytes)]
    byte_burst: Option<u64>,
    /// How long, such as 1h or 7days [default: for good]
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration)]
    lasting: Option<Duration>,
    /// What it is
    #[arg(long)]
    comment: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Address or prefix, as `gateway allow list` shows it
    #[arg(value_parser = prefix::parse)]
    source: IpNet,
}

impl Allow {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run(context),
            Self::Remove(remove) => remove.run(context),
            Self::List => list(context),
        }
    }
}

/// Changes the file under its lock, then puts it into force if the gateway runs; whether it does.
fn edit<T>(
    config: &Config,
    change: impl FnOnce(&mut List) -> anyhow::Result<T>,
) -> anyhow::Result<(T, bool)> {
    let path = &config.state.allow;
    let over = agent::over(config)?;
    let changed = {
        let _lock = allow::lock(path)?;
        let mut list = List::load(path)?;
        let changed = change(&mut list)?;
        list.prune(SystemTime::now(), |entry| over.iter().any(|span| span.is_of(entry)));
        list.save(path)?;
        changed
    };
    match agent::sync(config) {
        Ok(_) => Ok((changed, true)),
        Err(agent::Error::Dataplane(dataplane::Error::NotRunning(_))) => Ok((changed, false)),
        Err(error) => {
            let text = format!("{} is changed, but not in force", path.display());
            Err(error).context(text)
        }
    }
}

fn in_force(running: bool) -> &'static str {
    if running { "in force" } else { "in force as soon as the gateway runs" }
}

/// The same as [`PACKET_BURST`] says.
const PACKET_BURST_MAX: u64 = PACKET_BURST.end().unsigned_abs();

/// Bursts and rates that were given, as the file has them; `possible` are its bursts.
fn throttle(
    rate: Option<PerSecond>,
    burst: Option<u64>,
    possible: RangeInclusive<u64>,
) -> Option<Throttle> {
    let rate = rate?;
    let usual = match rate {
        PerSecond::Unlimited => *possible.start(),
        PerSecond::Limited(units) => {
            units.saturating_mul(2).clamp(*possible.start(), *possible.end())
        }
    };
    Some(Throttle { rate, burst: burst.unwrap_or(usual) })
}

impl Add {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let config = context.config()?;
        self.check(&config)?;
        let source = self.source;
        let entry = self.entry();
        let (change, running) = edit(&config, |list| Ok(list.add(entry)?))?;
        let verb = match change {
            Change::Added => "added",
            Change::Replaced(_) => "replaced",
        };
        let name = sources::name(&source);
        let text = format!("{verb} {name}: {}\n", in_force(running));
        context.print(&text, &json!({ "source": name, "change": verb, "in_force": running }))
    }

    fn entry(self) -> Entry {
        Entry {
            source: self.source,
            nodes: self.nodes,
            ports: self.ports,
            packets: throttle(self.rate, self.burst, 1..=PACKET_BURST_MAX),
            bytes: throttle(self.bytes, self.byte_burst, 1500..=BYTE_BURST_MAX),
            expires: self.lasting.map(|lasting| SystemTime::now() + lasting),
            lasting: self.lasting,
            comment: self.comment,
        }
    }

    /// What could never be of use is refused: a port that is no service, a node outside the LLN.
    fn check(&self, config: &Config) -> anyhow::Result<()> {
        let own = config.mapper.own_ports();
        let services = [config.lln.dtls_ports.as_slice(), &config.lln.mapped_ports, &own].concat();
        if let Some(port) = self.ports.iter().find(|port| !services.contains(port)) {
            bail!(
                "port {port} is no service port (lln.dtls_ports {:?}, lln.mapped_ports {:?}, \
                 the mapper's own {own:?})",
                config.lln.dtls_ports,
                config.lln.mapped_ports
            );
        }
        let lln = lln(config);
        let outside = |node: &&IpNet| !lln.is_empty() && !lln.iter().any(|net| net.contains(*node));
        if let Some(node) = self.nodes.iter().find(outside) {
            let prefixes: Vec<String> = lln.iter().map(ToString::to_string).collect();
            bail!("node {} is not in the LLN ({})", sources::name(node), prefixes.join(", "));
        }
        if lln.iter().any(|net| net.contains(&self.source)) {
            bail!("{} is in the LLN itself: back-ends are outside", sources::name(&self.source));
        }
        if Address::from(self.source.addr()).is_link_scoped() && self.source.prefix_len() > 0 {
            let name = sources::name(&self.source);
            bail!("{name} is link-local: no packet from there comes through a router");
        }
        if self.lasting.is_some_and(|lasting| lasting.is_zero()) {
            bail!(
                "--for 0s: expected a time such as 1h; `gateway allow remove` withdraws an entry"
            );
        }
        Ok(())
    }
}

/// The LLN's prefixes as far as they are known: the configuration's, else the running filter's.
fn lln(config: &Config) -> Vec<IpNet> {
    if !config.lln.prefixes.is_empty() {
        return config.lln.prefixes.clone();
    }
    let live = Maps::open(&Pins::new(&config.state.bpffs)).and_then(|maps| maps.settings());
    live.map_or_else(|_| Vec::new(), |settings| table::lln(&settings))
}

impl Remove {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let config = context.config()?;
        let name = sources::name(&self.source);
        let (_, running) = edit(&config, |list| {
            list.remove(&self.source)
                .with_context(|| format!("{name} is not in {}", config.state.allow.display()))
        })?;
        let text = format!("removed {name}: {}\n", in_force(running));
        context.print(&text, &json!({ "source": name, "change": "removed", "in_force": running }))
    }
}

fn list(context: &Context) -> anyhow::Result<()> {
    let config = context.view()?;
    let list = List::load(&config.state.allow)?;
    let live = match Maps::open(&Pins::new(&config.state.bpffs)) {
        Ok(maps) => Some(sources::read(&maps)?),
        Err(dataplane::Error::NotRunning(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let live: HashMap<IpNet, sources::Source> =
        live.into_iter().flatten().map(|source| (source.source, source)).collect();
    let rows: Vec<Vec<String>> =
        list.entries().iter().map(|entry| row(entry, live.get(&entry.source))).collect();
    let header =
        ["SOURCE", "NODES", "PORTS", "RATE", "EXPIRES", "PACKETS", "BYTES", "DROPS", "COMMENT"];
    let text = if rows.is_empty() {
        String::from("nobody is admitted: `gateway allow add ADDRESS` admits a back-end\n")
    } else {
        show::table(&header, rows)
    };
    let entries: Vec<Value> =
        list.entries().iter().map(|entry| value(entry, live.get(&entry.source))).collect();
    context.print(&text, &json!({ "allow": entries }))
}

fn nodes(entry: &Entry) -> Vec<String> {
    entry.nodes.iter().map(sources::name).collect()
}

fn or_all(list: &[String]) -> String {
    if list.is_empty() { String::from("all") } else { list.join(" ") }
}

fn row(entry: &Entry, live: Option<&sources::Source>) -> Vec<String> {
    let ports: Vec<String> = entry.ports.iter().map(ToString::to_string).collect();
    let rate = entry.packets.map(|packets| units::show_rate(packets.rate));
    let bytes = entry.bytes.map(|bytes| units::show_byte_rate(bytes.rate));
    let rates: Vec<String> = rate.into_iter().chain(bytes).collect();
    let expires = expires(entry, live);
    let counts = live.map(|live| {
        let (state, passed) = (&live.state, live.passed);
        [passed.packets.to_string(), show::bytes(passed.bytes), state.drops.to_string()]
    });
    let [packets, volume, drops] = counts.unwrap_or_else(|| ["-", "-", "-"].map(String::from));
    vec![
        sources::name(&entry.source),
        or_all(&nodes(entry)),
        or_all(&ports),
        if rates.is_empty() { String::from("default") } else { rates.join(" ") },
        expires,
        packets,
        volume,
        drops,
        entry.comment.clone().unwrap_or_default(),
    ]
}

/// The kernel knows what is left of a time; a date is what the file says.
fn expires(entry: &Entry, live: Option<&sources::Source>) -> String {
    match (entry.expires, entry.lasting, live) {
        (None, _, _) => String::from("never"),
        (Some(_), Some(_), Some(live)) => live.expires(),
        (Some(_), Some(_), None) => String::from("not in force"),
        (Some(at), None, _) => at
            .duration_since(SystemTime::now())
            .map_or_else(|_| String::from("lapsed"), |left| format!("in {}", show::span(left))),
    }
}

fn value(entry: &Entry, live: Option<&sources::Source>) -> Value {
    let per_second = |throttle: Option<Throttle>| {
        throttle.map(|throttle| match throttle.rate {
            PerSecond::Unlimited => json!({ "per_second": null, "burst": null }),
            PerSecond::Limited(n) => json!({ "per_second": n, "burst": throttle.burst }),
        })
    };
    json!({
        "source": sources::name(&entry.source),
        "nodes": nodes(entry),
        "ports": entry.ports,
        "packets": per_second(entry.packets),
        "bytes": per_second(entry.bytes),
        "expires": entry.expires.map(units::show_instant),
        "for": entry.lasting.map(show::span),
        "comment": entry.comment,
        "in_force": live.is_some(),
        "counters": live.map(sources::Source::json),
    })
}
