//! The body of a request: so many bytes, or chunks (RFC 9112 §7.1).

use alloc::vec::Vec;

use httparse::Status;

use super::{
    super::refusal::Refusal,
    head::{Framing, TOO_LARGE},
};

/// Longest line that tells a chunk's size, with its extensions.
const SIZE_LINE: usize = 256;

/// Most bytes of trailer fields, which are not looked at.
const TRAILER: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes are missing.
    Counted(usize),
    Size,
    Chunk(usize),
    /// The line end after a chunk.
    ChunkEnd,
    /// Trailer fields, of which so many bytes have come.
    Trailer(usize),
    Done,
}

#[derive(Debug)]
pub(super) struct Body {
    state: State,
    bytes: Vec<u8>,
    limit: usize,
}

impl Body {
    pub(super) fn new(framing: Framing, limit: usize) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Counted(length),
            Framing::Chunked => State::Size,
        };
        Self { state, bytes: Vec::new(), limit }
    }

    /// Takes what belongs to the body and can be understood yet, and tells how much that was.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        let mut rest = input;
        loop {
            let used = self.step(rest)?;
            rest = rest.get(used..).unwrap_or_default();
            if used == 0 {
                return Ok(input.len() - rest.len());
            }
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn step(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        match self.state {
            State::Counted(left) => {
                let (used, left) = self.collect(input, left);
                self.state = if left == 0 { State::Done } else { State::Counted(left) };
                Ok(used)
            }
            State::Size => self.size(input),
            State::Chunk(left) => {
                let (used, left) = self.collect(input, left);
                self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                Ok(used)
            }
            State::ChunkEnd => match input {
                [b'\r', b'\n', ..] => {
                    self.state = State::Size;
                    Ok(2)
                }
                [] | [b'\r'] => Ok(0),
                _ => Err(MALFORMED),
            },
            State::Trailer(so_far) => self.trailer(input, so_far),
            State::Done => Ok(0),
        }
    }

    fn collect(&mut self, input: &[u8], left: usize) -> (usize, usize) {
        let piece = input.get(..left).unwrap_or(input);
        self.bytes.extend_from_slice(piece);
        (piece.len(), left - piece.len())
    }

    fn size(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        match httparse::parse_chunk_size(input).map_err(|_| MALFORMED)? {
            Status::Partial if input.len() > SIZE_LINE => Err(MALFORMED),
            Status::Partial => Ok(0),
            Status::Complete((used, _)) if input.iter().take(1).any(|b| !b.is_ascii_hexdigit()) => {
                debug_assert!(used > 0);
                Err(MALFORMED)
            }
            Status::Complete((used, 0)) => {
                self.state = State::Trailer(0);
                Ok(used)
            }
            Status::Complete((used, size)) => {
                let room = self.limit.saturating_sub(self.bytes.len());
                let size = usize::try_from(size).ok().filter(|size| *size <= room);
                self.state = State::Chunk(size.ok_or(TOO_LARGE)?);
                Ok(used)
            }
        }
    }

    /// One line; an empty one ends the body.
    fn trailer(&mut self, input: &[u8], so_far: usize) -> Result<usize, Refusal> {
        let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else {
            let long = so_far + input.len() > TRAILER;
            return if long { Err(Refusal::new(431, "the trailer is too long")) } else { Ok(0) };
        };
        let used = end + 2;
        if so_far + used > TRAILER {
            return Err(Refusal::new(431, "the trailer is too long"));
        }
        self.state = if end == 0 { State::Done } else { State::Trailer(so_far + used) };
        Ok(used)
    }
}

const MALFORMED: Refusal = Refusal::new(400, "the chunks of the body are malformed");

#[cfg(test)]
mod tests {
    use alloc::{format, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn chunked(input: &[u8], piece: usize) -> Result<(Vec<u8>, usize), Refusal> {
        let mut body = Body::new(Framing::Chunked, 1_000);
        let mut pending = Vec::new();
        let mut used = 0;
        for part in input.chunks(piece) {
            pending.extend_from_slice(part);
            let taken = body.take(&pending)?;
            pending.drain(..taken);
            used += taken;
        }
        assert!(body.is_done(), "not at its end");
        Ok((body.into_bytes(), used))
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let input = b"4;x=y\r\nWiki\r\n5\r\npedia\r\n0\r\nA: b\r\n\r\nGET";
        for piece in 1..input.len() {
            let whole = (b"Wikipedia".to_vec(), input.len() - 3);
            assert_eq!(chunked(input, piece), Ok(whole), "{piece}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for input in [
            &b"x\r\n"[..],
            b"\r\n",
            b"4\r\nWikix\r\n",
            b";\r\n",
            b"-1\r\n",
            b"11111111111111111\r\n",
        ] {
            let refused = Body::new(Framing::Chunked, 1_000).take(input);
            assert_eq!(refused.map_err(|r| r.status), Err(400), "{input:?}");
        }
        let long = format!("4;{}", "x".repeat(300));
        let refused = Body::new(Framing::Chunked, 1_000).take(long.as_bytes());
        assert_eq!(refused.map_err(|r| r.status), Err(400));
    }

    #[test]
    fn large_chunks_are_refused_before_they_come() {
        for (input, status) in [(&b"3e9\r\n"[..], 413), (b"ffffffffffffffff\r\n", 413)] {
            let refused = Body::new(Framing::Chunked, 1_000).take(input);
            assert_eq!(refused.map_err(|r| r.status), Err(status));
        }
        let trailer = format!("0\r\n{}", "A: b\r\n".repeat(1_000));
        let refused = Body::new(Framing::Chunked, 1_000).take(trailer.as_bytes());
        assert_eq!(refused.map_err(|r| r.status), Err(431));
    }

    #[test]
    fn a_counted_body_ends_at_its_length() {
        let mut body = Body::new(Framing::Length(5), 1_000);
        assert_eq!(body.take(b"ab"), Ok(2));
        assert!(!body.is_done());
        assert_eq!(body.take(b"cdeGET"), Ok(3));
        assert!(body.is_done());
        assert_eq!(body.into_bytes(), b"abcde");
    }

    proptest! {
        #[test]
        fn any_bytes_stay_within_the_limit(input in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'9'), any::<u8>()], 0..200)) {
            let mut body = Body::new(Framing::Chunked, 20);
            let _ = body.take(&input);
            prop_assert!(body.bytes.len() <= 20);
        }

        #[test]
        fn chunks_come_back(pieces in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 1..40), 0..8), piece in 1..50usize) {
            let mut input = vec![];
            for piece in &pieces {
                input.extend(format!("{:X}\r\n", piece.len()).into_bytes());
                input.extend(piece);
                input.extend(b"\r\n");
            }
            input.extend(b"0\r\n\r\n");
            prop_assert_eq!(chunked(&input, piece), Ok((pieces.concat(), input.len())));
        }
    }
}
