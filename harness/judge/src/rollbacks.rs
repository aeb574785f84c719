//! The ways back, rehearsed or real: how fast, and what they cost. Must not decide the verdict.

use crate::judge::Judge;
use crate::timeline::Back;
use crate::words;
use shakedown_core::Span;
use shakedown_core::decision::RollbackResult;

/// Answers are seen a little after they came: beyond this after the last possible one the canary still serves.
const SEEN: Span = Span::millis(100);

/// One way back against its limits.
#[must_use]
pub fn result(judge: &Judge, back: &Back) -> RollbackResult {
    let until = back.restored.or(back.ended).unwrap_or(judge.slices.as_of).max(back.commanded);
    let (requests, failed) = judge.slices.between(back.commanded, until);
    let (status, why) = judged(judge, back, requests, failed);
    RollbackResult {
        rehearsal: back.rehearsal,
        stage: back.stage.clone(),
        from: back.from,
        commanded: back.commanded,
        acknowledged: back.acknowledged,
        last_canary: back.last_canary,
        restored: back.restored,
        requests,
        failed,
        status: status.to_owned(),
        why,
    }
}

fn judged(judge: &Judge, back: &Back, requests: u64, failed: u64) -> (&'static str, String) {
    let Some(acknowledged) = back.acknowledged else {
        return ("failed", "the router never acknowledged full weight for the control".to_owned());
    };
    let grace = judge.plan.longest_timeout().plus(SEEN);
    if let Some(last) = back.last_canary.filter(|at| *at > acknowledged.plus(grace)) {
        let late = words::plus(acknowledged, last);
        return ("failed", format!("the canary still answered {late} after the router had acknowledged"));
    }
    let Some(limits) = judge.plan.rollout.as_ref().map(|r| &r.rollback) else {
        return ("failed", "there is no rollout to go back from".to_owned());
    };
    let Some(restored) = back.restored else {
        return ("slow", format!("service was not seen restored (limit {})", limits.restored_within));
    };
    let took = restored.since(back.commanded);
    let took_words = words::time(took.0 as f64);
    if took > limits.restored_within {
        return ("slow", format!("restored after {took_words} (limit {})", limits.restored_within));
    }
    let share = failed as f64 / requests.max(1) as f64;
    let cost = format!("{} of {} requests failed", words::count(failed), words::count(requests));
    match limits.failed_requests {
        Some(most) if share > most.fraction() => ("lossy", format!("{cost} (limit {most})")),
        _ => ("ok", format!("restored after {took_words}; {cost}")),
    }
}

/// `decided 01:52.310 → acknowledged +0.2 ms → last canary answer +1.1 ms → restored +2.9 s; 0 of 18,204 requests failed`.
#[must_use]
pub fn sentence(r: &RollbackResult) -> String {
    let step = |what: &str, at: Option<shakedown_core::Offset>| {
        at.map_or(format!(" → not {what}"), |at| format!(" → {what} {}", words::plus(r.commanded, at)))
    };
    let canary = r.last_canary.map_or(String::new(), |at| format!(" → last canary answer {}", words::plus(r.commanded, at)));
    let cost = format!("; {} of {} requests failed", words::count(r.failed), words::count(r.requests));
    format!("decided {}{}{canary}{}{cost}", words::clock(r.commanded), step("acknowledged", r.acknowledged), step("restored", r.restored))
}
