//! Special functions on logarithmic scale: beta, incomplete beta, chi-square tail. Must not call the system's ln or exp.

use libm::{exp, lgamma, log, log1p};

/// Steps of a continued fraction; far more than double precision needs for the counts of a run.
const MAX_STEPS: usize = 20_000;
const TINY: f64 = 1e-300;
const CLOSE: f64 = 1e-14;

/// ln B(a, b).
#[must_use]
pub fn ln_beta(a: f64, b: f64) -> f64 {
    lgamma(a) + lgamma(b) - lgamma(a + b)
}

/// ln of the *unregularised* incomplete beta integral ∫₀ˣ tᵃ⁻¹(1−t)ᵇ⁻¹ dt, for a, b > 0 and 0 < x ≤ 1
/// (Lentz's continued fraction, Numerical Recipes 6.4, in logarithms so that tails do not underflow).
#[must_use]
pub fn ln_incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x >= 1.0 {
        return ln_beta(a, b);
    }
    if x <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let front = a * log(x) + b * log1p(-x);
    if x < (a + 1.0) / (a + b + 2.0) {
        return front - log(a) + log(beta_fraction(a, b, x));
    }
    let whole = ln_beta(a, b);
    let rest = front - log(b) + log(beta_fraction(b, a, 1.0 - x));
    whole + log1p(-exp((rest - whole).min(-1e-17)))
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for step in 1..=MAX_STEPS {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let factor = d * c;
        h *= factor;
        if (factor - 1.0).abs() < CLOSE {
            break;
        }
    }
    h
}

/// ln(eᵃ + eᵇ).
#[must_use]
pub fn ln_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + log1p(exp(low - high)) }
}

/// ln of the mean of eˣ; minus infinity when empty.
#[must_use]
pub fn ln_mean(logs: &[f64]) -> f64 {
    let sum = logs.iter().fold(f64::NEG_INFINITY, |sum, &x| ln_add(sum, x));
    sum - log(logs.len().max(1) as f64)
}

/// P(χ² with `df` degrees of freedom ≥ x): the regularised upper incomplete gamma function.
#[must_use]
pub fn chi_square_tail(x: f64, df: f64) -> f64 {
    let (a, x) = (df / 2.0, x / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let front = exp(a * log(x) - x - lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..=MAX_STEPS {
            term *= x / (a + n as f64);
            sum += term;
            if term < sum * CLOSE {
                break;
            }
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for n in 1..=MAX_STEPS {
        let i = n as f64;
        let an = -i * (i - a);
        b += 2.0;
        d = an * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + an / c;
        c = if c.abs() < TINY { TINY } else { c };
        h *= d * c;
        if (d * c - 1.0).abs() < CLOSE {
            break;
        }
    }
    (front * h).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_beta_agrees_with_closed_forms() {
        // I_x(1, b) = 1 − (1−x)^b; I_x(a, 1) = x^a.
        assert!((ln_incomplete_beta(1.0, 4.0, 0.3) - log((1.0 - 0.7f64.powi(4)) / 4.0)).abs() < 1e-12);
        assert!((ln_incomplete_beta(5.0, 1.0, 0.2) - log(0.2f64.powi(5) / 5.0)).abs() < 1e-12);
        assert!((ln_incomplete_beta(3000.0, 3000.0, 0.5) - (ln_beta(3000.0, 3000.0) - log(2.0))).abs() < 1e-9);
        // Far tail: no underflow.
        assert!(ln_incomplete_beta(1e5, 1e3, 0.5).is_finite());
    }

    #[test]
    fn chi_square_tail_at_known_quantiles() {
        assert!((chi_square_tail(3.841_458_820_694_124, 1.0) - 0.05).abs() < 1e-10);
        assert!((chi_square_tail(15.136_705_226_623_6, 1.0) - 1e-4).abs() < 1e-9);
        assert!((chi_square_tail(1.0, 4.0) - 0.909_795_989_568_950_1).abs() < 1e-10);
    }
}
