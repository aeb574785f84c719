//! The way back, rehearsed or real: faults reverted, `rollback.before`, weight 0, read back, restored. Bounded at every
//! step; what fails on the way never keeps the weight from being set.

use crate::effect::{BACK_RETRY_WITHIN, BACK_TRIES, BEFORE, Call, HURRIED_TRIES, INTERRUPTED_WAIT, RETRY_WAIT, WEIGHT_BACK};
use crate::state::{Back, BackAt, Ramp, State};
use crate::step::{end, faults, ramp};
use serde_json::Value;
use shakedown_core::event::{Fact, HaltBy};
use shakedown_core::units::{Ppm, Span};

/// Added to twice `restored_within`: how long restoration is waited for.
const RESTORE_GRACE: Span = Span::secs(10);

/// Begins a way back.
pub(super) fn start(s: &mut State, rehearsal: bool, why: &str) {
    let stage = match &s.ramp {
        Ramp::Enter(stage) | Ramp::Hold(stage) | Ramp::Next(stage) => *stage,
        _ => s.rollout().stages.len().saturating_sub(1),
    };
    let name = s.rollout().stages.get(stage).map(|st| st.name.clone()).unwrap_or_default();
    s.say(Fact::RollbackStarted { rehearsal, from: s.weight_now(), stage: name, why: why.to_owned() });
    s.rolled_back |= !rehearsal;
    // An assessment from before this moment says nothing about this way back.
    s.seen.restored = None;
    s.cancel(Call::on_weight);
    faults::revert_all(s, s.halted.is_some());
    s.ramp = Ramp::Back(Back { stage, commanded: s.now, go_on: rehearsal, at: BackAt::Clear, tries: 0, first_try: s.now });
    advance(s);
}

fn at(s: &State) -> Option<&Back> {
    match &s.ramp {
        Ramp::Back(back) => Some(back),
        _ => None,
    }
}

fn to(s: &mut State, at: BackAt) {
    if let Ramp::Back(back) = &mut s.ramp {
        back.at = at;
    }
}

/// Moves a way back on.
pub(super) fn advance(s: &mut State) {
    let Some(back) = at(s).cloned() else { return };
    match back.at {
        BackAt::Clear if !s.is_pending(Call::on_weight) => before(s, 0),
        BackAt::RetryAt(when) if when <= s.now => set(s),
        BackAt::Await(until) => {
            let restored = s.seen.restored.filter(|at| *at >= back.commanded);
            if restored.is_some() || s.now >= until {
                finish(s, &back, restored);
            }
        }
        _ => {}
    }
}

fn before(s: &mut State, i: usize) {
    if i < s.rollout().rollback.before.len() {
        to(s, BackAt::Before(i));
        s.call(Call::Before(i), BEFORE);
    } else {
        if let Ramp::Back(back) = &mut s.ramp {
            back.first_try = s.now;
        }
        set(s);
    }
}

/// A `rollback.before` action ended.
pub(super) fn before_done(s: &mut State, i: usize, outcome: &Result<Value, String>) {
    if at(s).is_none_or(|b| b.at != BackAt::Before(i)) {
        return;
    }
    if let Err(why) = outcome {
        // The way back is not what was promised, but the control gets its weight all the same.
        s.say(Fact::RollbackFailed(format!("rollback.before step {} failed: {why}", i + 1)));
    }
    before(s, i + 1);
}

fn set(s: &mut State) {
    if let Ramp::Back(back) = &mut s.ramp {
        back.tries += 1;
        back.at = BackAt::Setting;
    }
    s.weight.touched = true;
    s.weight.asked = Some(Ppm::ZERO);
    s.weight.known = None;
    s.say(Fact::WeightAsked(Ppm::ZERO));
    s.call(Call::SetWeight(Ppm::ZERO), WEIGHT_BACK);
}

/// A set or read ended on the way back.
pub(super) fn weight_done(s: &mut State, call: Call, outcome: Result<Ppm, String>) {
    let Some(back) = at(s).cloned() else { return };
    if back.at != BackAt::Setting {
        // Of a call that was cancelled when the way back began.
        s.weight.known = None;
        return;
    }
    let why = match (call, outcome) {
        (Call::SetWeight(_), Ok(_)) => return s.call(Call::ReadWeight, WEIGHT_BACK),
        (_, Ok(Ppm::ZERO)) => {
            to(s, BackAt::Await(s.now.plus(patience(s))));
            return;
        }
        (_, Ok(read)) => format!("asked the router for {}, read back {read}", Ppm::ZERO),
        (_, Err(why)) => why,
    };
    s.say(Fact::WeightFailed(why.clone()));
    let tries = if s.hurried { HURRIED_TRIES } else { BACK_TRIES };
    if back.tries < tries && s.now < back.first_try.plus(BACK_RETRY_WITHIN) {
        to(s, BackAt::RetryAt(s.now.plus(RETRY_WAIT)));
        return;
    }
    s.say(Fact::RollbackFailed(format!("after {} tries the control does not have full weight: {why}", back.tries)));
    finish(s, &back, None);
}

/// How long to wait for a restored service.
fn patience(s: &State) -> Span {
    let within = s.rollout().rollback.restored_within;
    match &s.halted {
        _ if s.hurried => Span::ZERO,
        Some(HaltBy::Internal(_)) => Span::ZERO,
        Some(HaltBy::Signal(_)) => within.min(INTERRUPTED_WAIT),
        _ => within.plus(within).plus(RESTORE_GRACE),
    }
}

/// Shortens the wait after a halt.
pub(super) fn hasten(s: &mut State) {
    if !matches!(s.ramp, Ramp::Back(_)) {
        return;
    }
    let limit = s.now.plus(patience(s));
    if let Ramp::Back(back) = &mut s.ramp
        && let BackAt::Await(until) = &mut back.at
    {
        *until = (*until).min(limit);
    }
}

fn finish(s: &mut State, back: &Back, restored: Option<shakedown_core::Offset>) {
    s.say(Fact::RollbackEnded { restored });
    s.ramp = Ramp::Done;
    if back.go_on && restored.is_some() && s.halted.is_none() {
        ramp::next(s, back.stage);
    } else {
        s.rolled_back = true;
        end::begin(s);
    }
}
