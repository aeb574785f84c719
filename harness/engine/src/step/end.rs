//! The end, the same on every way out: faults reverted, load drained, weight in place, teardown, services stopped. Every
//! step has a deadline, and a step that fails is announced and does not keep the next from being done.

use crate::effect::{ACTION, Call, Effect, FINAL_TRIES, GRACE, HURRIED_TRIES, READ, RECOVERY, RETRY_WAIT, WEIGHT};
use crate::state::{Ending, Final, Goal, Life, Phase, Ramp, State};
use crate::step::{faults, streams};
use serde_json::Value;
use shakedown_core::event::Fact;
use shakedown_core::plan::{Afterwards, Indicator, LimitValue};
use shakedown_core::units::{Offset, Ppm, Span};

/// Added to a fixed recovery limit, and waited after traffic's end: closed slices arrive by then.
const RECOVERY_GRACE: Span = Span::secs(5);

/// Ends the run when everything that belongs to it has happened.
pub(super) fn when_complete(s: &mut State) {
    let traffic = match s.ramp {
        Ramp::Done => true,
        Ramp::None => s
            .streams
            .iter()
            .zip(&s.plan.streams)
            .all(|(state, plan)| state.ended.is_some() || (state.started.is_none() && !streams::reachable(s, &plan.at))),
        _ => false,
    };
    if traffic && faults::over(s) && !recovering(s) && !s.is_pending(|_| true) {
        begin(s);
    }
}

/// A fault's recovery is still waited for.
pub(crate) fn recovering(s: &State) -> bool {
    let silent = s.streams.iter().all(|st| st.started.is_none() || st.ended.is_some());
    let last = s.streams.iter().filter_map(|st| st.ended).max();
    s.plan.objectives.iter().any(|o| {
        let Indicator::TimeToRecover { after, .. } = &o.indicator else { return false };
        let Some(index) = s.plan.faults.iter().position(|f| &f.name == after) else { return false };
        let Life::Gone(at) = s.faults[index].life else { return false };
        let bound = match o.limit.value {
            LimitValue::Fixed(ns) => Span(ns.clamp(0.0, 1e18) as u64).plus(RECOVERY_GRACE),
            _ => RECOVERY,
        };
        // Without traffic nothing can be seen to recover any more.
        let seen = last.filter(|_| silent).map_or(Offset::MAX, |l| l.plus(s.plan.longest_timeout()).plus(RECOVERY_GRACE));
        !s.seen.recovered.contains_key(after) && s.now < at.plus(bound).min(seen)
    })
}

/// Begins the end from anywhere.
pub(super) fn begin(s: &mut State) {
    if matches!(s.phase, Phase::Ending(_) | Phase::Over) {
        return;
    }
    s.phase = Phase::Ending(Ending::Settle);
    s.cancel(|c| !matches!(c, Call::ApplyFault(_) | Call::RevertFault(_)));
    faults::revert_all(s, true);
    // Not `advance` here: the step that called does it once it is through.
}

/// Goes on when what is waited for has come.
pub(super) fn advance(s: &mut State) {
    match s.phase.clone() {
        Phase::Ending(Ending::Settle) if faults::quiet(s) && !s.is_pending(|_| true) => {
            if s.load_started {
                let drain = s.plan.longest_timeout().plus(GRACE).plus(GRACE);
                enter(s, Ending::Drain);
                s.call(Call::StopLoad, drain);
            } else {
                judge(s);
            }
        }
        Phase::Ending(Ending::Weight(f)) if f.retry_at.is_some_and(|at| at <= s.now) => place(s, f),
        _ => {}
    }
}

fn enter(s: &mut State, at: Ending) {
    s.phase = Phase::Ending(at);
}

fn judge(s: &mut State) {
    if s.weight.touched {
        enter(s, Ending::Judge);
        s.call(Call::Judge, READ);
    } else {
        teardown(s, 0);
    }
}

/// A call of this part ended.
pub(super) fn done(s: &mut State, call: Call, outcome: &Result<Value, String>) {
    let Phase::Ending(at) = s.phase.clone() else { return };
    match (at, call) {
        (Ending::Drain, Call::StopLoad) => {
            match outcome {
                Ok(_) => s.say(Fact::TrafficEnded),
                Err(why) => s.say(Fact::UndoFailed { what: "load".to_owned(), why: why.clone() }),
            }
            judge(s);
        }
        (Ending::Judge, Call::Judge) => {
            let goal = goal(s, outcome.as_ref().ok().and_then(Value::as_str).unwrap_or_default());
            place(s, Final { goal, tries: 0, retry_at: None });
        }
        (Ending::Teardown(i), Call::Teardown(_)) => {
            if let Err(why) = outcome {
                s.say(Fact::UndoFailed { what: format!("teardown step {}", i + 1), why: why.clone() });
            }
            teardown(s, i + 1);
        }
        (Ending::Services, Call::StopServices) => {
            if let Err(why) = outcome {
                s.say(Fact::UndoFailed { what: "services".to_owned(), why: why.clone() });
            }
            over(s);
        }
        _ => {}
    }
}

/// Which weight stays: exits 10, 13, 130 and 143 leave the control at full weight.
fn goal(s: &State, verdict: &str) -> Goal {
    let rollout = s.rollout();
    let stopped = s.rolled_back || s.halted.is_some();
    match (verdict, rollout.afterwards, rollout.stages.last()) {
        _ if stopped => Goal::Control,
        ("rollback" | "halted", ..) => Goal::Control,
        ("promote", Afterwards::Promoted, Some(last)) => Goal::Promoted(last.weight),
        _ => Goal::Found,
    }
}

fn wanted(s: &State, goal: Goal) -> Ppm {
    match goal {
        Goal::Found => s.weight.found.unwrap_or(Ppm::ZERO),
        Goal::Control => Ppm::ZERO,
        Goal::Promoted(weight) => weight,
    }
}

fn place(s: &mut State, f: Final) {
    // A run that broke meanwhile leaves the control at full weight, whatever was meant to stay.
    let f = Final { goal: if s.halted.is_some() { Goal::Control } else { f.goal }, ..f };
    let to = wanted(s, f.goal);
    enter(s, Ending::Weight(Final { tries: f.tries + 1, retry_at: None, ..f }));
    s.weight.asked = Some(to);
    s.weight.known = None;
    s.say(Fact::WeightAsked(to));
    let as_found = f.goal == Goal::Found || (f.goal == Goal::Control && s.weight.found == Some(Ppm::ZERO));
    s.call(if as_found { Call::RestoreWeight } else { Call::SetWeight(to) }, WEIGHT);
}

/// A set, restore or read ended during the end.
pub(super) fn weight_done(s: &mut State, call: Call, outcome: Result<Ppm, String>) {
    let Phase::Ending(at) = s.phase.clone() else { return };
    if at == Ending::Keep && call == Call::KeepWeight {
        if let Err(why) = outcome {
            s.say(Fact::UndoFailed { what: "undo record of the router".to_owned(), why });
        }
        return teardown(s, 0);
    }
    let Ending::Weight(f) = at else { return };
    let wanted = wanted(s, f.goal);
    let why = match (call, outcome) {
        (Call::SetWeight(_) | Call::RestoreWeight, Ok(_)) => return s.call(Call::ReadWeight, WEIGHT),
        (_, Ok(read)) if read == wanted => {
            enter(s, Ending::Keep);
            return s.call(Call::KeepWeight, READ);
        }
        (_, Ok(read)) => format!("asked the router for {wanted}, read back {read}"),
        (_, Err(why)) => why,
    };
    s.say(Fact::WeightFailed(why.clone()));
    let tries = if s.hurried { HURRIED_TRIES } else { FINAL_TRIES };
    if f.tries < tries {
        let retry_at = Some(s.now.plus(RETRY_WAIT));
        return enter(s, Ending::Weight(Final { retry_at, ..f }));
    }
    match f.goal {
        Goal::Control => {
            s.say(Fact::RollbackFailed(format!("the control does not have full weight at the end: {why}")));
            teardown(s, 0);
        }
        Goal::Found => {
            s.say(Fact::UndoFailed { what: "router weight".to_owned(), why });
            teardown(s, 0);
        }
        Goal::Promoted(_) => {
            s.say(Fact::UndoFailed { what: "promotion of the canary".to_owned(), why });
            place(s, Final { goal: Goal::Control, tries: 0, retry_at: None });
        }
    }
}

fn teardown(s: &mut State, i: usize) {
    if s.teardown_due && i < s.teardowns {
        enter(s, Ending::Teardown(i));
        s.call(Call::Teardown(i), ACTION);
    } else if s.services_touched {
        enter(s, Ending::Services);
        let each = s.plan.environment.services.iter().map(|p| p.stop_within);
        let bound = each.fold(GRACE.plus(GRACE), Span::plus);
        s.call(Call::StopServices, bound);
    } else {
        over(s);
    }
}

fn over(s: &mut State) {
    s.phase = Phase::Over;
    s.out.push(Effect::Announce(Fact::Ended));
}
