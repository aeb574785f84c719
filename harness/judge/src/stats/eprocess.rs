//! Relative risk of events of two concurrent arms: the stratified e-process. It conditions on the events of both arms in
//! a slice, so ramps and drift that both share cancel. For rare events and independent requests. Must not pool slices.

use super::special::{ln_beta, ln_incomplete_beta, ln_mean};
use libm::log;

/// Relative risks mixed over when harm is sought, as multiples of the null.
pub const WORSE: [f64; 6] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0];
/// Relative risks mixed over when non-inferiority is sought, as multiples of the null.
pub const BETTER: [f64; 6] = [0.8, 0.667, 0.5, 0.333, 0.2, 0.1];

/// The running e-process: ln E for every alternative.
#[derive(Clone, Debug, PartialEq)]
pub struct RiskRatio {
    null: f64,
    alternatives: Vec<f64>,
    logs: Vec<f64>,
}

impl RiskRatio {
    /// Null relative risk θ₀ and the grid of alternatives θₖ.
    #[must_use]
    pub fn new(null: f64, alternatives: Vec<f64>) -> RiskRatio {
        let logs = vec![0.0; alternatives.len()];
        RiskRatio { null, alternatives, logs }
    }

    /// Null and a grid of multiples of it.
    #[must_use]
    pub fn around(null: f64, multiples: &[f64]) -> RiskRatio {
        RiskRatio::new(null, multiples.iter().map(|m| m * null).collect())
    }

    /// Adds a slice: canary's share `rho` of the requests, canary's and control's events.
    pub fn push(&mut self, rho: f64, canary: f64, control: f64) {
        for (log_e, theta) in self.logs.iter_mut().zip(&self.alternatives) {
            let share = (1.0 + rho * (theta - 1.0)) / (1.0 + rho * (self.null - 1.0));
            *log_e += canary * log(theta / self.null) - (canary + control) * log(share);
        }
    }

    /// ln E: the mean over the grid.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        ln_mean(&self.logs)
    }

    /// ln E of every alternative.
    #[must_use]
    pub fn terms(&self) -> &[f64] {
        &self.logs
    }
}

/// ln E of a Beta(1,1) mixture for `x` of `n` events in the canary against null share `rho`; one-sided keeps only shares above it.
#[must_use]
pub fn beta_mixture(x: f64, n: f64, rho: f64, one_sided: bool) -> f64 {
    let (a, b) = (x + 1.0, n - x + 1.0);
    let null = x * log(rho) + (n - x) * libm::log1p(-rho);
    if one_sided {
        // The share above rho is the complement's share below 1 − rho.
        ln_incomplete_beta(b, a, 1.0 - rho) - libm::log1p(-rho) - null
    } else {
        ln_beta(a, b) - null
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_slices() {
        let mut e = RiskRatio::new(1.0, vec![1.5, 2.0, 3.0]);
        for (rho, c, b) in [(0.05, 2.0, 30.0), (0.25, 10.0, 25.0), (0.5, 30.0, 20.0)] {
            e.push(rho, c, b);
        }
        assert!((e.log_e() - 0.065_008_848_7).abs() < 1e-9);
        for (got, want) in e.terms().iter().zip([0.959_787_12, -0.532_383_37, -5.756_847_44]) {
            assert!((got - want).abs() < 1e-7, "{got} {want}");
        }
    }

    #[test]
    fn known_beta_mixtures() {
        assert!((beta_mixture(30.0, 40.0, 0.5, false) - 3.454_324_362_8).abs() < 1e-9);
        assert!((beta_mixture(30.0, 40.0, 0.5, true) - 4.146_746_034_8).abs() < 1e-9);
    }

    #[test]
    fn no_events_are_no_evidence() {
        let mut e = RiskRatio::around(1.5, &BETTER);
        e.push(0.5, 0.0, 0.0);
        assert!(e.log_e().abs() < 1e-12);
    }
}
