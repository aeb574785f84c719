//! Sequential tests and confidence sequences for one Bernoulli rate: the beta-binomial mixture (super)martingale of
//! Howard, Ramdas, McAuliffe and Sekhon (reference: `confseq`, `uniform_boundaries.h`). Valid at any number of looks for
//! independent requests. Must not know what is being counted.

use super::special::ln_incomplete_beta;
use libm::log;

/// Alpha the mixture is tuned for; any alpha stays valid.
const TUNED_ALPHA: f64 = 0.05;
/// Bisection steps: the answer is then exact to the last bits of a double.
const BISECTIONS: usize = 60;
const EDGE: f64 = 1e-12;

/// Which deviation counts as evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// More successes than `p` allows: tests "the rate is at most p".
    Above,
    /// Fewer successes than `p` demands: tests "the rate is at least p".
    Below,
    /// Either: tests "the rate is p".
    Both,
}

/// The mixture for one null rate `p` (0 < p < 1), tuned for about `t_opt` requests.
#[derive(Clone, Copy, Debug)]
pub struct Mixture {
    p: f64,
    flip: bool,
    x: f64,
    prior: (f64, f64),
    normalizer: f64,
}

impl Mixture {
    /// Prepares the mixture; `p` is clamped into (0, 1).
    #[must_use]
    pub fn new(p: f64, side: Side, t_opt: f64) -> Mixture {
        // `Below` for p is `Above` for the failures and 1 − p.
        let flip = side == Side::Below;
        let g = if flip { 1.0 - p } else { p }.clamp(EDGE, 1.0 - EDGE);
        let h = 1.0 - g;
        let v_opt = t_opt * g * h;
        let one_sided = side != Side::Both;
        let tail = 2.0 * log(1.0 / if one_sided { 2.0 * TUNED_ALPHA } else { TUNED_ALPHA });
        let rho = v_opt / (tail + log(1.0 + tail));
        let r = (rho - g * h).max(1e-3 * g * h);
        let x = if one_sided { h } else { 1.0 };
        let prior = (r / g, r / h);
        Mixture { p: g, flip, x, prior, normalizer: ln_incomplete_beta(prior.0, prior.1, x) }
    }

    /// ln of the martingale after `k` successes of `n`.
    #[must_use]
    pub fn log_e(&self, k: f64, n: f64) -> f64 {
        let k = if self.flip { n - k } else { k };
        let posterior = ln_incomplete_beta(self.prior.0 + (n - k), self.prior.1 + k, self.x);
        posterior - self.normalizer - k * log(self.p) - (n - k) * libm::log1p(-self.p)
    }
}

/// ln of the martingale against null rate `p` after `k` of `n`.
#[must_use]
pub fn log_e(k: f64, n: f64, p: f64, side: Side, t_opt: f64) -> f64 {
    Mixture::new(p, side, t_opt).log_e(k, n)
}

/// Lower end of the confidence sequence: the smallest rate not rejected at `alpha` by `side` (`Above` or `Both`).
#[must_use]
pub fn lower(k: f64, n: f64, alpha: f64, side: Side, t_opt: f64) -> f64 {
    if n <= 0.0 || k <= 0.0 {
        return 0.0;
    }
    let (mut rejected, mut kept) = (0.0, k / n);
    for _ in 0..BISECTIONS {
        let middle = (rejected + kept) / 2.0;
        if log_e(k, n, middle, side, t_opt) >= log(1.0 / alpha) {
            rejected = middle;
        } else {
            kept = middle;
        }
    }
    rejected
}

/// Upper end of the confidence sequence: the largest rate not rejected at `alpha` by `side` (`Below` or `Both`).
#[must_use]
pub fn upper(k: f64, n: f64, alpha: f64, side: Side, t_opt: f64) -> f64 {
    if n <= 0.0 || k >= n {
        return 1.0;
    }
    let (mut kept, mut rejected) = (k / n, 1.0);
    for _ in 0..BISECTIONS {
        let middle = (rejected + kept) / 2.0;
        if log_e(k, n, middle, side, t_opt) >= log(1.0 / alpha) {
            rejected = middle;
        } else {
            kept = middle;
        }
    }
    rejected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_sequence_known_answers() {
        assert!((lower(50.0, 1e4, 0.05, Side::Both, 1e4) - 0.003_121_457).abs() < 1e-9);
        assert!((upper(50.0, 1e4, 0.05, Side::Both, 1e4) - 0.007_419_800).abs() < 1e-9);
        assert!((upper(0.0, 1e4, 0.05, Side::Both, 1e4) - 0.000_413_602).abs() < 1e-9);
    }

    #[test]
    fn sides_mirror_each_other_and_never_reward_the_wrong_deviation() {
        let above = log_e(40.0, 1000.0, 0.02, Side::Above, 500.0);
        let mirrored = log_e(960.0, 1000.0, 0.98, Side::Below, 500.0);
        assert!((above - mirrored).abs() < 1e-9);
        assert!(above > 4.0);
        assert!(log_e(40.0, 1000.0, 0.02, Side::Below, 500.0) < 0.0);
    }

    #[test]
    fn no_samples_are_no_evidence() {
        assert!(log_e(0.0, 0.0, 0.01, Side::Below, 100.0).abs() < 1e-12);
        assert!((upper(0.0, 0.0, 0.05, Side::Below, 100.0) - 1.0).abs() < 1e-12);
    }
}
