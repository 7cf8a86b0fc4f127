//! An entry of the allow-list, read from its table and written to one.
use super::field::{Fault, NUMBER, TEXT, field, kind, kind_of, known_only, list, optional, text};
use crate::config::{
    prefix,
    read::{self, DATAGRAM, PACKET_BURST},
    units::{self, Invalid, PerSecond, Throttle},
};
use gateway_common::decide::{
    admission::{NODES_MAX, PORTS_MAX},
    rate::Limits,
};
use ipnet::IpNet;
use std::time::{Duration, SystemTime};
use toml_edit::{Array, Item, Table, Value, value};

/// Every key of an entry.
pub(super) const KEYS: [&str; 10] = [
    "source",
    "nodes",
    "ports",
    "rate",
    "burst",
    "bytes",
    "byte_burst",
    "expires",
    "for",
    "comment",
];
const COMMENT_MAX: usize = 200;

/// Who may enter, where to, how much and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The back-end, or a prefix of back-ends.
    pub source: IpNet,
    /// The nodes that it may reach, at most 16; none means every node.
    pub nodes: Vec<IpNet>,
    /// The ports that it may reach, at most 8; none means every service port.
    pub ports: Vec<u16>,
    /// Packets, where they differ from the configuration's.
    pub packets: Option<Throttle>,
    /// Bytes, where they differ from the configuration's.
    pub bytes: Option<Throttle>,
    /// When it ends, in whole seconds.
    pub expires: Option<SystemTime>,
    /// How long it lasts from when it was added, whatever becomes of the wall clock; then
    /// [`Entry::expires`] is what that comes to, and counts over a reboot.
    pub lasting: Option<Duration>,
    /// What the administrator says about it.
    pub comment: Option<String>,
}

impl Entry {
    /// Lets a source reach everything, at the configuration's rates.
    pub const fn new(source: IpNet) -> Self {
        Self {
            source,
            nodes: Vec::new(),
            ports: Vec::new(),
            packets: None,
            bytes: None,
            expires: None,
            lasting: None,
            comment: None,
        }
    }

    /// Its limits, `default` where it has none of its own.
    pub fn limits(&self, default: Limits) -> Limits {
        Limits {
            packets: self.packets.map_or(default.packets, Throttle::limit),
            bytes: self.bytes.map_or(default.bytes, Throttle::limit),
        }
    }

    /// Whether its date was. Of an entry that lasts for a time the wall clock knows nothing.
    pub fn has_ended(&self, now: SystemTime) -> bool {
        self.lasting.is_none() && self.expires.is_some_and(|expires| expires <= now)
    }

    pub(super) fn read(table: &Table) -> Result<Self, Fault> {
        known_only(table)?;
        let Some(source) = table.get("source") else {
            let allowed = "is missing: every entry needs the address or prefix of a back-end";
            return Err(Fault::whole(table, "source", allowed));
        };
        Ok(Self {
            source: field(table, "source", source, |item| prefix::unicast(text(item)?))?,
            nodes: list(table, "nodes", NODES_MAX, |value| {
                prefix::unicast(value.as_str().ok_or_else(|| kind_of(value, TEXT))?)
            })?,
            ports: list(table, "ports", PORTS_MAX, |value| {
                read::port(value.as_integer().ok_or_else(|| kind_of(value, NUMBER))?)
            })?,
            packets: throttle(table, ("rate", packet_rate), ("burst", packet_burst))?,
            bytes: throttle(table, ("bytes", byte_rate), ("byte_burst", byte_burst))?,
            expires: optional(table, "expires", expires)?,
            lasting: lasting(table)?,
            comment: optional(table, "comment", comment)?,
        })
    }

    pub(super) fn write(&self) -> Table {
        let mut table = Table::new();
        let mut put = |key: &str, item: Option<Item>| {
            if let Some(item) = item {
                table.insert(key, item);
            }
        };
        let packets = self.packets.as_ref();
        let bytes = self.bytes.as_ref();
        put("source", Some(value(prefix::show(&self.source))));
        put("nodes", array(self.nodes.iter().map(prefix::show)));
        put("ports", array(self.ports.iter().map(|port| i64::from(*port))));
        put("rate", packets.map(|own| value(units::show_rate(own.rate))));
        put("burst", packets.map(|own| value(i64::try_from(own.burst).unwrap_or(i64::MAX))));
        put("bytes", bytes.map(|own| value(units::show_byte_rate(own.rate))));
        put("byte_burst", bytes.map(|own| value(units::show_bytes(own.burst))));
        put("expires", self.expires.map(|at| value(units::show_instant(at))));
        put("for", self.lasting.map(|span| value(humantime::format_duration(span).to_string())));
        put("comment", self.comment.as_ref().map(value));
        table
    }
}

type RateOf = fn(&Item) -> Result<PerSecond, Invalid>;
type BurstOf = fn(&Item, Option<PerSecond>) -> Result<u64, Invalid>;

/// A rate with its burst; without one, what the rate allows in two seconds.
fn throttle(
    table: &Table,
    (rate_key, rate_of): (&str, RateOf),
    (burst_key, burst_of): (&str, BurstOf),
) -> Result<Option<Throttle>, Fault> {
    let Some(rate) = optional(table, rate_key, rate_of)? else {
        if table.contains_key(burst_key) {
            let allowed = format!("needs {rate_key} beside it");
            return Err(Fault::whole(table, burst_key, allowed));
        }
        return Ok(None);
    };
    let own = table.get(burst_key);
    let item = own.unwrap_or(&Item::None);
    let burst =
        field(table, burst_key, item, |item| burst_of(item, own.is_none().then_some(rate)))?;
    Ok(Some(Throttle { rate, burst }))
}

fn packet_rate(item: &Item) -> Result<PerSecond, Invalid> {
    units::rate(text(item)?)
}

fn byte_rate(item: &Item) -> Result<PerSecond, Invalid> {
    units::byte_rate(text(item)?)
}

fn two_seconds(rate: PerSecond) -> u64 {
    match rate {
        PerSecond::Unlimited => 1,
        PerSecond::Limited(units) => units.saturating_mul(2),
    }
}

fn packet_burst(item: &Item, without: Option<PerSecond>) -> Result<u64, Invalid> {
    if let Some(rate) = without {
        return Ok(two_seconds(rate).min(PACKET_BURST.end().unsigned_abs()));
    }
    let number = item.as_integer().ok_or_else(|| kind(item, NUMBER))?;
    read::within(number, PACKET_BURST).map(u64::from)
}

fn byte_burst(item: &Item, without: Option<PerSecond>) -> Result<u64, Invalid> {
    let least = DATAGRAM.end().unsigned_abs();
    if let Some(rate) = without {
        return Ok(two_seconds(rate).clamp(least, read::BYTE_BURST_MAX));
    }
    let number = item.as_integer().map(|number| number.to_string());
    let text = number.as_deref().map_or_else(|| text(item), Ok)?;
    read::byte_burst(text, least)
}

fn expires(item: &Item) -> Result<SystemTime, Invalid> {
    let date = item.as_datetime().map(ToString::to_string);
    let text = date.as_deref().map_or_else(|| text(item), Ok)?;
    units::instant(text)
}

/// A time, beside the date that it comes to.
fn lasting(table: &Table) -> Result<Option<Duration>, Fault> {
    let span = optional(table, "for", |item| units::duration(text(item)?))?;
    if span.is_some() && !table.contains_key("expires") {
        let allowed = "needs expires beside it: `gateway allow add --for` writes both";
        return Err(Fault::whole(table, "for", allowed));
    }
    Ok(span)
}

/// A comment is one line, so that a listing stays one and no terminal obeys it.
fn comment(item: &Item) -> Result<String, Invalid> {
    let comment = text(item)?;
    if comment.chars().any(char::is_control) || comment.chars().count() > COMMENT_MAX {
        let allowed = format!("expected one line of at most {COMMENT_MAX} characters");
        return Err(Invalid::text(comment, allowed));
    }
    Ok(comment.to_owned())
}

fn array<T: Into<Value>>(elements: impl Iterator<Item = T>) -> Option<Item> {
    let array: Array = elements.collect();
    (!array.is_empty()).then(|| value(array))
}
