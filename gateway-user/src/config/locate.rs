//! Where in the text a key stands, so that every message can name its line.
use super::{Error, error::Fault, file::File};
use std::{fs, io, path::Path};
use toml_edit::{Document, Item, TableLike, Value};

/// Reads a file that must be text.
pub(crate) fn text(file: &Path) -> io::Result<String> {
    fs::read_to_string(file)
}

/// The line of a byte, counted from one.
pub(crate) fn line(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// What the parser says, on one line.
pub(crate) fn problem(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}

/// Parses a text and refuses keys that nothing reads.
pub(super) fn file(text: &str, origin: &str) -> Result<File, Error> {
    let document = Document::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        let found = text.get(span.clone()).filter(|found| !found.trim().is_empty());
        let problem = problem(error.message());
        Error::Syntax {
            file: origin.to_owned(),
            line: line(text, span.start),
            problem: match found.filter(|_| problem == "duplicate key") {
                Some(key) => format!("duplicate key {key}: a table or key stands once in a file"),
                None => problem,
            },
        }
    })?;
    let known = toml::Table::try_from(File::complete()).unwrap_or_default();
    let source = Source { text, origin };
    source.known_only(document.as_table(), &known, "")?;
    toml::from_str(text).map_err(|error| source.mistyped(document.as_table(), &error))
}

/// Gives a wrong value its line.
pub(super) fn fault(text: &str, origin: &str, fault: Fault) -> Error {
    let offset = Document::parse(text)
        .ok()
        .and_then(|document| offset(document.as_item(), &fault.key))
        .unwrap_or(0);
    Source { text, origin }.value(offset, fault.key, fault.invalid.value, fault.invalid.allowed)
}

struct Source<'a> {
    text: &'a str,
    origin: &'a str,
}

impl Source<'_> {
    fn value(&self, offset: usize, key: String, value: String, allowed: String) -> Error {
        Error::Value {
            file: self.origin.to_owned(),
            line: line(self.text, offset),
            key,
            value,
            allowed,
        }
    }

    /// Walks the tables beside the tree of defaults, which has every key.
    fn known_only(
        &self,
        table: &dyn TableLike,
        known: &toml::Table,
        above: &str,
    ) -> Result<(), Error> {
        for (name, item) in table.iter() {
            let key = format!("{above}{name}");
            let offset = key_offset(table, name);
            match (known.get(name), item.as_table_like()) {
                (None, _) => return Err(self.unknown(offset, above, name, known)),
                (Some(toml::Value::Table(known)), Some(below)) => {
                    self.known_only(below, known, &format!("{key}."))?;
                }
                (Some(toml::Value::Array(elements)), _) => {
                    let Some(toml::Value::Table(known)) = elements.first() else { continue };
                    for (place, below) in tables(item).into_iter().enumerate() {
                        self.known_only(below, known, &format!("{key}[{place}]."))?;
                    }
                }
                (Some(toml::Value::Table(_)), None) => {
                    let allowed = format!("expected a table: [{key}]");
                    return Err(self.value(offset, key, self.slice(item.span()), allowed));
                }
                (Some(_), _) => {}
            }
        }
        Ok(())
    }

    fn unknown(&self, offset: usize, above: &str, name: &str, known: &toml::Table) -> Error {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        Error::Unknown {
            file: self.origin.to_owned(),
            line: line(self.text, offset),
            key: problem(&format!("{above}{name}")),
            suggestion: suggest(name, &names),
            known: names.join(", "),
        }
    }

    fn mistyped(&self, table: &dyn TableLike, error: &toml::de::Error) -> Error {
        let offset = error.span().map_or(0, |span| span.start);
        let message = problem(error.message());
        let allowed = message
            .split_once("expected ")
            .map_or_else(|| message.clone(), |(_, what)| format!("expected {}", kind(what)));
        let key = key_at(table, offset).unwrap_or_default();
        self.value(offset, key, self.slice(error.span()), allowed)
    }

    fn slice(&self, span: Option<core::ops::Range<usize>>) -> String {
        const LONGEST: usize = 60;
        let whole = span.and_then(|span| self.text.get(span)).unwrap_or("?");
        let mut shown: String = whole.chars().take(LONGEST).filter(|c| !c.is_control()).collect();
        if whole.chars().nth(LONGEST).is_some() {
            shown.push('…');
        }
        shown
    }
}

/// A kind of value in TOML's words instead of the deserializer's.
fn kind(what: &str) -> &str {
    match what {
        "a sequence" => "an array: [...], with commas between its elements",
        "i64" => "a whole number",
        struct_of if struct_of.starts_with("struct ") => "a table",
        other => other,
    }
}

/// A known key that differs in a letter or two.
pub(crate) fn suggest(name: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|key| (strsim::damerau_levenshtein(name, key), *key))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, key)| key.to_owned())
}

fn key_offset(table: &dyn TableLike, name: &str) -> usize {
    let span = table.key(name).and_then(toml_edit::Key::span);
    span.map_or(0, |span| span.start)
}

/// The tables of an array, however it is written.
fn tables(item: &Item) -> Vec<&dyn TableLike> {
    if let Some(tables) = item.as_array_of_tables() {
        return tables.iter().map(|table| table as &dyn TableLike).collect();
    }
    let inline = item.as_array().into_iter().flatten();
    inline.filter_map(Value::as_inline_table).map(|table| table as &dyn TableLike).collect()
}

/// The place of `a.b[1]`, or of the deepest table on the way to it.
fn offset(item: &Item, key: &str) -> Option<usize> {
    let mut found = None;
    let mut table = item.as_table_like()?;
    for part in key.split('.') {
        let (name, place) = match part.split_once('[') {
            Some((name, place)) => (name, place.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        let Some(below) = table.get(name) else { break };
        found = Some(key_offset(table, name));
        let element = place.and_then(|place| element_offset(below, place));
        found = element.or(found);
        let inner = place.and_then(|place| tables(below).get(place).copied());
        let Some(inner) = inner.or_else(|| below.as_table_like()) else { break };
        table = inner;
    }
    found
}

fn element_offset(array: &Item, place: usize) -> Option<usize> {
    let span = match array.as_array_of_tables() {
        Some(tables) => tables.get(place)?.span()?,
        None => array.as_array()?.get(place)?.span()?,
    };
    Some(span.start)
}

/// The key whose value covers a byte.
fn key_at(table: &dyn TableLike, offset: usize) -> Option<String> {
    table.iter().find_map(|(name, item)| match item.as_table_like() {
        Some(below) => key_at(below, offset).map(|key| format!("{name}.{key}")),
        None => key_in(item, offset).map(|(place, key)| format!("{name}[{place}].{key}")).or_else(
            || {
                let value = item.as_value().filter(|value| covers(value, offset))?;
                Some(format!("{name}{}", element_at(value, offset)))
            },
        ),
    })
}

/// The same in an array of tables, with the table's place.
fn key_in(item: &Item, offset: usize) -> Option<(usize, String)> {
    let mut tables = tables(item).into_iter().enumerate();
    tables.find_map(|(place, table)| Some((place, key_at(table, offset)?)))
}

fn element_at(value: &Value, offset: usize) -> String {
    value
        .as_array()
        .and_then(|array| array.iter().position(|value| covers(value, offset)))
        .map_or_else(String::new, |place| format!("[{place}]"))
}

fn covers(value: &Value, offset: usize) -> bool {
    value.span().is_some_and(|span| span.contains(&offset))
}
