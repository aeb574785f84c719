//! Seeded draws without a lock: request k gets its own small generator from (seed, k). `SplitMix64` by Steele, Lea and
//! Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014). Must not read a clock.

use std::f64::consts::TAU;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// 2⁶⁴ divided by the golden ratio, made odd.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A service time is never longer than this many medians: every wait has a bound.
const LONGEST_IN_MEDIANS: f64 = 10.0;

/// A stream of draws, one per request.
pub(crate) struct Draws {
    seed: u64,
    next: AtomicU64,
}

/// The draws of one request.
pub(crate) struct Draw(u64);

/// Mixes all bits into all bits.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A stable hash of a text: FNV-1a, then mixed, because FNV's high bits change little with the last characters.
pub(crate) fn hash(text: &[u8]) -> u64 {
    mix(text.iter().fold(0xCBF2_9CE4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)))
}

impl Draws {
    /// The stream `label` of a seed.
    pub(crate) fn new(seed: u64, label: &str) -> Draws {
        Draws { seed: mix(seed ^ hash(label.as_bytes())), next: AtomicU64::new(0) }
    }

    /// The draws of the next request.
    pub(crate) fn next(&self) -> Draw {
        let k = self.next.fetch_add(1, Ordering::Relaxed);
        Draw(mix(self.seed.wrapping_add(k.wrapping_mul(GOLDEN))))
    }
}

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Log-normal with this median and shape (Box and Muller 1958), at most [`LONGEST_IN_MEDIANS`] medians.
    pub(crate) fn lognormal(&mut self, median: Duration, sigma: f64) -> Duration {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        let normal = radius * libm::cos(TAU * self.unit());
        median.mul_f64(libm::exp(sigma * normal).min(LONGEST_IN_MEDIANS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_draws_and_labels_differ() {
        let take = |seed, label| -> Vec<u64> {
            let draws = Draws::new(seed, label);
            (0..8).map(|_| draws.next().bits()).collect()
        };
        assert_eq!(take(7, "v1"), take(7, "v1"));
        assert_ne!(take(7, "v1"), take(7, "v2"));
        assert_ne!(take(7, "v1"), take(8, "v1"));
    }

    #[test]
    fn units_are_uniform() {
        let draws = Draws::new(3, "units");
        let low = (0..100_000).filter(|_| draws.next().unit() < 0.08).count();
        assert!((7_700..8_300).contains(&low), "{low} of 100000 below 0.08");
    }

    #[test]
    fn lognormal_has_its_median_and_tail() {
        let draws = Draws::new(1, "times");
        let mut all: Vec<f64> = (0..50_000).map(|_| draws.next().lognormal(Duration::from_millis(2), 0.4).as_secs_f64() * 1e3).collect();
        all.sort_unstable_by(f64::total_cmp);
        let (median, p99) = (all[25_000], all[49_500]);
        assert!((1.96..2.04).contains(&median), "median {median} ms");
        // exp(0.4 · 2.326) = 2.536 medians.
        assert!((4.9..5.25).contains(&p99), "p99 {p99} ms");
        assert!(all[49_999] <= 20.0);
    }
}
