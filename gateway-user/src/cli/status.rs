//! `gateway status`.
use super::{Context, connections, show};
use crate::{
    dataplane::{
        Maps,
        attach::{self, Mode, Role},
        cookies, table,
    },
    observe::count::{self, Counts},
};
use gateway_common::abi::{Settings, settings::replay_mode};
use serde_json::{Value, json};
use std::{net::IpAddr, path::PathBuf};

pub(super) fn run(context: &Context) -> anyhow::Result<()> {
    let status = Status::read(context)?;
    context.print(&status.text(), &status.value())
}

/// What there is to say of a running filter.
struct Status {
    settings: Settings,
    counts: Vec<Counts>,
    addresses: usize,
    prefixes: usize,
    associations: usize,
    /// Nodes before which cookies are asked for.
    guarded: Vec<IpAddr>,
    /// What the agent says, if one runs.
    mapping: Option<Value>,
    bpffs: PathBuf,
}

impl Status {
    fn read(context: &Context) -> anyhow::Result<Self> {
        let pins = context.pins()?;
        let maps = Maps::open(&pins)?;
        Ok(Self {
            settings: maps.settings()?,
            counts: count::read(&maps)?,
            addresses: maps.sources()?.keys().count(),
            prefixes: maps.prefixes()?.keys().count(),
            associations: maps.associations_in_use()?,
            guarded: cookies::guarded(&maps)?,
            mapping: connections::ask(context).ok(),
            bpffs: pins.directory().to_owned(),
        })
    }

    fn text(&self) -> String {
        let settings = &self.settings;
        let mapping = self.mapping.as_ref();
        let lines = [
            ("LLN", prefixes(settings).join(", ")),
            ("DTLS ports", ports(&settings.dtls_ports)),
            ("largest datagram", format!("{} bytes", settings.max_datagram)),
            ("replay", replay(settings).to_owned()),
            ("cookies asked", asked(settings, &self.guarded)),
            ("allow-list", format!("{} addresses, {} prefixes", self.addresses, self.prefixes)),
            ("associations", self.associations.to_string()),
            (
                "TLS mapping",
                mapping.map_or_else(|| "no agent runs".to_owned(), connections::summary),
            ),
            ("state", self.bpffs.display().to_string()),
        ];
        let mut text = self.interfaces();
        for (name, value) in lines {
            text.push_str(&format!("{name:<18}{value}\n"));
        }
        text
    }

    fn interfaces(&self) -> String {
        let mut text = show::table(
            &["INTERFACE", "SIDE", "MODE", "PASSED", "DROPPED", "UNTOUCHED"],
            self.counts.iter().map(row).collect(),
        );
        for gone in self.counts.iter().filter(|counts| !attach::is_present(&counts.interface)) {
            text.push_str(&format!(
                "{} is not filtered: the interface that was is gone; SIGHUP to the agent or \
                 `gateway run` filters the one of that name\n",
                gone.name()
            ));
        }
        text.push('\n');
        text
    }

    fn value(&self) -> Value {
        let settings = &self.settings;
        json!({
            "interfaces": self.counts.iter().map(interface).collect::<Vec<_>>(),
            "lln_prefixes": prefixes(settings),
            "dtls_ports": used(&settings.dtls_ports),
            "mapped_ports": used(&settings.mapped_ports),
            "mapper_ports": used(&settings.mapper_ports),
            "cookie_ports": used(&settings.cookie_ports),
            "cookie_nodes": self.guarded,
            "max_datagram": settings.max_datagram,
            "replay": replay(settings),
            "addresses": self.addresses,
            "prefixes": self.prefixes,
            "associations": self.associations,
            "mapping": self.mapping,
            "bpffs": self.bpffs,
        })
    }
}

fn used(ports: &[u16]) -> Vec<u16> {
    ports.iter().copied().filter(|port| *port != 0).collect()
}

fn side(counts: &Counts) -> &'static str {
    Role::from_number(counts.interface.role).map_or("unknown", Role::program)
}

fn mode(counts: &Counts) -> &'static str {
    let attached = attach::is_present(&counts.interface);
    if attached { Mode::name_of(counts.interface.mode) } else { "not attached" }
}

fn row(counts: &Counts) -> Vec<String> {
    vec![
        counts.name(),
        side(counts).to_owned(),
        mode(counts).to_owned(),
        counts.passed.checked.packets.to_string(),
        counts.dropped().packets.to_string(),
        counts.passed.untouched.packets.to_string(),
    ]
}

fn interface(counts: &Counts) -> Value {
    let counter = |counter: gateway_common::decide::reason::Counter| json!({ "packets": counter.packets, "bytes": counter.bytes });
    json!({
        "name": counts.name(),
        "ifindex": counts.interface.ifindex,
        "role": side(counts),
        "mode": Mode::name_of(counts.interface.mode),
        "attached": attach::is_present(&counts.interface),
        "raw_ip": counts.interface.raw_ip != 0,
        "passed": counter(counts.passed.checked),
        "dropped": counter(counts.dropped()),
        "untouched": counter(counts.passed.untouched),
    })
}

fn prefixes(settings: &Settings) -> Vec<String> {
    table::lln(settings).iter().map(ToString::to_string).collect()
}

fn ports(ports: &[u16]) -> String {
    let used: Vec<String> = used(ports).iter().map(ToString::to_string).collect();
    if used.is_empty() { String::from("none") } else { used.join(", ") }
}

/// Where a ClientHello must bring a cookie.
fn asked(settings: &Settings, nodes: &[IpAddr]) -> String {
    let own = used(&settings.cookie_ports);
    let own = own.iter().map(|port| format!("at port {port} of the router"));
    let nodes = nodes.iter().map(|node| format!("before {node}"));
    let places: Vec<String> = own.chain(nodes).collect();
    if places.is_empty() { String::from("nowhere") } else { places.join(", ") }
}

const fn replay(settings: &Settings) -> &'static str {
    match settings.replay {
        replay_mode::OFF => "off",
        replay_mode::RECORD => "record",
        _ => "pair",
    }
}
