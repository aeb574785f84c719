//! Plain lines for a log: one a phase change, one status line every 5 s, none wider than a log shows. Must not use colour
//! or cursor movement.

use super::state::State;
use crate::evidence::{is_fact, limit};
use crate::gather::tell_after;
use crate::style::{clean, columns, wrap};
use crate::units::{Unit, clock, digits, nanos, percent, rate};
use shakedown_core::Plan;
use shakedown_core::event::{Event, Fact, Input, Progress};
use shakedown_core::units::{Offset, Ppm, Span};

/// Least distance of status lines: a little under 5 s, so that a caller who asks every 5 s by its own clock misses none.
pub(super) const EVERY: Span = Span::millis(4_500);
/// Most columns of a line.
pub(super) const WIDTH: usize = 120;
/// Lines that go on start here, under the text after the clock.
const INDENT: usize = 6;

/// What the last status line said of an objective: told again only when it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    name: String,
    meets: Option<bool>,
    proof: String,
}

/// A phase change in words.
pub(super) fn phase(plan: &Plan, last_why: &mut String, event: &Event) -> Option<String> {
    let text = match &event.what {
        // The stage's own line says its weight.
        Input::Fact(Fact::WeightRead(weight)) if *weight > Ppm::ZERO => return None,
        Input::Fact(Fact::StageStarted(name)) => stage(plan, name),
        Input::Fact(fact) => tell_after(last_why, fact)?.1,
        Input::ServiceExited { service, status } => format!("service {} ended by itself (status {status})", clean(service)),
        Input::Halt(_) => "stop asked for: undoing everything".to_owned(),
        _ => return None,
    };
    Some(format!("{} {text}", clock(event.at)))
}

fn stage(plan: &Plan, name: &str) -> String {
    let found = plan.rollout.iter().flat_map(|r| &r.stages).find(|s| s.name == name);
    let told = found.map_or(String::new(), |s| format!(": canary at {} for {}", percent(s.weight.fraction()), nanos(s.hold.0 as f64)));
    format!("stage {} starts{told}", clean(name))
}

/// Where the run stands, most important first; what does not fit is left out.
pub(super) fn status(plan: &Plan, state: &State, now: Offset, last: &mut Vec<Told>) -> String {
    let since = |at: Offset| clock(Offset::ZERO.plus(now.since(at)));
    let mut parts = vec![state.running().map_or_else(|| state.phase(now), |(name, at)| format!("{} for {}", clean(name), since(at)))];
    parts.extend(state.dropped_words());
    // A fact is known when it is over: until then there is nothing to say of it.
    let fact = |p: &&Progress| plan.objective(&p.objective).is_some_and(is_fact);
    let sampled: Vec<&Progress> = state.objectives.iter().filter(|p| !fact(p)).collect();
    let told: Vec<Told> = sampled.iter().map(|p| of(p)).collect();
    let news = *last != told;
    if news {
        parts.extend(sampled.iter().filter(|p| p.meets == Some(false)).map(|p| missed(plan, p)));
    }
    let rates = state.rates();
    parts.push(format!("asked {} sent {}", whole_rate(rates.asked), whole_rate(rates.sent)));
    if let Some(asked) = state.asked_weight.filter(|_| state.running().is_some()) {
        let seen = rates.canary_share.map_or_else(|| "not seen yet".to_owned(), |s| format!("seen {}", percent(s)));
        parts.push(format!("weight {} {seen}", percent(asked.fraction())));
    }
    if news {
        let grown: Vec<String> = told.iter().filter(|t| !t.proof.is_empty()).map(|t| format!("{} {}", clean(&t.name), t.proof)).collect();
        parts.extend((!grown.is_empty()).then(|| format!("proof: {}", grown.join(", "))));
    }
    parts.extend(rates.lag_p99.map(|lag| format!("send lag p99 {}", nanos(lag as f64))));
    *last = told;
    let mut line = format!("{} {}", clock(now), parts[0]);
    for part in &parts[1..] {
        if columns(&line) + 3 + columns(part) <= WIDTH {
            line += &format!(" · {part}");
        }
    }
    line
}

fn of(progress: &Progress) -> Told {
    let proof = if progress.value.is_none() { String::new() } else { percent_whole(progress.proof) };
    Told { name: progress.objective.clone(), meets: progress.meets, proof }
}

fn missed(plan: &Plan, progress: &Progress) -> String {
    let objective = plan.objective(&progress.objective);
    let unit = objective.map_or(Unit::Factor, |o| Unit::of(&o.indicator));
    let value = progress.value.map_or_else(|| "no data".to_owned(), |v| unit.show(v));
    let control = progress.control.map_or(String::new(), |v| format!(", control {}", unit.show(v)));
    let limit = objective.map_or(String::new(), |o| format!(" (limit {})", limit(&o.limit, unit)));
    format!("MISSES {}: {value}{control}{limit}", clean(&progress.objective))
}

/// A line broken at [`WIDTH`]; what follows is indented under its text.
pub(super) fn wrapped(line: &str) -> Vec<String> {
    if columns(line) <= WIDTH {
        return vec![line.to_owned()];
    }
    let lines = wrap(line, WIDTH - INDENT).into_iter().enumerate();
    lines.map(|(i, l)| if i == 0 { l } else { format!("{}{l}", " ".repeat(INDENT)) }).collect()
}

/// A rate without decimals nobody reads as they pass by.
pub(super) fn whole_rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{}/s", digits(per_second)) } else { rate(per_second.round()) }
}

/// A share of the proof in whole percent, rounded down: 100 % only when it is.
pub(crate) fn percent_whole(share: f64) -> String {
    format!("{} %", (share.clamp(0.0, 1.0) * 100.0 + 1e-9).floor())
}
