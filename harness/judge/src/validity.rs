//! Can the evidence be trusted, and is there any? Checked before any objective is believed. Must not look at limits,
//! except to know how late a generator may be.

use crate::generator;
use crate::judge::Judge;
use crate::stats::{blocks, sample_ratio};
use crate::words;
use shakedown_core::decision::{FaultResult, GeneratorCheck, Reason, SecondsCheck, Validity};
use shakedown_core::event::StageEnd;
use shakedown_core::plan::{Indicator, LimitValue, Reference};

/// Least share of what was asked that must have been sent.
const LEAST_ACHIEVED: f64 = 0.99;
/// Most of the successes that may be unidentified.
const MOST_UNIDENTIFIED: f64 = 0.01;
/// Most of the requests that may be reported after their slice closed.
const MOST_LATE: f64 = 0.01;
/// Most bad seconds: three, or one in a hundred where that is more. A second is bad when over 5 % of its requests were
/// taken up more than 50 ms late. A few a run happen on any shared machine and move no verdict: their lateness is in the
/// intended latency, where it can only make things look worse. With more of them the run says how the machine was, not
/// the target.
const MOST_BAD: u64 = 3;
const MOST_BAD_SHARE: f64 = 0.01;
/// Requests that wait for a connection in a second or two say that the target stalled, and their wait belongs to its
/// latency. Where they do in more than half of all seconds, the stream has too few connections for its rate.
const MOST_CROWDED: f64 = 0.5;
const MOST_WAITED: f64 = 0.01;
/// Ranges of bad seconds named in a reason.
const TOLD_RANGES: usize = 5;
/// Latest the generator may be (p99), ns, and as a share of the smallest latency limit.
const MOST_LAG: f64 = 50e6;
const LAG_SHARE: f64 = 0.1;

/// Dispatched over asked; `None` when nothing was asked for.
#[must_use]
pub fn achieved(judge: &Judge) -> Option<f64> {
    let t = &judge.slices.totals;
    // Lag is recorded once for every request taken up, sent or refused; retries are no arrivals.
    let taken = t.lag.count().max(t.sent.saturating_sub(t.retries));
    let first = taken.min(t.asked.saturating_sub(t.dropped));
    (t.asked > 0).then(|| first as f64 / t.asked as f64)
}

/// The record's numbers; `ok` is set by the caller.
#[must_use]
pub fn numbers(judge: &Judge) -> Validity {
    let t = &judge.slices.totals;
    let lag = |q| t.lag.quantile(q).unwrap_or(0);
    let splits: Vec<_> = judge.splits.values().copied().collect();
    let rollout = judge.plan.rollout.is_some();
    let (unknown, all) = judge.attribution.unidentified;
    let series: Vec<Vec<f64>> = judge.errors.values().cloned().collect();
    let phi = blocks::autocorrelation(&series);
    let paired = judge.tracks.iter().filter(|t| t.spec.concurrent()).flat_map(|t| t.groups.values()).map(|e| e.block).max();
    let own = blocks::block(phi, series.iter().map(Vec::len).sum());
    Validity {
        ok: false,
        asked: t.asked,
        sent: t.sent,
        succeeded: t.ok,
        failed: t.failed,
        dropped: t.dropped,
        achieved: achieved(judge).unwrap_or(0.0),
        lag: [lag(0.5), lag(0.99), lag(0.999)],
        sample_ratio_p: if rollout { sample_ratio::over_stages(&splits) } else { None },
        unidentified: (rollout && all > 0).then(|| unknown as f64 / all as f64),
        slice: judge.plan.slice.0,
        autocorrelation: phi,
        block: paired.unwrap_or(own).max(1),
        cut: t.cut,
        generator: judge.generator.record(),
    }
}

/// Reasons to doubt the evidence: they come before any verdict.
#[must_use]
pub fn doubts(judge: &Judge) -> Vec<Reason> {
    let mut out = Vec::new();
    let mut add = |code: &str, text: String| out.push(Reason { code: code.to_owned(), text });
    let t = &judge.slices.totals;
    if let Some(share) = achieved(judge).filter(|a| *a < LEAST_ACHIEVED) {
        add(
            "generator-behind",
            format!("only {} of the requests asked for were sent (at least {} needed)", words::share(share), words::share(LEAST_ACHIEVED)),
        );
    }
    let most = most_lag(judge);
    let lag = t.lag.quantile(0.99).unwrap_or(0) as f64;
    if lag > most {
        add("generator-late", format!("the generator was {} late at p99 (at most {} allowed)", words::time(lag), words::time(most)));
    }
    own(&judge.generator.record(), t.sent, &mut add);
    if t.dropped > 0 {
        add("in-flight-limit", format!("{} arrivals were dropped at the in-flight limit (none allowed)", words::count(t.dropped)));
    }
    if t.clipped > 0 {
        add("clipped", format!("{} latencies were above what a histogram holds (none allowed)", words::count(t.clipped)));
    }
    let done = t.ok + t.failed;
    if t.late as f64 > MOST_LATE * done.max(1) as f64 {
        add(
            "late-evidence",
            format!("{} of {} requests were reported after their second had closed", words::count(t.late), words::count(done)),
        );
    }
    if t.cut > 0 && judge.tracks.iter().any(|t| t.selector.finer()) {
        add("cells-cut", format!("{} counts of a judged dimension were cut by max_cells (none allowed)", words::count(t.cut)));
    }
    if judge.plan.rollout.is_some() {
        arms(judge, &mut add);
    }
    out
}

/// What the generator says against itself.
fn own(g: &GeneratorCheck, sent: u64, add: &mut dyn FnMut(&str, String)) {
    let s = &g.seconds;
    let allowed = MOST_BAD.max((MOST_BAD_SHARE * s.seen as f64) as u64);
    if s.bad > allowed {
        let text = format!(
            "in {} of {} seconds over 5 % of the requests were taken up more than {} late (at most {} such seconds allowed): {}",
            words::count(s.bad),
            words::count(s.seen),
            words::time(generator::IN_TIME as f64),
            words::count(allowed),
            bad_seconds(s)
        );
        add("generator-behind", text);
    }
    if g.no_descriptor > 0 {
        let (failed, most) = (words::count(g.no_descriptor), words::count(g.descriptors_max));
        add(
            "no-descriptors",
            format!("{failed} connects failed for want of a descriptor, of which the process may have {most} (none allowed)"),
        );
    }
    if g.no_port > 0 {
        add("no-ports", format!("{} connects failed for want of a local port (none allowed)", words::count(g.no_port)));
    }
    let often = s.crowded as f64 > MOST_CROWDED * s.seen as f64;
    if often && g.waited as f64 > MOST_WAITED * sent.max(1) as f64 {
        let text = format!(
            "{} of {} requests waited for a connection, in {} of {} seconds: latency measures the generator's own queue (in at most half of them allowed)",
            words::count(g.waited),
            words::count(sent),
            words::count(s.crowded),
            words::count(s.seen)
        );
        add("connection-limit", text);
    }
}

/// Which seconds, and why: `12–14 s and 20 s (the workers waited for a processor)`.
fn bad_seconds(s: &SecondsCheck) -> String {
    let mut parts: Vec<String> = Vec::new();
    for range in s.ranges.iter().take(TOLD_RANGES) {
        let place = if range.to - range.from == 1 { range.from.to_string() } else { format!("{}–{}", range.from, range.to - 1) };
        let cause = match range.cause.as_str() {
            "run-queue" => " (the workers waited for a processor)",
            "steal" => " (the machine's host took the processor)",
            _ => "",
        };
        parts.push(format!("{place} s{cause}"));
    }
    let told: u64 = s.ranges.iter().take(TOLD_RANGES).map(|r| r.to - r.from).sum();
    if s.bad > told {
        parts.push(format!("{} more", words::count(s.bad - told)));
    }
    parts.join(", ")
}

fn arms(judge: &Judge, add: &mut dyn FnMut(&str, String)) {
    let (unknown, all) = judge.attribution.unidentified;
    if unknown as f64 > MOST_UNIDENTIFIED * all as f64 {
        let share = unknown as f64 / all.max(1) as f64;
        add(
            "arm-unknown",
            format!(
                "{} of the successes do not say who answered (at most {} allowed)",
                words::share(share),
                words::share(MOST_UNIDENTIFIED)
            ),
        );
    }
    let stages = judge.plan.rollout.as_ref().map(|r| r.stages.as_slice()).unwrap_or_default();
    for ((index, _), s) in &judge.splits {
        if let Some(p) = sample_ratio::p_value(s).filter(|p| *p < sample_ratio::ALPHA) {
            let seen = s.canary / (s.canary + s.control).max(1.0);
            let name = stages.get(*index).map_or("?", |s| s.name.as_str());
            let text = format!(
                "stage {name}: canary share {} seen, {} asked (p = {p:.1e}; below {:.0e} the split is not as asked)",
                words::share(seen),
                words::share(s.asked),
                sample_ratio::ALPHA
            );
            add("sample-ratio", text);
        }
    }
}

/// A tenth of the smallest latency limit, and never more than 50 ms.
fn most_lag(judge: &Judge) -> f64 {
    let limit = |o: &shakedown_core::plan::Objective| match (&o.indicator, &o.limit.value) {
        (Indicator::Latency(_) | Indicator::JourneyDuration(_), LimitValue::Fixed(v)) => Some(*v * LAG_SHARE),
        _ => None,
    };
    judge.plan.objectives.iter().filter_map(limit).fold(MOST_LAG, f64::min)
}

/// Things that did not happen though nothing prevented them: no verdict without them.
#[must_use]
pub fn gaps(judge: &Judge, faults: &[FaultResult]) -> Vec<Reason> {
    let mut out = Vec::new();
    let mut add = |code: &str, text: String| out.push(Reason { code: code.to_owned(), text });
    let t = &judge.slices.totals;
    if t.asked == 0 || t.sent == 0 || t.ok + t.failed == 0 {
        add("no-traffic", format!("there was no traffic: {} requests asked for, {} sent, {} answered", t.asked, t.sent, t.ok + t.failed));
    }
    if let Some((_, why, _)) = &judge.line.not_ready {
        add("not-ready", why.clone());
    }
    for f in faults {
        match f.status.as_str() {
            "no_hit" => add("fault-no-hit", format!("fault {} was in place but hit nothing ({} seen)", f.name, f.seen)),
            "failed" => add("fault-failed", format!("fault {} could not be applied", f.name)),
            "not_reached" if judge.line.turned_back().is_none() => add("fault-not-reached", format!("fault {} was never applied", f.name)),
            _ => {}
        }
    }
    for stage in judge.plan.rollout.iter().flat_map(|r| &r.stages).enumerate() {
        let ran = judge.line.stages.iter().any(|s| s.index == stage.0);
        if !ran && judge.line.turned_back().is_none() && !undecided(judge) {
            add("stage-not-reached", format!("stage {} was never reached", stage.1.name));
        }
    }
    for track in &judge.tracks {
        let before =
            matches!(track.objective.limit.value, LimitValue::Times(_, Reference::Before) | LimitValue::Plus(_, Reference::Before));
        if before && track.baseline.values().all(|b| b.total == 0) {
            add("baseline-missing", format!("{} compares with the baseline, which has no samples", track.objective.name));
        }
    }
    out
}

/// A stage ended undecided: later ones were prevented.
fn undecided(judge: &Judge) -> bool {
    judge.line.stages.iter().any(|s| s.end.as_ref().is_some_and(|e| e.0 != StageEnd::Passed))
}

/// What each fault did.
#[must_use]
pub fn faults(judge: &Judge) -> Vec<FaultResult> {
    let one = |f: &shakedown_core::plan::FaultPlan| {
        let run = judge.line.faults.get(&f.name).cloned().unwrap_or_default();
        // A way back that took the fault away early also took its chance to hit.
        let cut = judge.line.turned_back().is_some_and(|at| run.reverted.is_none_or(|r| r >= at));
        let status = match (&run.failed, run.applied, run.hits.hits) {
            (Some(_), ..) => "failed",
            (None, None, _) => "not_reached",
            (None, Some(_), 0) if cut => "not_reached",
            (None, Some(_), 0) => "no_hit",
            _ => "hit",
        };
        FaultResult {
            name: f.name.clone(),
            kind: f.kind.clone(),
            applied: run.applied,
            reverted: run.reverted,
            hits: run.hits.hits,
            seen: run.hits.seen,
            status: status.to_owned(),
        }
    };
    judge.plan.faults.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(check: &GeneratorCheck, sent: u64) -> Vec<String> {
        let mut said = Vec::new();
        own(check, sent, &mut |code, _| said.push(code.to_owned()));
        said
    }

    #[test]
    fn bad_seconds_are_allowed_three_or_one_in_a_hundred() {
        let check =
            |seen, bad| GeneratorCheck { seconds: SecondsCheck { seen, bad, ..SecondsCheck::default() }, ..GeneratorCheck::default() };
        for (seen, bad, doubt) in [(30, 3, false), (30, 4, true), (1000, 10, false), (1000, 11, true)] {
            assert_eq!(!codes(&check(seen, bad), 1).is_empty(), doubt, "{bad} of {seen}");
        }
    }

    #[test]
    fn waiting_for_connections_is_a_doubt_when_it_never_stops() {
        let check = |crowded, waited| GeneratorCheck {
            waited,
            seconds: SecondsCheck { seen: 100, crowded, ..SecondsCheck::default() },
            ..GeneratorCheck::default()
        };
        assert!(codes(&check(20, 100_000), 100_000).is_empty(), "a target that stalls now and then");
        assert!(codes(&check(90, 1_000), 100_000).is_empty(), "one in a hundred");
        assert_eq!(codes(&check(51, 1_001), 100_000), ["connection-limit"]);
    }
}
