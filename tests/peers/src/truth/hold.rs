//! Answers held back: for how long (lognormal, from a seed), and which is due next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Median of the held time.
pub const MEDIAN_NS: f64 = 5e6;
/// Standard deviation of its logarithm.
pub const SIGMA: f64 = 0.8;

/// An answer that waits: due time first, so that a heap sorts by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// When it leaves, in nanoseconds of the server's clock.
    pub due: u64,
    /// Its number in the log.
    pub number: usize,
    /// Its connection.
    pub slot: usize,
    /// Which connection in that slot.
    pub generation: u64,
}

/// All answers that wait.
pub struct Holding {
    heap: BinaryHeap<Reverse<Held>>,
    state: u64,
}

impl Holding {
    /// Nothing waits yet; times are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { heap: BinaryHeap::with_capacity(1 << 16), state: seed }
    }

    /// Draws how long the next answer is held.
    pub fn draw(&mut self) -> u64 {
        // Box–Muller; the cosine half only.
        let (a, b) = (self.uniform(), self.uniform());
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        (MEDIAN_NS * (SIGMA * normal).exp()) as u64
    }

    /// Lets an answer wait.
    pub fn push(&mut self, held: Held) {
        self.heap.push(Reverse(held));
    }

    /// The next answer that is due at `now`.
    pub fn pop(&mut self, now: u64) -> Option<Held> {
        if self.heap.peek()?.0.due > now {
            return None;
        }
        self.heap.pop().map(|h| h.0)
    }

    /// Uniform in (0, 1), by SplitMix64 (Steele, Lea, Flood 2014).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ z >> 31) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_times_have_the_distribution_promised() {
        let mut holding = Holding::new(1);
        let mut drawn: Vec<u64> = (0..100_000).map(|_| holding.draw()).collect();
        drawn.sort_unstable();
        let at = |q: f64| drawn[(q * 100_000.0) as usize] as f64;
        assert!((at(0.5) / MEDIAN_NS - 1.0).abs() < 0.02);
        assert!((at(0.99) / (MEDIAN_NS * (SIGMA * 2.326_347_9).exp()) - 1.0).abs() < 0.05);
    }

    #[test]
    fn answers_leave_in_order_and_never_early() {
        let mut holding = Holding::new(1);
        for (number, due) in [30, 10, 20].into_iter().enumerate() {
            holding.push(Held { due, number, slot: 0, generation: 0 });
        }
        assert!(holding.pop(9).is_none());
        let order: Vec<u64> = std::iter::from_fn(|| holding.pop(25)).map(|h| h.due).collect();
        assert_eq!(order, [10, 20]);
    }
}
