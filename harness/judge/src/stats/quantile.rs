//! Quantiles of two arms from histograms: Howard and Ramdas' sequential A/B test and its one-sided relatives with a
//! margin. All need only "how many are at most x", so whole buckets suffice; where a bucket leaves it open, the count that
//! proves less is taken. Must not interpolate.
//!
//! Margin tests: let q_b be the control's true p-quantile. At x = q_b the control's share at most x is at least p and its
//! share below x at most p, whatever the distribution (ties included). H₀ "q_c ≥ m·q_b + d" makes the canary's share below
//! m·x + d at most p there; H₀ "q_c ≤ m·q_b + d" makes its share at most m·x + d at least p. So the product of a one-sided
//! mixture per arm is a supermartingale at x = q_b, and its minimum over x an e-value although q_b is unknown.

use super::bernoulli::{Mixture, Side};
use shakedown_core::sparse::{Sparse, bucket_top};
use std::collections::BTreeSet;

/// A one-sided mixture over fewer than 10¹² values never falls below minus this.
const DEEPEST: f64 = 20.0;

/// What the canary's quantile is held against: `factor·q_b + plus` (ns).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    /// Multiple of the control's quantile.
    pub factor: f64,
    /// Plus this, ns.
    pub plus: f64,
}

/// Cumulative counts over bucket bounds.
struct Cumulative {
    lows: Vec<u64>,
    tops: Vec<u64>,
    upto: Vec<u64>,
    n: u64,
}

impl Cumulative {
    fn new(h: &Sparse) -> Cumulative {
        let mut n = 0;
        let (mut lows, mut tops, mut upto) = (Vec::new(), Vec::new(), Vec::new());
        for (low, count) in h.buckets.iter() {
            n += count;
            lows.push(low);
            tops.push(bucket_top(low));
            upto.push(n);
        }
        Cumulative { lows, tops, upto, n }
    }

    /// The most that can be at most `x`: buckets that begin at or below it.
    fn most_at_most(&self, x: f64) -> f64 {
        self.before(self.lows.partition_point(|&low| low as f64 <= x))
    }

    /// The most that can be below `x`: buckets that begin below it.
    fn most_below(&self, x: f64) -> f64 {
        self.before(self.lows.partition_point(|&low| (low as f64) < x))
    }

    /// The fewest that must be below `x`: buckets that end below it.
    fn fewest_below(&self, x: f64) -> f64 {
        self.before(self.tops.partition_point(|&top| (top as f64) < x))
    }

    fn before(&self, buckets: usize) -> f64 {
        if buckets == 0 { 0.0 } else { self.upto[buckets - 1] as f64 }
    }
}

/// ln E against H₀ "q_c ≥ m·q_b + d" (`proves_below`) or "q_c ≤ m·q_b + d" (harm); 0 without samples in both arms.
#[must_use]
pub fn log_e_margin(canary: &Sparse, control: &Sparse, p: f64, margin: Margin, proves_below: bool, t_opt: f64) -> f64 {
    let (c, b) = (Cumulative::new(canary), Cumulative::new(control));
    if c.n == 0 || b.n == 0 || margin.factor <= 0.0 {
        return 0.0;
    }
    let (control_side, canary_side) = if proves_below { (Side::Below, Side::Above) } else { (Side::Above, Side::Below) };
    let of_control = Mixture::new(p, control_side, t_opt);
    let of_canary = Mixture::new(p, canary_side, t_opt);
    let parts = |x: f64| {
        let y = margin.factor * x + margin.plus;
        let counts = if proves_below { (b.most_at_most(x), c.fewest_below(y)) } else { (b.fewest_below(x), c.most_at_most(y)) };
        (of_control.log_e(counts.0, b.n as f64), of_canary.log_e(counts.1, c.n as f64))
    };
    let middle = control.quantile(p).unwrap_or(0);
    let at = parts(middle as f64);
    let start = parts(0.0);
    let mut least = (at.0 + at.1).min(start.0 + start.1);
    // From the control's own quantile outwards: one of the two parts grows that way, and once it alone is beyond the least
    // by more than the other can be below zero, nothing further out is smaller.
    let mut look = |x: u64, downwards: bool| {
        let (control, canary) = parts(x as f64);
        least = least.min(control + canary);
        let growing = if downwards == proves_below { control } else { canary };
        growing <= least + DEEPEST
    };
    // The product changes only where a count changes: at the control's bounds and the canary's mapped back.
    let of_b = |i: usize| [b.lows[i], b.tops[i], b.tops[i] + 1];
    let back = |bound: u64| ((bound as f64 - margin.plus) / margin.factor).max(0.0) as u64;
    let of_c = |i: usize| {
        let (low, top) = (back(c.lows[i]), back(c.tops[i]));
        [low.saturating_sub(1), low, low + 1, top.saturating_sub(1), top, top + 1]
    };
    let from_b = b.lows.partition_point(|&low| low <= middle);
    let from_c = c.lows.partition_point(|&low| back(low) <= middle);
    let _ = (from_b..b.lows.len()).flat_map(of_b).all(|x| look(x, false));
    let _ = (0..from_b).rev().flat_map(|i| of_b(i).into_iter().rev()).all(|x| look(x, true));
    let _ = (from_c..c.lows.len()).flat_map(of_c).all(|x| look(x, false));
    let _ = (0..from_c).rev().flat_map(|i| of_c(i).into_iter().rev()).all(|x| look(x, true));
    least.clamp(super::LEAST_LOG_E, 700.0)
}

/// Two-sided A/B test of equal p-quantiles: ln of its e-value (reference: `confseq`'s `QuantileABTest`).
#[must_use]
pub fn log_e_equal(one: &Sparse, other: &Sparse, p: f64, t_opt: f64) -> f64 {
    let (a, b) = (Cumulative::new(one), Cumulative::new(other));
    if a.n == 0 || b.n == 0 {
        return 0.0;
    }
    let mixture = Mixture::new(p, Side::Both, t_opt);
    // An arm's share at x lies between "below x" and "at most x"; it may take the least telling value in between.
    let arm = |h: &Cumulative, x: f64| {
        let n = h.n as f64;
        let share = (n * p).clamp(h.fewest_below(x), h.most_at_most(x));
        mixture.log_e(share, n)
    };
    let mut xs: BTreeSet<u64> = BTreeSet::from([0]);
    for h in [&a, &b] {
        for (low, top) in h.lows.iter().zip(&h.tops) {
            xs.extend([*low, *top, top + 1]);
        }
    }
    xs.into_iter().map(|x| arm(&a, x as f64) + arm(&b, x as f64)).fold(f64::INFINITY, f64::min)
}

/// One-sided confidence sequence of one arm's p-quantile at `alpha` a side: [lower, upper] in the values' unit; `None` when empty.
#[must_use]
pub fn interval(h: &Sparse, p: f64, alpha: f64, t_opt: f64) -> Option<(u64, u64)> {
    let c = Cumulative::new(h);
    if c.n == 0 {
        return None;
    }
    let n = c.n as f64;
    let bar = libm::log(1.0 / alpha);
    // x is below the quantile for sure when too few are at most x; above it when too many are below it.
    let too_few = Mixture::new(p, Side::Below, t_opt);
    let too_many = Mixture::new(p, Side::Above, t_opt);
    let low = c.tops.iter().copied().find(|&top| too_few.log_e(c.most_at_most(top as f64), n) < bar)?;
    let below = |x: u64| too_many.log_e(c.most_below(x as f64), n) >= bar;
    let high = c.lows.iter().copied().find(|&low| below(low)).unwrap_or(u64::MAX);
    Some((low, if high == u64::MAX { high } else { bucket_top(high) }))
}

/// Fixed-horizon ranks (1-based) that hold the p-quantile of `n` values between them with normal confidence `z` a side.
#[must_use]
pub fn ranks(n: u64, p: f64, z: f64) -> (u64, u64) {
    let (n_f, spread) = (n as f64, z * libm::sqrt(n as f64 * p * (1.0 - p)));
    ((libm::floor(n_f * p - spread).max(1.0)) as u64, (libm::ceil(n_f * p + spread).min(n_f)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libm::{exp, log};

    fn upto(from: u64, n: u64) -> Sparse {
        let mut h = Sparse::default();
        (from..from + n).for_each(|v| h.record(v));
        h
    }

    #[test]
    fn known_ab_test() {
        for (offset, want) in [(85, 0.083_805_5), (100, 0.005_494_70)] {
            let got = exp(-log_e_equal(&upto(1, 1000), &upto(1 + offset, 1000), 0.5, 100.0));
            assert!((got - want).abs() < want * 1e-4, "{offset}: {got} instead of {want}");
        }
    }

    #[test]
    fn margins_are_proven_on_the_right_side_only() {
        let (b, same, twice) = (upto(1000, 1000), upto(1000, 1000), upto(2000, 2000));
        let m = Margin { factor: 1.5, plus: 0.0 };
        assert!(log_e_margin(&same, &b, 0.95, m, true, 400.0) > log(20.0));
        assert!(log_e_margin(&same, &b, 0.95, m, false, 400.0) < 0.1);
        assert!(log_e_margin(&twice, &b, 0.95, m, false, 400.0) > log(20.0));
        assert!(log_e_margin(&twice, &b, 0.95, m, true, 400.0) < 0.1);
        assert_eq!(log_e_margin(&Sparse::default(), &b, 0.95, m, true, 400.0), 0.0);
    }

    /// Every candidate, none left out: what the outward scan must find the least of.
    fn exhaustive(canary: &Sparse, control: &Sparse, p: f64, margin: Margin, proves_below: bool, t_opt: f64) -> f64 {
        let (c, b) = (Cumulative::new(canary), Cumulative::new(control));
        let mut xs: BTreeSet<u64> = BTreeSet::from([0]);
        for (low, top) in b.lows.iter().zip(&b.tops) {
            xs.extend([*low, *top, top + 1]);
        }
        for bound in c.lows.iter().chain(&c.tops) {
            let x = ((*bound as f64 - margin.plus) / margin.factor).max(0.0) as u64;
            xs.extend([x.saturating_sub(1), x, x + 1]);
        }
        let (control_side, canary_side) = if proves_below { (Side::Below, Side::Above) } else { (Side::Above, Side::Below) };
        let at = |x: u64| {
            let (x, y) = (x as f64, margin.factor * x as f64 + margin.plus);
            let counts = if proves_below { (b.most_at_most(x), c.fewest_below(y)) } else { (b.fewest_below(x), c.most_at_most(y)) };
            Mixture::new(p, control_side, t_opt).log_e(counts.0, b.n as f64)
                + Mixture::new(p, canary_side, t_opt).log_e(counts.1, c.n as f64)
        };
        xs.into_iter().map(at).fold(f64::INFINITY, f64::min).clamp(super::super::LEAST_LOG_E, 700.0)
    }

    #[test]
    fn the_outward_scan_finds_the_least_of_all() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        for round in 0..60_u64 {
            let mut sample = |n: u64, spread: u64| {
                let mut h = Sparse::default();
                (0..n).for_each(|_| h.record(1_000_000 + rng.random_range(0..spread) * rng.random_range(1..40_u64)));
                h
            };
            let (b, c) = (sample(30 + round * 20, 90_000), sample(20 + round * 5, 90_000 + round * 1000));
            for (p, factor, plus) in [(0.5, 1.0, 0.0), (0.95, 1.2, 0.0), (0.99, 1.0, 200_000.0), (0.95, 1.0, -50_000.0)] {
                let m = Margin { factor, plus };
                for below in [true, false] {
                    let (got, want) = (log_e_margin(&c, &b, p, m, below, 400.0), exhaustive(&c, &b, p, m, below, 400.0));
                    assert!((got - want).abs() < 1e-9, "round {round}, {p} {factor} {plus} {below}: {got} instead of {want}");
                }
            }
        }
    }

    #[test]
    fn order_statistic_ranks() {
        let (low, high) = ranks(10_000, 0.99, 1.959_964);
        assert_eq!((low, high), (9880, 9920));
    }

    #[test]
    fn interval_holds_the_quantile() {
        let (low, high) = interval(&upto(1, 2000), 0.5, 0.05, 1000.0).unwrap();
        assert!(low < 1000 && high > 1000 && low > 850 && high < 1150, "{low} {high}");
        assert_eq!(interval(&Sparse::default(), 0.5, 0.05, 1000.0), None);
    }
}
