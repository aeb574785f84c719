//! One screen: name and clock, stages, rates and weight, faults, objectives of both arms, sparklines. Must fit its width
//! and say everything in words too.

use super::plain::{percent_whole, whole_rate};
use super::state::{StageState, State};
use crate::evidence::{compares, is_fact, limit};
use crate::style::{Style, Tone, clean, columns, pad, wrap};
use crate::table::Table;
use crate::units::{Unit, clock, count, nanos, percent};
use shakedown_core::Plan;
use shakedown_core::event::StageEnd;
use shakedown_core::units::{Offset, Span};

/// Steps of a sparkline.
const UNICODE: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same for an ASCII-only place.
const ASCII: [char; 8] = ['_', '.', ',', '-', '=', '+', '*', '#'];

/// The whole screen.
pub(super) fn draw(plan: &Plan, state: &State, now: Offset, style: Style) -> String {
    let mut lines = vec![head(plan, now, style)];
    lines.extend(stages(plan, state, now, style));
    lines.extend(rates(state, style));
    lines.extend(faults(state, style));
    lines.extend(objectives(plan, state, style));
    lines.extend(gate(state, style));
    lines.extend(sparklines(state, style));
    lines.push(style.paint(Tone::Quiet, " ctrl-C: stop, undo everything, keep the evidence"));
    lines.join("\n") + "\n"
}

fn head(plan: &Plan, now: Offset, style: Style) -> String {
    let left = format!(" {}  {}  seed {}", clean(&plan.name), clean(&plan.environment.name), plan.seed);
    let most = plan.time_box.map_or(String::new(), |t| format!(" of at most {}", clock(Offset::ZERO.plus(t))));
    let right = format!("{}{most}", clock(now));
    let room = style.columns().saturating_sub(columns(&right));
    let left: String = left.chars().take(room.saturating_sub(1)).collect();
    style.paint(Tone::Strong, &format!("{}{right}", pad(&left, room)))
}

fn stages(plan: &Plan, state: &State, now: Offset, style: Style) -> Vec<String> {
    let mut told = Vec::new();
    for (name, stage) in &state.stages {
        let name = clean(name);
        let hold = plan.rollout.iter().flat_map(|r| &r.stages).find(|s| s.name == name).map_or(Span::ZERO, |s| s.hold);
        told.push(match stage {
            StageState::Ahead => name,
            StageState::Running(since) => {
                format!("▶ {name} {} of {}", clock(Offset::ZERO.plus(now.since(*since))), clock(Offset::ZERO.plus(hold)))
            }
            StageState::Ended(StageEnd::Passed) => format!("{name} ✔ passed"),
            StageState::Ended(StageEnd::Harm) => format!("{name} HARM"),
            StageState::Ended(StageEnd::Undecided) => format!("{name} undecided"),
            StageState::Ended(StageEnd::Cut) => format!("{name} cut"),
        });
    }
    if state.running().is_none() || state.stopping() {
        told.push(state.phase(now));
    }
    indented(&told.join("  ·  "), style)
}

fn rates(state: &State, style: Style) -> Vec<String> {
    let rates = state.rates();
    let lag = rates.lag_p99.map_or_else(|| "lag not measured".to_owned(), |l| format!("lag p99 {}", nanos(l as f64)));
    let mut text = format!("asked {}  sent {}  {lag}", whole_rate(rates.asked), whole_rate(rates.sent));
    text += &state.dropped_words().map_or(String::new(), |d| format!("  {d}"));
    if let Some(asked) = state.asked_weight.or(state.read_weight) {
        let seen = rates.canary_share.map_or_else(|| "no arm seen".to_owned(), |s| format!("seen {}", percent(s)));
        text += &format!("   weight asked {}  {seen}", percent(asked.fraction()));
    }
    indented(&text, style)
}

fn faults(state: &State, style: Style) -> Vec<String> {
    let told: Vec<String> = state.faults.iter().map(|(name, f)| format!("fault {} {}{}", clean(name), f.word, hits(f.hits))).collect();
    if told.is_empty() { Vec::new() } else { indented(&told.join("  ·  "), style) }
}

fn hits(n: u64) -> String {
    match n {
        0 => String::new(),
        1 => ", 1 hit".to_owned(),
        _ => format!(", {} hits", count(n)),
    }
}

fn objectives(plan: &Plan, state: &State, style: Style) -> Vec<String> {
    let control = compares(plan);
    let mut rows = Vec::new();
    let mut tones = Vec::new();
    for progress in &state.objectives {
        let objective = plan.objective(&progress.objective);
        let unit = objective.map_or(Unit::Factor, |o| Unit::of(&o.indicator));
        // A fact is known when it is over; what its track has gathered so far is not its value.
        let fact = objective.is_some_and(is_fact);
        let show = |v: Option<f64>| v.filter(|_| !fact).map_or_else(|| "–".to_owned(), |v| unit.show(v));
        let (word, tone) = match progress.meets {
            _ if fact => ("a fact, told at the end", Tone::Quiet),
            Some(true) => ("✔ meets", Tone::Good),
            Some(false) => ("MISSES", Tone::Bad),
            None => ("no data", Tone::Quiet),
        };
        let limit = objective.map_or_else(|| "–".to_owned(), |o| limit(&o.limit, unit));
        let silent = fact || progress.value.is_none();
        let evidence = if silent { word.to_owned() } else { format!("{word}, {} of the proof", percent_whole(progress.proof)) };
        let mut cells = vec![clean(&progress.objective), show(progress.value), limit, evidence];
        if control {
            cells.insert(1, show(progress.control));
        }
        rows.push(cells.iter().map(|c| style.fit(c)).collect());
        tones.push(tone);
    }
    let head: &[&str] =
        if control { &["objective", "control", "canary", "limit", "evidence"] } else { &["objective", "value", "limit", "evidence"] };
    Table { head, rows, toned: (head.len() - 1, tones) }.lines(style)
}

fn gate(state: &State, style: Style) -> Vec<String> {
    state.gate.as_ref().map_or_else(Vec::new, |(stage, why)| indented(&format!("gate of {}: {why}", clean(stage)), style))
}

fn sparklines(state: &State, style: Style) -> Vec<String> {
    let p99: Vec<Option<f64>> = state.seconds.values().map(|s| s.latency.quantile(0.99).map(|v| v as f64)).collect();
    let errors: Vec<Option<f64>> =
        state.seconds.values().map(|s| (s.ok + s.failed > 0).then(|| s.failed as f64 / (s.ok + s.failed) as f64)).collect();
    let now = |points: &[Option<f64>], unit: Unit| points.iter().rev().flatten().next().map_or("no data".to_owned(), |v| unit.show(*v));
    let each = (style.columns().saturating_sub(44) / 2).clamp(5, super::state::SECONDS as usize);
    indented(
        &format!(
            "p99 {} {}  errors {} {}",
            spark(&p99, each, style),
            now(&p99, Unit::Nanos),
            spark(&errors, each, style),
            now(&errors, Unit::Fraction)
        ),
        style,
    )
}

/// The last points from zero to the highest, one character each; a gap where there is no data.
fn spark(points: &[Option<f64>], most: usize, style: Style) -> String {
    let points = &points[points.len().saturating_sub(most)..];
    let top = points.iter().flatten().copied().fold(0.0, f64::max);
    let steps = if style.unicode { UNICODE } else { ASCII };
    let one = |v: f64| steps[if top > 0.0 { ((v / top * 7.0).round() as usize).min(7) } else { 0 }];
    points.iter().map(|p| p.map_or(' ', one)).collect()
}

/// Wrapped under one space.
fn indented(text: &str, style: Style) -> Vec<String> {
    wrap(&style.fit(text), style.columns() - 1).into_iter().map(|l| format!(" {l}")).collect()
}
