//! The decision in sentences: verdict, why, way back, validity, next. Every format says the same ones. Must not judge:
//! each sentence states fields of the decision.

use crate::style::{Tone, clean};
use crate::units::{clock_exact, count, digits, nanos, percent};
use shakedown_core::Plan;
use shakedown_core::decision::{Decision, Exit, FaultResult, RollbackResult, StageResult, Verdict};
use shakedown_core::units::Offset;
use std::path::Path;

/// Most reasons told in full; the rest are counted.
const REASONS: usize = 4;
/// The command that runs the same again, written into the run directory by `run`.
pub const REPLAY_FILE: &str = "replay.txt";
/// Longest such command that is told.
const REPLAY: usize = 2_000;

/// The verdict as people read it; `pass` and `fail` when nothing was rolled out.
pub(crate) fn verdict(plan: &Plan, decision: &Decision) -> &'static str {
    let rollout = plan.rollout.is_some();
    if decision.exit == Exit::NotReady {
        return "NOT READY";
    }
    match decision.verdict {
        Verdict::Promote if rollout => "PROMOTE",
        Verdict::Promote => "PASS",
        Verdict::PromoteWithConditions if rollout => "PROMOTE WITH CONDITIONS",
        Verdict::PromoteWithConditions => "PASS WITH CONDITIONS",
        Verdict::Rollback if rollout => "ROLLBACK",
        Verdict::Rollback => "FAIL",
        Verdict::Inconclusive => "INCONCLUSIVE",
        Verdict::Invalid => "INVALID",
        Verdict::Halted => "HALTED",
    }
}

/// Its colour.
pub(crate) fn tone(decision: &Decision) -> Tone {
    match decision.verdict {
        Verdict::Promote => Tone::Good,
        Verdict::Rollback => Tone::Bad,
        _ => Tone::Doubt,
    }
}

/// The environment was not ready and nothing was sent: there are no numbers, so none are shown.
#[must_use]
pub fn nothing_judged(decision: &Decision) -> bool {
    decision.exit == Exit::NotReady && decision.validity.sent == 0
}

/// The headline, safe to print.
pub(crate) fn headline(decision: &Decision) -> String {
    clean(&decision.headline)
}

/// The reasons, strongest first, bounded.
pub(crate) fn why(decision: &Decision) -> Vec<String> {
    let mut lines: Vec<String> = decision.reasons.iter().take(REASONS).map(|r| clean(&r.text)).collect();
    if decision.reasons.len() > REASONS {
        lines.push(format!("and {} more reasons in decision.json", decision.reasons.len() - REASONS));
    }
    if lines.is_empty() {
        let told = decision.objectives.values().filter(|o| o.mandatory).take(REASONS);
        lines = told.map(|o| clean(&o.text)).filter(|t| !t.is_empty()).collect();
    }
    if lines.is_empty() {
        lines.push("no reason was recorded".to_owned());
    }
    lines.extend(decision.conditions.iter().map(|c| format!("condition: {}", clean(c))));
    lines
}

/// The ways back, the last one in full; says so when none was tried.
pub(crate) fn way_back(plan: &Plan, decision: &Decision) -> Vec<String> {
    if plan.rollout.is_none() {
        return Vec::new();
    }
    let Some(last) = decision.rollbacks.last() else {
        return vec!["none was taken or rehearsed; that the way back works is not shown".to_owned()];
    };
    let mut lines = Vec::new();
    let earlier = &decision.rollbacks[..decision.rollbacks.len() - 1];
    if !earlier.is_empty() {
        let all: Vec<String> = earlier.iter().map(|r| format!("{} {}", clean(&r.stage), r.status)).collect();
        lines.push(format!("earlier: {}", all.join(", ")));
    }
    lines.insert(0, one_way_back(plan, last));
    lines
}

/// One way back as a chain of moments and its losses.
pub(crate) fn one_way_back(plan: &Plan, back: &RollbackResult) -> String {
    let bounds = plan.rollout.as_ref().map(|r| &r.rollback);
    let kind = if back.rehearsal { "rehearsed" } else { "decided" };
    let after = |what: &str, at: Option<Offset>| match at {
        Some(at) if at >= back.commanded => format!(" → {what} +{}", nanos(at.since(back.commanded).0 as f64)),
        Some(at) => format!(" → {what} {} before the command", nanos(back.commanded.since(at).0 as f64)),
        None => format!(" → {what} not seen"),
    };
    let mut text = format!("{kind} {} in {} at {}", clock_exact(back.commanded), clean(&back.stage), percent(back.from.fraction()));
    text += &after("acknowledged", back.acknowledged);
    text += &after("last canary answer", back.last_canary);
    text += &after("restored", back.restored);
    text += &bounds.map_or(String::new(), |b| format!(" (limit {})", nanos(b.restored_within.0 as f64)));
    text += &format!("; {} of {} requests failed", count(back.failed), count(back.requests));
    text += &bounds.and_then(|b| b.failed_requests).map_or(String::new(), |p| format!(" (limit {})", percent(p.fraction())));
    if back.status != "ok" {
        text += &format!("; {}: {}", back.status.to_uppercase(), clean(&back.why));
    }
    text
}

/// Can the evidence be trusted, and by which numbers.
pub(crate) fn valid(decision: &Decision) -> String {
    let v = &decision.validity;
    let mut parts = vec![
        format!("{} of {} arrivals sent, {} requests", percent(v.achieved), count(v.asked), count(v.sent)),
        format!("send lag p99 {}", nanos(v.lag[1] as f64)),
    ];
    if v.dropped > 0 {
        parts.push(format!("{} dropped at the in-flight limit", count(v.dropped)));
    }
    parts.extend(split(decision));
    if let Some(share) = v.unidentified.filter(|s| *s > 0.0) {
        parts.push(format!("{} of the successes unidentified (limit 1 %)", percent(share)));
    }
    if v.cut > 0 {
        parts.push(format!("{} cells cut by max_cells", count(v.cut)));
    }
    parts.extend(decision.faults.iter().map(fault));
    let lead = if v.ok { "yes: " } else { "IN DOUBT: " };
    format!("{lead}{}", parts.join(", "))
}

fn split(decision: &Decision) -> Option<String> {
    let shared = |s: &&StageResult| s.asked.0 > 0 && s.asked.0 < 1_000_000 && s.observed.is_some();
    let stage = decision.stages.iter().rev().find(shared)?;
    let p = decision.validity.sample_ratio_p.map_or(String::new(), |p| format!(", sample ratio p {}", digits(p)));
    Some(format!(
        "split {} seen for {} asked in {}{p}",
        percent(stage.observed.unwrap_or_default()),
        percent(stage.asked.fraction()),
        clean(&stage.name)
    ))
}

/// Kinds that act on processes, not on traffic.
const PROCESSES: [&str; 2] = ["pause", "kill"];

/// What a fault did, in words.
pub(crate) fn fault(fault: &FaultResult) -> String {
    let name = clean(&fault.name);
    match fault.status.as_str() {
        "hit" if PROCESSES.contains(&fault.kind.as_str()) => {
            format!("fault {name} hit {} process{}", count(fault.hits), if fault.hits == 1 { "" } else { "es" })
        }
        "hit" => format!("fault {name} hit {} of {} seen", count(fault.hits), count(fault.seen)),
        "no_hit" => format!("fault {name} HIT NOTHING ({} seen)", count(fault.seen)),
        "not_reached" => format!("fault {name} not reached"),
        other => format!("fault {name} {}", clean(&other.to_uppercase())),
    }
}

/// What to do next: the judge's advice, then how to see and run it again. `run_dir` may be empty; then only the advice.
/// The way back has a section of its own and is not told twice.
pub(crate) fn next(decision: &Decision, run_dir: &str) -> Vec<String> {
    let dir = clean(run_dir);
    let dir = dir.trim_end_matches('/');
    let told_here = |line: &str| line.starts_with("way back:") || line.starts_with("replay:");
    let mut lines: Vec<String> = decision.next.iter().map(|n| clean(n)).filter(|n| !told_here(n)).collect();
    if dir.is_empty() {
        return lines;
    }
    lines.iter_mut().for_each(|l| *l = l.replace("samples.jsonl in the run directory", &format!("{dir}/samples.jsonl")));
    if !nothing_judged(decision) {
        let page = format!("{dir}/report.html");
        let written = Path::new(run_dir).join("report.html").is_file();
        let make = format!("shakedown report {dir} --format html --output {page}");
        lines.push(format!("page: {}", if written { page } else { make }));
    }
    let command = std::fs::read_to_string(Path::new(run_dir).join(REPLAY_FILE)).ok().map(|text| clean(&text));
    let command = command.filter(|c| !c.is_empty() && c.len() <= REPLAY);
    let command = command.unwrap_or_else(|| format!("shakedown run {dir}/scenario.yaml --seed {}", decision.seed));
    lines.push(format!("replay: {command}"));
    lines
}

/// A stage's end in words.
pub(crate) fn stage_end(end: &str) -> &str {
    match end {
        "harm" => "HARM",
        "undecided" => "undecided",
        "not_reached" => "not reached",
        other => other,
    }
}
