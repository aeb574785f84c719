//! The generator's self-check for people: one line, facts for tables, and the whole of it after `--precision report`.
//! Must not judge: what was too much is in the decision's reasons.

use crate::style::{Style, Tone, pad};
use crate::units::{count, nanos, percent};
use shakedown_core::Plan;
use shakedown_core::decision::{Decision, GeneratorCheck, SecondsCheck};

/// Columns of the labels on the left.
const LABEL: usize = 13;
/// Columns of the longest bar.
const BAR: usize = 30;
/// Ranges of bad seconds told in one line.
const TOLD: usize = 5;
/// Names of the send error's quantiles.
const QUANTILES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// Whether there is anything to tell: runs of other versions have no self-check.
fn measured(g: &GeneratorCheck) -> bool {
    g.workers > 0 || g.send.count > 0 || g.seconds.seen > 0
}

/// The self-check in one sentence; `None` when nothing was measured.
pub(crate) fn sentence(decision: &Decision) -> Option<String> {
    let g = &decision.validity.generator;
    if !measured(g) {
        return None;
    }
    let mut parts = Vec::new();
    if g.send.count > 0 {
        let [p50, _, p99, p999, ..] = g.send.quantiles.map(|q| nanos(q as f64));
        parts.push(format!("send error p50 {p50}, p99 {p99}, p99.9 {p999}"));
    }
    parts.push(seconds(&g.seconds));
    parts.push(connections(g));
    if g.no_descriptor > 0 {
        parts.push(format!("{} connects found no descriptor", count(g.no_descriptor)));
    }
    if g.no_port > 0 {
        parts.push(format!("{} connects found no port", count(g.no_port)));
    }
    Some(parts.join("; "))
}

/// Label and value, for tables.
pub(crate) fn facts(plan: &Plan, decision: &Decision) -> Vec<(&'static str, String)> {
    let g = &decision.validity.generator;
    if !measured(g) {
        return Vec::new();
    }
    let mut told = Vec::new();
    if g.send.count > 0 {
        let all: Vec<String> = QUANTILES.iter().zip(g.send.quantiles).map(|(name, q)| format!("{name} {}", nanos(q as f64))).collect();
        told.push(("send error", all.join(", ")));
    }
    told.push(("seconds", seconds(&g.seconds)));
    if let Some(bad) = bad_seconds(&g.seconds) {
        told.push(("bad seconds", bad));
    }
    told.push(("in flight", format!("{} at most", count(g.in_flight))));
    told.push(("connections", connections(g)));
    if g.handshakes > 0 {
        told.push(("TLS", format!("{} handshakes, {} resumed a session", count(g.handshakes), count(g.resumed))));
    }
    if g.workers > 0 {
        told.push((
            "descriptors",
            format!("{} of {}, {} connects found none", count(g.descriptors), most(g.descriptors_max), count(g.no_descriptor)),
        ));
        told.push(("ports", format!("{} connects found none", count(g.no_port))));
        told.push((
            "processor",
            format!("{:.2} used; the workers waited for one {} of the time; the host took {:.2}", g.cpu, percent(g.run_queue), g.steal),
        ));
        told.push(("setting", setting(plan, g)));
    }
    told
}

/// The whole self-check, ending in a line break.
#[must_use]
pub fn table(plan: &Plan, decision: &Decision, style: Style) -> String {
    let (v, g) = (&decision.validity, &decision.validity.generator);
    let mut lines = vec![String::new(), style.paint(Tone::Strong, " precision")];
    let mut row = |label: &str, text: &str| {
        let mut label = style.paint(Tone::Quiet, &pad(&format!(" {label}"), LABEL));
        for line in crate::style::wrap(&style.fit(text), style.columns() - LABEL) {
            lines.push(format!("{label}{line}"));
            label = " ".repeat(LABEL);
        }
    };
    row("asked", &format!("{} arrivals, {} of them taken up, {} requests sent", count(v.asked), percent(v.achieved), count(v.sent)));
    if !measured(g) {
        row("", "the generator of this run measured nothing else of itself");
    }
    for (label, text) in facts(plan, decision) {
        row(label, &text);
    }
    if g.send.count > 0 {
        lines.push(style.paint(Tone::Quiet, &format!(" send error of {} paced arrivals", count(g.send.count))));
        lines.extend(spread(&g.send.spread, g.send.count, style));
    }
    lines.join("\n") + "\n"
}

/// One line a step: its upper edge, its count, its share, a bar.
fn spread(steps: &[(u64, u64)], all: u64, style: Style) -> Vec<String> {
    let highest = steps.iter().map(|s| s.1).max().unwrap_or(0).max(1);
    let block = if style.unicode { "█" } else { "#" };
    let line = |(edge, n): &(u64, u64)| {
        let edge = if *edge == u64::MAX { "more".to_owned() } else { format!("≤ {}", nanos(*edge as f64)) };
        let length = (*n as f64 / highest as f64 * BAR as f64).ceil() as usize;
        let share = percent(*n as f64 / all.max(1) as f64);
        style.fit(&format!("   {edge:>9}  {:>13}  {share:>10}  ", count(*n))) + &block.repeat(length.min(BAR))
    };
    steps.iter().map(line).collect()
}

fn seconds(s: &SecondsCheck) -> String {
    if s.seen == 0 {
        return "no second was measured".to_owned();
    }
    if s.short == 0 {
        return format!("in time in all of {} seconds", count(s.seen));
    }
    let least = s.least.map_or(String::new(), |l| format!(", at least {}", percent(l)));
    format!("of {} seconds {} below 99 % in time, {} below 95 %{least}", count(s.seen), count(s.short), count(s.bad))
}

/// Which seconds were bad, and why.
fn bad_seconds(s: &SecondsCheck) -> Option<String> {
    if s.bad == 0 {
        return None;
    }
    let told = |r: &shakedown_core::decision::BadSeconds| {
        let place = if r.to - r.from == 1 { format!("{} s", r.from) } else { format!("{}–{} s", r.from, r.to.saturating_sub(1)) };
        let cause = match r.cause.as_str() {
            "run-queue" => "the workers waited for a processor",
            "steal" => "the machine's host took the processor",
            _ => "unexplained",
        };
        format!("{place} ({} in time, {cause})", percent(r.share))
    };
    let mut parts: Vec<String> = s.ranges.iter().take(TOLD).map(told).collect();
    let listed: u64 = s.ranges.iter().take(TOLD).map(|r| r.to.saturating_sub(r.from)).sum();
    if s.bad > listed {
        parts.push(format!("{} more", count(s.bad - listed)));
    }
    Some(parts.join(", "))
}

fn connections(g: &GeneratorCheck) -> String {
    let waited = if g.waited > 0 { format!(", {} requests waited for one", count(g.waited)) } else { String::new() };
    format!("{} connections made, used again {} times{waited}", count(g.connections), count(g.reused))
}

fn most(limit: u64) -> String {
    if limit == 0 { "an unknown number".to_owned() } else { count(limit) }
}

fn setting(plan: &Plan, g: &GeneratorCheck) -> String {
    let p = &plan.precision;
    let by = |asked: bool| if asked { "" } else { " (auto)" };
    format!(
        "{} worker{}{}, quantum {}{}, spin {}{}",
        g.workers,
        if g.workers == 1 { "" } else { "s" },
        by(p.workers.is_some()),
        nanos(g.quantum as f64),
        by(p.quantum.is_some()),
        nanos(g.spin as f64),
        by(p.spin.is_some())
    )
}
