//! Counts against a limit: which events speak against it, whether a point estimate meets it, how strongly a fixed limit is
//! proven. Must not keep anything.

use crate::evidence::Stratum;
use crate::indicators::{Selector, Tally};
use crate::spec::{Against, Measure, Spec};
use crate::stats::bernoulli::{self, Side};

/// A proof that cannot be stronger (a fact).
const CERTAIN: f64 = 700.0;

/// Does the point estimate of a stratum meet the limit? `None` without data in an arm that is needed.
#[must_use]
pub fn meets(spec: &Spec, selector: &Selector, s: &Stratum, pass: bool) -> Option<bool> {
    let value = selector.value(if pass { &s.pass } else { &s.harm })?;
    let limit = spec.limit(selector.value(&s.reference))?;
    Some(spec.meets(value, limit))
}

/// Events that speak against the objective.
#[must_use]
pub fn adverse(spec: &Spec, t: &Tally) -> u64 {
    match (spec.measure, &spec.against) {
        (Measure::Rate, _) if spec.min => t.total.saturating_sub(t.count),
        (Measure::Quantile(_), Against::Fixed(limit)) => {
            let at_most = t.hist.count_at_most(limit.max(0.0) as u64);
            if spec.min { at_most } else { t.total.saturating_sub(at_most) }
        }
        _ => t.count,
    }
}

/// ln E of a fixed limit: for a pass against "more than allowed", for harm against "at most what is allowed".
#[must_use]
pub fn fixed(spec: &Spec, t: &Tally, passes: bool) -> f64 {
    let Some(allowed) = spec.allowed() else { return 0.0 };
    let (k, n) = (adverse(spec, t), t.total);
    if n == 0 {
        return 0.0;
    }
    // "None at all" is a fact: no number of good requests proves it and one bad one breaks it.
    if allowed < 1e-9 {
        let holds = k == 0 && n >= spec.least;
        return if passes == holds && (passes || k > 0) { CERTAIN } else { 0.0 };
    }
    if allowed > 1.0 - 1e-9 {
        return if passes { CERTAIN } else { 0.0 };
    }
    let side = if passes { Side::Below } else { Side::Above };
    bernoulli::log_e(k as f64, n as f64, allowed, side, spec.t_opt)
}
