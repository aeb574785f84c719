//! What `shakedown plan` prints: one time axis, expected requests, blast radius, objectives and what is provable, gates,
//! hash. Must not compute what is provable or expected; both are handed in.

mod axis;
mod radius;
pub(crate) use radius::fault as fault_words;
mod schedule;

use crate::evidence::limit;
use crate::style::{Style, Tone, clean, pad, wrap};
use crate::table::Table;
use crate::units::{Unit, count, percent, rate};
use shakedown_core::Plan;
use shakedown_core::units::Span;

/// The plan in words and one axis, ending in a line break.
///
/// `forecasts`: per stream its name, expected requests, highest rate a second, length. `provable`: per objective its name,
/// whether the scenario's own length can prove it, and why. `sha256`: the plan's hash in hex.
#[must_use]
pub fn plan_text(
    plan: &Plan,
    forecasts: &[(String, f64, f64, Span)],
    provable: &[(String, bool, String)],
    sha256: &str,
    style: Style,
) -> String {
    let mut lines = head(plan, sha256, style);
    title(&mut lines, "timeline", style);
    lines.extend(axis::lines(plan, forecasts, style));
    title(&mut lines, "expected requests", style);
    lines.extend(expected(forecasts, style));
    title(&mut lines, "blast radius", style);
    lines.extend(radius::lines(plan, style));
    title(&mut lines, "objectives", style);
    lines.extend(objectives(plan, provable, style));
    if plan.rollout.is_some() {
        title(&mut lines, "gates", style);
        lines.extend(gates(plan, style));
    }
    lines.push(String::new());
    lines.push(" nothing was sent".to_owned());
    lines.iter().map(|l| style.fit(l)).collect::<Vec<_>>().join("\n") + "\n"
}

fn title(lines: &mut Vec<String>, text: &str, style: Style) {
    lines.push(String::new());
    lines.push(style.paint(Tone::Strong, text));
}

/// `label  text`, wrapped under itself.
pub(crate) fn labelled(label: &str, text: &str, style: Style) -> Vec<String> {
    const LABEL: usize = 13;
    let mut lead = pad(&format!(" {label}"), LABEL);
    if !lead.ends_with(' ') {
        lead.push(' ');
    }
    let mut lines = Vec::new();
    for line in wrap(text, style.columns() - LABEL) {
        lines.push(format!("{lead}{line}"));
        lead = " ".repeat(LABEL);
    }
    lines
}

fn head(plan: &Plan, sha256: &str, style: Style) -> Vec<String> {
    let mut lines = vec![format!("{}  seed {}", style.paint(Tone::Strong, &clean(&plan.name)), plan.seed)];
    for (label, text) in [("about", &plan.description), ("hypothesis", &plan.hypothesis), ("owner", &plan.owner)] {
        if !text.is_empty() {
            lines.extend(labelled(label, &clean(text), style));
        }
    }
    if let Some(bound) = plan.time_box {
        lines.extend(labelled("at most", &format!("{bound} after the first request (time box)"), style));
    }
    lines.extend(labelled("sha256", sha256, style));
    lines
}

fn expected(forecasts: &[(String, f64, f64, Span)], style: Style) -> Vec<String> {
    let total: f64 = forecasts.iter().map(|f| f.1).sum();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (stream, requests, peak, length) in forecasts {
        rows.push(vec![clean(stream), count(requests.round() as u64), rate(*peak), length.to_string()]);
    }
    if forecasts.len() > 1 {
        rows.push(vec!["all".to_owned(), count(total.round() as u64), String::new(), String::new()]);
    }
    Table { head: &["stream", "requests", "peak", "for"], rows, toned: (0, Vec::new()) }.lines(style)
}

fn objectives(plan: &Plan, provable: &[(String, bool, String)], style: Style) -> Vec<String> {
    let mut rows = Vec::new();
    let mut tones = Vec::new();
    let mut notes = Vec::new();
    for objective in &plan.objectives {
        let told = provable.iter().find(|p| p.0 == objective.name);
        let (word, tone) = match told {
            Some((_, true, _)) => ("provable", Tone::Good),
            Some((_, false, _)) => ("NOT PROVABLE", Tone::Bad),
            None => ("not computed", Tone::Doubt),
        };
        let mandatory = plan.verdict.mandatory.contains(&objective.name);
        let rule = &plan.verdict;
        let needed = if mandatory || (rule.mandatory.is_empty() && rule.at_least.is_none()) { "must pass" } else { "counts" };
        let bound = limit(&objective.limit, Unit::of(&objective.indicator));
        rows.push(vec![clean(&objective.name), word.to_owned(), bound, percent(objective.confidence.fraction()), needed.to_owned()]);
        tones.push(tone);
        notes.push(told.map_or(String::new(), |t| clean(&t.2)));
    }
    let head = ["objective", "in this length", "limit", "confidence", "verdict"];
    let mut lines = Table { head: &head, rows, toned: (1, tones) }.lines(style);
    let told = plan.objectives.iter().zip(&notes).filter(|(_, n)| !n.is_empty());
    lines.extend(told.flat_map(|(o, note)| wrapped(&unnamed(&clean(&o.name), note), style)));
    if let Some(least) = plan.verdict.at_least {
        lines.push(format!(" at least {least} of {} must pass", plan.objectives.len()));
    }
    lines
}

/// A note that begins with its objective's name, without saying the name twice; others get it in front.
fn unnamed(name: &str, note: &str) -> String {
    let own = note.strip_prefix(name).filter(|rest| rest.starts_with([' ', ':']));
    if own.is_some() { note.to_owned() } else { format!("{name}: {note}") }
}

fn wrapped(text: &str, style: Style) -> Vec<String> {
    let lines = wrap(text, style.columns() - 3).into_iter().enumerate();
    lines.map(|(i, line)| format!("{}{line}", if i == 0 { " " } else { "   " })).collect()
}

fn gates(plan: &Plan, style: Style) -> Vec<String> {
    let Some(rollout) = &plan.rollout else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for stage in &rollout.stages {
        let gate = if stage.gate.is_empty() { "none".to_owned() } else { stage.gate.join(", ") };
        let samples = stage.min_samples.map_or(String::new(), |n| format!("; canary needs {} samples", count(n)));
        let extend = if stage.extend == Span::ZERO { String::new() } else { format!(" (+{} while undecided)", stage.extend) };
        let weight = percent(stage.weight.fraction());
        lines.extend(labelled(&clean(&stage.name), &format!("{weight} for {}{extend}; gate {gate}{samples}", stage.hold), style));
    }
    let back = &rollout.rollback;
    let lost = back.failed_requests.map_or(String::new(), |p| format!(", at most {} of the requests failed", percent(p.fraction())));
    let when = if back.restored_when.is_empty() { String::new() } else { format!(": {}", back.restored_when.join(", ")) };
    lines.extend(labelled("rollback", &format!("restored within {}{when}{lost}", back.restored_within), style));
    lines
}
