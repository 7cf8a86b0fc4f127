//! Keeping a lease open, sans-IO: when to ask, and what has changed.
use core::time::Duration;
use std::time::Instant;

/// Waits after failures, doubled each time: first and longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);
/// After a refusal nothing changes within seconds: somebody has to do something.
const REFUSED: Duration = Duration::from_secs(10);
const REFUSED_LONGEST: Duration = Duration::from_mins(5);
/// Shortest time between renewals.
const BREATH: Duration = Duration::from_millis(500);

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is known yet.
    Starting,
    /// A lease is held.
    Held {
        /// Its name.
        id: String,
        /// The address that it is for.
        source: String,
        /// The nodes that it covers; none means all.
        nodes: Vec<String>,
    },
    /// The router said no.
    Refused {
        /// Which kind of problem.
        kind: String,
        /// What it said.
        detail: String,
    },
    /// The router does not answer.
    Unreachable {
        /// What went wrong.
        error: String,
    },
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How things stand now.
    pub state: State,
    /// How long the lease lasts, if there is one.
    pub lasts: Duration,
}

/// A lease that is to be kept open.
#[derive(Debug)]
pub struct Hold {
    state: State,
    next: Instant,
    ends: Option<Instant>,
    failures: u32,
}

impl Hold {
    /// Starts; the first request is due at once.
    pub const fn new(now: Instant) -> Self {
        Self { state: State::Starting, next: now, ends: None, failures: 0 }
    }

    /// When the next request is due.
    pub const fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// How things stand.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Whether a lease that was granted is still open, though the router may not answer.
    pub fn is_held(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| now < ends)
    }

    /// Takes in what came of a request; whether that changes how things stand. `chance` spreads
    /// the waits of many back-ends that lost their router in the same moment.
    pub fn handle_outcome(&mut self, now: Instant, outcome: Outcome, chance: u32) -> bool {
        match &outcome.state {
            State::Held { .. } | State::Starting => {
                self.failures = 0;
                self.ends = Some(now + outcome.lasts);
                self.next = now + (outcome.lasts / 2).max(BREATH);
            }
            State::Refused { .. } => {
                self.ends = None;
                self.back_off(now, REFUSED, REFUSED_LONGEST, chance);
            }
            State::Unreachable { .. } => self.back_off(now, FIRST, LONGEST, chance),
        }
        let changed = !same(&self.state, &outcome.state);
        self.state = outcome.state;
        changed
    }

    /// Waits between half of the full time and all of it.
    fn back_off(&mut self, now: Instant, first: Duration, longest: Duration, chance: u32) {
        let full = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let part = f64::from(chance) / f64::from(u32::MAX);
        self.next = now + full / 2 + (full / 2).mul_f64(part);
    }
}

/// Whether two states are one to a person: an error in other words is no news.
fn same(one: &State, other: &State) -> bool {
    match (one, other) {
        (State::Unreachable { .. }, State::Unreachable { .. }) => true,
        (State::Refused { kind, .. }, State::Refused { kind: other, .. }) => kind == other,
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(id: &str, seconds: u64) -> Outcome {
        let state = State::Held { id: id.into(), source: "2001:db8::1".into(), nodes: Vec::new() };
        Outcome { state, lasts: Duration::from_secs(seconds) }
    }

    fn unreachable(error: &str) -> Outcome {
        let state = State::Unreachable { error: error.into() };
        Outcome { state, lasts: Duration::ZERO }
    }

    #[test]
    fn a_lease_is_renewed_at_half_its_life() {
        let now = Instant::now();
        let mut hold = Hold::new(now);
        assert_eq!(hold.poll_timeout(), now);
        assert!(hold.handle_outcome(now, held("a", 60), 0));
        assert_eq!(hold.poll_timeout(), now + Duration::from_secs(30));
        let later = hold.poll_timeout();
        assert!(!hold.handle_outcome(later, held("a", 60), 0), "a renewal is no news");
        assert!(hold.handle_outcome(later, held("b", 60), 0), "another lease is");
    }

    #[test]
    fn a_router_that_is_gone_is_asked_ever_less_often() {
        let mut now = Instant::now();
        let mut hold = Hold::new(now);
        hold.handle_outcome(now, held("a", 60), 0);
        let mut waits = Vec::new();
        for n in 0..9 {
            assert_eq!(hold.handle_outcome(now, unreachable("refused"), u32::MAX), n == 0);
            waits.push((hold.poll_timeout() - now).as_secs());
            now = hold.poll_timeout();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(!hold.is_held(now));
        hold.handle_outcome(now, held("a", 60), 0);
        hold.handle_outcome(now, unreachable("timed out"), 0);
        assert_eq!(hold.poll_timeout() - now, Duration::from_millis(500), "from the beginning");
        assert!(hold.is_held(now), "the lease lasts though the router does not answer");
    }

    #[test]
    fn a_refusal_is_news_once() {
        let now = Instant::now();
        let refused = |kind: &str| Outcome {
            state: State::Refused { kind: kind.into(), detail: "no".into() },
            lasts: Duration::ZERO,
        };
        let mut hold = Hold::new(now);
        assert!(hold.handle_outcome(now, refused("a"), 0));
        assert!(!hold.handle_outcome(now, refused("a"), 0));
        assert!(hold.handle_outcome(now, refused("b"), 0));
        assert!(hold.poll_timeout() >= now + REFUSED / 2);
    }
}
