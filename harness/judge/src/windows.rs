//! Which units belong to which window. Windows round inward: a unit counts only when it lies wholly within. Must not count.

use crate::timeline::Timeline;
use shakedown_core::plan::{Plan, Stream, When, WindowRef};
use shakedown_core::{Offset, Span};

/// A window after a fault is at most this long.
const AFTER: Span = Span::secs(30);

/// Does the time between two offsets lie wholly within the window?
#[must_use]
pub fn holds(plan: &Plan, line: &Timeline, window: &WindowRef, from: Offset, to: Offset) -> bool {
    if from < Offset::ZERO {
        return false;
    }
    let halted = line.halted.as_ref().is_some_and(|h| h.1 < to);
    match window {
        WindowRef::Default if plan.rollout.is_some() => !halted && line.stage_of(from, to).is_some(),
        WindowRef::Default => !halted && !line.in_rollback(from, to) && from >= after(plan.longest_warmup()),
        WindowRef::Run => true,
        WindowRef::Steady => {
            let touched = line.faults.values().any(|f| {
                let end = f.reverted.map_or(Offset::MAX, |r| after_end(line, r));
                f.applied.is_some_and(|a| a < to && end > from)
            });
            !halted && !touched && !line.in_rollback(from, to) && from >= after(plan.longest_warmup())
        }
        WindowRef::Warmup => to <= after(plan.longest_warmup()),
        WindowRef::Baseline => {
            let end = line.first_change().unwrap_or(after(plan.first_stage())).min(after(plan.first_stage()));
            plan.rollout.is_some() && from >= after(plan.longest_warmup()) && to <= end
        }
        WindowRef::Fault(name) => {
            let run = line.faults.get(name);
            run.is_some_and(|f| f.applied.is_some_and(|a| a <= from) && f.reverted.is_none_or(|r| to <= r))
        }
        WindowRef::AfterFault(name) => {
            let reverted = line.faults.get(name).and_then(|f| f.reverted);
            reverted.is_some_and(|r| r <= from && to <= after_end(line, r))
        }
        WindowRef::Stage(name) => {
            let index = plan.rollout.as_ref().and_then(|r| r.stages.iter().position(|s| &s.name == name));
            index.is_some() && line.stage_of(from, to).map(|s| s.0) == index
        }
        WindowRef::Rollback => {
            line.backs.iter().any(|b| b.commanded <= from && b.ended.is_none_or(|e| to <= e) && !(b.over && b.ended.is_none()))
        }
        WindowRef::Recovery => {
            let last = line.faults.values().filter_map(|f| f.reverted).max();
            last.is_some_and(|r| r <= from && to <= r.plus(AFTER))
        }
        WindowRef::Named(name) => plan.windows.iter().any(|w| &w.name == name && after(w.from) <= from && to <= after(w.to)),
    }
}

/// The stream's requests due in this unit are past its warm-up.
#[must_use]
pub fn warm(line: &Timeline, stream: &Stream, from: Offset) -> bool {
    let begin = match (&stream.at, line.streams.get(&stream.name)) {
        (When::At(at), _) => Some(after(*at)),
        (_, begun) => begun.copied(),
    };
    begin.is_some_and(|b| b.plus(stream.warmup) <= from)
}

/// The window also counts what is sent during warm-up.
#[must_use]
pub fn counts_warmup(window: &WindowRef) -> bool {
    matches!(window, WindowRef::Run | WindowRef::Warmup)
}

fn after(span: Span) -> Offset {
    Offset::ZERO.plus(span)
}

/// What follows a fault ends with the next stage end, fault or way back, at the latest after [`AFTER`].
fn after_end(line: &Timeline, reverted: Offset) -> Offset {
    let ends = line.stages.iter().filter_map(|s| s.to);
    let faults = line.faults.values().filter_map(|f| f.applied);
    let backs = line.backs.iter().map(|b| b.commanded);
    ends.chain(faults).chain(backs).filter(|at| *at > reverted).min().unwrap_or(Offset::MAX).min(reverted.plus(AFTER))
}
