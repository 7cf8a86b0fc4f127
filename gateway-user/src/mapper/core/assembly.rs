//! The node's handshake messages, put together from fragments in any order.
use bytes::Bytes;
use gateway_common::mapping::handshake::Fragment;

use super::{Reason, stream::Message};

/// Messages after the next one that are kept: a flight has no more ([RFC 5246 §7.3]).
///
/// [RFC 5246 §7.3]: https://www.rfc-editor.org/rfc/rfc5246#section-7.3
const AHEAD: u16 = 8;
/// All messages under way together may have so many times the limit of one.
const SHARE: usize = 2;

/// Orders messages by `message_seq`. Fragments may overlap ([RFC 6347 §4.2.3]), but may not change
/// what has come already.
///
/// [RFC 6347 §4.2.3]: https://www.rfc-editor.org/rfc/rfc6347#section-4.2.3
#[derive(Debug, Default)]
pub(super) struct Assembly {
    next: u16,
    partial: Vec<Partial>,
}

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is kept.
    Kept,
    /// It is of the last message that was taken.
    Last,
    /// It is older, changes what came before, or comes too early.
    Dropped,
}

impl Assembly {
    /// Whether a fragment is of a message that was taken.
    pub(super) fn is_past(&self, fragment: &Fragment<'_>) -> bool {
        fragment.header.message_seq < self.next
    }

    /// Places a fragment; messages are of at most `limit` bytes.
    pub(super) fn place(
        &mut self,
        fragment: &Fragment<'_>,
        limit: usize,
    ) -> Result<Placed, Reason> {
        let header = fragment.header;
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let Some(ahead) = header.message_seq.checked_sub(self.next) else {
            let last = header.message_seq.checked_add(1) == Some(self.next);
            return Ok(if last { Placed::Last } else { Placed::Dropped });
        };
        if length > limit {
            return Err(Reason::NodeMalformed);
        }
        let known = self.partial.iter_mut().find(|partial| partial.seq == header.message_seq);
        if let Some(partial) = known {
            return Ok(partial.place(fragment));
        }
        let held: usize = self.partial.iter().map(|partial| partial.body.len()).sum();
        if ahead > AHEAD || ahead > 0 && held + length > SHARE * limit {
            return Ok(Placed::Dropped);
        }
        let mut partial = Partial::new(header.message_seq, header.kind, length);
        let placed = partial.place(fragment);
        self.partial.push(partial);
        Ok(placed)
    }

    /// The next message in order, once it is whole.
    pub(super) fn next(&mut self) -> Option<Message> {
        let whole = |partial: &Partial| partial.seq == self.next && partial.missing == 0;
        let index = self.partial.iter().position(whole)?;
        let partial = self.partial.swap_remove(index);
        self.next = self.next.checked_add(1)?;
        Some(Message { kind: partial.kind, body: Bytes::from(partial.body) })
    }

    pub(super) fn memory(&self) -> usize {
        let held = self.partial.iter().map(|partial| partial.body.len() * 9 / 8);
        held.sum::<usize>() + self.partial.capacity() * size_of::<Partial>()
    }
}

#[derive(Debug)]
struct Partial {
    seq: u16,
    kind: u8,
    body: Vec<u8>,
    /// A bit for each byte that came: fragments of one byte each must not cost more than one of all.
    present: Vec<u8>,
    missing: usize,
}

impl Partial {
    fn new(seq: u16, kind: u8, length: usize) -> Self {
        let present = vec![0; length.div_ceil(8)];
        Self { seq, kind, body: vec![0; length], present, missing: length }
    }

    fn place(&mut self, fragment: &Fragment<'_>) -> Placed {
        let header = fragment.header;
        let start = usize::try_from(header.fragment_offset).unwrap_or(usize::MAX);
        let same = usize::try_from(header.length) == Ok(self.body.len());
        let offsets = || (start..).zip(fragment.body.iter().copied());
        if header.kind != self.kind || !same || offsets().any(|(at, byte)| self.differs(at, byte)) {
            return Placed::Dropped;
        }
        offsets().for_each(|(at, byte)| self.set(at, byte));
        Placed::Kept
    }

    fn has(&self, at: usize) -> bool {
        self.present.get(at / 8).is_some_and(|bits| bits >> (at % 8) & 1 == 1)
    }

    fn differs(&self, at: usize, byte: u8) -> bool {
        self.has(at) && self.body.get(at) != Some(&byte)
    }

    fn set(&mut self, at: usize, byte: u8) {
        if self.has(at) {
            return;
        }
        if let (Some(place), Some(bits)) = (self.body.get_mut(at), self.present.get_mut(at / 8)) {
            *place = byte;
            *bits |= 1 << (at % 8);
            self.missing -= 1;
        }
    }
}
