//! Streams, stages and faults as bars on one text axis. Each bar's numbers stand beside it, so that nothing is said by
//! the drawing alone.

use super::schedule;
use crate::style::{Style, Tone, clean, columns, pad};
use crate::units::{clock, percent, rate};
use shakedown_core::Plan;
use shakedown_core::plan::On;
use shakedown_core::units::{Offset, Span};

/// Widest label column.
const LABEL: usize = 22;
/// Columns kept for the words right of a bar.
const WORDS: usize = 24;
/// Narrowest axis worth drawing.
const NARROWEST: usize = 16;

/// One bar: what it is, from, to, how much longer it may take, words.
struct Bar {
    label: String,
    from: Span,
    to: Span,
    extend: Span,
    words: String,
    tone: Tone,
}

/// The axis with all bars.
pub(super) fn lines(plan: &Plan, forecasts: &[(String, f64, f64, Span)], style: Style) -> Vec<String> {
    let bars = bars(plan, forecasts);
    let end = schedule::end(plan, forecasts).max(bars.iter().map(|b| b.to.plus(b.extend)).max().unwrap_or(Span::ZERO));
    let label = bars.iter().map(|b| columns(&b.label)).max().unwrap_or(0).min(LABEL) + 2;
    let axis = style.columns().saturating_sub(label + WORDS + 1).max(NARROWEST);
    let mut out = vec![style.paint(Tone::Quiet, &format!("{}{}", " ".repeat(label), ruler(end, axis)))];
    for bar in &bars {
        let name: String = bar.label.chars().take(LABEL).collect();
        out.push(format!(" {}{} {}", pad(&name, label - 1), style.paint(bar.tone, &draw(bar, end, axis, style)), bar.words));
    }
    out
}

fn bars(plan: &Plan, forecasts: &[(String, f64, f64, Span)]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for stream in &plan.streams {
        let Some(from) = schedule::stream(plan, stream) else { continue };
        let length = schedule::length(stream, forecasts);
        let peak = forecasts.iter().find(|f| f.0 == stream.name).map_or(String::new(), |f| format!(", peak {}", rate(f.2)));
        let words = format!("{length}{peak}");
        bars.push(Bar { label: clean(&stream.name), from, to: from.plus(length), extend: Span::ZERO, words, tone: Tone::Strong });
    }
    if plan.rollout.as_ref().is_some_and(|r| r.baseline > Span::ZERO) {
        let (from, to) = (plan.longest_warmup(), plan.first_stage());
        let words = format!("{}, control only", Span(to.0 - from.0));
        bars.push(Bar { label: "baseline".to_owned(), from, to, extend: Span::ZERO, words, tone: Tone::Quiet });
    }
    for (stage, (name, from, hold, extend)) in plan.rollout.iter().flat_map(|r| &r.stages).zip(schedule::stages(plan)) {
        let longer = if extend == Span::ZERO { String::new() } else { format!(" (+{extend})") };
        let words = format!("{} for {hold}{longer}", percent(stage.weight.fraction()));
        bars.push(Bar { label: clean(name), from, to: from.plus(hold), extend, words, tone: Tone::Good });
    }
    for fault in &plan.faults {
        let Some(from) = schedule::fault(plan, fault) else { continue };
        let share = if matches!(fault.on, On::Service(_)) { String::new() } else { format!(" {}", percent(fault.share.fraction())) };
        let words = format!("{}{share} for {}", clean(&fault.kind), fault.length);
        let label = format!("! {}", clean(&fault.name));
        bars.push(Bar { label, from, to: from.plus(fault.length), extend: Span::ZERO, words, tone: Tone::Bad });
    }
    bars
}

fn draw(bar: &Bar, end: Span, axis: usize, style: Style) -> String {
    let column = |at: Span| ((at.0 as f64 / end.0 as f64 * axis as f64).round() as usize).min(axis);
    let from = column(bar.from).min(axis - 1);
    let to = column(bar.to).max(from + 1);
    let longer = column(bar.to.plus(bar.extend)).max(to);
    let (full, maybe, none) = if style.unicode { ("█", "░", "·") } else { ("=", "-", ".") };
    none.repeat(from) + &full.repeat(to - from) + &maybe.repeat(longer - to) + &none.repeat(axis - longer)
}

/// Times at even distances: `0s       15s       30s`.
fn ruler(end: Span, axis: usize) -> String {
    let marks = (axis / 10).clamp(1, 8);
    let step = nice(end.0 as f64 / 1e9 / marks as f64);
    let mut line = String::new();
    let mut at = 0.0;
    while at <= end.seconds() + 1e-9 {
        let column = (at / end.seconds() * axis as f64).round() as usize;
        if column >= columns(&line) + usize::from(!line.is_empty()) || line.is_empty() {
            line = pad(&line, column);
            line += &if end.seconds() <= 120.0 {
                Span((at * 1e9).round() as u64).seconds().to_string() + "s"
            } else {
                clock(Offset((at * 1e9) as i64))
            };
        }
        at += step;
    }
    line
}

/// The next larger step people count in.
fn nice(seconds: f64) -> f64 {
    const STEPS: [f64; 14] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
    STEPS.into_iter().find(|s| *s >= seconds).unwrap_or_else(|| (seconds / 3600.0).ceil() * 3600.0)
}
