//! The charts' data as JSON inside the page. Must not hold more than [`crate::charts::POINTS`] points a series.

use crate::charts::{Bin, Counts};
use crate::gather::Gathered;
use crate::style::clean;
use serde_json::{Value, json};
use shakedown_core::Plan;
use shakedown_core::decision::Decision;
use shakedown_core::units::{Offset, Span};

/// Least part of a bin that must have had load to tell a rate of it.
const LEAST_PART: f64 = 0.2;

/// Everything `page.js` draws: times in seconds from the epoch, latencies in ms, shares in percent, `null` for no data.
pub(super) fn data(plan: &Plan, decision: &Decision, all: &Gathered) -> Value {
    let bins = &all.bins.bins;
    let width = all.bins.width.seconds();
    let middle = |i: usize| (i as f64 + 0.5) * width;
    let rollout = plan.rollout.is_some();
    let times: Vec<f64> = (0..bins.len()).map(middle).collect();
    let counted = bins.iter().any(|b| b.asked > 0.0);
    // Load ends within a bin: its rate is that of the part with load, and none is told of a part too short to have one.
    let loaded = |i: usize| (decision.duration as f64 / 1e9 - i as f64 * width).clamp(0.0, width);
    let per_second = |i: usize, n: f64| match loaded(i) {
        part if part >= width * LEAST_PART => Some(round(n / part)),
        part if part > 0.0 => None,
        _ => Some(round(n / width)),
    };
    let asked: Vec<_> = bins.iter().enumerate().map(|(i, b)| per_second(i, if counted { b.asked } else { b.due.max(0) as f64 })).collect();
    let sent: Vec<_> = bins.iter().enumerate().map(|(i, b)| per_second(i, b.sent)).collect();
    let mut charts = vec![json!({
        "title": "Requests", "unit": "/s", "height": 110,
        "series": [line("asked", "asked", json!(asked)), line("sent", "sent", json!(sent))],
    })];
    for (title, q) in [("p50", 0.50), ("p95", 0.95), ("p99", 0.99)] {
        charts.push(json!({"title": format!("Latency {title}"), "unit": " ms", "height": 110, "series": arms(bins, rollout, |c| {
            c.latency.quantile(q).map(|ns| ns as f64 / 1e6)
        })}));
    }
    let mut errors = arms(bins, rollout, |c| c.errors().map(|e| e * 100.0));
    if rollout {
        errors.push(line("all requests", "all", json!(bins.iter().map(|b| b.all.errors().map(|e| round(e * 100.0))).collect::<Vec<_>>())));
    }
    charts.push(json!({"title": "Failed", "unit": " %", "height": 90, "least": 1, "series": errors}));
    if rollout {
        charts.push(weights(bins, &times, all));
    }
    json!({
        "t": times, "end": all.end.seconds().max(bins.len() as f64 * width), "width": width, "charts": charts,
        "stages": stages(decision, all.end), "faults": faults(decision, all.end), "backs": backs(decision, all.end),
        "marks": all.marks.iter().filter(|m| m.decision).map(|m| m.at.seconds().max(0.0)).collect::<Vec<_>>(),
    })
}

/// JSON that cannot end its script element or start another, whatever it holds.
pub(super) fn embed(value: &Value) -> String {
    let text = value.to_string();
    text.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn line(label: &str, role: &str, values: Value) -> Value {
    json!({"label": label, "role": role, "values": values})
}

fn arms(bins: &[Bin], rollout: bool, value: impl Fn(&Counts) -> Option<f64>) -> Vec<Value> {
    let of = |pick: fn(&Bin) -> &Counts| json!(bins.iter().map(|b| value(pick(b)).map(round)).collect::<Vec<_>>());
    if rollout {
        vec![line("control", "control", of(|b| &b.control)), line("canary", "canary", of(|b| &b.canary))]
    } else {
        vec![line("all requests", "control", of(|b| &b.all))]
    }
}

fn weights(bins: &[Bin], times: &[f64], all: &Gathered) -> Value {
    let at = |t: f64| all.weights.iter().rev().find(|(o, _)| o.seconds() <= t).map(|(_, w)| w.fraction() * 100.0);
    let asked: Vec<Option<f64>> = times.iter().map(|t| at(*t)).collect();
    let seen: Vec<Option<f64>> = bins.iter().map(|b| b.share().map(|s| round(s * 100.0))).collect();
    json!({"title": "Canary weight", "unit": " %", "height": 90, "least": 1, "series": [
        json!({"label": "asked", "role": "asked", "step": true, "values": asked}), line("seen", "canary", json!(seen)),
    ]})
}

fn band(name: &str, word: String, from: Offset, to: Offset) -> Value {
    json!({"name": clean(name), "word": word, "from": from.seconds().max(0.0), "to": to.seconds().max(0.0)})
}

fn stages(decision: &Decision, end: Offset) -> Vec<Value> {
    let ran = decision.stages.iter().filter_map(|s| s.from.map(|from| (s, from)));
    ran.map(|(s, from)| band(&s.name, s.end.clone(), from, s.to.unwrap_or(end))).collect()
}

fn faults(decision: &Decision, end: Offset) -> Vec<Value> {
    let ran = decision.faults.iter().filter_map(|f| f.applied.map(|from| (f, from)));
    ran.map(|(f, from)| band(&f.name, clean(&f.kind), from, f.reverted.unwrap_or(end))).collect()
}

fn backs(decision: &Decision, end: Offset) -> Vec<Value> {
    let name = |rehearsal: bool| if rehearsal { "rehearsed rollback" } else { "rollback" };
    let least = |from: Offset| from.plus(Span::millis(200));
    decision
        .rollbacks
        .iter()
        .map(|b| band(name(b.rehearsal), b.status.clone(), b.commanded, b.restored.unwrap_or(end).max(least(b.commanded))))
        .collect()
}

/// Four significant decimals are enough for a chart and halve the page.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_json_stays_in_its_element_and_reads_back() {
        let hostile = json!({"name": "</script><img src=x onerror=alert(1)><!--", "and": "a & b\u{2028}"});
        let text = embed(&hostile);
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), hostile);
    }
}
