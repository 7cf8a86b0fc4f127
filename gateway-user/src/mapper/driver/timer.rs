//! When connections want to be woken. Only what is due before the next sweep is kept: a deadline
//! that moves with each record is looked at once a second, and costs nothing in between.
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

/// How often all connections are looked at.
pub(super) const SWEEP: Duration = Duration::from_secs(1);

/// The thread does not wake up for deadlines more often than this: what was to be done by then has
/// mostly been done with something that came before, and no deadline here is so near that a moment
/// counts.
const SLACK: Duration = Duration::from_millis(8);

/// Deadlines of connections by place and number, and the next sweep.
pub(super) struct Timers {
    due: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    sweep: Instant,
}

impl Timers {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: BinaryHeap::new(), sweep: now + SWEEP }
    }

    /// Keeps a connection's deadline, if the next sweep would be too late for it. `kept` is the
    /// earliest one that is kept for it already.
    pub(super) fn keep(&mut self, place: usize, id: u64, at: Instant, kept: &mut Option<Instant>) {
        if at < self.sweep && kept.is_none_or(|kept| at < kept) {
            *kept = Some(at);
            self.due.push(Reverse((at, place, id)));
        }
    }

    /// The next deadline that is over.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, usize, u64)> {
        let Reverse(first) = *self.due.peek()?;
        if first.0 > now {
            return None;
        }
        self.due.pop();
        Some(first)
    }

    /// Whether it is time to look at all connections; the next time is a while away then.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        let due = now >= self.sweep;
        if due {
            self.sweep = now + SWEEP;
        }
        due
    }

    /// How long nothing will happen by itself, given whether there is anything to sweep.
    pub(super) fn wait(&self, now: Instant, sweeps: bool) -> Option<Duration> {
        let first = self.due.peek().map(|Reverse(first)| first.0);
        let sweep = sweeps.then_some(self.sweep);
        let next = first.into_iter().chain(sweep).min()?;
        Some(next.saturating_duration_since(now).max(SLACK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_due_before_the_sweep_is_kept() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        let mut kept = None;
        timers.keep(1, 7, now + SWEEP * 2, &mut kept);
        assert_eq!((kept, timers.wait(now, false)), (None, None));
        timers.keep(1, 7, now + SWEEP / 2, &mut kept);
        timers.keep(1, 7, now + SWEEP / 2, &mut kept);
        assert_eq!(timers.wait(now, true), Some(SWEEP / 2));
        assert_eq!(timers.pop(now), None);
        assert_eq!(timers.pop(now + SWEEP), Some((now + SWEEP / 2, 1, 7)));
        assert_eq!(timers.pop(now + SWEEP), None);
    }

    #[test]
    fn many_deadlines_are_one_wake_up() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        for place in 0..8 {
            timers.keep(place, 1, now + SLACK * place as u32 / 8, &mut None);
        }
        assert_eq!(timers.wait(now, true), Some(SLACK));
        let woken = core::iter::from_fn(|| timers.pop(now + SLACK));
        assert_eq!(woken.count(), 8);
    }

    #[test]
    fn sweeps_come_a_second_apart() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        assert!(!timers.sweep(now));
        assert!(timers.sweep(now + SWEEP));
        assert!(!timers.sweep(now + SWEEP));
        assert_eq!(timers.wait(now + SWEEP, true), Some(SWEEP));
    }
}
