//! Core's sparse histogram while it is being counted, made for the hot path: pages of counters, allotted as values come.
//! Must give exactly the buckets that core's [`Sparse`] would have.

use shakedown_core::sparse::{HIGHEST, Sparse};
use std::collections::BTreeMap;

/// Bits of a sub-bucket, as core's layout has them.
const SUB_BITS: u32 = 11;
/// Counters of a page: one cache line.
const PAGE: usize = 16;
/// Pages the index grows by: one power of two of values.
const WINDOW: usize = 64;
/// Room this many times larger than what one interval needed is given back.
const WASTEFUL: usize = 16;
/// No page.
const NONE: u16 = u16::MAX;

/// Counts by bucket. Numbers of buckets are below 2¹⁶, so there are at most 4,096 pages (256 KiB); in use are those that
/// one interval's values fell into.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Page of each stretch of [`PAGE`] buckets from number `base` on, or [`NONE`].
    index: Vec<u16>,
    base: usize,
    pages: Vec<[u32; PAGE]>,
    clipped: u64,
    /// What did not fit a counter.
    carried: BTreeMap<u64, u64>,
}

impl Histogram {
    /// Counts one value in nanoseconds.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.clipped += u64::from(value > HIGHEST);
        let number = number(value.min(HIGHEST));
        let stretch = (number as usize / PAGE).wrapping_sub(self.base);
        if let Some(&page) = self.index.get(stretch)
            && let Some(page) = self.pages.get_mut(usize::from(page))
        {
            let counter = &mut page[number as usize % PAGE];
            if let Some(more) = counter.checked_add(1) {
                *counter = more;
                return;
            }
        }
        self.count(number, 1);
    }

    /// Adds what core counted.
    #[cfg(test)]
    pub fn add(&mut self, other: &Sparse) {
        self.clipped += other.clipped;
        other.buckets.iter().for_each(|(value, n)| self.count(number(value), n));
    }

    /// Everything counted, in core's form; the counts begin anew and the room is kept, as far as it was needed.
    pub fn drain(&mut self) -> Sparse {
        let (carried, clipped) = (std::mem::take(&mut self.carried), std::mem::take(&mut self.clipped));
        if self.pages.is_empty() {
            return Sparse { buckets: carried.into(), clipped };
        }
        let mut counted = Vec::with_capacity(self.pages.len() * PAGE);
        for (stretch, page) in (self.base..).zip(&self.index) {
            let Some(page) = self.pages.get(usize::from(*page)) else { continue };
            for (place, n) in page.iter().enumerate() {
                if *n > 0 {
                    counted.push((lowest((stretch * PAGE + place) as u64), u64::from(*n)));
                }
            }
        }
        counted.extend(carried);
        let buckets = counted.into_iter().collect();
        self.clear();
        Sparse { buckets, clipped }
    }

    /// Bytes of room.
    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.index.capacity() * size_of::<u16>() + self.pages.capacity() * size_of::<[u32; PAGE]>()
    }

    fn clear(&mut self) {
        let used = self.pages.len();
        self.pages.clear();
        if self.pages.capacity() > used * WASTEFUL {
            self.pages.shrink_to(used * 2);
        }
        if self.index.len() > WINDOW.max(used * WASTEFUL) {
            self.index = Vec::new();
        } else {
            self.index.fill(NONE);
        }
    }

    /// Counts into a bucket whose page may not be there yet, or whose counter may be full.
    #[cold]
    #[inline(never)]
    fn count(&mut self, number: u64, n: u64) {
        let stretch = number as usize / PAGE;
        self.cover(stretch);
        let page = &mut self.index[stretch - self.base];
        if *page == NONE {
            *page = u16::try_from(self.pages.len()).expect("as many pages as stretches of 16-bit numbers");
            self.pages.push([0; PAGE]);
        }
        let counter = &mut self.pages[usize::from(*page)][number as usize % PAGE];
        match u32::try_from(n).ok().and_then(|n| counter.checked_add(n)) {
            Some(more) => *counter = more,
            None => *self.carried.entry(lowest(number)).or_default() += n,
        }
    }

    /// Makes the index reach to a stretch.
    fn cover(&mut self, stretch: usize) {
        let window = stretch / WINDOW * WINDOW;
        if self.index.is_empty() {
            self.base = window;
        }
        if window < self.base {
            self.index.splice(0..0, std::iter::repeat_n(NONE, self.base - window));
            self.base = window;
        }
        if self.index.len() <= stretch - self.base {
            self.index.resize(window + WINDOW - self.base, NONE);
        }
    }
}

/// The number of a value's bucket: in the order of values, below 2¹⁶ for values up to [`HIGHEST`].
#[inline]
fn number(value: u64) -> u64 {
    let shift = (64 - SUB_BITS) - (value | 1 << (SUB_BITS - 1)).leading_zeros();
    (u64::from(shift) << SUB_BITS) + (value >> shift)
}

/// The lowest value of a bucket.
fn lowest(number: u64) -> u64 {
    (number & ((1 << SUB_BITS) - 1)) << (number >> SUB_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shakedown_core::sparse::bucket;

    #[test]
    fn buckets_are_those_of_core() {
        let mut last = 0;
        for step in 0..400_000u64 {
            let value = if step < 10_000 { step } else { 10_000 + (step - 10_000).pow(2) * 23 };
            assert_eq!(lowest(number(value)), bucket(value), "{value}");
            assert!(number(value) >= last);
            last = number(value);
        }
        assert!(number(HIGHEST) < 1 << 16);
    }

    #[test]
    fn clipped_values_are_counted_in_the_last_bucket() {
        let (mut own, mut core) = (Histogram::default(), Sparse::default());
        for value in [HIGHEST, 0, 1, HIGHEST + 1, 5_000_000, u64::MAX, 17] {
            own.record(value);
            core.record(value);
        }
        assert_eq!(own.drain(), core);
        assert_eq!(own.drain(), Sparse::default());
    }

    #[test]
    fn counters_that_are_full_carry_over() {
        let most = u64::from(u32::MAX);
        let core = Sparse { buckets: BTreeMap::from([(7, most), (9, 3 * most)]).into(), clipped: 0 };
        let mut own = Histogram::default();
        own.add(&core);
        own.record(7);
        own.record(7);
        own.record(9);
        assert_eq!(own.drain().buckets, BTreeMap::from([(7, most + 2), (9, 3 * most + 1)]).into());
    }

    #[test]
    fn room_follows_what_is_needed() {
        let mut own = Histogram::default();
        (0..HIGHEST).step_by(300_000_000).for_each(|value| own.record(value));
        (0..42).for_each(|bits| own.record(1 << bits));
        own.drain();
        assert!((64 << 10..512 << 10).contains(&own.room()), "{}", own.room());
        for _ in 0..20 {
            own.record(1_000);
            own.drain();
        }
        assert!(own.room() < 1_024, "{}", own.room());
    }
}
