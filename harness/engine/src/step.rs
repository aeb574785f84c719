//! The pure step function: one event in, effects out. No clock, no I/O, no waiting: time is the event's offset.
//!
//! A service that exits although no `kill` or `pause` fault is on it (and it is not one that restarts) halts the run as
//! `Limit("service NAME exited …")`: what is measured after that is no evidence about the release.

mod back;
mod begin;
mod end;
mod faults;
mod guards;
mod halt;
mod ramp;
mod streams;

pub(crate) use end::recovering;

use crate::effect::{Call, Effect};
use crate::state::{Phase, State};
use serde_json::Value;
use shakedown_core::event::{Assessment, Event, Fact, Input};
use shakedown_core::seams::LoadMode;
use shakedown_core::units::Ppm;

/// Takes one event and gives what is to be done, in order.
pub fn step(s: &mut State, event: &Event) -> Vec<Effect> {
    if s.over() {
        return Vec::new();
    }
    s.now = s.now.max(event.at);
    match &event.what {
        Input::Tick | Input::Attested { .. } | Input::Samples(_) => {}
        Input::Fact(Fact::Started { .. }) if s.phase == Phase::New => begin::start(s),
        Input::Fact(Fact::Epoch { .. }) => epoch(s),
        Input::Fact(_) => {}
        Input::Snapshot(snapshot) => streams::seen(s, snapshot),
        Input::Assessed(assessment) => assessed(s, assessment),
        Input::Done { effect, outcome } => {
            if let Some(call) = s.pending.remove(effect) {
                done(s, call, outcome);
            }
        }
        Input::ServiceExited { service, status } => halt::service_exited(s, service, *status),
        Input::Halt(by) => halt::halt(s, by.clone()),
    }
    advance(s);
    std::mem::take(&mut s.out)
}

/// What follows from time and from what just changed.
fn advance(s: &mut State) {
    if s.phase == Phase::Running {
        halt::limits(s);
    }
    if s.phase == Phase::Running {
        ramp::preflight(s);
    }
    if s.phase == Phase::Running {
        streams::advance(s);
        faults::advance(s);
        ramp::advance(s);
    }
    if s.phase == Phase::Running {
        end::when_complete(s);
    }
    if matches!(s.phase, Phase::Ending(_)) {
        end::advance(s);
    }
}

fn epoch(s: &mut State) {
    s.load_started = true;
    if !matches!(s.phase, Phase::Begin(_)) {
        return;
    }
    s.phase = Phase::Running;
    let mode = if s.plan.rollout.is_some() || s.until_told { LoadMode::Full } else { LoadMode::Finish };
    s.out.push(Effect::Mode(mode));
}

fn assessed(s: &mut State, a: &Assessment) {
    s.seen.gate = a.gate.clone();
    s.seen.restored = a.restored;
    s.seen.recovered = a.recovered.iter().filter_map(|(f, at)| at.map(|at| (f.clone(), at))).collect();
    if let Some(checks) = &a.preflight {
        s.seen.preflight = Some(checks.iter().map(|c| (c.objective.clone(), c.ok, c.why.clone())).collect());
    }
    if s.phase == Phase::Running {
        guards::seen(s, &a.guards);
    }
}

fn done(s: &mut State, call: Call, outcome: &Result<Value, String>) {
    match call {
        Call::ApplyFault(i) => faults::applied(s, i, outcome),
        Call::RevertFault(i) => faults::reverted(s, i, outcome),
        Call::SetWeight(_) | Call::ReadWeight | Call::RestoreWeight | Call::KeepWeight => weight_done(s, call, outcome),
        Call::Before(i) => back::before_done(s, i, outcome),
        Call::StopLoad | Call::Judge | Call::Teardown(_) | Call::StopServices => end::done(s, call, outcome),
        _ => begin::done(s, call, outcome),
    }
}

fn weight_done(s: &mut State, call: Call, outcome: &Result<Value, String>) {
    let outcome = match (call, outcome) {
        (Call::ReadWeight, Ok(value)) => ppm(value),
        (_, Ok(_)) => Ok(Ppm::ZERO),
        (_, Err(why)) => Err(why.clone()),
    };
    if let (Call::ReadWeight, Ok(read)) = (call, &outcome) {
        s.weight.known = Some(*read);
        s.say(Fact::WeightRead(*read));
    }
    match s.phase {
        Phase::Running => ramp::weight_done(s, call, outcome),
        Phase::Ending(_) => end::weight_done(s, call, outcome),
        _ => {}
    }
}

/// A weight as calls answer it.
fn ppm(value: &Value) -> Result<Ppm, String> {
    let number = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= Ppm::ONE.0);
    number.map(Ppm).ok_or_else(|| format!("the router answered {value} instead of a weight"))
}
