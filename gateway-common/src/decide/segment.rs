//! What a TCP segment may do to the router's sockets (E2E §VI): decided from the segment's flags
//! and number and from the socket that the kernel finds for it.
use super::Reason;

/// Control bits (RFC 9293 §3.1).
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets it.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
}

/// A segment, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Control bits.
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
}

/// What the kernel has for the segment's addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No socket.
    Nothing,
    /// Only a listening one.
    Listening,
    /// A connection that is being opened, or was closed a moment ago.
    Passing,
    /// A connection.
    Open {
        /// The next number that it waits for, where the kernel tells.
        next: Option<u32>,
    },
}

impl Found {
    /// What a socket's state means (`enum` in the kernel's `net/tcp_states.h`).
    #[inline(always)]
    pub const fn of(state: u32, next: Option<u32>) -> Self {
        match state {
            // established, both FIN_WAITs, CLOSE_WAIT, LAST_ACK, CLOSING
            1 | 4 | 5 | 8 | 9 | 11 => Self::Open { next },
            10 => Self::Listening,
            _ => Self::Passing,
        }
    }
}

/// Where a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a port of the router's own.
    Own,
    /// To a node's mapped port: the socket that listens for it has other addresses, and is not
    /// found by these.
    Mapped,
}

impl Segment {
    #[inline(always)]
    const fn has(self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Judges the segment.
    ///
    /// # Errors
    /// [`Reason::RstSequence`]: RFC 5961 §3.2 makes such a reset a question back, which is none a
    /// node's radio or the router should work for. [`Reason::SynEstablished`]: as §4.2.
    /// [`Reason::TcpSocket`]: nobody would do anything but refuse it.
    #[inline(always)]
    pub fn judge(self, found: Found, way: Way) -> Result<(), Reason> {
        if self.has(flag::RST) {
            return match found {
                Found::Open { next: Some(next) } if next != self.sequence => {
                    Err(Reason::RstSequence)
                }
                Found::Open { .. } | Found::Passing => Ok(()),
                Found::Nothing | Found::Listening => Err(Reason::TcpSocket),
            };
        }
        let opens = self.flags & (flag::SYN | flag::ACK | flag::FIN) == flag::SYN;
        match found {
            Found::Open { .. } if self.has(flag::SYN) => Err(Reason::SynEstablished),
            Found::Open { .. } | Found::Passing => Ok(()),
            _ if opens && self.may_open(found, way) => Ok(()),
            _ if self.may_complete(found, way) => Ok(()),
            Found::Nothing | Found::Listening => Err(Reason::TcpSocket),
        }
    }

    #[inline(always)]
    const fn may_open(self, found: Found, way: Way) -> bool {
        matches!((found, way), (Found::Listening, _) | (_, Way::Mapped))
    }

    /// Whether this could be the answer to a SYN cookie: no socket knows of its connection yet.
    #[inline(always)]
    const fn may_complete(self, found: Found, way: Way) -> bool {
        let listens = matches!((found, way), (Found::Listening, _) | (_, Way::Mapped));
        listens && self.has(flag::ACK) && !self.has(flag::SYN | flag::FIN)
    }
}

#[cfg(test)]
mod tests {
    use super::{flag::*, *};

    const OPEN: Found = Found::Open { next: Some(1000) };

    fn judge(flags: u8, sequence: u32, found: Found, way: Way) -> Result<(), Reason> {
        Segment { flags, sequence }.judge(found, way)
    }

    #[test]
    fn a_reset_passes_in_sequence_only() {
        for way in [Way::Own, Way::Mapped] {
            assert_eq!(judge(RST, 1000, OPEN, way), Ok(()));
            assert_eq!(judge(RST | ACK, 1000, OPEN, way), Ok(()));
            assert_eq!(judge(RST, 1001, OPEN, way), Err(Reason::RstSequence));
            assert_eq!(judge(RST | ACK, 999, OPEN, way), Err(Reason::RstSequence));
            assert_eq!(judge(RST, 999, Found::Open { next: None }, way), Ok(()));
            assert_eq!(judge(RST, 1000, Found::Nothing, way), Err(Reason::TcpSocket));
            assert_eq!(judge(RST, 1000, Found::Listening, way), Err(Reason::TcpSocket));
        }
    }

    #[test]
    fn a_connection_is_opened_once() {
        assert_eq!(judge(SYN, 1, Found::Listening, Way::Own), Ok(()));
        assert_eq!(judge(SYN, 1, Found::Nothing, Way::Mapped), Ok(()));
        assert_eq!(judge(SYN, 1, Found::Nothing, Way::Own), Err(Reason::TcpSocket));
        assert_eq!(judge(SYN, 1, Found::Passing, Way::Own), Ok(()));
        assert_eq!(judge(SYN, 1000, OPEN, Way::Own), Err(Reason::SynEstablished));
        assert_eq!(judge(SYN | ACK, 1000, OPEN, Way::Own), Err(Reason::SynEstablished));
        assert_eq!(judge(SYN | ACK, 1, Found::Listening, Way::Own), Err(Reason::TcpSocket));
    }

    #[test]
    fn segments_reach_connections_and_answers_to_syn_cookies_listeners() {
        assert_eq!(judge(ACK, 7, OPEN, Way::Own), Ok(()));
        assert_eq!(judge(FIN | ACK, 7, Found::Passing, Way::Own), Ok(()));
        assert_eq!(judge(ACK, 7, Found::Listening, Way::Own), Ok(()));
        assert_eq!(judge(ACK, 7, Found::Nothing, Way::Mapped), Ok(()));
        assert_eq!(judge(ACK, 7, Found::Nothing, Way::Own), Err(Reason::TcpSocket));
        for flags in [0, FIN, FIN | ACK, SYN | FIN] {
            assert_eq!(judge(flags, 7, Found::Listening, Way::Own), Err(Reason::TcpSocket));
            assert_eq!(judge(flags, 7, Found::Nothing, Way::Mapped), Err(Reason::TcpSocket));
        }
    }

    #[test]
    fn states_are_those_of_the_kernel() {
        let next = Some(5);
        for state in [1, 4, 5, 8, 9, 11] {
            assert_eq!(Found::of(state, next), Found::Open { next });
        }
        assert_eq!(Found::of(10, next), Found::Listening);
        for state in [2, 3, 6, 7, 12] {
            assert_eq!(Found::of(state, next), Found::Passing);
        }
    }
}
