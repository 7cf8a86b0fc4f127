//! From what is written to what it means, for authentication.
use super::{Auth, Dtls, Https, Identity, Pattern, Psk, StaleCrl, Tunnel};
use crate::config::{
    error::Fault,
    file::{self, Quantity},
    prefix,
    read::{self, PACKET_BURST, at_most, choice, element, number, path, port},
    units::{self, Invalid, PerSecond, Throttle},
};
use gateway_common::{
    abi::settings::PORTS_MAX,
    decide::{
        admission::{self, NODES_MAX},
        rate::{Limits, Rate},
    },
};
use ipnet::IpNet;
use std::{collections::HashSet, net::SocketAddr, time::Duration};

/// Most `[[auth.identity]]`.
const IDENTITIES_MAX: usize = 65_536;
/// A lease is to be renewed, not to be forgotten.
const LONGEST: core::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(24 * 30);

pub(in crate::config) fn auth(
    file: &file::Auth,
    default: Limits,
    datagram: u32,
) -> Result<Auth, Fault> {
    at_most("auth.identity", file.identity.len(), IDENTITIES_MAX)?;
    let longest = span("auth.longest", &file.longest)?;
    let leases = leases("auth.leases", file.leases)?;
    let usual = Usual { limits: default, longest, leases, datagram };
    let mut seen = HashSet::new();
    let identities = file.identity.iter().enumerate().map(|(place, file)| {
        let identity = identity(place, file, &usual)?;
        if seen.insert(identity.name.to_string()) {
            return Ok(identity);
        }
        let key = format!("auth.identity[{place}].name");
        Err(Fault::new(key, Invalid::text(&file.name, "has an entry already")))
    });
    Ok(Auth {
        identities: identities.collect::<Result<_, _>>()?,
        https: https(&file.https)?,
        psk: psk(&file.psk)?,
        dtls: Dtls { listen: addresses("auth.dtls.listen", &file.dtls.listen)? },
        tunnel: tunnel(&file.tunnel)?,
    })
}

/// What an identity has that says nothing else.
struct Usual {
    limits: Limits,
    longest: Duration,
    leases: usize,
    datagram: u32,
}

fn https(file: &file::AuthHttps) -> Result<Https, Fault> {
    let crl = (!file.crl.is_empty()).then(|| path("auth.https.crl", &file.crl)).transpose()?;
    let states = [("accept", StaleCrl::Accept), ("refuse", StaleCrl::Refuse)];
    let count = |name: &str, value| number(&format!("auth.https.{name}"), value, 1..=65_536);
    Ok(Https {
        listen: addresses("auth.https.listen", &file.listen)?,
        certificate: path("auth.https.certificate", &file.certificate)?,
        key: path("auth.https.key", &file.key)?,
        client_ca: path("auth.https.client_ca", &file.client_ca)?,
        crl,
        stale_crl: choice("auth.https.stale_crl", &file.stale_crl, &states)?,
        connections: count("connections", file.connections)?,
        connections_per_source: count("connections_per_source", file.connections_per_source)?,
        handshakes: count("handshakes", file.handshakes)?,
    })
}

fn psk(file: &file::AuthPsk) -> Result<Psk, Fault> {
    let count = |name: &str, value| number(&format!("auth.psk.{name}"), value, 1..=65_536);
    Ok(Psk {
        listen: addresses("auth.psk.listen", &file.listen)?,
        keys: path("auth.psk.keys", &file.keys)?,
        connections: count("connections", file.connections)?,
        connections_per_source: count("connections_per_source", file.connections_per_source)?,
        handshakes: count("handshakes", file.handshakes)?,
        handshakes_per_source: count("handshakes_per_source", file.handshakes_per_source)?,
    })
}

fn tunnel(file: &file::AuthTunnel) -> Result<Tunnel, Fault> {
    let flows = number("auth.tunnel.flows", file.flows, 1..=4096)?;
    Ok(Tunnel { flows, idle: span("auth.tunnel.idle", &file.idle)? })
}

fn addresses(key: &str, texts: &[String]) -> Result<Vec<SocketAddr>, Fault> {
    at_most(key, texts.len(), PORTS_MAX)?;
    let read = |(place, text): (usize, &String)| {
        let wanted = "expected an address and a port such as \"[::]:4433\" (every address, IPv4 \
                      too), \"[2001:db8::1]:4433\" or \"192.0.2.1:4433\"";
        let address = text.parse().ok().filter(|at: &SocketAddr| at.port() != 0);
        address.ok_or_else(|| Fault::new(element(key, place), Invalid::text(text, wanted)))
    };
    texts.iter().enumerate().map(read).collect()
}

fn identity(place: usize, file: &file::AuthIdentity, usual: &Usual) -> Result<Identity, Fault> {
    let table = element("auth.identity", place);
    let key = |name: &str| format!("{table}.{name}");
    let name = Pattern::parse(&file.name).map_err(|invalid| Fault::new(key("name"), invalid))?;
    let longest = file.longest.as_ref().map(|text| span(&key("longest"), text)).transpose()?;
    let leases = file.leases.map(|count| leases(&key("leases"), count)).transpose()?;
    Ok(Identity {
        name,
        nodes: nodes(&key("nodes"), &file.nodes)?,
        ports: ports(&key("ports"), &file.ports)?,
        limits: Limits {
            packets: packets(&table, file)?.unwrap_or(usual.limits.packets),
            bytes: bytes(&table, file, usual.datagram)?.unwrap_or(usual.limits.bytes),
        },
        longest: longest.unwrap_or(usual.longest),
        leases: leases.unwrap_or(usual.leases),
        tunnel: file.tunnel,
    })
}

fn nodes(key: &str, texts: &[String]) -> Result<Vec<IpNet>, Fault> {
    at_most(key, texts.len(), NODES_MAX)?;
    let read = |(place, text): (usize, &String)| {
        prefix::unicast(text).map_err(|invalid| Fault::new(element(key, place), invalid))
    };
    texts.iter().enumerate().map(read).collect()
}

fn ports(key: &str, numbers: &[i64]) -> Result<Vec<u16>, Fault> {
    at_most(key, numbers.len(), admission::PORTS_MAX)?;
    let read = |(place, value): (usize, &i64)| {
        port(*value).map_err(|invalid| Fault::new(element(key, place), invalid))
    };
    numbers.iter().enumerate().map(read).collect()
}

/// Without a burst, what the rate allows in two seconds.
const fn two_seconds(rate: PerSecond) -> u64 {
    match rate {
        PerSecond::Unlimited => 1,
        PerSecond::Limited(units) => units.saturating_mul(2),
    }
}

fn needs_rate(table: &str, burst: &str, rate: &str) -> Fault {
    let allowed = format!("needs {rate} beside it");
    Fault::new(format!("{table}.{burst}"), Invalid::new("a burst", allowed))
}

fn packets(table: &str, file: &file::AuthIdentity) -> Result<Option<Rate>, Fault> {
    let Some(Quantity(rate)) = &file.rate else {
        let alone = file.burst.map(|_| needs_rate(table, "burst", "rate"));
        return alone.map_or(Ok(None), Err);
    };
    let rate = units::rate(rate).map_err(|invalid| Fault::new(format!("{table}.rate"), invalid))?;
    let burst = match file.burst {
        Some(burst) => number(&format!("{table}.burst"), burst, PACKET_BURST)?.into(),
        None => two_seconds(rate).min(PACKET_BURST.end().unsigned_abs()),
    };
    Ok(Some(Throttle { rate, burst }.limit()))
}

fn bytes(table: &str, file: &file::AuthIdentity, datagram: u32) -> Result<Option<Rate>, Fault> {
    let Some(Quantity(rate)) = &file.bytes else {
        let alone = file.byte_burst.as_ref().map(|_| needs_rate(table, "byte_burst", "bytes"));
        return alone.map_or(Ok(None), Err);
    };
    let rate =
        units::byte_rate(rate).map_err(|invalid| Fault::new(format!("{table}.bytes"), invalid))?;
    let burst = match &file.byte_burst {
        Some(Quantity(text)) => read::byte_burst(text, datagram.into())
            .map_err(|invalid| Fault::new(format!("{table}.byte_burst"), invalid))?,
        None => two_seconds(rate).clamp(datagram.into(), read::BYTE_BURST_MAX),
    };
    Ok(Some(Throttle { rate, burst }.limit()))
}

fn span(key: &str, text: &str) -> Result<Duration, Fault> {
    let span = units::duration(text).map_err(|invalid| Fault::new(key, invalid))?;
    if LONGEST.contains(&span) {
        return Ok(span);
    }
    let show = humantime::format_duration;
    let allowed = format!("expected {} to {}", show(*LONGEST.start()), show(*LONGEST.end()));
    Err(Fault::new(key, Invalid::text(text, allowed)))
}

fn leases(key: &str, count: i64) -> Result<usize, Fault> {
    number(key, count, 1..=1 << 22).map(|count| count as usize)
}
