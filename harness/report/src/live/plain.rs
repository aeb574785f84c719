//! Plain lines for a log: one a phase change, one status line every 5 s. Must not use colour or cursor movement.

use super::state::State;
use crate::gather::tell;
use crate::style::clean;
use crate::units::{Unit, clock, nanos, percent, rate};
use shakedown_core::Plan;
use shakedown_core::event::{Event, Input};
use shakedown_core::units::{Offset, Span};

/// Least distance of status lines: a little under 5 s, so that a caller who asks every 5 s by its own clock misses none.
pub(super) const EVERY: Span = Span::millis(4_500);

/// A phase change in words.
pub(super) fn phase(event: &Event) -> Option<String> {
    let text = match &event.what {
        Input::Fact(fact) => tell(fact)?.1,
        Input::ServiceExited { service, status } => format!("service {} ended by itself (status {status})", clean(service)),
        Input::Halt(_) => "stop asked for: undoing everything".to_owned(),
        _ => return None,
    };
    Some(format!("{} {text}", clock(event.at)))
}

/// Where the run stands: stage, rates, weight, every objective.
pub(super) fn status(plan: &Plan, state: &State, now: Offset) -> String {
    let mut parts = Vec::new();
    match state.running() {
        Some((name, since)) => parts.push(format!("stage {} {}", clean(name), clock(Offset::ZERO.plus(now.since(since))))),
        None => parts.push(state.phase.clone()),
    }
    let rates = state.rates();
    parts.push(format!("asked {} sent {}", rate(rates.asked), rate(rates.sent)));
    if let Some(lag) = rates.lag_p99 {
        parts.push(format!("lag p99 {}", nanos(lag as f64)));
    }
    if let Some(asked) = state.asked_weight {
        let seen = rates.canary_share.map_or_else(|| "not seen".to_owned(), |s| format!("seen {}", percent(s)));
        parts.push(format!("weight {} {seen}", percent(asked.fraction())));
    }
    for progress in &state.objectives {
        let unit = plan.objective(&progress.objective).map_or(Unit::Factor, |o| Unit::of(&o.indicator));
        let value = progress.value.map_or_else(|| "no data".to_owned(), |v| unit.show(v));
        let against = progress.control.map_or(String::new(), |v| format!(" vs {}", unit.show(v)));
        let meets = match progress.meets {
            Some(true) => "meets its limit",
            Some(false) => "MISSES its limit",
            None => "undecided",
        };
        parts.push(format!("{} {value}{against} {meets}, {} of the proof", clean(&progress.objective), percent_whole(progress.proof)));
    }
    format!("{} {}", clock(now), parts.join(" · "))
}

/// A share of the proof in whole percent, rounded down: 100 % only when it is.
pub(crate) fn percent_whole(share: f64) -> String {
    format!("{} %", (share.clamp(0.0, 1.0) * 100.0 + 1e-9).floor())
}
