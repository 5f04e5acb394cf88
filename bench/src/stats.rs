//! Latency histograms, and medians, spreads and ratios over runs.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart, in microseconds: one hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Percentiles of the distribution kept for plots.
const CURVE: &[f64] = &[
    0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 92.5, 95.0, 96.0, 97.0, 98.0, 99.0, 99.3,
    99.5, 99.7, 99.8, 99.9, 99.93, 99.95, 99.97, 99.99, 99.995, 99.999, 100.0,
];

/// A distribution of latencies with three significant digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    #[allow(clippy::expect_used)]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are constants the crate accepts"))
    }
}

impl Latencies {
    /// Counts a latency in nanoseconds; what is above an hour counts as an hour.
    pub(crate) fn record_ns(&mut self, nanos: u64) {
        self.0.saturating_record(nanos / 1_000);
    }

    /// Adds another distribution.
    pub(crate) fn merge(&mut self, other: &Self) {
        // Both have the same bounds, for which the crate's addition has no error.
        let _ = self.0.add(&other.0);
    }

    /// The numbers to show, in microseconds.
    pub(crate) fn summary(&self) -> LatencySummary {
        let at = |percent: f64| self.0.value_at_percentile(percent);
        LatencySummary {
            count: self.0.len(),
            mean_us: self.0.mean(),
            min_us: self.0.min(),
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: self.0.max(),
            curve: CURVE.iter().map(|percent| (*percent, at(*percent))).collect(),
        }
    }
}

/// A distribution of latencies in numbers, microseconds.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) mean_us: f64,
    pub(crate) min_us: u64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
    /// Pairs of percentile and microseconds.
    pub(crate) curve: Vec<(f64, u64)>,
}

/// Median and spread of one figure over several runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The middle value, or the mean of the two middle ones.
    pub(crate) median: f64,
    /// The lowest value.
    pub(crate) min: f64,
    /// The highest value.
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of `values`; none without values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let high = *sorted.get(middle)?;
        let median = match sorted.len() % 2 {
            0 => (sorted.get(middle - 1)? + high) / 2.0,
            _ => high,
        };
        Some(Self { median, min, max })
    }
}

/// How a figure of two clusters compares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// The first cluster.
    pub(crate) a: Spread,
    /// The second cluster.
    pub(crate) b: Spread,
    /// Median of the second by median of the first; none when that is zero.
    pub(crate) b_by_a: Option<f64>,
    /// Lowest and highest ratio of runs that followed each other.
    pub(crate) pairs: Option<(f64, f64)>,
}

impl Ratio {
    /// Compares runs; `a[i]` and `b[i]` followed each other. None when one side has no values.
    pub(crate) fn of(a: &[f64], b: &[f64]) -> Option<Self> {
        let (spread_a, spread_b) = (Spread::of(a)?, Spread::of(b)?);
        let pairs: Vec<f64> = a.iter().zip(b).filter_map(|(a, b)| ratio(*b, *a)).collect();
        let pairs = Spread::of(&pairs).map(|spread| (spread.min, spread.max));
        Some(Self { a: spread_a, b: spread_b, b_by_a: ratio(spread_b.median, spread_a.median), pairs })
    }
}

/// `dividend / divisor`, none when that is no number.
pub(crate) fn ratio(dividend: f64, divisor: f64) -> Option<f64> {
    Some(dividend / divisor).filter(|ratio| ratio.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_what_was_recorded() {
        let mut latencies = Latencies::default();
        for micros in 1..=1000 {
            latencies.record_ns(micros * 1_000);
        }
        let summary = latencies.summary();
        assert_eq!((summary.count, summary.min_us, summary.p50_us, summary.p99_us), (1000, 1, 500, 990));
        assert_eq!((summary.max_us, summary.curve.last()), (1000, Some(&(100.0, 1000))));
        assert!((summary.mean_us - 500.5).abs() < 0.5);
    }

    #[test]
    fn a_latency_above_the_bound_is_counted() {
        let mut latencies = Latencies::default();
        latencies.record_ns(u64::MAX);
        let mut other = Latencies::default();
        other.record_ns(0);
        latencies.merge(&other);
        assert_eq!(latencies.summary().count, 2);
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 8.0]), Some(Spread { median: 3.0, min: 1.0, max: 8.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_of_medians_and_their_range_of_pairs() {
        let ratio = Ratio::of(&[10.0, 20.0, 40.0], &[5.0, 30.0, 10.0]).unwrap();
        assert_eq!(ratio.b_by_a, Some(0.5));
        assert_eq!(ratio.pairs, Some((0.25, 1.5)));
    }

    #[test]
    fn a_zero_divisor_gives_no_ratio() {
        let ratio = Ratio::of(&[0.0], &[5.0]).unwrap();
        assert_eq!((ratio.b_by_a, ratio.pairs), (None, None));
        assert_eq!(Ratio::of(&[], &[1.0]), None);
    }
}
