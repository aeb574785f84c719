//! Halts and limits: what ends a run early. Never waits, never skips what must be undone.

use crate::effect::{Effect, HURRIED, LONGEST};
use crate::state::{Ending, Life, Phase, State};
use crate::step::{back, begin, end, faults, ramp};
use shakedown_core::Plan;
use shakedown_core::event::{Fact, HaltBy};
use shakedown_core::plan::{Model, On};
use shakedown_core::seams::LoadMode;
use shakedown_core::units::{Offset, Span};

/// Waited beyond the known end of traffic before it counts as not ending.
const TRAFFIC_GRACE: Span = Span::secs(30);

/// Stops the run. The second interrupt shortens every wait. Once load is drained the evidence is complete: an
/// interrupt then only shortens waits, and the decision stands.
pub(super) fn halt(s: &mut State, by: HaltBy) {
    let internal = matches!(by, HaltBy::Internal(_));
    if s.until_told && s.phase == Phase::Running && matches!(by, HaltBy::Signal(_) | HaltBy::TimeBox) {
        s.until_told = false;
        return end::begin(s);
    }
    if s.halted.is_some() || (after_drain(s) && !internal) {
        if matches!(by, HaltBy::Signal(_)) {
            hurry(s);
        } else if internal && !matches!(s.halted, Some(HaltBy::Internal(_))) {
            s.say(Fact::Halted(by.clone()));
            s.halted = Some(by);
        }
        return;
    }
    s.say(Fact::Halted(by.clone()));
    s.halted = Some(by);
    if s.load_started {
        s.out.push(Effect::Mode(LoadMode::Probe));
    }
    match s.phase {
        Phase::New | Phase::Begin(_) => end::begin(s),
        Phase::Running => {
            faults::revert_all(s, true);
            ramp::go_back(s, "the run was halted");
        }
        Phase::Ending(_) | Phase::Over => {}
    }
}

fn hurry(s: &mut State) {
    if s.hurried {
        return;
    }
    s.hurried = true;
    if s.load_started {
        s.out.push(Effect::Mode(LoadMode::Off));
    }
    s.out.push(Effect::Hurry(HURRIED));
    back::hasten(s);
}

fn after_drain(s: &State) -> bool {
    match &s.phase {
        Phase::Ending(at) => !matches!(at, Ending::Settle | Ending::Drain),
        Phase::Over => true,
        _ => false,
    }
}

/// The time box, `limits.requests`, and traffic that does not end.
pub(super) fn limits(s: &mut State) {
    if s.halted.is_some() {
        return;
    }
    if s.plan.time_box.is_some_and(|limit| s.now >= Offset::ZERO.plus(limit)) {
        return halt(s, HaltBy::TimeBox);
    }
    if s.plan.environment.limits.requests.is_some_and(|limit| s.sent >= limit) {
        return halt(s, HaltBy::Limit("requests".to_owned()));
    }
    if s.plan.rollout.is_none() && !s.until_told && overdue(s) {
        halt(s, HaltBy::Limit("traffic did not end".to_owned()));
    }
}

/// A stream has not ended although its shape is long over.
fn overdue(s: &State) -> bool {
    s.streams.iter().zip(&s.plan.streams).filter(|(state, _)| state.ended.is_none()).any(|(state, plan)| {
        let length = if matches!(plan.model, Model::Replay(_)) { LONGEST } else { Plan::stream_length(plan) };
        state.started.is_some_and(|at| s.now > at.plus(length).plus(plan.timeout).plus(TRAFFIC_GRACE))
    })
}

/// A service ended that nobody stopped.
pub(super) fn service_exited(s: &mut State, service: &str, status: i32) {
    let how = if status < 0 { format!("was ended by signal {}", -status) } else { format!("exited with status {status}") };
    match s.phase {
        Phase::Begin(_) => begin::not_ready(s, format!("service {service}"), format!("it {how}")),
        Phase::Running if !expected(s, service) => halt(s, HaltBy::Limit(format!("service {service} {how}"))),
        _ => {}
    }
}

/// A fault meant to hit the service has begun, or the service is one that is restarted.
fn expected(s: &State, service: &str) -> bool {
    let hit = s.faults.iter().zip(&s.plan.faults).any(|(state, plan)| {
        matches!(&plan.on, On::Service(name) if name == service)
            && matches!(plan.kind.as_str(), "kill" | "pause")
            && state.life != Life::Waiting
    });
    hit || s.plan.environment.services.iter().any(|p| p.name == service && p.restart)
}
