//! Delay distributions by inverse CDF, on `libm`: the same draws on every machine. Pure.
//!
//! `delay` is the mean of every distribution. `jitter` is the half-width of `uniform` and the standard deviation of
//! `normal` and `pareto`.

use crate::rolls::Rolls;
use serde::{Deserialize, Serialize};
use shakedown_core::Span;

/// No draw is longer: pareto has no upper end of its own.
pub const LONGEST: Span = Span::secs(3600);

/// How delays are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Always `delay`.
    Fixed,
    /// Evenly in `delay ± jitter`.
    Uniform,
    /// Normal, cut off at zero.
    Normal,
    /// Pareto with shape `α = 1 + √(1 + (delay/jitter)²)` and scale `delay·(α − 1)/α`, which gives the mean and standard
    /// deviation asked for (from mean `αx/(α−1)` and variance `αx²/((α−1)²(α−2))`); heavy-tailed, never below the scale.
    Pareto,
}

/// Draws delays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Mean.
    pub delay: Span,
    /// Spread; see the module.
    pub jitter: Span,
    /// Shape.
    pub distribution: Distribution,
}

impl Sampler {
    /// One delay.
    pub fn draw(&self, rolls: &mut Rolls) -> Span {
        if self.distribution == Distribution::Fixed {
            return self.delay;
        }
        self.at(rolls.uniform())
    }

    /// The delay at a quantile `q` (0 < q < 1): the inverse of the distribution function.
    #[must_use]
    pub fn at(&self, q: f64) -> Span {
        let (mean, spread) = (self.delay.0 as f64, self.jitter.0 as f64);
        let nanos = match self.distribution {
            Distribution::Fixed => mean,
            Distribution::Uniform => mean + spread * (2.0 * q - 1.0),
            Distribution::Normal => mean + spread * normal_quantile(q),
            Distribution::Pareto if spread == 0.0 => mean,
            Distribution::Pareto => {
                let shape = 1.0 + libm::sqrt(1.0 + (mean / spread) * (mean / spread));
                let scale = mean * (shape - 1.0) / shape;
                scale * libm::pow(1.0 - q, -1.0 / shape)
            }
        };
        Span(libm::round(nanos.clamp(0.0, LONGEST.0 as f64)) as u64)
    }
}

/// The standard normal's inverse distribution function, by P. J. Acklam's rational approximation (2003); relative error
/// below 1.15e-9.
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416, 1.0];
    const LOW: f64 = 0.02425;
    let horner = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = libm::sqrt(-2.0 * libm::log(p));
        horner(&C, q) / horner(&D, q)
    };
    if p < LOW {
        tail(p)
    } else if p > 1.0 - LOW {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        horner(&A, r) * q / horner(&B, r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rolls::{Rolls, named};

    const N: usize = 10_000;

    fn sampler(distribution: Distribution) -> Sampler {
        Sampler { delay: Span::millis(200), jitter: Span::millis(50), distribution }
    }

    /// Kolmogorov–Smirnov against the quantile function: the largest gap between ranks and q.
    fn largest_gap(s: &Sampler) -> f64 {
        let mut rolls = Rolls::of(7, 3);
        let mut drawn: Vec<u64> = (0..N).map(|_| s.draw(&mut rolls).0).collect();
        drawn.sort_unstable();
        let gap = |i: usize| {
            let q = i as f64 / 100.0;
            let below = drawn.partition_point(|v| *v <= s.at(q).0) as f64 / N as f64;
            (below - q).abs()
        };
        (1..100).map(gap).fold(0.0, f64::max)
    }

    #[test]
    fn draws_follow_their_quantiles() {
        for distribution in [Distribution::Uniform, Distribution::Normal, Distribution::Pareto] {
            let gap = largest_gap(&sampler(distribution));
            // The KS limit at 1 % for n = 10 000.
            assert!(gap < 1.63 / (N as f64).sqrt(), "{distribution:?}: {gap}");
        }
    }

    #[test]
    fn mean_and_spread_are_as_asked() {
        for (distribution, spread) in [
            (Distribution::Fixed, 0.0),
            (Distribution::Uniform, 50.0 / 3.0_f64.sqrt()),
            (Distribution::Normal, 50.0),
            (Distribution::Pareto, 50.0),
        ] {
            let s = sampler(distribution);
            let mut rolls = Rolls::of(11, 0);
            let values: Vec<f64> = (0..N).map(|_| s.draw(&mut rolls).0 as f64 / 1e6).collect();
            let mean = values.iter().sum::<f64>() / N as f64;
            let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / N as f64).sqrt();
            assert!((mean - 200.0).abs() < 2.5, "{distribution:?}: mean {mean}");
            assert!((sd - spread).abs() < 6.0, "{distribution:?}: standard deviation {sd}");
        }
    }

    #[test]
    fn known_quantiles() {
        let ms = |s: &Sampler, q: f64| s.at(q).0 as f64 / 1e6;
        assert!((ms(&sampler(Distribution::Normal), 0.975) - (200.0 + 1.959_964 * 50.0)).abs() < 0.001);
        assert!((ms(&sampler(Distribution::Normal), 0.001) - (200.0 - 3.090_232 * 50.0)).abs() < 0.001);
        assert_eq!(sampler(Distribution::Uniform).at(0.5), Span::millis(200));
        let wide = Sampler { delay: Span::millis(10), jitter: Span::millis(10), distribution: Distribution::Normal };
        assert_eq!(wide.at(0.01), Span::ZERO, "never negative");
    }

    #[test]
    fn rolls_depend_on_seed_and_number_only() {
        let draw = |seed, number| Rolls::of(seed, number).uniform();
        assert_eq!(draw(1, 2).to_bits(), draw(1, 2).to_bits());
        assert_ne!(draw(1, 2).to_bits(), draw(1, 3).to_bits());
        assert_ne!(draw(1, 2).to_bits(), draw(2, 2).to_bits());
        assert_ne!(named(1, "a"), named(1, "b"));
        let hits = (0..100_000).filter(|n| Rolls::of(9, *n).hit(shakedown_core::Ppm(10_000))).count();
        // Binomial(100 000, 1 %): mean 1000, standard deviation 31.5; four of them.
        assert!((874..=1126).contains(&hits), "{hits}");
        assert!((0..1000).all(|n| Rolls::of(9, n).hit(shakedown_core::Ppm::ONE) && !Rolls::of(9, n).hit(shakedown_core::Ppm::ZERO)));
    }
}
