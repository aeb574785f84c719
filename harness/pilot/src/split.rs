//! Which release gets a request: an exact split by a low-discrepancy sequence, or a stable bucket of a caller's key.
//! Must not know HTTP.

use crate::draw::{GOLDEN, hash};
use shakedown_core::Ppm;
use std::sync::atomic::{AtomicU64, Ordering};

/// Control or canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Control,
    Canary,
}

/// Spreads requests over the sides.
///
/// Request k has the place frac(k·φ) (Weyl's sequence with the golden ratio; Kuipers and Niederreiter, "Uniform
/// Distribution of Sequences", 1974): over n requests the canary's share is off by O(log n / n), and unlike "every 20th
/// request" it has no period that could fall in step with periodic traffic.
#[derive(Default)]
pub(crate) struct Split(AtomicU64);

impl Split {
    /// The side of the next request.
    pub(crate) fn next(&self, canary: Ppm) -> Side {
        side(self.0.fetch_add(GOLDEN, Ordering::Relaxed), canary)
    }
}

/// The side of a caller's key: the same at the same weight, and a higher weight only moves callers to the canary.
pub(crate) fn sticky(key: &[u8], canary: Ppm) -> Side {
    side(hash(key), canary)
}

/// `place` is a fraction of 2⁶⁴.
fn side(place: u64, canary: Ppm) -> Side {
    let bucket = (u128::from(place) * 1_000_000) >> 64;
    if bucket < u128::from(canary.0) { Side::Canary } else { Side::Control }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canaries(split: &Split, ppm: u32, n: usize) -> usize {
        (0..n).filter(|_| split.next(Ppm(ppm)) == Side::Canary).count()
    }

    #[test]
    fn the_split_is_exact() {
        for ppm in [0, 10_000, 50_000, 250_000, 500_000, 990_000, 1_000_000] {
            let split = Split::default();
            let got = canaries(&split, ppm, 10_000);
            let want = 10_000 * ppm as usize / 1_000_000;
            assert!(got.abs_diff(want) <= 3, "{got} of 10000 at {ppm} ppm");
        }
        assert_eq!(canaries(&Split::default(), 0, 10_000), 0);
        assert_eq!(canaries(&Split::default(), 1_000_000, 10_000), 10_000);
    }

    #[test]
    fn periodic_traffic_is_split_exactly_too() {
        for period in [2, 4, 10, 20] {
            let split = Split::default();
            let every = (0..20_000).filter(|k| split.next(Ppm(250_000)) == Side::Canary && k % period == 0).count();
            assert!(every.abs_diff(5_000 / period) <= 5, "period {period}: {every}");
        }
    }

    #[test]
    fn a_higher_weight_only_moves_callers_to_the_canary() {
        let mut canary = 0;
        for k in 0..20_000 {
            let key = format!("user-{k}");
            let at = |ppm| sticky(key.as_bytes(), Ppm(ppm)) == Side::Canary;
            assert!(!at(0) && at(1_000_000));
            assert!(!at(50_000) || at(250_000));
            canary += usize::from(at(250_000));
        }
        assert!((4_750..5_250).contains(&canary), "{canary} of 20000 at 25%");
    }
}
