//! Two arms' rates held against each other when neither is rare: H₀ "p_c ≥ limit(p_b)" (or ≤). At the control's true rate
//! the product of the two arms' one-sided mixtures is a supermartingale, so its minimum over the unknown rate is an
//! e-value whatever that rate is. Must not pool stages.

use super::bernoulli::{Mixture, Side};

/// Points at which the unknown rate is tried, then once more around the smallest.
const GRID: usize = 200;

/// What the canary's rate is held against: `factor·p_b + plus`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Multiple of the control's rate.
    pub factor: f64,
    /// Plus this.
    pub plus: f64,
}

/// Events and requests of one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Events.
    pub k: f64,
    /// Requests.
    pub n: f64,
}

/// ln E against "the canary is on the wrong side of the line": `proves_below` seeks p_c < line(p_b) (a pass of a limit
/// from above), otherwise p_c > line(p_b) (harm).
#[must_use]
pub fn log_e(canary: Count, control: Count, line: Line, proves_below: bool, t_opt: f64) -> f64 {
    if canary.n <= 0.0 || control.n <= 0.0 {
        return 0.0;
    }
    // For a pass small p_b must be ruled out by the control, large by the canary; for harm the other way round.
    let (b_side, c_side) = if proves_below { (Side::Above, Side::Below) } else { (Side::Below, Side::Above) };
    let at = |p: f64| {
        let target = line.factor * p + line.plus;
        let c = if target <= 0.0 {
            // A rate cannot be below zero: nothing to prove for a pass; for harm any event is beyond the line.
            if proves_below || canary.k <= 0.0 { 0.0 } else { 700.0 }
        } else if target >= 1.0 {
            if !proves_below || canary.k >= canary.n { 0.0 } else { 700.0 }
        } else {
            Mixture::new(target, c_side, t_opt).log_e(canary.k, canary.n)
        };
        c + Mixture::new(p, b_side, t_opt).log_e(control.k, control.n)
    };
    let top = (control.k / control.n).max(canary.k / canary.n).max(1.0 / (control.n + canary.n)) * 4.0;
    let (mut low, mut high) = (1e-9, top.min(1.0 - 1e-9));
    let mut least = f64::INFINITY;
    for _ in 0..2 {
        let step = (high - low) / GRID as f64;
        let (mut best, mut best_at) = (f64::INFINITY, low);
        for i in 0..=GRID {
            let p = low + step * i as f64;
            let value = at(p);
            if value < best {
                (best, best_at) = (value, p);
            }
        }
        least = least.min(best);
        (low, high) = ((best_at - step).max(1e-9), (best_at + step).min(1.0 - 1e-9));
    }
    least.clamp(super::LEAST_LOG_E, 700.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libm::log;

    #[test]
    fn proves_what_is_far_from_the_line_and_nothing_at_it() {
        let line = Line { factor: 1.0, plus: 0.01 };
        let same = Count { k: 10.0, n: 10_000.0 };
        assert!(log_e(same, same, line, true, 2000.0) > log(20.0));
        assert!(log_e(Count { k: 110.0, n: 10_000.0 }, same, line, true, 2000.0) < log(20.0));
        assert!(log_e(Count { k: 400.0, n: 10_000.0 }, same, line, false, 2000.0) > log(20.0));
        assert!(log_e(same, same, line, false, 2000.0) < 0.1);
        assert_eq!(log_e(Count::default(), same, line, true, 2000.0), 0.0);
    }
}
