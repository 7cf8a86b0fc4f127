//! What outlives the agent: the store, what it has yet to be told, and the wall clock, by which what
//! is kept is measured over a reboot.
use super::{
    Error, Id, Lease, Record, Store, StoreError, Table,
    end::{self, Clocks, End, Left},
    span::Spans,
};
use core::time::Duration;
use std::{collections::BTreeSet, path::Path};

/// A wall clock that is off by so much has been set. Slewing moves both clocks alike.
const STEP_MS: u64 = 1000;

/// The store, and what stands between it and the table.
#[derive(Debug)]
pub(super) struct Kept {
    store: Store,
    /// Entries of the allow-list that last for a time.
    pub(super) spans: Spans,
    keep: BTreeSet<Id>,
    forget: BTreeSet<Id>,
    /// When something was kept last: a clock before that, after a reboot, is not set yet.
    seen: Option<End>,
    /// That is to be written anew.
    due: bool,
    /// [`end::distance_ms`] when what is kept was last in step with it.
    distance_ms: i64,
}

impl Kept {
    /// Opens the store below `directory`, waiting `patience` for another process that has it.
    pub(super) fn open(directory: &Path, patience: Duration) -> Result<Self, StoreError> {
        let store = Store::open(directory, patience)?;
        let (spans, seen) = (Spans::resume(store.spans()?), store.seen()?);
        let distance_ms = end::distance_ms();
        let (keep, forget) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { store, spans, keep, forget, seen, due: true, distance_ms })
    }

    /// This instant, and whether the wall clock can be gone by.
    pub(super) fn clocks(&self) -> Result<Clocks, Error> {
        let mut clocks = Clocks::read().map_err(Error::Clock)?;
        clocks.set = self.seen.as_ref().is_none_or(|seen| seen.left(&clocks) != Left::Unknown);
        Ok(clocks)
    }

    /// The leases that were kept and are not over, to be written on this run's clock from now on.
    pub(super) fn leases(&mut self, clocks: &Clocks) -> Result<Vec<Lease>, Error> {
        let records: Vec<Record> = self.store.load()?;
        let kept: BTreeSet<Id> = records.iter().map(|record| record.id).collect();
        let alive: Vec<Lease> =
            records.into_iter().filter_map(|record| record.resume(clocks)).collect();
        self.keep.extend(alive.iter().map(|lease| lease.id));
        self.forget.extend(kept.difference(&self.keep));
        Ok(alive)
    }

    /// The lease is to be kept as it will be then.
    pub(super) fn keep(&mut self, id: Id) {
        self.keep.insert(id);
        self.forget.remove(&id);
    }

    /// The lease is over.
    pub(super) fn forget(&mut self, id: Id) {
        self.keep.remove(&id);
        self.forget.insert(id);
    }

    /// By how many ms somebody has set the wall clock, if that is so; everything is to be written
    /// as it shows now.
    pub(super) fn take_step(&mut self, table: &Table) -> Option<i64> {
        let distance_ms = end::distance_ms();
        let step = distance_ms.wrapping_sub(self.distance_ms);
        if step.unsigned_abs() < STEP_MS {
            return None;
        }
        let clocks = self.clocks().ok()?;
        (self.distance_ms, self.due) = (distance_ms, true);
        self.keep.extend(table.leases().map(|lease| lease.id));
        self.spans.rewrite(&clocks);
        Some(step)
    }

    /// Tells the store what has changed, down to the disk.
    pub(super) fn commit(&mut self, table: &Table) {
        let spans = self.spans.take_changed();
        if self.keep.is_empty() && self.forget.is_empty() && spans.is_none() && !self.due {
            return;
        }
        let told = self.clocks().and_then(|clocks| {
            let alive = self.keep.iter().filter_map(|id| table.lease(id));
            let keep: Vec<Record> = alive.map(|lease| Record::new(lease, &clocks)).collect();
            let forget: Vec<Id> = self.forget.iter().copied().collect();
            let seen = clocks.set.then(|| End::new(clocks.now_ns, &clocks));
            self.store.commit(&keep, &forget, spans.as_deref(), seen.as_ref())?;
            Ok(seen)
        });
        match told {
            Ok(seen) => {
                self.seen = seen.or_else(|| self.seen.take());
                self.due = false;
                self.keep.clear();
                self.forget.clear();
            }
            Err(error) => {
                tracing::error!("leases are not kept over a restart: {error}");
                self.spans.not_kept();
            }
        }
    }
}
