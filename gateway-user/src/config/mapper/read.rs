//! From what is written to what it means, for the TLS mapping.
use super::{Leg, Limits, Mapper, Node, Routing, Timers, suite};
use crate::config::{
    error::Fault,
    file,
    read::{DATAGRAM, at_most, element, number, port, ports},
    units::{self, Invalid},
};
use gateway_common::abi::settings::PORTS_MAX;
use std::{collections::HashSet, net::IpAddr, time::Duration};

/// Most `[[mapper.node]]`.
const NODES_MAX: usize = 4096;
/// Records on their way that are not acknowledged, as nodes have room for (protocol: window).
const WINDOW: core::ops::RangeInclusive<i64> = 1..=4;

pub(in crate::config) fn mapper(file: &file::Mapper) -> Result<Mapper, Fault> {
    let leg = leg(file)?;
    let read = Mapper {
        enabled: file.enabled,
        transparent: file.transparent,
        listen: addresses("mapper.listen", &file.listen)?,
        ports: ports("mapper.ports", &file.ports)?,
        limits: limits(&file.limits)?,
        timers: timers(&file.timers)?,
        routing: routing(&file.routing)?,
        nodes: nodes(&file.node, &leg)?,
        leg,
    };
    unique(&read)?;
    asked(&read)?;
    Ok(read)
}

fn leg(file: &file::Mapper) -> Result<Leg, Fault> {
    Ok(Leg {
        dtls_port: dtls_port("mapper", file.dtls_port)?,
        suites: suites("mapper", &file.suites)?,
        max_datagram: number("mapper.max_datagram", file.max_datagram, DATAGRAM)?,
        window: window("mapper", file.window)?,
        cookies: file.cookies,
    })
}

fn nodes(file: &[file::MapperNode], default: &Leg) -> Result<Vec<Node>, Fault> {
    at_most("mapper.node", file.len(), NODES_MAX)?;
    file.iter().enumerate().map(|(place, file)| node(place, file, default)).collect()
}

fn node(place: usize, file: &file::MapperNode, default: &Leg) -> Result<Node, Fault> {
    let table = element("mapper.node", place);
    let plain = |c: char| !c.is_control() && !c.is_whitespace();
    if !(1..=63).contains(&file.name.len()) || !file.name.chars().all(plain) {
        let allowed = "expected a name of 1 to 63 bytes without blanks";
        return Err(Fault::new(format!("{table}.name"), Invalid::text(&file.name, allowed)));
    }
    let names = file.server_names.iter().enumerate();
    Ok(Node {
        name: file.name.clone(),
        address: address(&format!("{table}.address"), &file.address)?,
        server_names: names
            .map(|(at, name)| server_name(&element(&format!("{table}.server_names"), at), name))
            .collect::<Result<_, _>>()?,
        ports: ports(&format!("{table}.ports"), &file.ports)?,
        leg: Leg {
            dtls_port: file
                .dtls_port
                .map_or(Ok(default.dtls_port), |port| dtls_port(&table, port))?,
            suites: match &file.suites {
                Some(names) => suites(&table, names)?,
                None => default.suites.clone(),
            },
            max_datagram: file.max_datagram.map_or(Ok(default.max_datagram), |size| {
                number(&format!("{table}.max_datagram"), size, DATAGRAM)
            })?,
            window: file.window.map_or(Ok(default.window), |size| window(&table, size))?,
            cookies: file.cookies.unwrap_or(default.cookies),
        },
    })
}

fn dtls_port(table: &str, value: i64) -> Result<u16, Fault> {
    port(value).map_err(|invalid| Fault::new(format!("{table}.dtls_port"), invalid))
}

fn window(table: &str, value: i64) -> Result<u8, Fault> {
    number(&format!("{table}.window"), value, WINDOW).map(|window| window as u8)
}

fn suites(table: &str, names: &[String]) -> Result<Vec<u16>, Fault> {
    let key = format!("{table}.suites");
    at_most(&key, names.len(), 64)?;
    if names.is_empty() {
        return Err(Fault::new(key, Invalid::new("[]", "expected at least one cipher suite")));
    }
    let read = |(place, name): (usize, &String)| {
        suite::read(name).map_err(|invalid| Fault::new(element(&key, place), invalid))
    };
    names.iter().enumerate().map(read).collect()
}

fn addresses(key: &str, texts: &[String]) -> Result<Vec<IpAddr>, Fault> {
    at_most(key, texts.len(), 16)?;
    let read = |(place, text): (usize, &String)| {
        let allowed = "expected an address of the router's own such as \"2001:db8::1\", or \"::\" \
                       for all of them";
        let address = text.parse::<IpAddr>().ok().filter(|address| !address.is_multicast());
        address.ok_or_else(|| Fault::new(element(key, place), Invalid::text(text, allowed)))
    };
    texts.iter().enumerate().map(read).collect()
}

fn address(key: &str, text: &str) -> Result<IpAddr, Fault> {
    let fault = |invalid| Fault::new(key, invalid);
    let wanted = "expected the node's address such as \"2001:db8:1::10\"";
    let address: IpAddr = text.parse().map_err(|_| fault(Invalid::text(text, wanted)))?;
    crate::config::prefix::unicast(text).map_err(fault)?;
    Ok(address)
}

/// A name as clients send it: letters, digits, hyphens, dots (RFC 6066 §3); no address, which a
/// client must not send.
fn server_name(key: &str, text: &str) -> Result<String, Fault> {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(letter);
    let good = text.len() <= 253 && text.split('.').all(label) && text.parse::<IpAddr>().is_err();
    if good {
        return Ok(text.to_ascii_lowercase());
    }
    let allowed = if text.contains('*') {
        "is a pattern: names must be written out, as a client asks for them"
    } else {
        "expected a host name such as \"lamp.example\" (RFC 6066)"
    };
    Err(Fault::new(key, Invalid::text(text, allowed)))
}

fn limits(file: &file::MapperLimits) -> Result<Limits, Fault> {
    let number =
        |name: &str, value, most| number(&format!("mapper.limits.{name}"), value, 1..=most);
    Ok(Limits {
        connections: number("connections", file.connections, 65_536)?,
        connections_per_source: number(
            "connections_per_source",
            file.connections_per_source,
            65_536,
        )?,
        handshakes_per_node: number("handshakes_per_node", file.handshakes_per_node, 16)?,
        handshakes_per_source: number("handshakes_per_source", file.handshakes_per_source, 1024)?,
        waiting_per_node: number("waiting_per_node", file.waiting_per_node, 1024)?,
    })
}

fn timers(file: &file::MapperTimers) -> Result<Timers, Fault> {
    let span = |name: &str, text: &str, least: Duration, most: Duration| {
        let key = format!("mapper.timers.{name}");
        let span = units::duration(text).map_err(|invalid| Fault::new(&*key, invalid))?;
        if (least..=most).contains(&span) {
            return Ok(span);
        }
        let show = humantime::format_duration;
        let allowed = format!("expected {} to {}", show(least), show(most));
        Err(Fault::new(key, Invalid::text(text, allowed)))
    };
    let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
    let wait = Duration::from_millis(100)..=Duration::from_mins(1);
    let (shortest, longest) = (*wait.start(), *wait.end());
    Ok(Timers {
        hello: span("hello", &file.hello, second, hour)?,
        handshake: span("handshake", &file.handshake, second, hour)?,
        idle: span("idle", &file.idle, second, Duration::from_hours(24 * 7))?,
        close: span("close", &file.close, second, hour)?,
        retransmit: span("retransmit", &file.retransmit, shortest, longest)?,
        acknowledge: span("acknowledge", &file.acknowledge, shortest, longest)?,
        retries: number("mapper.timers.retries", file.retries, 0..=10)? as u8,
    })
}

fn routing(file: &file::MapperRouting) -> Result<Routing, Fault> {
    // 253 to 255 are the kernel's own tables, 0 means none
    let table = number("mapper.routing.table", file.table, 1..=i64::from(u32::MAX))?;
    if (253..=255).contains(&table) {
        let allowed = "is a table of the kernel's own: expected 1 to 252, or 256 and more";
        return Err(Fault::new("mapper.routing.table", Invalid::new(table, allowed)));
    }
    let mark = number("mapper.routing.mark", file.mark, 1..=i64::from(u32::MAX))?;
    Ok(Routing { mark, table })
}

/// A server name is asked for at a port of the router's own, or never.
fn asked(mapper: &Mapper) -> Result<(), Fault> {
    let asked = !mapper.enabled || !mapper.ports.is_empty();
    let unasked = mapper.nodes.iter().enumerate().find_map(|(place, node)| {
        let name = node.server_names.first().filter(|_| !asked)?;
        Some((format!("mapper.node[{place}].server_names[0]"), name))
    });
    match unasked {
        Some((key, name)) => {
            let allowed = "needs a port of the router's at which names pick nodes: \
                           set mapper.ports, such as [8443]";
            Err(Fault::new(key, Invalid::text(name, allowed)))
        }
        None => Ok(()),
    }
}

/// Names, addresses, server names and ports lead to one node each.
fn unique(mapper: &Mapper) -> Result<(), Fault> {
    let (mut names, mut addresses, mut server_names) =
        (HashSet::new(), HashSet::new(), HashSet::new());
    let mut ports: HashSet<u16> = mapper.ports.iter().copied().collect();
    for (place, node) in mapper.nodes.iter().enumerate() {
        let twice = |key: &str, value: &dyn core::fmt::Display| {
            let key = format!("mapper.node[{place}].{key}");
            Fault::new(key, Invalid::new(value, "leads to another node already"))
        };
        if !names.insert(&node.name) {
            return Err(twice("name", &node.name));
        }
        if !addresses.insert((node.address, node.leg.dtls_port)) {
            return Err(twice("address", &node.address));
        }
        for (at, name) in node.server_names.iter().enumerate() {
            if !server_names.insert(name) {
                return Err(twice(&element("server_names", at), name));
            }
        }
        for (at, port) in node.ports.iter().enumerate() {
            if !ports.insert(*port) {
                return Err(twice(&element("ports", at), port));
            }
        }
    }
    if ports.len() > PORTS_MAX {
        let allowed = format!(
            "with the ports of all nodes these are more than {PORTS_MAX}: tell nodes apart by \
             server_names"
        );
        return Err(Fault::new("mapper.ports", Invalid::new(ports.len(), allowed)));
    }
    Ok(())
}
