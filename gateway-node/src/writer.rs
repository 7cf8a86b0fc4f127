//! Front to back into the caller's bytes.

/// A buffer and how much of it is written; what does not fit is not written at all.
pub(crate) struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes written.
    pub(crate) fn len(&self) -> usize {
        self.at
    }

    /// What is not written yet.
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.at..).unwrap_or_default()
    }

    /// Counts bytes that were written to [`Self::rest`].
    pub(crate) fn advance(&mut self, count: usize) {
        self.at += count;
    }

    /// Writes all pieces, or none.
    #[must_use]
    pub(crate) fn put(&mut self, pieces: &[&[u8]]) -> bool {
        let mut length = 0;
        for piece in pieces {
            length += piece.len();
        }
        let Some(place) = self.rest().get_mut(..length) else {
            return false;
        };
        for (place, byte) in place.iter_mut().zip(pieces.iter().copied().flatten()) {
            *place = *byte;
        }
        self.at += length;
        true
    }
}
