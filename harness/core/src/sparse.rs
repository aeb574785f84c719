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
    pub buckets: Buckets,
    /// How many values were above [`HIGHEST`].
    pub clipped: u64,
}

/// Counts by number in ascending order. A sorted vector: made, walked and merged many times more often than changed in
/// the middle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<u64, u64>", into = "BTreeMap<u64, u64>")]
pub struct Buckets(Vec<(u64, u64)>);

impl Buckets {
    /// Every bucket and its count, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + ExactSizeIterator + Clone {
        self.0.iter().copied()
    }

    /// Adds to a bucket's count.
    pub fn add(&mut self, bucket: u64, count: u64) {
        match self.0.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    /// The highest bucket.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|(b, _)| *b)
    }

    /// How many buckets are counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing counted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the other's counts: in place where it has nothing new, else both are walked once.
    fn merge(&mut self, other: &Buckets) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        let mut new = Vec::new();
        let mut from = 0;
        for &(bucket, count) in &other.0 {
            // Both ascend, so each is looked for behind the one before, and mostly lies close to it: in growing steps.
            let (mut near, mut step) = (from, 1);
            while self.0.get(near).is_some_and(|(b, _)| *b < bucket) {
                from = near + 1;
                near += step;
                step *= 2;
            }
            let within = from..self.0.len().min(near + 1);
            match self.0[within].binary_search_by_key(&bucket, |(b, _)| *b) {
                Ok(at) => {
                    from += at;
                    self.0[from].1 += count;
                }
                Err(at) => {
                    from += at;
                    new.push((bucket, count));
                }
            }
        }
        if !new.is_empty() {
            self.0.extend(new);
            // Two ascending runs: the stable sort recognises and merges them.
            self.0.sort_by_key(|(b, _)| *b);
        }
    }
}

impl FromIterator<(u64, u64)> for Buckets {
    /// From any order; counts of one bucket are added up.
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(all: T) -> Buckets {
        let mut all: Vec<(u64, u64)> = all.into_iter().collect();
        if !all.is_sorted_by(|a, b| a.0 < b.0) {
            all.sort_by_key(|(b, _)| *b);
            all.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                kept.1 += if same { later.1 } else { 0 };
                same
            });
        }
        Buckets(all)
    }
}

impl From<BTreeMap<u64, u64>> for Buckets {
    fn from(map: BTreeMap<u64, u64>) -> Buckets {
        map.into_iter().collect()
    }
}

impl From<Buckets> for BTreeMap<u64, u64> {
    fn from(buckets: Buckets) -> BTreeMap<u64, u64> {
        buckets.0.into_iter().collect()
    }
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
        self.buckets.add(bucket(value.min(HIGHEST)), 1);
    }

    /// Adds the other's counts to these.
    pub fn merge(&mut self, other: &Sparse) {
        self.clipped += other.clipped;
        self.buckets.merge(&other.buckets);
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, n)| n).sum()
    }

    /// Nothing counted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// How many values are at most `limit` (whole buckets, as HdrHistogram counts).
    #[must_use]
    pub fn count_at_most(&self, limit: u64) -> u64 {
        self.buckets.iter().take_while(|(b, _)| *b <= limit).map(|(_, n)| n).sum()
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
        for (value, count) in self.buckets.iter() {
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
        let sum: f64 = self.buckets.iter().map(|(v, n)| (v as f64 + bucket_top(v) as f64) / 2.0 * n as f64).sum();
        (total > 0).then(|| sum / total as f64)
    }
}
