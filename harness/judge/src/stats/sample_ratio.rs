//! Is the traffic split as asked? Pearson's chi-square per stage. Attempts nobody could be identified for may belong to
//! either arm: the split is in doubt only when no assignment of them explains it. Must not use outcomes.

use super::special::chi_square_tail;

/// Below this p-value the split is not what was asked for.
pub const ALPHA: f64 = 1e-4;
/// Expected counts below this make chi-square meaningless; such a stage is left out.
const LEAST_EXPECTED: f64 = 5.0;
/// With 0 % or 100 % asked there is nothing to expect: this share of strays is allowed.
const STRAYS: f64 = 0.01;

/// One stage's split.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Split {
    /// Share asked for.
    pub asked: f64,
    /// Identified canary attempts.
    pub canary: f64,
    /// Identified control attempts.
    pub control: f64,
    /// Failed attempts nobody could be identified for.
    pub unknown: f64,
}

/// χ² of the stage; `None` when there is too little to say.
#[must_use]
pub fn statistic(s: &Split) -> Option<f64> {
    let n = s.canary + s.control + s.unknown;
    let expected = n * s.asked;
    if expected < LEAST_EXPECTED || n - expected < LEAST_EXPECTED {
        return None;
    }
    let seen = expected.clamp(s.canary, s.canary + s.unknown);
    let difference = seen - expected;
    Some(difference * difference / expected + difference * difference / (n - expected))
}

/// p-value of one stage; strays at 0 % and 100 % give 0 when there are too many.
#[must_use]
pub fn p_value(s: &Split) -> Option<f64> {
    let n = s.canary + s.control + s.unknown;
    if n > 0.0 && (s.asked <= 0.0 || s.asked >= 1.0) {
        let strays = if s.asked <= 0.0 { s.canary } else { s.control };
        return Some(if strays > STRAYS * n { 0.0 } else { 1.0 });
    }
    statistic(s).map(|x| chi_square_tail(x, 1.0))
}

/// p-value over all stages together.
#[must_use]
pub fn over_stages(splits: &[Split]) -> Option<f64> {
    if splits.iter().any(|s| p_value(s) == Some(0.0)) {
        return Some(0.0);
    }
    let parts: Vec<f64> = splits.iter().filter_map(statistic).collect();
    (!parts.is_empty()).then(|| chi_square_tail(parts.iter().sum(), parts.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_split_is_seen_and_unknown_failures_explain_one() {
        let ok = Split { asked: 0.05, canary: 51.0, control: 949.0, unknown: 0.0 };
        assert!(p_value(&ok).unwrap() > 0.5);
        let wrong = Split { asked: 0.05, canary: 200.0, control: 800.0, unknown: 0.0 };
        assert!(p_value(&wrong).unwrap() < ALPHA);
        let black_hole = Split { asked: 0.05, canary: 0.0, control: 950.0, unknown: 50.0 };
        assert!(p_value(&black_hole).unwrap() > 0.9);
        let full = Split { asked: 1.0, canary: 900.0, control: 100.0, unknown: 0.0 };
        assert_eq!(p_value(&full), Some(0.0));
        assert_eq!(p_value(&Split { asked: 0.05, canary: 1.0, control: 9.0, unknown: 0.0 }), None);
    }
}
