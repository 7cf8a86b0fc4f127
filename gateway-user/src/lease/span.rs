//! Entries of the allow-list that were given a time (`--for`) and not a date: like leases they are
//! measured on the monotonic clock, so that no step of the wall clock takes from them or adds to
//! them. The file says how long and, for people and for reboots, until when; the store says the rest.
use super::end::{Clocks, End, Left, wall_of};
use crate::allow::Entry;
use core::time::Duration;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// The time of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Span {
    source: IpNet,
    /// What the file says: another date or time there is another entry.
    written: (u64, Duration),
    end: End,
}

impl Span {
    /// The time of an entry that is seen for the first time: what its date leaves, and never more
    /// than it was given.
    fn begin(entry: &Entry, clocks: &Clocks) -> Option<Self> {
        let written = written(entry)?;
        let given = u64::try_from(written.1.as_millis()).unwrap_or(u64::MAX);
        let left = written.0.saturating_sub(clocks.wall_ms).min(given);
        Some(Self { source: entry.source, written, end: End::new(clocks.ahead(left), clocks) })
    }

    /// Whether it is this entry's, as it stands in the file.
    pub fn is_of(&self, entry: &Entry) -> bool {
        self.source == entry.source && written(entry) == Some(self.written)
    }
}

fn written(entry: &Entry) -> Option<(u64, Duration)> {
    Some((wall_of(entry.expires?), entry.lasting?))
}

/// The times of all entries that have one.
#[derive(Debug, Default)]
pub(super) struct Spans {
    known: HashMap<IpNet, Span>,
    changed: bool,
}

impl Spans {
    /// Takes up what was kept.
    pub(super) fn resume(kept: Vec<Span>) -> Self {
        let known = kept.into_iter().map(|span| (span.source, span)).collect();
        Self { known, changed: false }
    }

    /// When an entry with a time ends; nothing if that was, or cannot be told.
    pub(super) fn end(&mut self, entry: &Entry, clocks: &Clocks) -> Option<u64> {
        let mut span = match self.known.get(&entry.source).filter(|span| span.is_of(entry)) {
            Some(span) => span.clone(),
            None => Span::begin(entry, clocks)?,
        };
        let left = span.end.left(clocks);
        let expires_ns = match left {
            Left::Until(instant) => Some(instant),
            Left::Nothing => None,
            Left::Unknown => return None,
        };
        if !span.end.is_of(clocks) {
            span.end = End::new(expires_ns.unwrap_or(0), clocks);
        }
        if self.known.get(&entry.source) != Some(&span) {
            self.known.insert(entry.source, span);
            self.changed = true;
        }
        expires_ns
    }

    /// Forgets what is no longer in the file.
    pub(super) fn retain(&mut self, entries: &[Entry]) {
        let there: HashSet<IpNet> = entries.iter().map(|entry| entry.source).collect();
        let before = self.known.len();
        self.known.retain(|source, _| there.contains(source));
        self.changed |= self.known.len() != before;
    }

    /// The times that are over.
    pub(super) fn over(&self, clocks: &Clocks) -> Vec<Span> {
        let over = |span: &&Span| span.end.left(clocks) == Left::Nothing;
        self.known.values().filter(over).cloned().collect()
    }

    /// How many cannot be told before the wall clock is set.
    pub(super) fn waiting(&self, clocks: &Clocks) -> usize {
        self.known.values().filter(|span| span.end.left(clocks) == Left::Unknown).count()
    }

    /// Has every end written again, as the wall clock shows it now.
    pub(super) fn rewrite(&mut self, clocks: &Clocks) {
        for span in self.known.values_mut() {
            match span.end.left(clocks) {
                Left::Until(instant) => span.end = End::new(instant, clocks),
                Left::Nothing => span.end = End::new(0, clocks),
                Left::Unknown => {}
            }
        }
        self.changed |= !self.known.is_empty();
    }

    /// What the store is to keep, if that has changed since it was asked last.
    pub(super) fn take_changed(&mut self) -> Option<Vec<Span>> {
        core::mem::take(&mut self.changed).then(|| self.known.values().cloned().collect())
    }

    /// The store has not kept it.
    pub(super) const fn not_kept(&mut self) {
        self.changed = true;
    }
}
