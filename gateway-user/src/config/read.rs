//! From what is written to what it means: every value is checked here.
use super::{
    Agent, AttachMode, Config, Format, Interfaces, Level, Lln, Log, Rates, Replay, ReplayMode,
    Sources, State, auth, cookies,
    error::Fault,
    file::{self, File, Quantity},
    mapper, prefix,
    units::{self, Invalid, PerSecond, Throttle},
};
use core::ops::RangeInclusive;
use gateway_common::{
    abi::{self, settings},
    decide::rate::{Limits, Rate},
};
use ipnet::IpNet;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// Largest bursts: so many at one a second still fit the kernel's clock.
pub(crate) const PACKET_BURST: RangeInclusive<i64> = 1..=1_000_000;
pub(crate) const BYTE_BURST_MAX: u64 = 1 << 30;
/// What an IP datagram into the LLN may be limited to.
pub(crate) const DATAGRAM: RangeInclusive<i64> = 128..=1500;

pub(super) fn config(file: &File) -> Result<Config, Fault> {
    let lln = lln(&file.lln)?;
    let rates = rates(file, lln.max_datagram)?;
    let read = Config {
        interfaces: interfaces(&file.interfaces)?,
        agent: Agent { ports: ports("agent.ports", &file.agent.ports)? },
        auth: auth::read::auth(&file.auth, rates.source, lln.max_datagram)?,
        cookies: cookies::cookies(&file.cookies)?,
        mapper: mapper::read::mapper(&file.mapper)?,
        rates,
        lln,
        replay: replay(&file.replay)?,
        sources: Sources {
            capacity: number("sources.capacity", file.sources.capacity, 64..=1 << 22)?,
        },
        state: state(&file.state)?,
        log: log(&file.log)?,
    };
    let ports = read.agent_ports().len();
    if ports > settings::PORTS_MAX {
        let allowed = format!(
            "with agent.ports and cookies.ports these are more than {}",
            settings::PORTS_MAX
        );
        return Err(Fault::new("auth.https.listen", Invalid::new(ports, allowed)));
    }
    apart(&read)?;
    Ok(read)
}

/// The mapping and the interface for leases are at TCP sockets of their own.
fn apart(config: &Config) -> Result<(), Fault> {
    let ports = config.mapper.own_ports();
    let meet = |a: IpAddr, b: IpAddr| a == b || a.is_unspecified() || b.is_unspecified();
    let taken = |at: &SocketAddr| {
        ports.contains(&at.port()) && config.mapper.listen.iter().any(|ip| meet(*ip, at.ip()))
    };
    match config.auth.https.listen.iter().find(|at| taken(at)) {
        Some(at) => {
            let allowed = "is a port of the mapping too (mapper.ports or mapper.node.ports)";
            Err(Fault::new("auth.https.listen", Invalid::new(at, allowed)))
        }
        None => Ok(()),
    }
}

fn interfaces(file: &file::Interfaces) -> Result<Interfaces, Fault> {
    let modes = [
        ("auto", AttachMode::Auto),
        ("native", AttachMode::Native),
        ("generic", AttachMode::Generic),
    ];
    let read = Interfaces {
        wan: names("interfaces.wan", &file.wan, &[])?,
        lln: names("interfaces.lln", &file.lln, &file.wan)?,
        mode: choice("interfaces.mode", &file.mode, &modes)?,
    };
    at_most("interfaces", read.wan.len() + read.lln.len(), abi::INTERFACES_MAX as usize)?;
    Ok(read)
}

/// Names that are new here and not `taken` by the other side.
fn names(key: &str, names: &[String], taken: &[String]) -> Result<Vec<String>, Fault> {
    for (place, name) in names.iter().enumerate() {
        let refuse = |allowed| Err(Fault::new(element(key, place), Invalid::text(name, allowed)));
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
        let length = (1..=15).contains(&name.len());
        if !length || !name.chars().all(plain) || name == "." || name == ".." {
            return refuse("expected the name of an interface, of 1 to 15 bytes");
        }
        if taken.contains(name) {
            return refuse("is in interfaces.wan too: an interface has one side");
        }
        if names.iter().take(place).any(|other| other == name) {
            return refuse("is named twice");
        }
    }
    Ok(names.to_vec())
}

fn lln(file: &file::Lln) -> Result<Lln, Fault> {
    Ok(Lln {
        prefixes: prefixes("lln.prefixes", &file.prefixes)?,
        dtls_ports: ports("lln.dtls_ports", &file.dtls_ports)?,
        mapped_ports: ports("lln.mapped_ports", &file.mapped_ports)?,
        max_datagram: number("lln.max_datagram", file.max_datagram, DATAGRAM)?,
    })
}

/// What routers say to each other on the Internet's side must not be taken for the LLN's.
const LINK_LOCAL: [&str; 2] = ["fe80::/10", "169.254.0.0/16"];

fn overlap(prefix: &IpNet, other: &str) -> bool {
    other.parse().is_ok_and(|net: IpNet| net.contains(prefix) || prefix.contains(&net))
}

fn prefixes(key: &str, texts: &[String]) -> Result<Vec<IpNet>, Fault> {
    at_most(key, texts.len(), settings::LLN_PREFIXES_MAX)?;
    let read = |(place, text): (usize, &String)| {
        let fault = |invalid| Fault::new(element(key, place), invalid);
        let prefix = prefix::unicast(text).map_err(fault)?;
        if prefix.prefix_len() == 0 {
            let allowed = "is every address, the router's own traffic too: name the LLN's prefix";
            return Err(fault(Invalid::text(text, allowed)));
        }
        if LINK_LOCAL.iter().any(|net| overlap(&prefix, net)) {
            let allowed = "is link-local, which no router forwards: name the prefix that is routed";
            return Err(fault(Invalid::text(text, allowed)));
        }
        Ok(prefix)
    };
    texts.iter().enumerate().map(read).collect()
}

fn rates(file: &File, max_datagram: u32) -> Result<Rates, Fault> {
    let default = file::Rates::default();
    let both = |key, own: &file::Limits, default| limits(key, &own.or(default), max_datagram);
    let (agent, unproven) = (&file.agent, &file.rate.unproven);
    let packet_rate = |table: &str, name: &str, rate: &Quantity, burst, burst_name: &str| {
        packets((&format!("{table}.{name}"), rate), (&format!("{table}.{burst_name}"), burst))
    };
    Ok(Rates {
        source: both("rate.source", &file.rate.source, &default.source)?,
        node: both("rate.node", &file.rate.node, &default.node)?,
        lln: both("rate.lln", &file.rate.lln, &default.lln)?,
        agent: packet_rate("agent", "rate", &agent.rate, agent.burst, "burst")?,
        unproven: packet_rate(
            "rate.unproven",
            "packets",
            &unproven.packets,
            unproven.packet_burst,
            "packet_burst",
        )?,
    })
}

fn limits(table: &str, file: &file::Limits, max_datagram: u32) -> Result<Limits, Fault> {
    let nothing = Quantity::default();
    let rate = (&*format!("{table}.packets"), file.packets.as_ref().unwrap_or(&nothing));
    let burst = (&*format!("{table}.packet_burst"), file.packet_burst.unwrap_or(0));
    let byte_rate = (&*format!("{table}.bytes"), file.bytes.as_ref().unwrap_or(&nothing));
    let byte_burst =
        (&*format!("{table}.byte_burst"), file.byte_burst.as_ref().unwrap_or(&nothing));
    Ok(Limits {
        packets: packets(rate, burst)?,
        bytes: bytes(byte_rate, byte_burst, max_datagram)?,
    })
}

type Keyed<'a, T> = (&'a str, T);

fn packets(rate: Keyed<'_, &Quantity>, burst: Keyed<'_, i64>) -> Result<Rate, Fault> {
    let per_second = units::rate(&rate.1.0).map_err(|invalid| Fault::new(rate.0, invalid))?;
    let burst = number(burst.0, burst.1, PACKET_BURST)?;
    Ok(throttle(per_second, burst.into()))
}

fn bytes(
    rate: Keyed<'_, &Quantity>,
    burst: Keyed<'_, &Quantity>,
    max_datagram: u32,
) -> Result<Rate, Fault> {
    let per_second = units::byte_rate(&rate.1.0).map_err(|invalid| Fault::new(rate.0, invalid))?;
    let burst = byte_burst(&burst.1.0, max_datagram.into())
        .map_err(|invalid| Fault::new(burst.0, invalid))?;
    Ok(throttle(per_second, burst))
}

/// Reads a byte burst: one that is less than a datagram would let no large one pass, ever.
pub(crate) fn byte_burst(text: &str, datagram: u64) -> Result<u64, Invalid> {
    let burst = units::bytes(text)?;
    if (datagram..=BYTE_BURST_MAX).contains(&burst) {
        return Ok(burst);
    }
    let most = units::show_bytes(BYTE_BURST_MAX);
    let allowed = format!("expected {datagram}B (the largest datagram) to {most}");
    Err(Invalid::text(text, allowed))
}

const fn throttle(rate: PerSecond, burst: u64) -> Rate {
    Throttle { rate, burst }.limit()
}

fn replay(file: &file::Replay) -> Result<Replay, Fault> {
    let modes =
        [("pair", ReplayMode::Pair), ("record", ReplayMode::Record), ("off", ReplayMode::Off)];
    Ok(Replay {
        mode: choice("replay.mode", &file.mode, &modes)?,
        pages: power_of_two("replay.pages", file.pages, 16..=1 << 20)?,
        associations: power_of_two("replay.associations", file.associations, 1024..=1 << 22)?,
    })
}

fn power_of_two(key: &str, value: i64, range: RangeInclusive<i64>) -> Result<u32, Fault> {
    let number = number(key, value, range)?;
    if !number.is_power_of_two() {
        let (below, above) = (number.next_power_of_two() / 2, number.next_power_of_two());
        let allowed = format!("expected a power of two such as {below} or {above}");
        return Err(Fault::new(key, Invalid::new(number, allowed)));
    }
    Ok(number)
}

pub(super) fn state(file: &file::State) -> Result<State, Fault> {
    Ok(State {
        bpffs: path("state.bpffs", &file.bpffs)?,
        directory: path("state.directory", &file.directory)?,
        allow: path("state.allow", &file.allow)?,
        runtime: path("state.runtime", &file.runtime)?,
    })
}

pub(super) fn path(key: &str, text: &str) -> Result<PathBuf, Fault> {
    if text.starts_with('/') && !text.contains('\0') {
        return Ok(PathBuf::from(text));
    }
    Err(Fault::new(key, Invalid::text(text, "expected an absolute path")))
}

fn log(file: &file::Log) -> Result<Log, Fault> {
    use Level::{Debug, Error, Info, Off, Trace, Warn};
    let levels = [Off, Error, Warn, Info, Debug, Trace].map(|level| (level.as_str(), level));
    let formats = [("text", Format::Text), ("json", Format::Json)];
    Ok(Log {
        kernel: file.kernel,
        level: choice("log.level", &file.level, &levels)?,
        format: choice("log.format", &file.format, &formats)?,
    })
}

pub(super) fn choice<T: Copy>(key: &str, text: &str, known: &[(&str, T)]) -> Result<T, Fault> {
    let found = known.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
        let allowed = format!("expected one of {}", names.join(", "));
        Fault::new(key, Invalid::text(text, allowed))
    })
}

pub(super) fn ports(key: &str, numbers: &[i64]) -> Result<Vec<u16>, Fault> {
    at_most(key, numbers.len(), settings::PORTS_MAX)?;
    let read = |(place, value): (usize, &i64)| {
        port(*value).map_err(|invalid| Fault::new(element(key, place), invalid))
    };
    numbers.iter().enumerate().map(read).collect()
}

/// Reads a port.
pub(crate) fn port(value: i64) -> Result<u16, Invalid> {
    let port = u16::try_from(value).ok().filter(|port| *port != 0);
    port.ok_or_else(|| Invalid::new(value, "expected a port, 1 to 65535"))
}

pub(super) fn number(key: &str, value: i64, range: RangeInclusive<i64>) -> Result<u32, Fault> {
    within(value, range).map_err(|invalid| Fault::new(key, invalid))
}

/// Reads a number that must lie in `range`.
pub(crate) fn within(value: i64, range: RangeInclusive<i64>) -> Result<u32, Invalid> {
    let number = u32::try_from(value).ok().filter(|_| range.contains(&value));
    let allowed = || format!("expected {} to {}", range.start(), range.end());
    number.ok_or_else(|| Invalid::new(value, allowed()))
}

pub(super) fn at_most(key: &str, count: usize, most: usize) -> Result<(), Fault> {
    if count <= most {
        return Ok(());
    }
    let value = format!("{count} elements");
    Err(Fault::new(key, Invalid::new(value, format!("expected at most {most}"))))
}

pub(super) fn element(key: &str, place: usize) -> String {
    format!("{key}[{place}]")
}
