//! The page's words and tables, ready for the template. Must not hold markup, except the numbers of small drawings.

use crate::evidence::{Row, compares, is_fact, rows, status};
use crate::gather::Gathered;
use crate::style::{clean, tied};
use crate::units::{clock, clock_exact, count, digits, nanos, percent};
use crate::{precision, words};
use serde_json::{Value, json};
use shakedown_core::Plan;
use shakedown_core::decision::{Decision, Status, Verdict};
use shakedown_core::snapshot::Sample;
use shakedown_core::units::Offset;

/// Most samples shown; the rest is in `samples.jsonl`.
const SHOWN: usize = 40;
/// Size of the drawing of how evidence grew.
const GROWTH: (f64, f64) = (120.0, 24.0);

/// All the template shows.
pub(super) fn view(plan: &Plan, decision: &Decision, all: &Gathered) -> Value {
    let (decided, noted): (Vec<_>, Vec<_>) = all.marks.iter().partition(|m| m.decision);
    let moment = |m: &&crate::gather::Mark| json!({"at": clock_exact(m.at), "text": m.text});
    json!({
        "verdict": words::verdict(plan, decision), "tone": tone(decision), "headline": words::headline(decision),
        "exit": u8::from(decision.exit), "scenario": clean(&decision.scenario), "place": place(decision),
        "description": clean(&plan.description), "hypothesis": clean(&plan.hypothesis),
        "started": clean(&decision.started), "duration": nanos(decision.duration as f64), "seed": decision.seed.to_string(),
        "why": lines(words::why(decision)), "back": lines(words::way_back(plan, decision)), "valid": tied(&words::valid(decision)),
        "doubt": !decision.validity.ok, "next": words::next(decision, ""), "rollout": plan.rollout.is_some(), "compares": compares(plan),
        "objectives": rows(plan, decision).iter().map(|r| objective(r, plan, decision, all)).collect::<Vec<_>>(),
        "stages": stages(decision), "faults": faults(plan, decision), "backs": backs(plan, decision),
        "decided": decided.iter().map(moment).collect::<Vec<_>>(), "noted": noted.iter().map(moment).collect::<Vec<_>>(),
        "marks_cut": all.marks_cut, "bins": all.bins.bins.len(), "bin": all.bins.width.to_string(),
        "samples": all.samples.iter().take(SHOWN).map(sample).collect::<Vec<_>>(), "samples_all": count(all.samples_all as u64),
        "samples_cut": all.samples_all > SHOWN,
        "facts": facts(plan, decision, all), "files": plan.files,
        "plan": serde_json::to_string_pretty(plan).expect("a plan is plain data"),
    })
}

/// Where it ran, unless it has the scenario's own name.
fn place(decision: &Decision) -> String {
    if decision.environment == decision.scenario { String::new() } else { format!(" on {}", clean(&decision.environment)) }
}

/// Sentences whose numbers keep their units on the line.
fn lines(sentences: Vec<String>) -> Vec<String> {
    sentences.iter().map(|s| tied(s)).collect()
}

fn tone(decision: &Decision) -> &'static str {
    match decision.verdict {
        Verdict::Promote => "good",
        Verdict::Rollback => "bad",
        _ => "doubt",
    }
}

fn status_class(of: Status) -> &'static str {
    match of {
        Status::Pass => "good",
        Status::Fail => "bad",
        Status::Inconclusive | Status::Nodata => "doubt",
        Status::NotReached => "quiet",
    }
}

fn objective(row: &Row, plan: &Plan, decision: &Decision, all: &Gathered) -> Value {
    let fact = plan.objectives.iter().any(|o| clean(&o.name) == row.name && is_fact(o));
    let growth = all.proofs.iter().find(|(name, _)| clean(name) == row.name && !fact).map(|(_, points)| growth(points, all.end));
    // What passed by proof is told whole by its cells.
    let text = if row.status == Status::Pass && !fact { "" } else { row.text.as_str() };
    let condition = decision.objectives.get(&row.name).and_then(|o| o.condition.as_ref());
    json!({
        "name": row.name, "status": status(row.status), "class": status_class(row.status), "mandatory": row.mandatory,
        "control": row.control, "value": row.value, "limit": row.limit, "evidence": row.evidence, "samples": row.samples,
        "text": text, "growth": growth,
        "condition": condition.map(|[who, by, ready]| clean(&format!("accepted: {who} mends it by {by}; ready when {ready}"))),
    })
}

/// A line of the share of the proof over the run, as SVG points, and the same in words.
fn growth(points: &[(Offset, f64)], end: Offset) -> Value {
    let (width, height) = GROWTH;
    let length = end.seconds().max(1e-9);
    let place = |(at, proof): &(Offset, f64)| {
        let (x, y) = ((at.seconds() / length).clamp(0.0, 1.0) * width, (1.0 - proof.clamp(0.0, 1.0)) * (height - 4.0) + 2.0);
        format!("{x:.1},{y:.1}")
    };
    let last = points.last().map_or(0.0, |p| p.1);
    let full = points.iter().find(|p| p.1 >= 1.0 && last >= 1.0).map_or(String::new(), |p| format!(", full from {}", clock(p.0)));
    let words = format!("{} of the proof{full}", crate::live::whole_percent(last));
    json!({"points": points.iter().map(place).collect::<Vec<_>>().join(" "), "words": words, "width": width, "height": height})
}

fn moment(at: Option<Offset>) -> String {
    at.map_or_else(|| "–".to_owned(), clock_exact)
}

fn stages(decision: &Decision) -> Vec<Value> {
    let one = |s: &shakedown_core::decision::StageResult| {
        let class = match s.end.as_str() {
            "passed" => "good",
            "harm" => "bad",
            "not_reached" => "quiet",
            _ => "doubt",
        };
        let read = s.acknowledged.map_or_else(|| "not read".to_owned(), |w| percent(w.fraction()));
        let seen = s.observed.map_or_else(|| "not seen".to_owned(), percent);
        json!({"name": clean(&s.name), "end": words::stage_end(&s.end), "class": class, "asked": percent(s.asked.fraction()),
            "read": read, "seen": seen, "from": moment(s.from), "to": moment(s.to), "why": clean(&s.why)})
    };
    decision.stages.iter().map(one).collect()
}

fn faults(plan: &Plan, decision: &Decision) -> Vec<Value> {
    let one = |f: &shakedown_core::decision::FaultResult| {
        let class = match f.status.as_str() {
            "hit" => "good",
            "not_reached" => "quiet",
            _ => "bad",
        };
        let planned = plan.faults.iter().find(|p| p.name == f.name).map_or(String::new(), crate::timeline::fault_words);
        json!({"name": clean(&f.name), "what": if planned.is_empty() { clean(&f.kind) } else { planned }, "class": class, "status": f.status.replace('_', " "),
            "from": moment(f.applied), "to": moment(f.reverted), "hits": count(f.hits), "seen": count(f.seen)})
    };
    decision.faults.iter().map(one).collect()
}

fn backs(plan: &Plan, decision: &Decision) -> Vec<Value> {
    let one = |b: &shakedown_core::decision::RollbackResult| {
        let class = if b.status == "ok" { "good" } else { "bad" };
        let kind = if b.rehearsal { "rehearsal" } else { "rollback" };
        let why = clean(&b.why);
        json!({"kind": kind, "stage": clean(&b.stage), "class": class, "status": clean(&b.status), "text": words::one_way_back(plan, b), "why": why})
    };
    decision.rollbacks.iter().map(one).collect()
}

fn sample(s: &Sample) -> Value {
    let what = s.failure.map_or_else(|| "slow".to_owned(), |f| format!("{f:?}").to_lowercase());
    let status = s.status.map_or_else(|| "no answer".to_owned(), |s| s.to_string());
    json!({"at": clock_exact(s.at), "what": what, "class": if s.failure.is_some() { "bad" } else { "quiet" },
        "arm": format!("{:?}", s.arm).to_lowercase(), "status": status, "latency": nanos(s.latency as f64),
        "dispatch": nanos(s.dispatch as f64), "service": nanos(s.service as f64), "stream": clean(&s.stream), "step": step(&s.step),
        "request": clean(&s.request), "detail": clean(&s.detail), "trace": clean(&s.trace), "answer": s.answer})
}

/// `journey/step`; a request of one step has both by the same name and needs it once.
fn step(path: &str) -> String {
    let half = path.len() / 2;
    let twice = path.is_char_boundary(half) && path.get(half..=half) == Some("/") && path.get(..half) == path.get(half + 1..);
    clean(if twice { &path[..half] } else { path })
}

/// Generator, validity, versions and hashes as label and value.
fn facts(plan: &Plan, decision: &Decision, all: &Gathered) -> Vec<Value> {
    let v = &decision.validity;
    let maybe = |v: Option<f64>, show: fn(f64) -> String| v.map_or_else(|| "not measured".to_owned(), show);
    let seconds = decision.duration as f64 / 1e9;
    let cpu =
        if seconds > 0.0 && all.cpu > 0 { format!("{} cores", digits(all.cpu as f64 / 1e9 / seconds)) } else { "not measured".to_owned() };
    let [p50, p99, p999] = v.lag.map(|l| nanos(l as f64));
    let canary = decision
        .canary
        .as_ref()
        .map_or_else(|| "none".to_owned(), |(name, digest)| clean(&format!("{name} {}", digest.as_deref().unwrap_or("(no digest given)"))));
    let mut told = vec![
        ("asked, sent", format!("{} asked, {} sent", count(v.asked), count(v.sent))),
        ("dispatched of asked", percent(v.achieved)),
        ("dropped at the in-flight limit", count(v.dropped)),
        ("answers", format!("{} met every expectation, {} failed", count(v.succeeded), count(v.failed))),
        ("send lag p50, p99, p99.9", format!("{p50}, {p99}, {p999}")),
        ("generator's own processor", cpu),
        ("sample ratio, p", maybe(v.sample_ratio_p, digits)),
        ("successes not identified", maybe(v.unidentified, percent)),
        ("slice, paired block", format!("{}, {} slices", nanos(v.slice as f64), v.block)),
        ("error autocorrelation, lag 1", maybe(v.autocorrelation, digits)),
        ("cells cut", count(v.cut)),
        ("control, canary", format!("{}; {canary}", plan.rollout.as_ref().map_or_else(|| "none".to_owned(), |r| clean(&r.control)))),
        ("run", clean(&decision.run)),
        ("harness version", clean(&decision.version)),
        ("plan SHA-256", clean(&decision.plan_sha256)),
    ];
    told.extend(precision::facts(plan, decision));
    if all.scaled {
        told.push(("time scale", "this run was scaled: it never promotes".to_owned()));
    }
    told.into_iter().map(|(label, value)| json!({"label": label, "value": value})).collect()
}
