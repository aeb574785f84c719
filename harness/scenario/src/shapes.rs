//! Shapes of open traffic: segments in nanohertz, spikes resolved to holds, peaks.

use crate::ask::Ask;
use crate::cx::Cx;
use crate::names;
use shakedown_core::plan::{Form, Segment};
use shakedown_core::tree::Node;
use shakedown_core::units::{Rate, Span};

/// Highest factor of a spike.
const MAX_FACTOR: f64 = 1000.0;

/// Decodes a shape.
pub fn decode(node: &Node, cx: &mut Cx) -> Vec<Segment> {
    let before = cx.p.0.len();
    let items = crate::ask::items(node, "shape", &mut cx.p);
    let mut segments = Vec::new();
    let mut rate = Rate::default();
    let mut spiked = false;
    for item in items {
        let mut f = item.fields("segment", &mut cx.p);
        let form = segment(item, &mut f, rate, cx);
        f.finish(&mut cx.p);
        let Some((length, form, after)) = form else { continue };
        spiked = after.is_none();
        rate = after.unwrap_or(rate);
        segments.push(Segment { length, form });
    }
    if spiked {
        // What goes on after the last segment is the rate before the spike.
        segments.push(Segment { length: Span::ZERO, form: Form::Hold(rate) });
    }
    if peak(&segments) == Rate::default() && cx.p.0.len() == before {
        cx.p.hint(&node.span, "the shape never sends anything", "write [{hold: 30s, rate: 50/s}]");
    }
    segments
}

/// A segment and the rate after it; `None` for a spike, after which the rate before it holds.
fn segment(node: &Node, f: &mut shakedown_core::tree::Fields, before: Rate, cx: &mut Cx) -> Option<(Span, Form, Option<Rate>)> {
    let kinds = ["hold", "ramp", "wave", "spike"];
    let given: Vec<&&str> = kinds.iter().filter(|k| names::child(node, k).is_some()).collect();
    if given.len() != 1 {
        cx.p.hint(
            &node.span,
            "a segment is one of `hold`, `ramp`, `wave` and `spike`",
            "like {hold: 30s, rate: 50/s} or {ramp: 30s, to: 300/s}",
        );
        for key in ["hold", "rate", "ramp", "to", "wave", "low", "high", "period", "spike", "by"] {
            f.take(key);
        }
        return None;
    }
    match *given[0] {
        "hold" => {
            let length = f.positive("hold", &mut cx.p);
            let rate = f.need("rate", &mut cx.p).and_then(|n| n.rate("rate", &mut cx.p))?;
            Some((length?, Form::Hold(rate), Some(rate)))
        }
        "ramp" => {
            let length = f.positive("ramp", &mut cx.p);
            let to = f.need("to", &mut cx.p).and_then(|n| n.rate("to", &mut cx.p))?;
            Some((length?, Form::Ramp(before, to), Some(to)))
        }
        "wave" => {
            let length = f.positive("wave", &mut cx.p);
            let low = f.need("low", &mut cx.p).and_then(|n| n.rate("low", &mut cx.p));
            let high = f.need("high", &mut cx.p).and_then(|n| n.rate("high", &mut cx.p));
            f.need("period", &mut cx.p);
            let period = f.positive("period", &mut cx.p);
            let (length, low, high, period) = (length?, low?, high?, period?);
            if low > high {
                cx.p.add(&node.span, format!("the wave's low {low} is above its high {high}"));
            }
            Some((length, Form::Wave { low, high, period }, Some(wave_end(length, low, high, period))))
        }
        _ => {
            let length = f.positive("spike", &mut cx.p);
            let by = f.need("by", &mut cx.p).and_then(|n| n.scalar("by", &mut cx.p, factor));
            if before == Rate::default() {
                cx.p.hint(&node.span, "a spike needs a rate before it", "put a hold or ramp before the spike");
            }
            Some((length?, Form::Hold(Rate::from_per_second(before.per_second() * by?)), None))
        }
    }
}

/// Reads `3x`.
fn factor(text: &str) -> Result<f64, String> {
    let value = text.strip_suffix('x').and_then(|n| n.parse::<f64>().ok()).filter(|v| *v > 0.0 && *v <= MAX_FACTOR);
    value.ok_or_else(|| format!("`{text}` is not a factor; write 3x"))
}

/// The rate a wave ends at, to a millihertz.
fn wave_end(length: Span, low: Rate, high: Rate, period: Span) -> Rate {
    let turns = length.0 as f64 / (period.0.max(1)) as f64;
    let share = (1.0 - libm::cos(std::f64::consts::TAU * turns)) / 2.0;
    let rate = low.per_second() + (high.per_second() - low.per_second()) * share;
    Rate::from_per_second((rate * 1e3).round() / 1e3)
}

/// The highest rate of a shape.
pub fn peak(segments: &[Segment]) -> Rate {
    let of = |form: &Form| match form {
        Form::Hold(rate) => *rate,
        Form::Ramp(a, b) => *a.max(b),
        Form::Wave { high, .. } => *high,
    };
    segments.iter().map(|s| of(&s.form)).max().unwrap_or_default()
}

/// Arrivals expected from `from` to `to`, both relative to the stream's start; past its end the last rate goes on.
pub fn expected(segments: &[Segment], from: f64, to: f64) -> f64 {
    let mut start = 0.0;
    let mut total = 0.0;
    let mut last = 0.0;
    for segment in segments {
        let length = segment.length.seconds();
        let (a, b) = (from.clamp(start, start + length) - start, to.clamp(start, start + length) - start);
        total += integral(&segment.form, length, b) - integral(&segment.form, length, a);
        last = match segment.form {
            Form::Hold(rate) | Form::Ramp(_, rate) => rate.per_second(),
            Form::Wave { low, high, period } => wave_end(segment.length, low, high, period).per_second(),
        };
        start += length;
    }
    total + last * (to.max(start) - from.max(start)).max(0.0)
}

fn integral(form: &Form, length: f64, t: f64) -> f64 {
    match form {
        Form::Hold(rate) => rate.per_second() * t,
        Form::Ramp(..) if length <= 0.0 => 0.0,
        Form::Ramp(a, b) => a.per_second() * t + (b.per_second() - a.per_second()) * t * t / (2.0 * length),
        Form::Wave { low, high, period } => {
            let turn = std::f64::consts::TAU / period.seconds().max(1e-9);
            let half = (high.per_second() - low.per_second()) / 2.0;
            (low.per_second() + half) * t - half * libm::sin(turn * t) / turn
        }
    }
}
