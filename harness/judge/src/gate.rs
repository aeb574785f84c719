//! The gate of the running stage: enough samples, no harm proven, point estimates meet the limits. A look, not a proof;
//! the verdict needs more. Must not see other stages' samples.

use crate::evidence::{Evidence, Stratum};
use crate::indicators::unit;
use crate::judge::Judge;
use crate::limits::meets;
use crate::track::Track;
use crate::words;
use shakedown_core::event::{Gate, GateState};
use shakedown_core::plan::Stage;
use shakedown_core::{Arm, Ppm};

/// With 0 % asked: this share of strays is harm, as in the test of the split.
const STRAYS: f64 = 0.01;

/// The running stage's gate; `None` between stages.
#[must_use]
pub fn gate(judge: &Judge) -> Option<Gate> {
    let running = judge.line.running()?;
    let stage = judge.plan.rollout.as_ref()?.stages.get(running.index)?;
    let (state, why) = if stage.weight == Ppm::ZERO {
        nobody(judge, running.index)
    } else if stage.gate.is_empty() {
        (GateState::Undecided, format!("stage {} has no objective that could decide its gate", stage.name))
    } else {
        together(stage.gate.iter().map(|name| one(judge, stage, running.index, name)).collect())
    };
    Some(Gate { stage: stage.name.clone(), state, why })
}

/// Harm of one is harm; a pass needs all.
fn together(parts: Vec<(GateState, String)>) -> (GateState, String) {
    for state in [GateState::Harm, GateState::Undecided, GateState::Pass] {
        let words: Vec<String> = parts.iter().filter(|p| p.0 == state).map(|p| p.1.clone()).collect();
        if !words.is_empty() {
            return (state, words.join("; "));
        }
    }
    (GateState::Undecided, "nothing to judge".to_owned())
}

/// A stage at 0 % proves that nobody reaches the canary.
fn nobody(judge: &Judge, index: usize) -> (GateState, String) {
    match judge.splits.get(&(index, 0)) {
        Some(s) if s.control + s.canary > 0.0 => {
            let seen = format!("{} of {} requests reached the canary at 0 %", s.canary, s.control + s.canary);
            let state = if s.canary > STRAYS * (s.control + s.canary) {
                GateState::Harm
            } else if s.canary > 0.0 {
                GateState::Undecided
            } else {
                GateState::Pass
            };
            (state, seen)
        }
        _ => (GateState::Undecided, "no closed second of traffic yet".to_owned()),
    }
}

fn one(judge: &Judge, stage: &Stage, index: usize, name: &str) -> (GateState, String) {
    let Some(track) = judge.track(name) else {
        return (GateState::Undecided, format!("{name} is not an objective of this plan"));
    };
    if track.spec.concurrent() && stage.weight == Ppm::ONE {
        return (GateState::Pass, format!("{name} has no control to compare with at 100 %"));
    }
    let results: Vec<_> = track.groups.values().map(|e| evidence(track, stage, index, e)).collect();
    let (state, why) =
        if results.is_empty() { (GateState::Undecided, format!("{name}: no closed second of this stage yet")) } else { together(results) };
    // A miss that somebody answers for does not stop the rollout.
    if state != GateState::Pass && track.objective.condition.is_some() {
        return (GateState::Pass, format!("{why} (accepted: it has a condition)"));
    }
    (state, why)
}

fn evidence(track: &Track, stage: &Stage, index: usize, e: &Evidence) -> (GateState, String) {
    let name = &track.objective.name;
    if e.harm.is_some() {
        return (GateState::Harm, crate::outcome::harm_words(track, e));
    }
    // Compared with the baseline everything is one stratum; else the newest of this stage (a guard may have lowered its weight).
    let newest = e.strata.iter().rev().find(|(k, _)| k.0 == index || k.0 == usize::MAX).map(|(_, s)| s);
    let Some(s) = newest else {
        return (GateState::Undecided, format!("{name}: no closed second of this stage yet"));
    };
    let needed = stage.min_samples.unwrap_or(track.spec.least);
    let words = stratum_words(track, s);
    if s.pass.total < needed {
        return (GateState::Undecided, format!("{words}; {} of {} samples", words::count(s.pass.total), words::count(needed)));
    }
    let warning = if e.warning { "; warning: one of two engines sees harm" } else { "" };
    match meets(&track.spec, &track.selector, s, true) {
        Some(true) => (GateState::Pass, format!("{words}{warning}")),
        Some(false) => (GateState::Undecided, format!("{words}, which misses it{warning}")),
        None => (GateState::Undecided, format!("{words}; nothing to compare with yet")),
    }
}

/// `p95 51.9 ms against 48.1 ms (limit ≤ 1.5x control)`.
fn stratum_words(track: &Track, s: &Stratum) -> String {
    let (o, unit) = (&track.objective, unit(&track.objective.indicator));
    let value = track.selector.value(&s.pass).map_or("no data".to_owned(), |v| words::amount(unit, v));
    let against = match track.selector.value(&s.reference) {
        Some(r) if track.arm == Arm::Canary => format!(", control {}", words::amount(unit, r)),
        _ => String::new(),
    };
    format!("{} {value}{against} (limit {})", o.name, words::limit(o))
}
