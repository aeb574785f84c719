//! Indicators by name, with their own keys; which of them load measures. Limits are in `limits`.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::{expects, names};
use shakedown_core::plan::Indicator;
use shakedown_core::tree::{Fields, Node};
use shakedown_core::units::{Quantile, Span};

/// What works now.
pub const NOW: [&str; 16] = [
    "success_rate",
    "error_rate",
    "timeout_rate",
    "retry_rate",
    "status_share",
    "journey_success",
    "journey_duration",
    "latency",
    "throughput",
    "achieved_rate",
    "bytes",
    "cold_start",
    "time_to_recover",
    "time_to_restore",
    "burn_rate",
    "error_budget",
];
/// In the language, but later.
pub const LATER: [&str; 23] = [
    "time_to_detect",
    "lost_writes",
    "stale_writes",
    "duplicate_writes",
    "divergent_writes",
    "shadow_mismatch",
    "cost",
    "cost_per_1k_requests",
    "signal",
    "promql",
    "alerts_firing",
    "trace_coverage",
    "dependency_latency",
    "dependency_errors",
    "amplification",
    "cpu",
    "cpu_headroom",
    "memory",
    "memory_slope",
    "restarts",
    "time_to_ready",
    "metric_cardinality",
    "rpo",
];
/// Most windows of a burn rate.
const MAX_WINDOWS: usize = 10;
/// Longest burn window.
const MAX_LONG: Span = Span::secs(86_400);

/// The answer to an indicator's name.
pub enum Read {
    /// It works.
    Now(Indicator),
    /// It comes later, which is said; the other keys are not looked at.
    Later,
    /// There is no such indicator, or a key of it is wrong, which is said.
    Wrong,
}

/// Reads `indicator` and the keys that belong to it. References to objectives and faults are resolved here too.
pub fn decode(f: &mut Fields, guard: Option<Span>, cx: &mut Cx) -> Read {
    let Some(node) = f.need("indicator", &mut cx.p) else { return Read::Wrong };
    let Some(name) = node.string("indicator", &mut cx.p) else { return Read::Wrong };
    if LATER.contains(&name.as_str()) {
        cx.p.later(&node.span, &format!("the indicator `{name}`"));
        return Read::Later;
    }
    if cx.source.kinds.signals.iter().any(|s| s.name() == name) {
        cx.p.later(&node.span, &format!("the indicator `{name}`"));
        return Read::Later;
    }
    if !names::resolve("indicator", &name, NOW.into_iter().chain(LATER), &node.span, &mut cx.p) {
        return Read::Wrong;
    }
    own_keys(&name, f, guard, cx).map_or(Read::Wrong, Read::Now)
}

fn own_keys(name: &str, f: &mut Fields, guard: Option<Span>, cx: &mut Cx) -> Option<Indicator> {
    Some(match name {
        "success_rate" => Indicator::SuccessRate,
        "error_rate" => Indicator::ErrorRate,
        "timeout_rate" => Indicator::TimeoutRate,
        "retry_rate" => Indicator::RetryRate,
        "status_share" => {
            let statuses = f.need("status", &mut cx.p).map(|n| expects::any_statuses(n, &mut cx.p))?;
            if statuses.is_empty() {
                return None;
            }
            Indicator::StatusShare(statuses)
        }
        "journey_success" => Indicator::JourneySuccess,
        "journey_duration" => Indicator::JourneyDuration(quantile(f, cx)?),
        "latency" => Indicator::Latency(quantile(f, cx)?),
        "throughput" => Indicator::Throughput,
        "achieved_rate" => Indicator::AchievedRate,
        "bytes" => Indicator::Bytes,
        "cold_start" => Indicator::ColdStart,
        "time_to_recover" => {
            let of = objective(f, cx);
            let after = f.need("after", &mut cx.p).and_then(|n| {
                let text = n.string("after", &mut cx.p)?;
                names::resolve("fault", &text, cx.names.faults.iter().map(String::as_str), &n.span, &mut cx.p).then_some(text)
            });
            Indicator::TimeToRecover { of: of?, after: after? }
        }
        "time_to_restore" => Indicator::TimeToRestore,
        "error_budget" => Indicator::ErrorBudget { of: objective(f, cx)? },
        _ => {
            let of = objective(f, cx);
            let windows = match guard {
                Some(over) => vec![(over, over, 0)],
                None => f.need("windows", &mut cx.p).map(|n| windows(n, cx))?,
            };
            Indicator::BurnRate { of: of?, windows }
        }
    })
}

fn quantile(f: &mut Fields, cx: &mut Cx) -> Option<Quantile> {
    let node = f.need("quantile", &mut cx.p)?;
    let text = node.string("quantile", &mut cx.p)?;
    Quantile::parse(&text).map_err(|why| ask::with_hint(node, "quantile", &why, &mut cx.p)).ok()
}

/// `of`: another objective.
fn objective(f: &mut Fields, cx: &mut Cx) -> Option<String> {
    let node = f.need("of", &mut cx.p)?;
    let text = node.string("of", &mut cx.p)?;
    cx.names.objectives.contains(&text).then_some(()).or_else(|| {
        cx.p.hint(
            &node.span,
            format!("there is no objective `{text}`"),
            names::suggest(&text, cx.names.objectives.iter().map(String::as_str)),
        );
        None
    })?;
    Some(text)
}

fn windows(node: &Node, cx: &mut Cx) -> Vec<(Span, Span, u64)> {
    let items = ask::items(node, "windows", &mut cx.p);
    let mut windows = Vec::new();
    for item in items {
        let mut f = item.fields("window", &mut cx.p);
        let mut length = |key| {
            f.need(key, &mut cx.p);
            f.positive(key, &mut cx.p)
        };
        let (long, short) = (length("long"), length("short"));
        let max = f.need("max", &mut cx.p).and_then(|n| n.scalar("max", &mut cx.p, factor));
        f.finish(&mut cx.p);
        let (Some(long), Some(short), Some(max)) = (long, short, max) else { continue };
        if short > long || short < Span::secs(1) || long > MAX_LONG {
            cx.p.hint(&item.span, "the windows of a burn rate do not fit", format!("1s ≤ short ≤ long ≤ {MAX_LONG}"));
        }
        windows.push((long, short, max));
    }
    if items.is_empty() || items.len() > MAX_WINDOWS {
        cx.p.add(&node.span, format!("a burn rate has 1 to {MAX_WINDOWS} windows"));
    }
    windows
}

/// A factor in millis.
pub fn factor(text: &str) -> Result<u64, String> {
    let value = text.parse::<f64>().ok().filter(|v| *v >= 0.001 && *v <= 1e6);
    value.map(|v| (v * 1e3).round() as u64).ok_or_else(|| format!("`{text}` is not a factor; write a number like 14.4"))
}

/// Is it measured over load, in any stretch of time?
pub fn over_load(indicator: &Indicator) -> bool {
    use Indicator as I;
    !matches!(indicator, I::TimeToRecover { .. } | I::TimeToRestore | I::BurnRate { .. } | I::ErrorBudget { .. })
}

/// Is it counted over logical requests or journeys only, never by arm?
pub fn logical(indicator: &Indicator) -> bool {
    use Indicator as I;
    !over_load(indicator) || matches!(indicator, I::JourneySuccess | I::JourneyDuration(_) | I::RetryRate | I::AchievedRate | I::Throughput)
}

/// A success or error rate, which has an error budget.
pub fn has_budget(indicator: &Indicator) -> bool {
    matches!(indicator, Indicator::SuccessRate | Indicator::ErrorRate)
}
