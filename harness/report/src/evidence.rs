//! Objectives as rows of words and numbers: status, both arms, limit, evidence, samples. Must not compare a value with
//! its limit; the status is the decision's.

use crate::style::{Tone, clean};
use crate::units::{Unit, count, digits, percent};
use shakedown_core::Plan;
use shakedown_core::decision::{Decision, ObjectiveResult, Status};
use shakedown_core::plan::{Limit, LimitValue, Objective, Reference};

/// Evidence above this is told as "over": an e-value of forty digits says no more.
const HUGE: f64 = 1e6;

/// One objective, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub name: String,
    pub status: Status,
    pub mandatory: bool,
    /// Control's or the reference's value; empty without one.
    pub control: String,
    pub value: String,
    pub limit: String,
    pub evidence: String,
    pub samples: String,
    pub text: String,
}

/// Head of the table, in the order of [`Row::cells`].
pub(crate) const HEAD: [&str; 7] = ["objective", "status", "control", "canary", "limit", "evidence", "samples"];

impl Row {
    pub(crate) fn cells(&self) -> [&str; 7] {
        [&self.name, status(self.status), &self.control, &self.value, &self.limit, &self.evidence, &self.samples]
    }
}

/// Every objective of the decision, in the plan's order; those the plan does not know come last.
pub(crate) fn rows(plan: &Plan, decision: &Decision) -> Vec<Row> {
    let known = plan.objectives.iter().filter_map(|o| decision.objectives.get(&o.name).map(|r| (o.name.as_str(), Some(o), r)));
    let stray = decision.objectives.iter().filter(|(n, _)| plan.objective(n).is_none()).map(|(n, r)| (n.as_str(), None, r));
    known.chain(stray).map(|(name, objective, result)| row(name, objective, result)).collect()
}

fn row(name: &str, objective: Option<&Objective>, result: &ObjectiveResult) -> Row {
    let unit = Unit::named(&result.unit);
    let show = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| unit.show(v));
    let [judged, reference] = result.samples;
    Row {
        name: clean(name),
        status: result.status,
        mandatory: result.mandatory,
        control: show(result.reference),
        value: show(result.value),
        limit: limit_of(objective, result),
        evidence: evidence(objective, result),
        samples: if reference > 0 { format!("{} / {}", count(judged), count(reference)) } else { count(judged) },
        text: clean(&result.text),
    }
}

fn limit_of(objective: Option<&Objective>, result: &ObjectiveResult) -> String {
    objective.map_or_else(|| clean(&result.limit_text), |o| limit(&o.limit, Unit::of(&o.indicator)))
}

/// A limit in words: `≤ 1.5 × control`, `≥ 99.5 %`.
pub(crate) fn limit(limit: &Limit, unit: Unit) -> String {
    let side = if limit.min { "≥" } else { "≤" };
    let floor = limit.floor.map_or(String::new(), |f| format!(" or {}", unit.show(f)));
    match &limit.value {
        LimitValue::Fixed(v) => format!("{side} {}", unit.show(*v)),
        LimitValue::Times(n, to) => format!("{side} {} × {}{floor}", digits(*n), reference(to)),
        LimitValue::Plus(d, to) => format!("{side} {} {}{floor}", reference(to), unit.show_difference(*d)),
    }
}

fn reference(to: &Reference) -> String {
    match to {
        Reference::Control => "control".to_owned(),
        Reference::Before => "before".to_owned(),
        Reference::Run(dir) => format!("run {}", clean(dir)),
    }
}

/// Effect or value with interval and proof: `1.83 × control; 90 % interval 1.66–2.02; proof 31 of 20 needed`.
fn evidence(objective: Option<&Objective>, result: &ObjectiveResult) -> String {
    let unit = Unit::named(&result.unit);
    let relative = objective.map(|o| &o.limit.value);
    let mut parts = Vec::new();
    if let Some(effect) = result.effect {
        parts.push(match relative {
            Some(LimitValue::Plus(_, to)) => format!("{} {}", reference(to), unit.show_difference(effect)),
            Some(LimitValue::Times(_, to)) => format!("{} × {}", digits(effect), reference(to)),
            _ => format!("effect {}", digits(effect)),
        });
    }
    if let Some([low, high]) = result.interval {
        // Each end holds at the objective's one-sided confidence: together that is a 90 % interval at 95 %.
        let both = |o: &Objective| percent((2.0 * o.confidence.fraction() - 1.0).max(0.0));
        let confidence = objective.map_or(String::new(), |o| format!("{} ", both(o)));
        let (low, high) = match relative {
            Some(LimitValue::Times(..)) => (digits(low), digits(high)),
            Some(LimitValue::Plus(..)) => (unit.show_difference(low), unit.show_difference(high)),
            _ => (unit.show(low), unit.show(high)),
        };
        parts.push(format!("{confidence}interval {low}–{high}"));
    }
    if let Some([reached, needed]) = result.proof {
        let reached = if reached > HUGE { format!("over {}", digits(HUGE)) } else { digits(reached) };
        parts.push(format!("proof {reached} of {} needed", digits(needed)));
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join("; ") }
}

/// A status in words.
pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "FAIL",
        Status::Inconclusive => "inconclusive",
        Status::Nodata => "no data",
        Status::NotReached => "not reached",
    }
}

/// A status's colour.
pub(crate) fn status_tone(status: Status) -> Tone {
    match status {
        Status::Pass => Tone::Good,
        Status::Fail => Tone::Bad,
        Status::Inconclusive | Status::Nodata => Tone::Doubt,
        Status::NotReached => Tone::Quiet,
    }
}
