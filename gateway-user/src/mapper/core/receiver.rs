//! Protected records from the node: each once, in order, without a gap.
use bytes::BytesMut;
use gateway_common::mapping::{Position, ack::Report, record::DtlsHeader};

/// Records ahead of the next one that are kept: the greatest window of a node, and the alert with
/// which it gives one of them up.
const AHEAD: u64 = 5;
/// Bytes of them together.
pub(super) const AHEAD_BYTES: usize = 8 << 10;

/// The order of epoch 1.
#[derive(Debug)]
pub(super) struct Receiver {
    next: Position,
    /// The node's ChangeCipherSpec has gone on: what is in order may follow.
    open: bool,
    early: Vec<(DtlsHeader, BytesMut)>,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is the next one, handed back to go on at once.
    Next(BytesMut),
    /// It is kept until those before it have come.
    Early,
    /// It came before.
    Duplicate,
    /// It is too far ahead, or there is no room.
    Beyond,
}

impl Receiver {
    pub(super) const fn new() -> Self {
        Self { next: Position { epoch: 1, number: 0 }, open: false, early: Vec::new() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn open(&mut self) {
        self.open = true;
    }

    /// The number that goes on next.
    pub(super) fn next(&self) -> u64 {
        self.next.number
    }

    /// Places a record (header and fragment) of epoch 1. One handed back counts as gone on.
    pub(super) fn take(&mut self, header: DtlsHeader, record: BytesMut) -> Taken {
        let Some(ahead) = header.position.number.checked_sub(self.next.number) else {
            return Taken::Duplicate;
        };
        if ahead == 0 && self.open {
            self.next.number += 1;
            return Taken::Next(record);
        }
        if self.early.iter().any(|(kept, _)| kept.position == header.position) {
            return Taken::Duplicate;
        }
        let held: usize = self.early.iter().map(|(_, record)| record.len()).sum();
        if ahead >= AHEAD || held + record.len() > AHEAD_BYTES {
            return Taken::Beyond;
        }
        // a copy: a datagram's storage may be a part of something greater
        self.early.push((header, BytesMut::from(&record[..])));
        Taken::Early
    }

    /// The next record, if it came early.
    pub(super) fn poll(&mut self) -> Option<(DtlsHeader, BytesMut)> {
        let next = |(header, _): &(DtlsHeader, _)| header.position == self.next;
        let index = self.early.iter().position(next).filter(|_| self.open)?;
        let found = self.early.swap_remove(index);
        self.next.number += 1;
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        Some(found)
    }

    /// Whether something came that must wait for a record which did not.
    pub(super) fn has_gap(&self) -> bool {
        self.open && !self.early.is_empty()
    }

    /// Forgets what came early: it came before it could have been sent.
    pub(super) fn forget(&mut self) {
        self.early = Vec::new();
    }

    pub(super) fn report(&self) -> Report {
        let report = Report { next: self.next, received: 0 };
        let early = self.early.iter().map(|(header, _)| header.position);
        early.fold(report, |report, position| report.with(position).unwrap_or(report))
    }

    pub(super) fn memory(&self) -> usize {
        let held: usize = self.early.iter().map(|(_, record)| record.capacity()).sum();
        held + self.early.capacity() * size_of::<(DtlsHeader, BytesMut)>()
    }
}
