//! Which objectives gate which stage, and what a rollback restores: names resolved, what cannot be judged there
//! reported. Sample counts are expectations from the shapes, not promises.

use crate::cx::Cx;
use crate::names;
use crate::rollout::{Gate, Raw};
use crate::slos::Against;
use crate::traffic;
use crate::{indicators, limits};
use shakedown_core::plan::{ArmChoice, Indicator, LimitValue, Objective, Reference, Rollout, Stage, Step, Stream, When, WindowRef};
use shakedown_core::tree::Node;
use shakedown_core::units::{Ppm, Span};
use std::ops::Range;

/// Resolves all gates and `restored_when`.
pub fn resolve(raw: Raw, objectives: &[Objective], against: &Against, cx: &mut Cx) -> Rollout {
    let streams = against.streams;
    let Raw { mut rollout, gates, restored_when } = raw;
    let mut start = against.warmup.plus(rollout.baseline);
    let starts: Vec<Span> = rollout
        .stages
        .iter()
        .map(|stage| {
            let at = start;
            start = start.plus(stage.hold);
            at
        })
        .collect();
    let names: Vec<(String, Span)> = rollout.stages.iter().map(|s| s.name.clone()).zip(starts).collect();
    for (i, gate) in gates.into_iter().enumerate() {
        let traffic = Traffic { streams, complete: against.complete, stages: &names, at: names[i].1 };
        let stage = &rollout.stages[i];
        let resolved = match gate {
            Gate::All(span) => all(stage, &span, objectives, &traffic, cx),
            Gate::Broken => Vec::new(),
            Gate::Named(named) => self::named(stage, &named, objectives, &traffic, cx),
        };
        rollout.stages[i].gate = resolved;
    }
    rollout.rollback.restored_when = match restored_when {
        Some(named) => restored(&named, objectives, cx),
        None => objectives.iter().filter(|o| usual_restored(o)).map(|o| o.name.clone()).collect(),
    };
    rollout
}

/// Traffic around a stage.
struct Traffic<'a> {
    streams: &'a [Stream],
    complete: bool,
    stages: &'a [(String, Span)],
    at: Span,
}

fn all(stage: &Stage, span: &Range<usize>, objectives: &[Objective], traffic: &Traffic, cx: &mut Cx) -> Vec<String> {
    let mut gate = Vec::new();
    let mut left = Vec::new();
    for objective in objectives {
        match why_not(stage, objective, traffic) {
            None => gate.push(objective.name.clone()),
            Some(why) if indicators::over_load(&objective.indicator) => left.push(format!("`{}`: {why}", objective.name)),
            Some(_) => {}
        }
    }
    if gate.is_empty() && !objectives.is_empty() && cx.p.is_empty() {
        let hint = if left.is_empty() { "add an objective over load, like a success_rate".into() } else { left.join("; ") };
        cx.p.hint(span, format!("no objective can gate the stage `{}`", stage.name), hint);
    } else if !left.is_empty() {
        let kept = gate.join(", ");
        cx.warn(
            span,
            format!("the stage `{}` is gated by {kept}; left out: {}", stage.name, left.join("; ")),
            "name its gate to make this explicit",
        );
    }
    gate
}

fn named(stage: &Stage, named: &[(String, &Node)], objectives: &[Objective], traffic: &Traffic, cx: &mut Cx) -> Vec<String> {
    let mut gate: Vec<String> = Vec::new();
    for (name, node) in named {
        if !known(name, node, cx) {
            continue;
        }
        // An objective that could not be read has a problem of its own.
        if let Some(objective) = objectives.iter().find(|o| o.name == *name)
            && let Some(why) = why_not(stage, objective, traffic)
        {
            cx.p.hint(&node.span, format!("`{name}` cannot be judged in the stage `{}`", stage.name), why);
        }
        if gate.contains(name) {
            cx.p.add(&node.span, format!("`{name}` is named twice"));
        }
        gate.push(name.clone());
    }
    gate
}

fn known(name: &str, node: &Node, cx: &mut Cx) -> bool {
    names::resolve("objective", name, cx.names.objectives.iter().map(String::as_str), &node.span, &mut cx.p)
}

/// Why an objective cannot gate a stage; `None`: it can.
fn why_not(stage: &Stage, objective: &Objective, traffic: &Traffic) -> Option<String> {
    if !indicators::over_load(&objective.indicator) {
        return Some("it is not measured over load".into());
    }
    if objective.window != WindowRef::Default || objective.every.is_some() {
        return Some("it has a window of its own".into());
    }
    let relative = limits::reference(&objective.limit) == Some(&Reference::Control);
    if relative && (stage.weight == Ppm::ZERO || stage.weight == Ppm::ONE) {
        return Some(format!("at {} there is no concurrent control to compare with", stage.weight));
    }
    let share = match objective.arm {
        ArmChoice::Canary => stage.weight.fraction(),
        ArmChoice::Control => 1.0 - stage.weight.fraction(),
        ArmChoice::All => 1.0,
    };
    if share <= 0.0 {
        return Some(format!("at {} nobody reaches that arm", stage.weight));
    }
    let needed = stage.min_samples.or(objective.min_samples).map_or_else(|| default_samples(objective), |n| n as f64);
    if !needed.is_finite() {
        return Some("its limit leaves no room for any sample size; give it `min_samples`".into());
    }
    // Traffic that cannot be foretold (users, recordings) is no reason against: the gate itself waits for its samples.
    let expected = expected(objective, traffic, stage.hold.plus(stage.extend))? * share;
    // Both come out of divisions: exactly enough must not fail for the last bit.
    (expected < needed * (1.0 - 1e-9))
        .then(|| format!("it needs {needed:.0} samples and about {expected:.0} are expected within hold + extend"))
}

/// Samples a gate needs when nobody says: 10/(1−q) for a quantile, 3/(1−min), 3/max or 3/floor for a rate.
fn default_samples(objective: &Objective) -> f64 {
    let limit = &objective.limit;
    match &objective.indicator {
        Indicator::Latency(q) | Indicator::JourneyDuration(q) => 10.0 / (1.0 - q.fraction()),
        i if limits::unit(i) == limits::Unit::Fraction => match (&limit.value, limit.floor) {
            (LimitValue::Fixed(value), _) if limit.min => 3.0 / (1.0 - value),
            (LimitValue::Fixed(value), _) => 3.0 / value,
            (_, Some(floor)) => 3.0 / floor,
            (LimitValue::Times(value, _) | LimitValue::Plus(value, _), None) => 3.0 / value.abs(),
        },
        _ => 1.0,
    }
}

/// Requests (or journeys) the objective counts within a stage; `None` when the traffic cannot be foretold.
fn expected(objective: &Objective, traffic: &Traffic, length: Span) -> Option<f64> {
    if !traffic.complete {
        return None;
    }
    let mut total = 0.0;
    for stream in traffic.streams.iter().filter(|s| objective.stream.as_ref().is_none_or(|n| *n == s.name)) {
        let start = match &stream.at {
            When::At(at) => at.seconds(),
            When::Stage { stage, plus } => traffic.stages.iter().find(|(n, _)| n == stage)?.1.seconds() + plus.seconds(),
            When::After { .. } => return None,
        };
        let from = traffic.at.seconds();
        let arrivals = traffic::expected(stream, start, from, from + length.seconds())?;
        total += arrivals * per_arrival(objective, stream);
    }
    Some(total)
}

/// How much of what the objective counts one arrival brings, on average.
fn per_arrival(objective: &Objective, stream: &Stream) -> f64 {
    let weights: f64 = stream.journeys.iter().map(|j| f64::from(j.weight)).sum();
    let whole = matches!(objective.indicator, Indicator::JourneySuccess | Indicator::JourneyDuration(_));
    let chosen = stream.journeys.iter().filter(|j| objective.journey.as_ref().is_none_or(|n| *n == j.name));
    let counted = chosen.map(|j| {
        let steps = j.steps.iter().filter(|s| match s {
            Step::Request(r) => objective.step.as_ref().is_none_or(|n| *n == r.name),
            Step::Think(..) => false,
        });
        f64::from(j.weight) * if whole { 1.0 } else { steps.count() as f64 }
    });
    counted.sum::<f64>() / weights.max(1.0)
}

fn restored(named: &[(String, &Node)], objectives: &[Objective], cx: &mut Cx) -> Vec<String> {
    let mut kept = Vec::new();
    for (name, node) in named {
        if !known(name, node, cx) {
            continue;
        }
        let fits = |o: &Objective| indicators::over_load(&o.indicator) && limits::reference(&o.limit).is_none();
        if objectives.iter().any(|o| o.name == *name && !fits(o)) {
            cx.p.hint(
                &node.span,
                format!("`{name}` cannot say that service is restored"),
                "restored_when names objectives over load with a fixed limit; they are held against all traffic",
            );
        }
        kept.push(name.clone());
    }
    kept
}

fn usual_restored(objective: &Objective) -> bool {
    indicators::has_budget(&objective.indicator)
        && limits::reference(&objective.limit).is_none()
        && objective.window == WindowRef::Default
        && objective.every.is_none()
}
