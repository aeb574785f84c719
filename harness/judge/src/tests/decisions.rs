//! What must not promote does not, and the first exit code that applies wins.

use super::plan::{availability, objective, p95, quickstart};
use super::world::{Run, World, run, whole};
use crate::Judge;
use shakedown_core::decision::{Decision, Exit, Status};
use shakedown_core::event::{HaltBy, Input, StageEnd};
use shakedown_core::plan::*;
use shakedown_core::seams::Assessor;
use shakedown_core::{Fact, Offset, Ppm, Span, Verdict};
use std::sync::Arc;

fn code(d: &Decision) -> &str {
    d.reasons.first().map_or("", |r| r.code.as_str())
}

/// A good run with facts put in before its end.
fn good_with(facts: Vec<Fact>) -> Decision {
    let mut r = Run::new(quickstart(), World::default(), 1);
    r.start();
    r.rollout();
    facts.into_iter().for_each(|f| r.fact(f));
    r.finish()
}

#[test]
fn a_good_run_promotes_and_says_why() {
    let d = run(quickstart(), World::default(), 1);
    assert_eq!((d.exit, d.verdict), (Exit::Promote, Verdict::Promote), "{:#?}", d.reasons);
    assert!(d.validity.ok);
    assert_eq!(d.rollbacks.len(), 1);
    assert_eq!(d.rollbacks[0].status, "ok", "{:?}", d.rollbacks);
    assert!(d.stages.iter().all(|s| s.end == "passed"));
    let p95 = &d.objectives["p95"];
    let [low, high] = p95.interval.unwrap();
    assert!(low < 1.0 && high < 1.5 && high > 1.0, "{:?}", p95.interval);
    assert!(p95.samples[0] > 5000 && p95.proof.unwrap()[0] >= 20.0);
}

#[test]
fn the_same_events_give_the_same_bytes() {
    let (events, first) = whole(quickstart(), World::default(), 3);
    let mut again = Judge::new(Arc::new(quickstart()));
    events.iter().for_each(|e| again.push(e));
    let json = |d: &Decision| serde_json::to_string(d).unwrap();
    assert_eq!(json(&again.decide()), json(&first));
    assert_eq!(json(&again.decide()), json(&first), "deciding changes nothing");
}

#[test]
fn harm_in_the_first_stage_rolls_back_and_the_rest_is_not_invalid() {
    let d = run(quickstart(), World { errors: [0.0005, 0.08], ..World::default() }, 1);
    assert_eq!((d.exit, code(&d)), (Exit::Rollback, "harm-proven"));
    assert_eq!(d.stages[0].end, "harm");
    assert_eq!(d.stages[1].end, "not_reached");
    assert_eq!(d.faults[0].status, "not_reached");
    assert!(d.reasons[0].text.contains("control") && d.reasons[0].text.contains('%'), "{}", d.reasons[0].text);
}

#[test]
fn both_arms_failing_says_so() {
    let mut plan = quickstart();
    plan.preflight.clear();
    let d = run(plan, World { errors: [0.08, 0.08], ..World::default() }, 1);
    assert_eq!((d.exit, code(&d)), (Exit::Rollback, "both-arms"));
}

#[test]
fn empty_answers_where_the_controls_are_not_fail() {
    let d = run(quickstart(), World { empty: true, ..World::default() }, 1);
    assert_eq!(d.exit, Exit::Rollback);
    let mut only = quickstart();
    only.objectives = vec![p95()];
    only.rollout.as_mut().unwrap().stages.iter_mut().for_each(|s| s.gate = vec!["p95".into()]);
    only.rollout.as_mut().unwrap().rollback.restored_when.clear();
    only.preflight.clear();
    let d = run(only, World { empty: true, ..World::default() }, 1);
    assert_eq!((d.exit, code(&d)), (Exit::Rollback, "empty-answers"));
}

#[test]
fn a_black_hole_is_the_canarys() {
    let d = run(quickstart(), World { black_hole: true, ..World::default() }, 1);
    assert_eq!((d.exit, code(&d)), (Exit::Rollback, "harm-proven"), "{:?}", d.reasons);
}

#[test]
fn doubtful_evidence_never_promotes() {
    let cases = [
        (World { unknown: 0.03, ..World::default() }, "arm-unknown"),
        (World { skew: 1.5, ..World::default() }, "sample-ratio"),
        (World { lag_ms: 80, ..World::default() }, "generator-late"),
        (World { asked_factor: 1.1, ..World::default() }, "generator-behind"),
        (World { fault_hits: 0, ..World::default() }, "fault-no-hit"),
        (World { stop_before: Some(3), ..World::default() }, "stage-not-reached"),
    ];
    for (world, want) in cases {
        let d = run(quickstart(), world, 1);
        assert_eq!((d.exit, code(&d)), (Exit::Invalid, want), "{:?}", d.reasons);
        assert!(!d.validity.ok);
    }
    let d = run(quickstart(), World { dropped: 3, ..World::default() }, 1);
    assert_eq!(d.exit, Exit::Invalid);
    assert!(d.reasons.iter().any(|r| r.code == "in-flight-limit"));
}

#[test]
fn no_traffic_and_no_events_are_invalid() {
    let mut judge = Judge::new(Arc::new(quickstart()));
    let d = judge.decide();
    assert_eq!((d.exit, code(&d)), (Exit::Invalid, "no-traffic"));
    let mut r = Run::new(quickstart(), World { rate: 0, ..World::default() }, 1);
    r.start();
    r.until(7_000_000_000);
    let preflight = r.judge.assess().preflight.expect("the baseline is over");
    assert!(!preflight[0].ok);
    assert_eq!(r.finish().exit, Exit::Invalid);
}

#[test]
fn unproven_is_inconclusive_and_never_a_pass() {
    let mut plan = quickstart();
    // Far too few requests for 99.99 %.
    plan.objectives[0].limit.value = LimitValue::Fixed(0.9999);
    plan.objectives[0].min_samples = Some(50);
    plan.rollout.as_mut().unwrap().rollback.restored_when = vec!["p95".into()];
    let d = run(plan, World { errors: [0.0, 0.0], ..World::default() }, 1);
    assert_eq!((d.exit, d.objectives["availability"].status), (Exit::Inconclusive, Status::Inconclusive), "{:?}", d.reasons);
}

#[test]
fn a_slow_or_failed_way_back_decides() {
    let d = run(quickstart(), World { failing_back: true, ..World::default() }, 1);
    assert_eq!((d.exit, code(&d)), (Exit::Rollback, "rollback-slow"), "{:?}", d.reasons);
    let d = run(quickstart(), World { sticky_canary: true, ..World::default() }, 1);
    assert_eq!(d.exit, Exit::RollbackFailed, "{:?}", d.reasons);
}

#[test]
fn exit_codes_in_their_order() {
    let halted = |by| Fact::Halted(by);
    let failed = Fact::RollbackFailed("router refuses".into());
    assert_eq!(good_with(vec![halted(HaltBy::Internal("x".into())), failed.clone()]).exit, Exit::Internal);
    assert_eq!(good_with(vec![failed, halted(HaltBy::Signal(2))]).exit, Exit::RollbackFailed);
    assert_eq!(good_with(vec![Fact::UndoFailed { what: "teardown".into(), why: "x".into() }]).exit, Exit::RollbackFailed);
    let stuck = Fact::RevertFailed { fault: "payments-slow".into(), why: "x".into() };
    assert_eq!(good_with(vec![stuck.clone()]).exit, Exit::RollbackFailed);
    assert_eq!(good_with(vec![stuck, Fact::FaultReverted("payments-slow".into())]).exit, Exit::Promote, "mended in the end");
    assert_eq!(good_with(vec![halted(HaltBy::Signal(2))]).exit, Exit::Interrupted);
    assert_eq!(good_with(vec![halted(HaltBy::Signal(15))]).exit, Exit::Terminated);
    assert_eq!(good_with(vec![halted(HaltBy::TimeBox)]).exit, Exit::Halted);
    assert_eq!(good_with(vec![halted(HaltBy::Guard("g".into()))]).exit, Exit::Halted);
    assert_eq!(good_with(vec![halted(HaltBy::Limit("requests".into()))]).exit, Exit::Halted);
    let guard = Fact::GuardFired { guard: "g".into(), action: GuardAction::Rollback, why: "x".into() };
    assert_eq!(good_with(vec![guard.clone()]).exit, Exit::Rollback);
    assert_eq!(good_with(vec![guard, halted(HaltBy::TimeBox)]).exit, Exit::Rollback);
}

#[test]
fn before_any_change_it_is_not_ready() {
    let mut r = Run::new(quickstart(), World::default(), 1);
    r.start();
    r.until(6_000_000_000);
    r.fact(Fact::PreflightMissed { objective: "availability".into(), why: "97 %".into() });
    let d = r.finish();
    assert_eq!((d.exit, code(&d)), (Exit::NotReady, "preflight"));
    let mut judge = Run::new(quickstart(), World::default(), 1);
    judge.fact(Fact::NotReady { what: "service pilot".into(), why: "port in use".into() });
    assert_eq!(judge.judge.decide().exit, Exit::NotReady);
}

#[test]
fn cut_and_scaled_runs_never_promote() {
    let (events, _) = whole(quickstart(), World::default(), 1);
    let replay = |keep: &dyn Fn(&Fact) -> Option<Fact>| {
        let mut judge = Judge::new(Arc::new(quickstart()));
        for e in &events {
            let mut e = e.clone();
            if let Input::Fact(f) = &e.what {
                match keep(f) {
                    Some(f) => e.what = Input::Fact(f),
                    None => continue,
                }
            }
            judge.push(&e);
        }
        judge.decide()
    };
    let cut = replay(&|f| (!matches!(f, Fact::Ended | Fact::TrafficEnded)).then(|| f.clone()));
    assert_eq!((cut.exit, code(&cut)), (Exit::Inconclusive, "not-ended"));
    let never_drained = replay(&|f| (*f != Fact::TrafficEnded).then(|| f.clone()));
    assert_eq!((never_drained.exit, code(&never_drained)), (Exit::Inconclusive, "not-ended"));
    let provisional = replay(&|f| (*f != Fact::Ended).then(|| f.clone()));
    assert_eq!(provisional.exit, Exit::Promote, "the engine asks before its last steps: {:#?}", provisional.reasons);
    let never_back = replay(&|f| match f {
        Fact::Ended => None,
        Fact::WeightRead(Ppm::ZERO) => None,
        other => Some(other.clone()),
    });
    assert_eq!(never_back.exit, Exit::RollbackFailed, "drained without the way back having been acknowledged");
    let scaled = replay(&|f| {
        let mut f = f.clone();
        if let Fact::Started { scaled, .. } = &mut f {
            *scaled = true;
        }
        Some(f)
    });
    assert_eq!((scaled.exit, code(&scaled)), (Exit::Inconclusive, "scaled"));
    let undecided = replay(&|f| {
        let mut f = f.clone();
        if let Fact::StageEnded { end, .. } = &mut f {
            *end = StageEnd::Undecided;
        }
        Some(f)
    });
    assert_eq!(undecided.exit, Exit::Inconclusive);
}

#[test]
fn conditions_and_the_rule_of_the_verdict() {
    let mut plan = quickstart();
    let mut extra = objective("p50", Indicator::Latency(shakedown_core::Quantile(500_000)), false, LimitValue::Fixed(1_000_000.0), "1ms");
    extra.condition = Some(Condition { owner: "shop".into(), by: "2026-12-01".into(), ready_when: "faster".into() });
    plan.objectives.push(extra);
    let d = run(plan.clone(), World::default(), 1);
    assert_eq!((d.exit, d.verdict), (Exit::Conditions, Verdict::PromoteWithConditions), "{:?}", d.reasons);
    assert_eq!(d.conditions, ["p50"]);
    plan.objectives[2].condition = None;
    assert_eq!(run(plan.clone(), World::default(), 1).exit, Exit::Rollback);
    plan.verdict = VerdictRule { mandatory: vec!["availability".into()], at_least: Some(2) };
    assert_eq!(run(plan.clone(), World::default(), 1).exit, Exit::Promote);
    plan.verdict.at_least = Some(3);
    assert_eq!(run(plan, World::default(), 1).exit, Exit::Rollback);
}

#[test]
fn facts_of_the_run_are_held_against_their_limits() {
    let mut plan = quickstart();
    let recover = Indicator::TimeToRecover { of: "availability".into(), after: "payments-slow".into() };
    plan.objectives.push(objective("recovery", recover, false, LimitValue::Fixed(5e9), "5s"));
    plan.objectives.push(objective("restore", Indicator::TimeToRestore, false, LimitValue::Fixed(5e9), "5s"));
    plan.objectives.push(objective("budget", Indicator::ErrorBudget { of: "availability".into() }, false, LimitValue::Fixed(0.5), "50%"));
    let windows = vec![(Span::secs(10), Span::secs(2), 14_400)];
    plan.objectives.push(objective(
        "burn",
        Indicator::BurnRate { of: "availability".into(), windows },
        false,
        LimitValue::Fixed(14.4),
        "14.4",
    ));
    let mut in_fault = availability();
    (in_fault.name, in_fault.window, in_fault.arm) = ("in-fault".into(), WindowRef::Fault("payments-slow".into()), ArmChoice::All);
    plan.objectives.push(in_fault);
    let d = run(plan.clone(), World::default(), 1);
    assert_eq!(d.exit, Exit::Promote, "{:?}", d.reasons);
    assert_eq!(d.objectives["recovery"].value, Some(0.0));
    assert_eq!(d.objectives["in-fault"].samples[0], 4 * 1500);
    plan.objectives[4].limit.value = LimitValue::Fixed(0.0001);
    let d = run(plan, World::default(), 1);
    assert_eq!((d.exit, code(&d)), (Exit::Rollback, "over-limit"));
}

#[test]
fn guards_see_open_requests_before_they_time_out() {
    let mut plan = quickstart();
    plan.guards = vec![Guard {
        name: "melt-down".into(),
        indicator: Indicator::Latency(shakedown_core::Quantile(990_000)),
        over: Span::secs(2),
        min_samples: 50,
        limit: Limit { min: false, value: LimitValue::Fixed(0.3e9), floor: None, text: "300ms".into() },
        arm: ArmChoice::All,
        stream: None,
        lasting: Span::ZERO,
        then: GuardAction::Abort,
    }];
    let mut r = Run::new(plan, World::default(), 1);
    r.start();
    r.until(5_000_000_000);
    assert!(r.judge.assess().guards.is_empty());
    let mut hole = shakedown_core::Snapshot { as_of: Offset(6_400_000_000), ..Default::default() };
    let key = shakedown_core::CellKey { slice: 5, stream: 0, arm: shakedown_core::Arm::All, dim: shakedown_core::Dim::Whole };
    hole.cells.push((key, shakedown_core::Cell { due: 1500, ..Default::default() }));
    r.input(Input::Snapshot(hole));
    let tripped = r.judge.assess().guards;
    assert_eq!((tripped.len(), tripped[0].action), (1, GuardAction::Abort));
    assert!(tripped[0].why.contains("300 ms"), "{}", tripped[0].why);
}

#[test]
fn relative_rates_pass_under_their_floor_and_fail_far_above() {
    let mut plan = quickstart();
    let mut errors = objective("errors", Indicator::ErrorRate, false, LimitValue::Times(1.5, Reference::Control), "1.5x control");
    errors.limit.floor = Some(0.005);
    let mut before = objective("before", Indicator::SuccessRate, true, LimitValue::Plus(-0.01, Reference::Before), "before - 1pp");
    before.min_samples = Some(100);
    plan.objectives = vec![availability(), errors, before];
    plan.rollout.as_mut().unwrap().stages.iter_mut().for_each(|s| s.gate = vec!["availability".into()]);
    let d = run(plan.clone(), World { errors: [0.0, 0.0], ..World::default() }, 1);
    assert_eq!(d.exit, Exit::Promote, "{:#?}", d.reasons);
    plan.objectives[0].limit.value = LimitValue::Fixed(0.5);
    let d = run(plan, World { errors: [0.002, 0.06], ..World::default() }, 1);
    assert_eq!((d.exit, d.objectives["errors"].status), (Exit::Rollback, Status::Fail), "{:#?}", d.objectives["errors"]);
    assert_eq!(d.objectives["before"].status, Status::Fail, "{:#?}", d.objectives["before"]);
}

#[test]
fn a_stage_at_zero_passes_only_when_nobody_reaches_the_canary() {
    let mut plan = quickstart();
    plan.rollout.as_mut().unwrap().stages[0].weight = Ppm::ZERO;
    let d = run(plan, World::default(), 1);
    assert_eq!(d.stages[0].end, "passed", "{:?}", d.stages[0]);
    assert_eq!(d.exit, Exit::Promote, "{:?}", d.reasons);
}
