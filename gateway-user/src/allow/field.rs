//! The fields of an entry's table, and what is said when one is wrong.
use super::{entry::KEYS, error::Problem};
use crate::config::{suggest, units::Invalid};
use toml_edit::{Item, Table, Value};

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) fn whole(table: &Table, key: &str, allowed: impl Into<String>) -> Self {
        let span = table.key(key).and_then(toml_edit::Key::span);
        let span = span.or_else(|| table.span());
        Self {
            offset: span.map_or(0, |span| span.start),
            problem: Problem { key: key.to_owned(), value: None, allowed: allowed.into() },
        }
    }

    pub(super) fn value(
        table: &Table,
        key: String,
        place: Option<usize>,
        invalid: Invalid,
    ) -> Self {
        let whole = Self::whole(table, &key, invalid.allowed);
        let element = place.and_then(|place| table.get(&key)?.as_array()?.get(place)?.span());
        Self {
            offset: element.map_or(whole.offset, |span| span.start),
            problem: Problem {
                key: place.map_or_else(|| key.clone(), |place| format!("{key}[{place}]")),
                value: Some(invalid.value),
                ..whole.problem
            },
        }
    }
}

pub(super) const TEXT: &str = "expected a text in quotes";
pub(super) const NUMBER: &str = "expected a number";
const LIST: &str = "expected a list in brackets";

pub(super) fn known_only(table: &Table) -> Result<(), Fault> {
    let Some((key, _)) = table.iter().find(|(key, _)| !KEYS.contains(key)) else {
        return Ok(());
    };
    let hint = suggest(key, &KEYS).map_or_else(String::new, |key| format!("did you mean {key}? "));
    let allowed = format!("unknown key; {hint}known are {}", KEYS.join(", "));
    let mut fault = Fault::whole(table, key, allowed);
    fault.problem.key.retain(|c| !c.is_control());
    Err(fault)
}

pub(super) fn field<T>(
    table: &Table,
    key: &str,
    item: &Item,
    read: impl Fn(&Item) -> Result<T, Invalid>,
) -> Result<T, Fault> {
    read(item).map_err(|invalid| Fault::value(table, key.to_owned(), None, invalid))
}

pub(super) fn optional<T>(
    table: &Table,
    key: &str,
    read: impl Fn(&Item) -> Result<T, Invalid>,
) -> Result<Option<T>, Fault> {
    let item = table.get(key);
    item.map(|item| field(table, key, item, read)).transpose()
}

pub(super) fn list<T>(
    table: &Table,
    key: &str,
    most: usize,
    read: impl Fn(&Value) -> Result<T, Invalid>,
) -> Result<Vec<T>, Fault> {
    let array = |item: &Item| match item.as_array() {
        Some(array) if array.len() > most => Err(Invalid::new(
            format_args!("{} elements", array.len()),
            format!("expected at most {most}"),
        )),
        Some(array) => Ok(array.clone()),
        None => Err(kind(item, LIST)),
    };
    let elements = optional(table, key, array)?.unwrap_or_default();
    let one = |(place, value)| {
        read(value).map_err(|invalid| Fault::value(table, key.to_owned(), Some(place), invalid))
    };
    elements.iter().enumerate().map(one).collect()
}

pub(super) fn text(item: &Item) -> Result<&str, Invalid> {
    item.as_str().ok_or_else(|| kind(item, TEXT))
}

pub(super) fn kind(item: &Item, wanted: &str) -> Invalid {
    match item.as_value() {
        Some(value) => kind_of(value, wanted),
        None => Invalid::new("a table", wanted),
    }
}

pub(super) fn kind_of(value: &Value, wanted: &str) -> Invalid {
    Invalid::new(format_args!("a value of type {}", value.type_name()), wanted)
}
