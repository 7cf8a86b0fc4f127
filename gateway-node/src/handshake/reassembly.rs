//! Fragmented messages, joined in one buffer that all peers share (RFC 6347 §4.2.3).

use gateway_common::mapping::handshake::{Fragment, Header};

use crate::{Instant, Peer};

/// A message whose fragments stopped coming for so long, in milliseconds, gives way.
const PATIENCE: u64 = 5_000;

/// A message that is not whole yet. Eight ninths of the bytes are its body; the rest has a bit for
/// each of them.
pub(crate) struct Reassembly<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) holder: &'a mut Option<Holder>,
}

/// Whose message it is.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    peer: Peer,
    header: Header,
    /// Bytes not there yet.
    missing: usize,
    /// Whether the peer has shown that it is where it says.
    proven: bool,
    moved: Instant,
}

/// What became of a fragment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// It is kept, or was known.
    Partial,
    /// It was the last: so many of the buffer's first bytes are the body.
    Whole(usize),
    /// Another message has the buffer.
    Occupied,
    /// It contradicts what was there, or no message of that length fits.
    Refused,
}

impl Reassembly<'_> {
    /// Longest body that can be joined.
    fn capacity(&self) -> usize {
        self.bytes.len() / 9 * 8
    }

    /// Adds a fragment. Overlaps are fine, changed bytes are not.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        peer: Peer,
        fragment: &Fragment<'_>,
        proven: bool,
    ) -> Joined {
        let header = Header::whole(
            fragment.header.kind,
            fragment.header.length,
            fragment.header.message_seq,
        );
        let length = header.length as usize;
        if length > self.capacity() || fragment.body.is_empty() {
            return Joined::Refused;
        }
        let same = |holder: &Holder| holder.peer == peer && holder.header == header;
        let mut holder = match *self.holder {
            Some(holder) if same(&holder) => holder,
            Some(holder) if !holder.yields(now, peer, proven, header.message_seq) => {
                return Joined::Occupied;
            }
            Some(_) | None => {
                self.lend(Holder { peer, header, missing: length, proven, moved: now })
            }
        };
        let Some(added) = self.fill(fragment) else {
            return Joined::Refused;
        };
        if added > 0 {
            holder.moved = now;
        }
        holder.missing -= added;
        holder.proven |= proven;
        *self.holder = (holder.missing > 0).then_some(holder);
        match *self.holder {
            Some(_) => Joined::Partial,
            None => Joined::Whole(length),
        }
    }

    fn lend(&mut self, holder: Holder) -> Holder {
        let capacity = self.capacity();
        self.bytes.iter_mut().skip(capacity).for_each(|byte| *byte = 0);
        *self.holder = Some(holder);
        holder
    }

    /// Copies a fragment into its place, and returns how many of its bytes are new.
    fn fill(&mut self, fragment: &Fragment<'_>) -> Option<usize> {
        let capacity = self.capacity();
        let (body, marks) = self.bytes.split_at_mut_checked(capacity)?;
        let offset = fragment.header.fragment_offset as usize;
        let place = body.get_mut(offset..)?.get_mut(..fragment.body.len())?;
        let is_marked = |at: usize, marks: &[u8]| {
            marks.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
        };
        let pieces = || (offset..).zip(fragment.body);
        if pieces().zip(place.iter()).any(|((at, new), old)| is_marked(at, marks) && old != new) {
            return None;
        }
        let mut added = 0;
        for ((at, new), place) in pieces().zip(place) {
            added += usize::from(!is_marked(at, marks));
            *marks.get_mut(at / 8)? |= 1 << (at % 8);
            *place = *new;
        }
        Some(added)
    }
}

impl Holder {
    /// Whether another message may have the buffer: one of a peer that is proven when this is not,
    /// a later one of the same peer, and any when this does not move.
    fn yields(&self, now: Instant, peer: Peer, proven: bool, message_seq: u16) -> bool {
        (proven && !self.proven)
            || (peer == self.peer && message_seq > self.header.message_seq)
            || now.since(self.moved) >= PATIENCE
    }
}
