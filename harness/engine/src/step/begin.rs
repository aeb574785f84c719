//! Before the epoch: services, targets, teardown records, setup, driver, faults. Every failure here means that nothing
//! was changed for the release: `NotReady`, and what was started is undone.

use crate::effect::{ACTION, Call, Effect, GRACE, READ, START, TARGETS};
use crate::state::{Begin, Phase, State};
use crate::step::{end, ppm};
use serde_json::Value;
use shakedown_core::event::Fact;

/// Starts with the first service.
pub(super) fn start(s: &mut State) {
    enter(s, Begin::Service(0));
}

fn enter(s: &mut State, at: Begin) {
    s.phase = Phase::Begin(at.clone());
    match at {
        Begin::Service(i) => match s.plan.environment.services.get(i) {
            Some(service) => {
                let bound = service.ready.as_ref().map_or(START, |r| r.within.plus(GRACE));
                s.services_touched = true;
                s.call(Call::StartService(i), bound);
            }
            None => enter(s, Begin::Targets),
        },
        Begin::Targets => s.call(Call::PrepareLoad, TARGETS),
        Begin::Register if s.teardowns > 0 => s.call(Call::RegisterTeardown, READ),
        Begin::Register => enter(s, Begin::Setup(0)),
        Begin::Setup(i) if i < s.plan.setup.len() => {
            s.teardown_due = s.teardowns > 0;
            s.call(Call::Setup(i), ACTION);
        }
        Begin::Setup(_) => {
            s.teardown_due = s.teardowns > 0;
            enter(s, Begin::Connect);
        }
        Begin::Connect if s.plan.rollout.is_some() => s.call(Call::Connect, READ),
        Begin::Connect => enter(s, Begin::Faults),
        Begin::Faults if s.plan.faults.is_empty() => enter(s, Begin::Epoch),
        Begin::Faults => (0..s.plan.faults.len()).for_each(|i| s.call(Call::PrepareFault(i), READ)),
        Begin::Epoch => s.out.push(Effect::StartLoad),
    }
}

/// A call of this part ended.
pub(super) fn done(s: &mut State, call: Call, outcome: &Result<Value, String>) {
    if call == Call::RegisterTeardown {
        // Whatever was registered is run, even when registering ended early.
        s.teardown_due = true;
    }
    let Phase::Begin(at) = s.phase.clone() else { return };
    if let Err(why) = outcome {
        let what = name(s, call);
        return not_ready(s, what, why.clone());
    }
    let next = match (at, outcome) {
        (Begin::Service(i), _) => Begin::Service(i + 1),
        (Begin::Targets, _) => Begin::Register,
        (Begin::Register, _) => Begin::Setup(0),
        (Begin::Setup(i), _) => Begin::Setup(i + 1),
        (Begin::Connect, Ok(value)) => match ppm(value) {
            Ok(found) => {
                s.weight.found = Some(found);
                s.say(Fact::WeightFound(found));
                Begin::Faults
            }
            Err(why) => return not_ready(s, "driver".to_owned(), why),
        },
        (Begin::Faults, _) if s.is_pending(|c| matches!(c, Call::PrepareFault(_))) => return,
        _ => Begin::Epoch,
    };
    enter(s, next);
}

/// Announces what is not ready and undoes the rest.
pub(super) fn not_ready(s: &mut State, what: String, why: String) {
    s.say(Fact::NotReady { what, why });
    end::begin(s);
}

fn name(s: &State, call: Call) -> String {
    match call {
        Call::StartService(i) => format!("service {}", s.plan.environment.services[i].name),
        Call::PrepareLoad => "targets".to_owned(),
        Call::RegisterTeardown => "undo journal".to_owned(),
        Call::Setup(i) => format!("setup step {}", i + 1),
        Call::PrepareFault(i) => format!("fault {}", s.plan.faults[i].name),
        _ => "driver".to_owned(),
    }
}
