//! Clock cycles of the engine alone, without lines and applications around it.
use crate::board;

/// Adds up what it measures.
#[derive(Debug, Default)]
pub struct Stopwatch(u32);

impl Stopwatch {
    /// Runs a task and adds the cycles it takes.
    pub fn during<T>(&mut self, task: impl FnOnce() -> T) -> T {
        let start = board::cycles();
        let result = task();
        self.0 = self.0.wrapping_add(board::cycles().wrapping_sub(start));
        result
    }

    /// The sum so far, which begins anew.
    pub fn take(&mut self) -> u32 {
        core::mem::take(&mut self.0)
    }
}
