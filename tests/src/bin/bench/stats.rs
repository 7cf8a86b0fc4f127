//! Middles of samples.

/// The smallest, the middle and the largest of some samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of no samples, every figure is NaN.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (half, last) = (sorted.len() / 2, sorted.len().saturating_sub(1));
        let median = if sorted.len() % 2 == 1 {
            at(half)
        } else {
            f64::midpoint(at(half.saturating_sub(1)), at(half))
        };
        Self { min: at(0), median, max: at(last) }
    }
}

/// The middle of the quotients of samples of the same rounds.
pub(crate) fn ratio(above: &[f64], below: &[f64]) -> f64 {
    let quotients = above.iter().zip(below).map(|(a, b)| a / b);
    Spread::of(quotients).median
}

/// The middle of the differences of samples of the same rounds.
pub(crate) fn difference(more: &[f64], less: &[f64]) -> f64 {
    Spread::of(more.iter().zip(less).map(|(a, b)| a - b)).median
}
