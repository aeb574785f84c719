//! The decision: all findings in the order of the exit codes, the first that applies wins. Total: whatever is missing makes
//! it something other than promote. Must not compute statistics.

use crate::headline::Known;
use crate::judge::Judge;
use crate::{outcome, rollbacks, stages, validity, words};
use shakedown_core::Offset;
use shakedown_core::decision::{Decision, Exit, ObjectiveResult, Reason, RollbackResult, SCHEMA, Status, Verdict};
use shakedown_core::event::{HaltBy, StageEnd};
use shakedown_core::plan::{GuardAction, VerdictRule};
use std::collections::BTreeMap;

/// Share of the canary's successes that may be empty where the control's are not, whatever the objectives say.
const MOST_EMPTY: f64 = 0.01;

/// What was found, before it is put in order.
struct Findings<'a> {
    judge: &'a Judge,
    objectives: &'a BTreeMap<String, ObjectiveResult>,
    rollbacks: &'a [RollbackResult],
    doubts: &'a [Reason],
    gaps: Vec<Reason>,
    harm: Vec<Reason>,
}

/// What comes out of the order.
struct Outcome {
    exit: Exit,
    verdict: Verdict,
    reasons: Vec<Reason>,
}

/// The decision on everything so far.
#[must_use]
pub fn decide(judge: &Judge) -> Decision {
    let plan = &judge.plan;
    let objectives: BTreeMap<String, ObjectiveResult> = judge
        .tracks
        .iter()
        .map(|t| (t.objective.name.clone(), outcome::result(judge, t, mandatory(&plan.verdict, &t.objective.name))))
        .collect();
    let rollbacks = outcome::way_back(judge);
    let faults = validity::faults(judge);
    let doubts = validity::doubts(judge);
    let gaps = validity::gaps(judge, &faults);
    let mut findings = Findings { judge, objectives: &objectives, rollbacks: &rollbacks, doubts: &doubts, gaps, harm: Vec::new() };
    findings.harm = findings.harm();
    let mut numbers = validity::numbers(judge);
    numbers.ok = doubts.is_empty() && findings.gaps.is_empty();
    let outcome = findings.order();
    let conditions = objectives
        .iter()
        .filter(|(_, r)| r.mandatory && r.condition.is_some() && r.status != Status::Pass)
        .map(|(n, _)| n.clone())
        .collect();
    let (wall, run, sha, version, _) = judge.line.started.clone().unwrap_or_default();
    let length = judge.line.traffic_ended.unwrap_or(judge.slices.as_of);
    let next = next(judge, &outcome, &objectives);
    let known = Known {
        judge,
        exit: outcome.exit,
        verdict: outcome.verdict,
        reasons: &outcome.reasons,
        objectives: &objectives,
        rollbacks: &rollbacks,
    };
    Decision {
        schema: SCHEMA.to_owned(),
        verdict: outcome.verdict,
        exit: outcome.exit,
        headline: known.headline(),
        reasons: outcome.reasons,
        scenario: plan.name.clone(),
        environment: plan.environment.name.clone(),
        run,
        started: wall,
        duration: length.since(Offset::ZERO).0,
        version,
        seed: plan.seed,
        plan_sha256: sha,
        canary: plan.rollout.as_ref().map(|r| (r.canary.clone(), r.artifact.clone())),
        validity: numbers,
        objectives,
        stages: stages::results(judge),
        faults,
        rollbacks,
        conditions,
        next,
    }
}

/// An objective the verdict needs by name: all when neither key is given.
fn mandatory(rule: &VerdictRule, name: &str) -> bool {
    if rule.mandatory.is_empty() && rule.at_least.is_none() { true } else { rule.mandatory.iter().any(|m| m == name) }
}

fn reason(code: &str, text: impl Into<String>) -> Reason {
    Reason { code: code.to_owned(), text: text.into() }
}

impl Findings<'_> {
    /// The order of the exit codes.
    fn order(&self) -> Outcome {
        let line = &self.judge.line;
        let halted = line.halted.as_ref().map(|h| &h.0);
        let make = |exit, verdict, reasons| Outcome { exit, verdict, reasons };
        if let Some(HaltBy::Internal(why)) = halted {
            return make(Exit::Internal, Verdict::Invalid, vec![reason("internal", format!("internal error: {why}"))]);
        }
        let stuck = self.stuck();
        if !stuck.is_empty() {
            let unready = line.not_ready.iter().map(|(code, why, _)| reason(code, why.clone()));
            return make(Exit::RollbackFailed, Verdict::Rollback, stuck.into_iter().chain(self.harm.clone()).chain(unready).collect());
        }
        if let Some(HaltBy::Signal(signal)) = halted {
            let (exit, name) = if *signal == 15 { (Exit::Terminated, "SIGTERM") } else { (Exit::Interrupted, "SIGINT") };
            return make(exit, Verdict::Halted, vec![reason("interrupted", format!("stopped by {name}; everything was undone"))]);
        }
        if let Some((code, why, true)) = &line.not_ready {
            return make(Exit::NotReady, Verdict::Invalid, vec![reason(code, why.clone())]);
        }
        // Without any traffic nothing else can be said about the generator.
        if !self.doubts.is_empty() && !self.gaps.iter().any(|g| g.code == "no-traffic") {
            return make(Exit::Invalid, Verdict::Invalid, self.doubts.to_vec());
        }
        if !self.harm.is_empty() {
            return make(Exit::Rollback, Verdict::Rollback, self.harm.clone());
        }
        if let Some(by) = halted {
            return make(Exit::Halted, Verdict::Halted, vec![halt_reason(by)]);
        }
        let gaps: Vec<Reason> = self.gaps.iter().cloned().chain(self.nodata()).collect();
        if !gaps.is_empty() {
            return make(Exit::Invalid, Verdict::Invalid, gaps);
        }
        self.undecided_or_better()
    }

    fn undecided_or_better(&self) -> Outcome {
        let line = &self.judge.line;
        let mut open = Vec::new();
        // The engine asks before its last steps, so the end of the evidence is what counts here: a journal that was cut off
        // after it is found by whoever reads the journal.
        if line.traffic_ended.is_none() {
            open.push(reason("not-ended", "the load was never drained: the run was cut off"));
        }
        if line.started.as_ref().is_none_or(|s| s.4) {
            open.push(reason("scaled", "a run at another time scale never promotes"));
        }
        for stage in &line.stages {
            let name = self.judge.plan.rollout.as_ref().map_or("", |r| r.stages[stage.index].name.as_str());
            match &stage.end {
                Some((StageEnd::Passed, _)) => {}
                Some((_, why)) => open.push(reason("stage-undecided", format!("stage {name} ended undecided: {why}"))),
                None => open.push(reason("stage-undecided", format!("stage {name} did not end"))),
            }
        }
        if let Some(back) = line.backs.iter().find(|b| !b.rehearsal) {
            open.push(reason("rolled-back", format!("rolled back in stage {}: {}", back.stage, back.why)));
        }
        let missed = |r: &&ObjectiveResult| r.mandatory && r.status != Status::Pass;
        for r in self.objectives.values().filter(missed).filter(|r| r.condition.is_none()) {
            open.push(reason("not-proven", r.text.clone()));
        }
        let passed = self.objectives.values().filter(|r| r.status == Status::Pass).count();
        if let Some(least) = self.judge.plan.verdict.at_least.filter(|n| passed < *n as usize) {
            open.push(reason("too-few", format!("{passed} objectives passed (at least {least} needed)")));
        }
        if self.objectives.is_empty() {
            open.push(reason("no-objectives", "nothing was judged"));
        }
        if !open.is_empty() {
            return Outcome { exit: Exit::Inconclusive, verdict: Verdict::Inconclusive, reasons: open };
        }
        let conditions: Vec<Reason> = self.objectives.values().filter(missed).map(|r| reason("condition", condition_text(r))).collect();
        if !conditions.is_empty() {
            return Outcome { exit: Exit::Conditions, verdict: Verdict::PromoteWithConditions, reasons: conditions };
        }
        let proofs = self.objectives.values().map(|r| reason("proven", r.text.clone())).collect();
        Outcome { exit: Exit::Promote, verdict: Verdict::Promote, reasons: proofs }
    }

    /// Reasons why control may not be at full weight, or a change may still be there.
    fn stuck(&self) -> Vec<Reason> {
        let line = &self.judge.line;
        let facts = line.stuck.iter().chain(line.unreverted.values()).map(|why| reason("rollback-failed", why.clone()));
        // A way back that had no time to end is not a failed one: only whole evidence can say so.
        let whole = line.ended || line.traffic_ended.is_some();
        let failed = self.rollbacks.iter().filter(|r| r.status == "failed" && (whole || r.acknowledged.is_some()));
        facts.chain(failed.map(|r| reason("rollback-failed", r.why.clone()))).collect()
    }

    /// Reasons to roll back: harm, facts over their limit, guards.
    fn harm(&self) -> Vec<Reason> {
        let judge = self.judge;
        let mut out = Vec::new();
        for track in &judge.tracks {
            let Some(r) = self.objectives.get(&track.objective.name) else { continue };
            if r.status == Status::Fail && r.condition.is_none() && self.needed(r) {
                let both = track.groups.values().any(|e| e.harm.as_ref().is_some_and(|h| h.both));
                let code = if both {
                    "both-arms"
                } else if track.tested() {
                    "harm-proven"
                } else {
                    "over-limit"
                };
                out.push(reason(code, if both { format!("{}; the control misses it as well", r.text) } else { r.text.clone() }));
            }
        }
        let (empty, ok) = (judge.attribution.empty_failures, judge.attribution.canary_ok);
        if empty as f64 > MOST_EMPTY * (ok + empty).max(1) as f64 {
            out.push(reason(
                "empty-answers",
                format!("{} of the canary's answers were empty where the control's are not", words::count(empty)),
            ));
        }
        for stage in judge.line.stages.iter().filter(|_| out.is_empty()).collect::<Vec<_>>() {
            if let Some((StageEnd::Harm, why)) = &stage.end {
                out.push(reason("harm-proven", why.clone()));
            }
        }
        out.extend(self.guards());
        for r in self.rollbacks.iter().filter(|r| r.status == "slow" || r.status == "lossy") {
            let what = if r.rehearsal { "the rehearsed way back" } else { "the way back" };
            out.push(reason(&format!("rollback-{}", r.status), format!("{what}: {}", r.why)));
        }
        out
    }

    fn guards(&self) -> Vec<Reason> {
        let line = &self.judge.line;
        let rolled = line.fired.iter().filter(|f| f.1 == GuardAction::Rollback);
        let mut out: Vec<Reason> = rolled.map(|f| reason("guard-rollback", format!("guard {} rolled back: {}", f.0, f.2))).collect();
        // A real way back that no halt and no undecided gate explains was a guard's (a pause that lasted too long).
        let back = line.backs.iter().find(|b| !b.rehearsal);
        let explained = line.halted.is_some() || line.stages.last().is_some_and(|s| s.end.as_ref().is_some_and(|e| e.0 != StageEnd::Cut));
        if let Some(back) = back.filter(|_| {
            out.is_empty() && !explained && line.fired.iter().any(|f| matches!(f.1, GuardAction::Pause | GuardAction::Reduce(_)))
        }) {
            out.push(reason("guard-rollback", format!("rolled back in stage {}: {}", back.stage, back.why)));
        }
        out
    }

    /// A fail of it decides: it is mandatory, or without it too few can pass.
    fn needed(&self, r: &ObjectiveResult) -> bool {
        let failed = self.objectives.values().filter(|r| r.status == Status::Fail).count();
        let possible = self.objectives.len() - failed;
        r.mandatory || self.judge.plan.verdict.at_least.is_some_and(|n| possible < n as usize)
    }

    fn nodata(&self) -> Vec<Reason> {
        let missing = |r: &&ObjectiveResult| r.mandatory && r.status == Status::Nodata && r.condition.is_none();
        self.objectives.values().filter(missing).map(|r| reason("no-data", r.text.clone())).collect()
    }
}

fn condition_text(r: &ObjectiveResult) -> String {
    match &r.condition {
        Some([owner, by, ready]) => format!("{}; accepted by {owner} until {by}, ready when {ready}", r.text),
        None => r.text.clone(),
    }
}

fn halt_reason(by: &HaltBy) -> Reason {
    match by {
        HaltBy::TimeBox => reason("time-box", "stopped at its time box"),
        HaltBy::Guard(name) => reason("guard-abort", format!("guard {name} ended the run")),
        HaltBy::Limit(what) if what == "requests" => reason("limit", "stopped at limits.requests"),
        HaltBy::Limit(why) => reason("limit", format!("stopped: {why}")),
        HaltBy::Signal(n) => reason("interrupted", format!("stopped by signal {n}")),
        HaltBy::Internal(why) => reason("internal", format!("internal error: {why}")),
    }
}

fn next(judge: &Judge, outcome: &Outcome, objectives: &BTreeMap<String, ObjectiveResult>) -> Vec<String> {
    let code = outcome.reasons.first().map_or("", |r| r.code.as_str());
    let mut out: Vec<String> = Vec::new();
    let mut add = |text: &str| out.push(text.to_owned());
    match outcome.exit {
        Exit::Promote if judge.plan.rollout.is_none() => add("keep this run directory as the evidence"),
        Exit::Promote => add("promote the canary; keep this run directory as the evidence"),
        Exit::Conditions => add("promote only with --accept-conditions; their owners answer for the missed objectives"),
        Exit::Rollback => add("compare the slowest and failed requests: samples.jsonl in the run directory"),
        Exit::RollbackFailed if judge.plan.rollout.is_none() => add("undo by hand what is named above, then run shakedown recover"),
        Exit::RollbackFailed => add("check the router's weights now, then run shakedown recover"),
        Exit::Inconclusive if code == "scaled" => add("run at full time scale for a verdict"),
        Exit::Inconclusive => add("hold the stages longer or raise the rate; shakedown plan says what is provable"),
        Exit::Invalid if code == "sample-ratio" => add("check the router's weights and stickiness, and rollout.identify"),
        Exit::Invalid if code == "arm-unknown" => add("check rollout.identify: every answer must say who gave it"),
        Exit::Invalid if code.starts_with("generator") || code == "in-flight-limit" => {
            add("lower the rate or give the generator more processor time")
        }
        Exit::Invalid if code == "connection-limit" => add("raise connections.max of the stream, or lower the rate"),
        Exit::Invalid if code == "no-descriptors" => add("raise the limit of open files (ulimit -n), or lower connections.max"),
        Exit::Invalid if code == "no-ports" => {
            add("keep connections (reuse: true), or give the target more source addresses: sources: […]")
        }
        Exit::Invalid if code.starts_with("fault") => add("check that the fault's target carries traffic that matches it"),
        Exit::Invalid => add("mend what is missing and run again"),
        Exit::NotReady => add("mend the environment and run again; nothing was changed"),
        Exit::Halted => add("read the guard's or limit's numbers above; raise it only if they are as expected"),
        Exit::Internal => add("report this with the run directory"),
        Exit::Interrupted | Exit::Terminated | Exit::Usage => add("run again when ready; nothing was left behind"),
    }
    if outcome.exit == Exit::Inconclusive {
        let short = objectives.values().filter(|r| r.status == Status::Inconclusive).filter_map(|r| r.proof);
        for [have, need] in short.filter(|[h, n]| h < n) {
            add(&format!("evidence {} of {} needed", words::short(have), words::short(need)));
        }
    }
    if let Some(r) = outcome_back(judge) {
        out.push(r);
    }
    out
}

fn outcome_back(judge: &Judge) -> Option<String> {
    outcome::way_back(judge).last().map(|r| format!("way back: {}", rollbacks::sentence(r)))
}
