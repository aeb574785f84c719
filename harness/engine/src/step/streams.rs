//! Streams that start and end, and how much was sent. Must not pace: load does.

use crate::effect::Effect;
use crate::state::{Life, Ramp, State};
use shakedown_core::event::Fact;
use shakedown_core::plan::When;
use shakedown_core::snapshot::Snapshot;
use shakedown_core::units::Offset;

/// Takes a snapshot's totals in.
pub(super) fn seen(s: &mut State, snapshot: &Snapshot) {
    for (index, totals) in &snapshot.streams {
        s.sent = s.sent.saturating_add(totals.sent);
        let now = s.now;
        let Some(stream) = s.streams.get_mut(usize::from(*index)) else { continue };
        if totals.ended && stream.ended.is_none() {
            stream.ended = Some(now);
            let name = s.plan.streams[usize::from(*index)].name.clone();
            s.say(Fact::StreamEnded(name));
        }
    }
}

/// Starts the streams that are due.
pub(super) fn advance(s: &mut State) {
    for i in 0..s.streams.len() {
        if s.streams[i].started.is_some() || s.halted.is_some() {
            continue;
        }
        let at = s.plan.streams[i].at.clone();
        let Some(due) = due(s, &at).filter(|due| *due <= s.now) else { continue };
        let name = s.plan.streams[i].name.clone();
        s.streams[i].started = Some(s.now);
        if !matches!(at, When::At(_)) {
            s.out.push(Effect::StartStream { stream: name.clone(), at: due.max(s.now) });
        }
        s.say(Fact::StreamStarted(name));
    }
}

/// When something is due, as far as that is known.
pub(super) fn due(s: &State, at: &When) -> Option<Offset> {
    match at {
        When::At(span) => Some(Offset::ZERO.plus(*span)),
        When::Stage { stage, plus } => clock(s, stage).map(|c| c.plus(*plus)),
        When::After { fault, plus } => match fault_life(s, fault) {
            Some(Life::Gone(at)) => Some(at.plus(*plus)),
            _ => None,
        },
    }
}

/// Whether something that has not started may still start.
pub(super) fn reachable(s: &State, at: &When) -> bool {
    match at {
        When::At(_) => true,
        When::Stage { stage, .. } => clock(s, stage).is_some() || !matches!(s.ramp, Ramp::Done | Ramp::None),
        When::After { fault, .. } => match fault_life(s, fault) {
            Some(Life::Gone(_) | Life::Active(_) | Life::Applying(_) | Life::Reverting) => true,
            // `check` refuses circles, so this ends.
            Some(Life::Waiting) => s.plan.faults.iter().find(|f| &f.name == fault).is_some_and(|f| reachable(s, &f.at)),
            Some(Life::Failed) | None => false,
        },
    }
}

fn clock(s: &State, stage: &str) -> Option<Offset> {
    let stages = &s.plan.rollout.as_ref()?.stages;
    s.clocks[stages.iter().position(|st| st.name == stage)?]
}

fn fault_life(s: &State, fault: &str) -> Option<Life> {
    let index = s.plan.faults.iter().position(|f| f.name == fault)?;
    Some(s.faults[index].life.clone())
}
