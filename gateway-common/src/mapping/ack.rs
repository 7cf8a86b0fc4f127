//! What a receiver has of an epoch, told hop by hop between router and node.
//!
//! TLS tolerates no gap, and DTLS repairs none, so the two repair the records of a mapped session
//! themselves. Deviation: RFC 9147 §7 gives content type 26 to DTLS 1.3 and lists record numbers;
//! here it stands in a DTLS 1.2 flow, in clear, with a body of ten bytes. A stack that does not
//! know it discards it. It is not authenticated: forging it can stall a session, as dropping frames
//! can, and no more.
use super::{Position, sequence::NUMBER_MAX};

/// Bytes in a report.
pub const LENGTH: usize = 10;

/// Records that a report can name beyond the first missing one.
pub const SPAN: u64 = 16;

/// Body of a record of type 26 in epoch 0: epoch:2 | next:6 | received:2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The epoch, and the lowest number in it that the receiver still waits for.
    pub next: Position,
    /// Bit `i` stands for number `next + 1 + i`, which the receiver has.
    pub received: u16,
}

impl Report {
    /// Reads a body, or `None` when it is none of ours.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let &[e0, e1, n0, n1, n2, n3, n4, n5, r0, r1] = body.first_chunk::<LENGTH>()?;
        let next = Position {
            epoch: u16::from_be_bytes([e0, e1]),
            number: u64::from_be_bytes([0, 0, n0, n1, n2, n3, n4, n5]),
        };
        let received = u16::from_be_bytes([r0, r1]);
        (body.len() == LENGTH).then_some(Self { next, received })
    }

    /// Writes it.
    #[must_use]
    pub fn write(self) -> [u8; LENGTH] {
        let [e0, e1, n0, n1, n2, n3, n4, n5] = self.next.dtls_sequence();
        let [r0, r1] = self.received.to_be_bytes();
        [e0, e1, n0, n1, n2, n3, n4, n5, r0, r1]
    }

    /// Whether the receiver has this record.
    #[must_use]
    pub const fn has(&self, position: Position) -> bool {
        if position.epoch != self.next.epoch {
            return false;
        }
        match position.number.checked_sub(self.next.number) {
            None => true,
            Some(0) => false,
            Some(ahead) => ahead <= SPAN && self.received >> (ahead - 1) & 1 == 1,
        }
    }

    /// The same with this record received, beyond `next`; `None` where it cannot be named.
    #[must_use]
    pub const fn with(self, position: Position) -> Option<Self> {
        let ahead = position.number.wrapping_sub(self.next.number);
        if position.epoch != self.next.epoch || position.number > NUMBER_MAX {
            return None;
        }
        match ahead {
            1..=SPAN => Some(Self { received: self.received | 1 << (ahead - 1), ..self }),
            _ => None,
        }
    }
}
