//! The nominal schedule: what starts when if every stage takes its `hold`. Must not be taken for what happened.

use shakedown_core::Plan;
use shakedown_core::plan::{FaultPlan, Stream, When};
use shakedown_core::units::Span;

/// Longest chain of `after` references followed; the plan is checked, this only bounds the walk.
const CHAIN: usize = 64;

/// Nominal start of each stage with its hold and extend, in order.
pub(super) fn stages(plan: &Plan) -> Vec<(&str, Span, Span, Span)> {
    let mut at = plan.first_stage();
    let mut out = Vec::new();
    for stage in plan.rollout.iter().flat_map(|r| &r.stages) {
        out.push((stage.name.as_str(), at, stage.hold, stage.extend));
        at = at.plus(stage.hold);
    }
    out
}

/// Nominal start of something; `None` when it refers to nothing known.
pub(super) fn start(plan: &Plan, when: &When, depth: usize) -> Option<Span> {
    match when {
        When::At(at) => Some(*at),
        When::Stage { stage, plus } => stages(plan).iter().find(|s| s.0 == stage).map(|s| s.1.plus(*plus)),
        When::After { fault, plus } if depth < CHAIN => {
            let earlier = plan.faults.iter().find(|f| &f.name == fault)?;
            Some(start(plan, &earlier.at, depth + 1)?.plus(earlier.length).plus(*plus))
        }
        When::After { .. } => None,
    }
}

/// Nominal start of a fault.
pub(super) fn fault(plan: &Plan, fault: &FaultPlan) -> Option<Span> {
    start(plan, &fault.at, 0)
}

/// Nominal start of a stream.
pub(super) fn stream(plan: &Plan, stream: &Stream) -> Option<Span> {
    start(plan, &stream.at, 0)
}

/// Nominal end of everything.
pub(super) fn end(plan: &Plan, lengths: &[(String, f64, f64, Span)]) -> Span {
    let stages = stages(plan).last().map(|s| s.1.plus(s.2));
    let faults = plan.faults.iter().filter_map(|f| Some(fault(plan, f)?.plus(f.length)));
    let streams = plan.streams.iter().filter_map(|s| Some(stream(plan, s)?.plus(length(s, lengths))));
    stages.into_iter().chain(faults).chain(streams).max().unwrap_or(Span::ZERO).max(Span::secs(1))
}

/// A stream's length: its shape's, or the forecast's where the plan cannot know it (a replay).
pub(super) fn length(stream: &Stream, lengths: &[(String, f64, f64, Span)]) -> Span {
    let own = Plan::stream_length(stream);
    lengths.iter().find(|f| f.0 == stream.name).map_or(own, |f| if own == Span::ZERO { f.3 } else { own })
}
