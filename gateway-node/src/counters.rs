//! What was dropped, and why: noise is not an error.

/// Counts since the start; each stops at its largest value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records or messages that are not what they say they are.
    pub malformed: u32,
    /// Well-formed, but nothing waits for it.
    pub unexpected: u32,
    /// Numbers seen before, or too old.
    pub replayed: u32,
    /// Numbers of a mapped session that came too early and could not be kept.
    pub early: u32,
    /// Records of a session that do not authenticate.
    pub forged: u32,
    /// First protected records that verify in neither mode: a wrong key, or an attacker (E2E §V-B,
    /// Fig. 3).
    pub attackers: u32,
    /// First protected records that were not tried, as too many had failed.
    pub untried: u32,
    /// ClientHellos whose cookie is missing or wrong.
    pub cookies: u32,
    /// ClientHellos that ask for what the server does not do.
    pub refused: u32,
    /// ClientHellos that found no room, and datagrams that came before the last was read.
    pub crowded: u32,
    /// Handshakes that ran out of time.
    pub expired: u32,
    /// Handshakes that were completed.
    pub connected: u32,
}

#[inline(never)]
pub(crate) fn count(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}
