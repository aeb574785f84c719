//! The rollout going up: baseline, preflight, stages and their gates. Going back is in `back`.

use crate::effect::{Call, WEIGHT};
use crate::state::{Phase, Ramp, State};
use crate::step::{back, begin, end, guards};
use shakedown_core::event::{Fact, GateState, StageEnd};
use shakedown_core::plan::Rehearse;
use shakedown_core::seams::LoadMode;
use shakedown_core::units::{Offset, Ppm, Span};

/// The judge gets this long after the baseline's last slice is closed.
const PREFLIGHT_GRACE: Span = Span::secs(5);

/// Checks preflight as soon as the judge has an answer; nothing is changed before that.
pub(super) fn preflight(s: &mut State) {
    if s.preflight_ok || s.halted.is_some() {
        return;
    }
    let Some(checks) = s.seen.preflight.clone() else {
        let latest = Offset::ZERO.plus(s.plan.first_stage()).plus(s.plan.longest_timeout()).plus(s.plan.slice).plus(PREFLIGHT_GRACE);
        if s.now > latest {
            begin::not_ready(s, "preflight".to_owned(), "the baseline gave no evidence to check it on".to_owned());
        }
        return;
    };
    let unseen = s.plan.preflight.iter().filter(|name| !checks.iter().any(|(o, ..)| o == *name));
    let unseen = unseen.map(|name| (name.clone(), false, "the baseline gave no evidence to check it on".to_owned()));
    let missed: Vec<_> = checks.iter().filter(|(_, ok, _)| !ok).cloned().chain(unseen).collect();
    if missed.is_empty() {
        s.preflight_ok = true;
        return;
    }
    for (objective, _, why) in missed {
        s.say(Fact::PreflightMissed { objective, why });
    }
    s.out.push(crate::Effect::Mode(LoadMode::Probe));
    end::begin(s);
}

/// Moves the rollout on when its time has come.
pub(super) fn advance(s: &mut State) {
    match s.ramp.clone() {
        Ramp::None | Ramp::Done | Ramp::Enter(_) => {}
        Ramp::Baseline => {
            let due = s.now >= Offset::ZERO.plus(s.plan.first_stage());
            if held_too_long(s, 0) {
                go_back(s, &held_why(s));
            } else if due && s.preflight_ok && s.held.since.is_none() && s.halted.is_none() {
                enter(s, 0);
            }
        }
        Ramp::Next(stage) if held_too_long(s, stage) => go_back(s, &held_why(s)),
        Ramp::Next(stage) => {
            if s.held.since.is_none() {
                enter(s, stage);
            }
        }
        Ramp::Hold(stage) => hold(s, stage),
        Ramp::Back(_) => back::advance(s),
    }
}

/// Asks for a stage's weight.
pub(super) fn enter(s: &mut State, stage: usize) {
    s.ramp = Ramp::Enter(stage);
    set(s, s.stage(stage).weight);
}

/// Issues a set; the read follows when it is acknowledged.
pub(super) fn set(s: &mut State, to: Ppm) {
    s.weight.touched = true;
    s.weight.asked = Some(to);
    s.weight.known = None;
    s.say(Fact::WeightAsked(to));
    s.call(Call::SetWeight(to), WEIGHT);
}

fn hold(s: &mut State, stage: usize) {
    let plan = s.stage(stage).clone();
    let elapsed = s.now.since(s.clocks[stage].expect("a stage holds only once its clock runs"));
    let gate = s.seen.gate.clone().filter(|g| g.stage == plan.name);
    let (state, why) = match gate {
        Some(g) => (g.state, g.why),
        // Nothing to hold it against: its length is all it asks for.
        None if plan.gate.is_empty() => (GateState::Pass, "no gate".to_owned()),
        None => (GateState::Undecided, "no evidence for its gate".to_owned()),
    };
    let state = if plan.gate.is_empty() && state == GateState::Undecided { GateState::Pass } else { state };
    if state == GateState::Harm {
        end_stage(s, stage, StageEnd::Harm, &why);
        return back::start(s, false, &format!("stage {}: {why}", plan.name));
    }
    if held_too_long(s, stage) {
        return go_back(s, &held_why(s));
    }
    let wanted = s.held.reduce.map_or(plan.weight, |to| to.min(plan.weight));
    let adjusting = s.is_pending(Call::on_weight);
    if s.weight.known != Some(wanted) && !adjusting {
        return set(s, wanted);
    }
    let ready = s.held.since.is_none() && !adjusting && s.weight.known == Some(plan.weight);
    let whole = Span::secs(elapsed.0 / 1_000_000_000);
    if state == GateState::Pass && ready && whole >= plan.hold {
        end_stage(s, stage, StageEnd::Passed, &why);
        passed(s, stage);
    } else if ready && whole >= plan.hold.plus(plan.extend).plus(s.held.before) {
        end_stage(s, stage, StageEnd::Undecided, &why);
        back::start(s, false, &format!("stage {} was undecided after {}: {why}", plan.name, plan.hold.plus(plan.extend)));
    }
}

fn held_too_long(s: &State, stage: usize) -> bool {
    s.held.since.is_some() && guards::held_for(s) > s.stage(stage).extend
}

fn held_why(s: &State) -> String {
    let guard = s.held.since.as_ref().map_or("", |(_, guard)| guard.as_str());
    format!("guard {guard} held the ramp for longer than the stage may be extended")
}

fn end_stage(s: &mut State, stage: usize, end: StageEnd, why: &str) {
    let name = s.stage(stage).name.clone();
    s.say(Fact::StageEnded { stage: name, end, why: why.to_owned() });
}

fn passed(s: &mut State, stage: usize) {
    let last = stage + 1 == s.rollout().stages.len();
    let rehearse = match s.rollout().rehearse {
        Rehearse::Never => false,
        Rehearse::LastStage => last,
        Rehearse::EveryStage => true,
    };
    if rehearse {
        s.ramp = Ramp::Hold(stage);
        back::start(s, true, "rehearsal after the gate passed");
    } else {
        next(s, stage);
    }
}

/// Goes on after a stage (and its rehearsal).
pub(super) fn next(s: &mut State, stage: usize) {
    s.held.before = Span::ZERO;
    s.held.since = s.held.since.take().map(|(_, guard)| (s.now, guard));
    if stage + 1 == s.rollout().stages.len() {
        s.ramp = Ramp::Done;
    } else {
        s.ramp = Ramp::Next(stage + 1);
        advance(s);
    }
}

/// Goes back to the control from wherever the rollout is, without a gate having said so.
pub(super) fn go_back(s: &mut State, why: &str) {
    match s.ramp.clone() {
        Ramp::Back(mut way) => {
            // It is the way back already; only it no longer goes on afterwards.
            way.go_on = false;
            s.ramp = Ramp::Back(way);
            s.rolled_back = true;
            back::hasten(s);
        }
        Ramp::None | Ramp::Baseline => end::begin(s),
        Ramp::Done | Ramp::Next(_) if s.weight.known == Some(Ppm::ZERO) => {
            s.rolled_back = true;
            end::begin(s);
        }
        Ramp::Hold(stage) => {
            end_stage(s, stage, StageEnd::Cut, why);
            back::start(s, false, why);
        }
        Ramp::Enter(_) | Ramp::Next(_) | Ramp::Done => back::start(s, false, why),
    }
}

/// A set or read ended while the run is on.
pub(super) fn weight_done(s: &mut State, call: Call, outcome: Result<Ppm, String>) {
    let stage = match &s.ramp {
        Ramp::Back(_) => return back::weight_done(s, call, outcome),
        Ramp::Enter(stage) | Ramp::Hold(stage) => *stage,
        _ => return,
    };
    let asked = s.weight.asked.unwrap_or(Ppm::ZERO);
    let why = match (call, outcome) {
        (Call::SetWeight(_), Ok(_)) => return s.call(Call::ReadWeight, WEIGHT),
        (_, Ok(read)) if read == asked => {
            if s.ramp == Ramp::Enter(stage) {
                s.ramp = Ramp::Hold(stage);
                s.clocks[stage] = Some(s.now);
                let name = s.stage(stage).name.clone();
                s.say(Fact::StageStarted(name));
            }
            return;
        }
        (_, Ok(read)) => format!("asked the router for {asked}, read back {read}"),
        (_, Err(why)) => why,
    };
    s.say(Fact::WeightFailed(why.clone()));
    debug_assert!(s.phase == Phase::Running);
    go_back(s, &format!("the weight of stage {} could not be set: {why}", s.stage(stage).name));
}
