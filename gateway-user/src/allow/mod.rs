//! The allow-list: a file that the administrator and the command line both edit.
//!
//! ```toml
//! [[allow]]
//! source = "2001:db8:b::2"         # address or prefix
//! nodes = ["2001:db8:1::10"]       # none: every node
//! ports = [5684]                   # none: every service port
//! rate = "20/s"                    # none: the configuration's
//! burst = 40                       # none: two seconds' worth
//! bytes = "8KiB/s"
//! byte_burst = "16KiB"
//! expires = "2026-11-22T15:00:00Z"   # none: never
//! for = "1h"                       # what --for was given: a step of the clock changes nothing
//! comment = "pump station 7"
//! ```
mod document;
mod entry;
mod error;
mod field;
mod store;

pub use entry::Entry;
pub use error::{Error, Problem};
pub use store::{Guard, lock};

use crate::config::{line, problem, units};
use field::Fault;
use ipnet::IpNet;
use std::{collections::HashMap, path::Path, time::SystemTime};
use toml_edit::{Document, DocumentMut, Item, Table};

/// The entries, and the text that they stand in.
#[derive(Clone, Debug, Default)]
pub struct List {
    document: DocumentMut,
    entries: Vec<Entry>,
}

/// What adding an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its source is new.
    Added,
    /// Its source had this entry.
    Replaced(Entry),
}

impl List {
    /// Reads a file; a missing one is an empty list.
    ///
    /// # Errors
    /// [`Error::Read`], and those of [`List::parse`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::parse(&store::read(path)?, &path.display().to_string())
    }

    /// Reads a text; messages call it `origin`.
    ///
    /// # Errors
    /// [`Error::Syntax`], [`Error::Stray`], [`Error::Entry`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let source = Source { text, origin };
        let document = Document::parse(text).map_err(|error| Error::Syntax {
            file: origin.to_owned(),
            line: source.line(error.span()),
            problem: problem(error.message()),
        })?;
        let entries = source.entries(document.as_table())?;
        Ok(Self { document: document.into_mut(), entries })
    }

    /// The entries, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds an entry at the end, or in the place of the one with the same source.
    ///
    /// # Errors
    /// [`Error::Refused`] when a value is not allowed; the list is as it was.
    pub fn add(&mut self, entry: Entry) -> Result<Change, Error> {
        let table = entry.write();
        // What goes out must come in again: one place decides what is valid.
        let entry = Entry::read(&table).map_err(|fault| fault.problem)?;
        let same = |other: &Entry| other.source == entry.source;
        let place = self.entries.iter().position(same);
        let Some((place, old)) = place.and_then(|at| Some((at, self.entries.get_mut(at)?))) else {
            document::append(&mut self.document, table);
            self.entries.push(entry);
            return Ok(Change::Added);
        };
        document::replace(&mut self.document, place, &old.write(), &table);
        Ok(Change::Replaced(core::mem::replace(old, entry)))
    }

    /// Takes the entry of a source out.
    pub fn remove(&mut self, source: &IpNet) -> Option<Entry> {
        let mut entries = self.entries.iter();
        let place = entries.position(|entry| entry.source == *source)?;
        document::remove(&mut self.document, place);
        Some(self.entries.remove(place))
    }

    /// Takes out the entries whose date was, or whose time is `over`.
    pub fn prune(&mut self, now: SystemTime, over: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let ended = self.entries.iter().filter(|entry| entry.has_ended(now) || over(entry));
        let sources: Vec<IpNet> = ended.map(|entry| entry.source).collect();
        sources.iter().filter_map(|source| self.remove(source)).collect()
    }

    /// Replaces the file; a crash at any moment leaves the old or the new one whole. Hold the
    /// [`lock`] from before the file was loaded.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        store::write(path.as_ref(), &self.to_string())
    }
}

impl core::fmt::Display for List {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.document.fmt(out)
    }
}

struct Source<'a> {
    text: &'a str,
    origin: &'a str,
}

impl Source<'_> {
    fn line(&self, span: Option<core::ops::Range<usize>>) -> usize {
        line(self.text, span.map_or(0, |span| span.start))
    }

    fn entries(&self, root: &Table) -> Result<Vec<Entry>, Error> {
        let mut found = Vec::new();
        for (key, item) in root.iter() {
            let tables = match item {
                Item::ArrayOfTables(tables) if key == "allow" => tables,
                Item::Value(value) if key == "allow" && is_empty(value) => continue,
                Item::None | Item::Value(_) | Item::Table(_) | Item::ArrayOfTables(_) => {
                    return Err(self.stray(root, key));
                }
            };
            for (place, table) in tables.iter().enumerate() {
                let failed = |fault| self.wrong(place, fault);
                found.push((Entry::read(table).map_err(failed)?, table));
            }
        }
        self.once_each(&found)?;
        Ok(found.into_iter().map(|(entry, _)| entry).collect())
    }

    fn once_each(&self, found: &[(Entry, &Table)]) -> Result<(), Error> {
        let mut seen = HashMap::new();
        for (place, (entry, table)) in found.iter().enumerate() {
            let Some(first) = seen.insert(entry.source, place + 1) else {
                continue;
            };
            let value = units::Invalid::text(
                &crate::config::prefix::show(&entry.source),
                format!("is the source of entry {first} already: put both into one"),
            );
            return Err(self.wrong(place, Fault::value(table, "source".into(), None, value)));
        }
        Ok(())
    }

    fn stray(&self, root: &Table, key: &str) -> Error {
        let allowed = "expected nothing but entries, each under a line [[allow]]";
        Error::Stray {
            file: self.origin.to_owned(),
            line: self.line(root.key(key).and_then(toml_edit::Key::span)),
            key: problem(key),
            allowed: allowed.to_owned(),
        }
    }

    fn wrong(&self, place: usize, fault: Fault) -> Error {
        Error::Entry {
            file: self.origin.to_owned(),
            line: line(self.text, fault.offset),
            entry: place + 1,
            problem: fault.problem,
        }
    }
}

fn is_empty(value: &toml_edit::Value) -> bool {
    value.as_array().is_some_and(toml_edit::Array::is_empty)
}

#[cfg(test)]
mod tests;
