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
use std::net::IpAddr;

pub(super) fn run(context: &Context) -> anyhow::Result<()> {
    let pins = context.pins()?;
    let maps = Maps::open(&pins)?;
    let settings = maps.settings()?;
    let counts = count::read(&maps)?;
    let entries = (maps.sources()?.keys().count(), maps.prefixes()?.keys().count());
    let associations = maps.associations_in_use()?;
    let guarded = cookies::guarded(&maps)?;
    let mapping = connections::ask(context).ok();
    let mut text = show::table(
        &["INTERFACE", "SIDE", "MODE", "PASSED", "DROPPED", "UNTOUCHED"],
        counts.iter().map(row).collect(),
    );
    let lines = [
        ("LLN", prefixes(&settings).join(", ")),
        ("DTLS ports", ports(&settings.dtls_ports)),
        ("largest datagram", format!("{} bytes", settings.max_datagram)),
        ("replay", replay(&settings).to_owned()),
        ("cookies asked", asked(&settings, &guarded)),
        ("allow-list", format!("{} addresses, {} prefixes", entries.0, entries.1)),
        ("associations", associations.to_string()),
        (
            "TLS mapping",
            mapping.as_ref().map_or_else(|| "no agent runs".to_owned(), connections::summary),
        ),
        ("state", pins.directory().display().to_string()),
    ];
    for counts in counts.iter().filter(|counts| !attach::is_present(&counts.interface)) {
        text.push_str(&format!(
            "{} is not filtered: the interface that was is gone; SIGHUP to the agent or `gateway \
             run` filters the one of that name\n",
            counts.name()
        ));
    }
    text.push('\n');
    for (name, value) in lines {
        text.push_str(&format!("{name:<18}{value}\n"));
    }
    let value = json!({
        "interfaces": counts.iter().map(interface).collect::<Vec<_>>(),
        "lln_prefixes": prefixes(&settings),
        "dtls_ports": settings.dtls_ports.iter().filter(|port| **port != 0).collect::<Vec<_>>(),
        "mapped_ports": settings.mapped_ports.iter().filter(|port| **port != 0).collect::<Vec<_>>(),
        "mapper_ports": settings.mapper_ports.iter().filter(|port| **port != 0).collect::<Vec<_>>(),
        "cookie_ports": settings.cookie_ports.iter().filter(|port| **port != 0).collect::<Vec<_>>(),
        "cookie_nodes": guarded,
        "max_datagram": settings.max_datagram,
        "replay": replay(&settings),
        "addresses": entries.0,
        "prefixes": entries.1,
        "associations": associations,
        "mapping": mapping,
        "bpffs": pins.directory(),
    });
    context.print(&text, &value)
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
    let used: Vec<String> =
        ports.iter().filter(|port| **port != 0).map(ToString::to_string).collect();
    if used.is_empty() { String::from("none") } else { used.join(", ") }
}

/// Where a ClientHello must bring a cookie.
fn asked(settings: &Settings, nodes: &[IpAddr]) -> String {
    let own = settings.cookie_ports.iter().filter(|port| **port != 0);
    let own = own.map(|port| format!("at port {port} of the router"));
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
