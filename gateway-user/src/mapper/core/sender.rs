//! Protected records on their way to the node: kept byte for byte until it reports them.
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway_common::mapping::{
    Position,
    ack::Report,
    record::{DTLS12, DtlsHeader},
};

use super::{
    Policy, Reason,
    chance::{Backoff, Chance},
};

/// Counted for each record in the queue besides its bytes, so that many small ones are bounded too.
const OVERHEAD: usize = size_of::<Record>();
/// Places that an empty queue keeps.
const SPARE: usize = 4;

/// The back-end's records after Finished, in order. The first `sent` are in flight.
#[derive(Debug)]
pub(super) struct Sender {
    queue: VecDeque<Record>,
    /// Of the first in the queue.
    first: Position,
    sent: usize,
    cost: usize,
    timer: Option<Backoff>,
    tries: u8,
}

#[derive(Debug)]
struct Record {
    fragment: Bytes,
    content: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be sent, or sent again.
    Due,
    Sent,
    Reported,
}

impl Sender {
    /// Finished is number 0 and goes with its flight: the first record here is number 1.
    pub(super) const fn new() -> Self {
        let first = Position { epoch: 1, number: 1 };
        Self { queue: VecDeque::new(), first, sent: 0, cost: 0, timer: None, tries: 0 }
    }

    pub(super) fn push(&mut self, content: u8, fragment: Bytes) {
        self.cost += fragment.len() + OVERHEAD;
        self.queue.push_back(Record { fragment, content, state: State::Due });
    }

    /// Bytes queued, with what each record costs besides.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Whether the node has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of the next record's fragment, if the window lets one go.
    pub(super) fn peek(&self, policy: &Policy) -> Option<usize> {
        let due = self.due(policy)?;
        self.queue.get(due).map(|record| record.fragment.len())
    }

    /// The next record, and whether it went before.
    pub(super) fn poll(
        &mut self,
        policy: &Policy,
        now: Instant,
        chance: &mut Chance,
    ) -> Option<(DtlsHeader, Bytes, bool)> {
        let index = self.due(policy)?;
        let record = self.queue.get_mut(index)?;
        record.state = State::Sent;
        let header = DtlsHeader {
            content: record.content,
            version: DTLS12,
            position: ahead(self.first, index),
            length: u16::try_from(record.fragment.len()).unwrap_or(u16::MAX),
        };
        let fragment = record.fragment.clone();
        let again = index < self.sent;
        self.sent = self.sent.max(index + 1);
        if self.timer.is_none() {
            self.timer = Some(Backoff::start(now, chance.spread(policy.ack_timeout)));
        }
        Some((header, fragment, again))
    }

    fn due(&self, policy: &Policy) -> Option<usize> {
        let mut window = self.queue.iter().take(policy.window());
        window.position(|record| record.state == State::Due)
    }

    /// Takes the node's report; one of records that were never sent is forged, and `false`.
    pub(super) fn report(&mut self, report: Report, now: Instant, timeout: Duration) -> bool {
        let end = ahead(self.first, self.sent);
        if report.next.epoch != end.epoch || report.next > end {
            return false;
        }
        let mut news = false;
        let first = self.first;
        for (index, record) in self.queue.iter_mut().take(self.sent).enumerate() {
            if record.state != State::Reported && report.has(ahead(first, index)) {
                record.state = State::Reported;
                self.cost -= record.fragment.len() + OVERHEAD;
                record.fragment = Bytes::new();
                news = true;
            }
        }
        self.forget();
        if news {
            self.tries = 0;
            self.timer = (self.sent > 0).then(|| Backoff::start(now, timeout));
        }
        true
    }

    fn forget(&mut self) {
        while self.queue.front().is_some_and(|record| record.state == State::Reported) {
            self.queue.pop_front();
            self.first = ahead(self.first, 1);
            self.sent -= 1;
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(SPARE);
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.timer.map(|timer| timer.due)
    }

    /// Sends what is in flight again if the timer has passed, up to `retries` times.
    pub(super) fn handle_timeout(&mut self, now: Instant, retries: u8) -> Result<(), Reason> {
        let Some(next) = self.timer.and_then(|timer| timer.passed(now)) else {
            return Ok(());
        };
        if self.tries >= retries {
            return Err(Reason::NoAnswer);
        }
        self.tries += 1;
        self.timer = Some(next);
        for record in self.queue.iter_mut().take(self.sent) {
            if record.state == State::Sent {
                record.state = State::Due;
            }
        }
        Ok(())
    }

    pub(super) fn memory(&self) -> usize {
        let held: usize = self.queue.iter().map(|record| record.fragment.len()).sum();
        held + self.queue.capacity() * size_of::<Record>()
    }
}

/// So many records on. 2^48 of them are never reached.
fn ahead(position: Position, records: usize) -> Position {
    let records = u64::try_from(records).unwrap_or(u64::MAX);
    Position { number: position.number.saturating_add(records), ..position }
}
