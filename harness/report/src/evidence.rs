//! Objectives as rows of words and numbers: status, both arms, limit, evidence, samples. Must not compare a value with
//! its limit; the status is the decision's.

use crate::style::{Tone, clean};
use crate::units::{Unit, count, digits, percent};
use shakedown_core::Plan;
use shakedown_core::decision::{Decision, ObjectiveResult, Status};
use shakedown_core::plan::{Indicator, Limit, LimitValue, Objective, Reference};

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
    /// Effect, interval and proof in words.
    pub evidence: String,
    /// The same, short enough for a column.
    pub interval: String,
    /// Judged arm and reference; a fact of the run has none.
    pub samples: String,
    pub text: String,
}

impl Row {
    /// The cells under [`head`].
    pub(crate) fn cells(&self, control: bool) -> Vec<&str> {
        let mut cells = vec![self.name.as_str(), status(self.status), &self.value, &self.limit, &self.interval, &self.samples];
        if control {
            cells.insert(2, &self.control);
        }
        cells
    }
}

/// The head of a table of objectives: with `control`, the arms by their names; without, one value. The interval names
/// its confidence where all objectives share it.
pub(crate) fn head(plan: &Plan, control: bool) -> Vec<String> {
    let interval = match plan.objectives.split_first() {
        Some((first, rest)) if rest.iter().all(|o| o.confidence == first.confidence) => format!("{} interval", both(first)),
        _ => "interval".to_owned(),
    };
    let mut names = vec!["objective", "status", if control { "canary" } else { "value" }, "limit", &interval, "samples"];
    if control {
        names.insert(2, "control");
    }
    names.into_iter().map(str::to_owned).collect()
}

/// Whether anything is compared: a rollout has a control, and an objective may refer to the baseline or another run.
pub(crate) fn compares(plan: &Plan) -> bool {
    plan.rollout.is_some() || plan.objectives.iter().any(|o| !matches!(o.limit.value, LimitValue::Fixed(_)))
}

/// Each end holds at the objective's one-sided confidence: together that is a 90 % interval at 95 %.
fn both(objective: &Objective) -> String {
    percent((2.0 * objective.confidence.fraction() - 1.0).max(0.0))
}

/// Measured once, on the run itself: nothing was sampled and nothing is left to prove.
pub(crate) fn is_fact(objective: &Objective) -> bool {
    use Indicator::{BurnRate, TimeToRecover, TimeToRestore};
    matches!(objective.indicator, TimeToRecover { .. } | TimeToRestore | BurnRate { .. })
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
        value: match objective.map(|o| &o.indicator) {
            Some(Indicator::TimeToRecover { .. }) if result.value == Some(0.0) => "0 s (never violated)".to_owned(),
            _ => show(result.value),
        },
        limit: limit_of(objective, result),
        evidence: evidence(objective, result),
        interval: short_interval(objective, result),
        samples: match (objective.is_some_and(is_fact), reference) {
            (true, _) => "–".to_owned(),
            (false, 0) => count(judged),
            (false, _) => format!("{} / {}", count(judged), count(reference)),
        },
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

/// Effect, interval and proof: `1.83 × control; 90 % interval 1.66–2.02; 71 % of the proof`.
fn evidence(objective: Option<&Objective>, result: &ObjectiveResult) -> String {
    if objective.is_some_and(is_fact) {
        return if result.value.is_some() { "a fact of the run".to_owned() } else { "none".to_owned() };
    }
    let mut parts: Vec<String> = effect(objective, result).into_iter().collect();
    if let Some((low, high)) = ends(objective, result) {
        parts.push(format!("{}interval {low}–{high}", objective.map_or(String::new(), |o| format!("{} ", both(o)))));
    }
    parts.extend(proof(result));
    if parts.is_empty() { "none".to_owned() } else { parts.join("; ") }
}

/// `1.83 × (1.66–2.02)`, `99.98 %–100 %`, and how much of the proof is there where it is not whole.
fn short_interval(objective: Option<&Objective>, result: &ObjectiveResult) -> String {
    let range = ends(objective, result).map(|(low, high)| format!("{low}–{high}"));
    let mut text = match (objective.map(|o| &o.limit.value), result.effect, range) {
        (Some(LimitValue::Times(..)), Some(effect), Some(range)) => format!("{} × ({range})", digits(effect)),
        (_, _, range) => range.unwrap_or_else(|| "–".to_owned()),
    };
    if result.status == Status::Inconclusive {
        text += &proof(result).map_or(String::new(), |p| format!(", {p}"));
    }
    text
}

fn effect(objective: Option<&Objective>, result: &ObjectiveResult) -> Option<String> {
    let effect = result.effect?;
    Some(match objective.map(|o| &o.limit.value) {
        Some(LimitValue::Plus(_, to)) => format!("{} {}", reference(to), Unit::named(&result.unit).show_difference(effect)),
        Some(LimitValue::Times(_, to)) => format!("{} × {}", digits(effect), reference(to)),
        _ => format!("effect {}", digits(effect)),
    })
}

fn ends(objective: Option<&Objective>, result: &ObjectiveResult) -> Option<(String, String)> {
    let (unit, [low, high]) = (Unit::named(&result.unit), result.interval?);
    Some(match objective.map(|o| &o.limit.value) {
        Some(LimitValue::Times(..)) => (digits(low), digits(high)),
        Some(LimitValue::Plus(..)) => (unit.show_difference(low), unit.show_difference(high)),
        _ => (unit.show(low), unit.show(high)),
    })
}

/// How far the proof got. Evidence multiplies, so its share is one of logarithms, as the live view tells it.
fn proof(result: &ObjectiveResult) -> Option<String> {
    let [reached, needed] = result.proof?;
    match result.status {
        Status::Pass => Some("proven".to_owned()),
        Status::Fail => Some("proven to miss it".to_owned()),
        _ if needed > 1.0 && reached > 0.0 => Some(format!("{} of the proof", crate::live::whole_percent(reached.ln() / needed.ln()))),
        _ => Some("0 % of the proof".to_owned()),
    }
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
