//! The life of every fault: due, applied, watched, taken back. A fault that may be in place is always taken back, even
//! when applying it failed or was cut short.

use crate::effect::{ATTEST_EVERY, ATTEST_SELDOM, Call, Effect, FAULT, REVERT_TRIES};
use crate::fold::block as fold_block;
use crate::state::{Life, Phase, Ramp, State};
use crate::step::{ramp, streams};
use serde_json::Value;
use shakedown_core::event::Fact;
use shakedown_core::units::Span;

/// Applies what is due, reverts what has lasted, looks at what is active.
pub(super) fn advance(s: &mut State) {
    for i in 0..s.faults.len() {
        match s.faults[i].life {
            Life::Waiting if may_start(s, i) => {
                s.faults[i].life = Life::Applying(false);
                s.call(Call::ApplyFault(i), FAULT);
            }
            Life::Active(since) if since.plus(s.plan.faults[i].length) <= s.now => revert(s, i),
            Life::Active(_) if s.faults[i].attested.plus(attest_every(s)) <= s.now => {
                s.faults[i].attested = s.now;
                s.out.push(Effect::Attest(i));
            }
            _ => {}
        }
    }
}

fn attest_every(s: &State) -> Span {
    if fold_block(&s.plan).is_some() { ATTEST_SELDOM } else { ATTEST_EVERY }
}

fn may_start(s: &State, i: usize) -> bool {
    let fault = &s.plan.faults[i];
    let way = match &s.ramp {
        // On a real way back nothing new begins; a rehearsal defers what would be reverted at once.
        Ramp::Back(back) => back.go_on && fault.during_rollback,
        _ => true,
    };
    way && s.preflight_ok && s.halted.is_none() && streams::due(s, &fault.at).is_some_and(|due| due <= s.now)
}

/// Takes back every fault that may be in place; `all` includes those that stay during a rollback.
pub(super) fn revert_all(s: &mut State, all: bool) {
    for i in 0..s.faults.len() {
        if all || !s.plan.faults[i].during_rollback {
            match s.faults[i].life {
                Life::Applying(false) => {
                    s.faults[i].life = Life::Applying(true);
                    s.cancel(|c| c == Call::ApplyFault(i));
                }
                Life::Active(_) => revert(s, i),
                _ => {}
            }
        }
    }
}

fn revert(s: &mut State, i: usize) {
    s.faults[i].life = Life::Reverting;
    s.faults[i].tries += 1;
    s.call(Call::RevertFault(i), FAULT);
}

/// Applying ended.
pub(super) fn applied(s: &mut State, i: usize, outcome: &Result<Value, String>) {
    let fault = s.plan.faults[i].name.clone();
    let cut = s.faults[i].life == Life::Applying(true);
    match outcome {
        Ok(_) => {
            s.say(Fact::FaultApplied(fault));
            s.faults[i].life = Life::Active(s.now);
            s.faults[i].attested = s.now;
            if cut {
                revert(s, i);
            }
        }
        Err(why) => {
            s.faults[i].failed = true;
            let why = if cut { "the run went back while it was being applied".to_owned() } else { why.clone() };
            s.say(Fact::FaultFailed { fault, why });
            // It may be in place in part.
            revert(s, i);
        }
    }
}

/// Reverting ended.
pub(super) fn reverted(s: &mut State, i: usize, outcome: &Result<Value, String>) {
    let fault = s.plan.faults[i].name.clone();
    match outcome {
        Ok(_) => {
            s.out.push(Effect::Attest(i));
            if s.faults[i].failed {
                s.faults[i].life = Life::Failed;
            } else {
                s.faults[i].life = Life::Gone(s.now);
                s.say(Fact::FaultReverted(fault));
            }
        }
        Err(_) if s.faults[i].tries < REVERT_TRIES => revert(s, i),
        Err(why) => {
            s.faults[i].life = Life::Failed;
            s.say(Fact::RevertFailed { fault: fault.clone(), why: why.clone() });
            if s.phase == Phase::Running {
                ramp::go_back(s, &format!("fault {fault} could not be taken back"));
            }
        }
    }
}

/// No fault is in place or under way.
pub(super) fn quiet(s: &State) -> bool {
    s.faults.iter().all(|f| matches!(f.life, Life::Waiting | Life::Gone(_) | Life::Failed))
}

/// No fault is in place, under way or still to come.
pub(super) fn over(s: &State) -> bool {
    let come = |i: usize| s.faults[i].life == Life::Waiting && streams::reachable(s, &s.plan.faults[i].at);
    quiet(s) && !(0..s.faults.len()).any(come)
}
