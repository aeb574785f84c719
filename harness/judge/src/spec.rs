//! How an objective is tested: direction, reference, samples and thresholds, made once from the plan. Must not hold counts.

use crate::stats::quantile::Margin;
use crate::stats::rate_pair::Line;
use shakedown_core::plan::{Indicator, Limit, LimitValue, Objective, Reference};

/// Samples a gate needs where nothing says how many.
const PLAIN_SAMPLES: f64 = 100.0;
/// Requests a mixture is tuned for, as a multiple of what a gate needs.
const TUNED: f64 = 4.0;

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// A share of requests.
    Rate,
    /// A quantile.
    Quantile(f64),
    /// A plain number, held against its limit as a fact.
    Plain,
}

/// What it is held against.
#[derive(Clone, Debug, PartialEq)]
pub enum Against {
    /// A number.
    Fixed(f64),
    /// factor × reference + plus, the control in the same slices.
    Control(f64, f64),
    /// factor × reference + plus, this run's baseline.
    Before(f64, f64),
    /// Another run: not judged here.
    Elsewhere,
}

/// How an objective is tested.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What is tested.
    pub measure: Measure,
    /// At least (otherwise at most).
    pub min: bool,
    /// Against what.
    pub against: Against,
    /// The effect is a ratio (otherwise a difference).
    pub ratio: bool,
    /// A ratio's limit is never below this.
    pub floor: Option<f64>,
    /// 1 − confidence.
    pub alpha: f64,
    /// ln of the e-value that proves harm: 1/alpha times the number of objectives that could.
    pub harm_bar: f64,
    /// Samples a gate needs by default.
    pub least: u64,
    /// Requests the mixtures are tuned for.
    pub t_opt: f64,
}

impl Spec {
    /// For an objective of a plan with `rivals` objectives whose harm is looked for.
    #[must_use]
    pub fn of(o: &Objective, rivals: usize) -> Spec {
        let measure = measure(&o.indicator);
        let (against, ratio) = against(&o.limit);
        let alpha = (1.0 - o.confidence.fraction()).clamp(1e-6, 0.5);
        let default = samples(measure, &o.limit, &against);
        let least = o.min_samples.unwrap_or(default.max(1.0) as u64).max(1);
        Spec {
            measure,
            min: o.limit.min,
            against,
            ratio,
            floor: o.limit.floor.filter(|_| !o.limit.min),
            alpha,
            harm_bar: libm::log(rivals.max(1) as f64 / alpha),
            least,
            t_opt: (default * TUNED).max(40.0),
        }
    }

    /// ln of the e-value that proves a pass.
    #[must_use]
    pub fn bar(&self) -> f64 {
        libm::log(1.0 / self.alpha)
    }

    /// The objective compares with the control in the same slices.
    #[must_use]
    pub fn concurrent(&self) -> bool {
        matches!(self.against, Against::Control(..))
    }

    /// Largest share of adverse events a fixed limit allows.
    #[must_use]
    pub fn allowed(&self) -> Option<f64> {
        let Against::Fixed(v) = self.against else { return None };
        Some(match self.measure {
            Measure::Rate if self.min => 1.0 - v,
            Measure::Rate => v,
            Measure::Quantile(q) if self.min => q,
            Measure::Quantile(q) => 1.0 - q,
            Measure::Plain => return None,
        })
    }

    /// The limit as a line over the reference's adverse rate.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        let (factor, plus) = self.terms()?;
        Some(if self.min { Line { factor, plus: 1.0 - factor - plus } } else { Line { factor, plus } })
    }

    /// The limit as a margin over the reference's quantile.
    #[must_use]
    pub fn margin(&self) -> Option<Margin> {
        self.terms().map(|(factor, plus)| Margin { factor, plus })
    }

    fn terms(&self) -> Option<(f64, f64)> {
        match self.against {
            Against::Control(f, p) | Against::Before(f, p) => Some((f, p)),
            _ => None,
        }
    }

    /// The limit in the indicator's unit, given the reference's value.
    #[must_use]
    pub fn limit(&self, reference: Option<f64>) -> Option<f64> {
        match (&self.against, self.terms(), reference) {
            (Against::Fixed(v), ..) => Some(*v),
            (_, Some((f, p)), Some(r)) => Some((f * r + p).max(self.floor.unwrap_or(f64::NEG_INFINITY))),
            _ => None,
        }
    }

    /// Does a value meet the limit?
    #[must_use]
    pub fn meets(&self, value: f64, limit: f64) -> bool {
        if self.min { value >= limit } else { value <= limit }
    }

    /// The effect against a reference.
    #[must_use]
    pub fn effect(&self, value: f64, reference: f64) -> Option<f64> {
        if self.ratio { (reference > 0.0).then(|| value / reference) } else { Some(value - reference) }
    }
}

fn measure(indicator: &Indicator) -> Measure {
    match indicator {
        Indicator::SuccessRate
        | Indicator::ErrorRate
        | Indicator::TimeoutRate
        | Indicator::RetryRate
        | Indicator::StatusShare(_)
        | Indicator::JourneySuccess => Measure::Rate,
        Indicator::Latency(q) | Indicator::JourneyDuration(q) => Measure::Quantile(q.fraction()),
        _ => Measure::Plain,
    }
}

fn against(limit: &Limit) -> (Against, bool) {
    let relative = |factor: f64, plus: f64, to: &Reference| match to {
        Reference::Control => Against::Control(factor, plus),
        Reference::Before => Against::Before(factor, plus),
        Reference::Run(_) => Against::Elsewhere,
    };
    match &limit.value {
        LimitValue::Fixed(v) => (Against::Fixed(*v), false),
        LimitValue::Times(f, to) => (relative(*f, 0.0, to), true),
        LimitValue::Plus(d, to) => (relative(1.0, *d, to), false),
    }
}

/// Default samples: 10/(1−q) for a quantile; 3/(1−min), 3/max or 3/floor for a rate.
fn samples(measure: Measure, limit: &Limit, against: &Against) -> f64 {
    let rare = |share: f64| if share > 0.0 { libm::ceil(3.0 / share - 1e-9) } else { PLAIN_SAMPLES };
    match (measure, against) {
        (Measure::Quantile(q), _) => libm::ceil(10.0 / (1.0 - q) - 1e-9),
        (Measure::Rate, Against::Fixed(v)) => rare(if limit.min { 1.0 - v } else { *v }),
        (Measure::Rate, _) => limit.floor.map_or(PLAIN_SAMPLES, rare),
        (Measure::Plain, _) => 1.0,
    }
}
