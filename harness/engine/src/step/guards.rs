//! What guards do when they are crossed, and the ramp they hold. Must not measure: the judge does.
//!
//! `pause` holds the ramp; `reduce` holds it too, at a lower weight, and the stage's weight comes back when the guard
//! clears. A ramp held for longer than its stage's `extend`, in all, goes back. On a real way back guards are not acted
//! on: the control is getting full weight already.

use crate::state::{Phase, Ramp, State};
use crate::step::{halt, ramp};
use shakedown_core::event::{Fact, HaltBy, Tripped};
use shakedown_core::plan::GuardAction;
use shakedown_core::units::Span;

/// Takes in the guards crossed now, strongest first.
pub(super) fn seen(s: &mut State, tripped: &[Tripped]) {
    s.seen.tripped.retain(|name| tripped.iter().any(|t| &t.guard == name));
    for t in tripped {
        if s.phase != Phase::Running || s.halted.is_some() || on_real_way_back(s) {
            return;
        }
        if !s.seen.tripped.insert(t.guard.clone()) {
            continue;
        }
        s.say(Fact::GuardFired { guard: t.guard.clone(), action: t.action, why: t.why.clone() });
        match t.action {
            GuardAction::Abort => halt::halt(s, HaltBy::Guard(t.guard.clone())),
            GuardAction::Rollback => ramp::go_back(s, &format!("guard {}: {}", t.guard, t.why)),
            GuardAction::Reduce(_) | GuardAction::Pause | GuardAction::Warn => {}
        }
    }
    hold(s, tripped);
}

fn on_real_way_back(s: &State) -> bool {
    matches!(&s.ramp, Ramp::Back(back) if !back.go_on)
}

fn hold(s: &mut State, tripped: &[Tripped]) {
    let holds = |t: &&Tripped| matches!(t.action, GuardAction::Pause | GuardAction::Reduce(_));
    let reduce = tripped.iter().filter_map(|t| match t.action {
        GuardAction::Reduce(to) => Some(to),
        _ => None,
    });
    s.held.reduce = reduce.min();
    match (tripped.iter().find(holds), s.held.since.take()) {
        (Some(_), Some(since)) => s.held.since = Some(since),
        (Some(t), None) => s.held.since = Some((s.now, t.guard.clone())),
        (None, Some((since, _))) => s.held.before = s.held.before.plus(s.now.since(since)),
        (None, None) => {}
    }
}

/// How long the ramp has been held in this stage.
pub(super) fn held_for(s: &State) -> Span {
    s.held.since.as_ref().map_or(s.held.before, |(since, _)| s.held.before.plus(s.now.since(*since)))
}
