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
    let document = Document::parse(text).map_err(|error| Error::Syntax {
        file: origin.to_owned(),
        line: line(text, error.span().map_or(0, |span| span.start)),
        problem: problem(error.message()),
    })?;
    let known = toml::Table::try_from(File::default()).unwrap_or_default();
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
            .map_or_else(|| message.clone(), |(_, what)| format!("expected {what}"));
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

/// The place of `a.b[1]`, or of the deepest table on the way to it.
fn offset(item: &Item, key: &str) -> Option<usize> {
    let mut found = None;
    let mut item = item;
    for part in key.split('.') {
        let (name, place) = match part.split_once('[') {
            Some((name, place)) => (name, place.trim_end_matches(']').parse().ok()),
            None => (part, None),
        };
        let Some(table) = item.as_table_like() else {
            break;
        };
        let Some(below) = table.get(name) else { break };
        found = Some(key_offset(table, name));
        let element = place.and_then(|place: usize| below.as_array()?.get(place)?.span());
        found = element.map_or(found, |span| Some(span.start));
        item = below;
    }
    found
}

/// The key whose value covers a byte.
fn key_at(table: &dyn TableLike, offset: usize) -> Option<String> {
    table.iter().find_map(|(name, item)| match item.as_table_like() {
        Some(below) => key_at(below, offset).map(|key| format!("{name}.{key}")),
        None => item
            .as_value()
            .filter(|value| covers(value, offset))
            .map(|value| format!("{name}{}", element_at(value, offset))),
    })
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
