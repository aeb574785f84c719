//! A sparse histogram with the bucket layout of HdrHistogram at three significant digits: what an open slice keeps.
//! Must not grow beyond the number of buckets: about 30 000 for one nanosecond to one hour.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values above this are clipped to it and counted in [`Sparse::clipped`]: one hour in nanoseconds.
pub const HIGHEST: u64 = 3_600_000_000_000;
const SUB_BUCKET_BITS: u32 = 11;

/// Counts by bucket; a bucket is named by its lowest value in nanoseconds. Merging is exact in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sparse {
    /// Lowest value of the bucket (ns) to count.
    pub buckets: BTreeMap<u64, u64>,
    /// How many values were above [`HIGHEST`].
    pub clipped: u64,
}

/// The lowest value that falls into the same bucket as `value`; buckets are narrower than 0.1 % of their value.
#[must_use]
pub fn bucket(value: u64) -> u64 {
    let bits = 64 - value.leading_zeros();
    let shift = bits.saturating_sub(SUB_BUCKET_BITS);
    (value >> shift) << shift
}

/// The highest value that falls into the same bucket as `value`.
#[must_use]
pub fn bucket_top(value: u64) -> u64 {
    let bits = 64 - value.leading_zeros();
    let shift = bits.saturating_sub(SUB_BUCKET_BITS);
    (((value >> shift) + 1) << shift) - 1
}

impl Sparse {
    /// Counts one value in nanoseconds.
    pub fn record(&mut self, value: u64) {
        if value > HIGHEST {
            self.clipped += 1;
        }
        *self.buckets.entry(bucket(value.min(HIGHEST))).or_default() += 1;
    }

    /// Adds the other's counts to these.
    pub fn merge(&mut self, other: &Sparse) {
        for (&value, &count) in &other.buckets {
            *self.buckets.entry(value).or_default() += count;
        }
        self.clipped += other.clipped;
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// Nothing counted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// How many values are at most `limit` (whole buckets, as HdrHistogram counts).
    #[must_use]
    pub fn count_at_most(&self, limit: u64) -> u64 {
        self.buckets.range(..=limit).map(|(_, n)| n).sum()
    }

    /// The value at a quantile (0 to 1): the highest value of the bucket that holds the rank ⌈q·n⌉; `None` when empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        for (&value, &count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Some(bucket_top(value));
            }
        }
        None
    }

    /// Arithmetic mean of the bucket middles; `None` when empty.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let total = self.count();
        let sum: f64 = self.buckets.iter().map(|(&v, &n)| (v as f64 + bucket_top(v) as f64) / 2.0 * n as f64).sum();
        (total > 0).then(|| sum / total as f64)
    }
}
