//! Limits of objectives and guards: fixed values in the indicator's unit, or relative to control or baseline.

use crate::ask;
use crate::cx::Cx;
use shakedown_core::plan::{Indicator, Limit, LimitValue, Reference};
use shakedown_core::tree::{Fields, Node};
use shakedown_core::units::{Ppm, Rate, Span, parse_size};

/// What an indicator is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Shares.
    Fraction,
    /// Nanoseconds.
    Nanos,
    /// Per second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// A plain factor.
    Factor,
}

/// The unit of an indicator.
pub fn unit(indicator: &Indicator) -> Unit {
    use Indicator as I;
    match indicator {
        I::SuccessRate | I::ErrorRate | I::TimeoutRate | I::RetryRate | I::StatusShare(_) => Unit::Fraction,
        I::JourneySuccess | I::AchievedRate | I::ErrorBudget { .. } => Unit::Fraction,
        I::Latency(_) | I::JourneyDuration(_) | I::ColdStart | I::TimeToRecover { .. } | I::TimeToRestore => Unit::Nanos,
        I::Throughput => Unit::PerSecond,
        I::Bytes => Unit::Bytes,
        I::BurnRate { .. } => Unit::Factor,
    }
}

/// `Some(true)`: only `min` makes sense; `Some(false)`: only `max`.
fn direction(indicator: &Indicator) -> Option<bool> {
    use Indicator as I;
    match indicator {
        I::SuccessRate | I::JourneySuccess | I::AchievedRate => Some(true),
        I::StatusShare(_) | I::Throughput | I::Bytes => None,
        _ => Some(false),
    }
}

/// Can it be compared between arms or with the baseline?
fn comparable(indicator: &Indicator) -> bool {
    use Indicator as I;
    matches!(indicator, I::SuccessRate | I::ErrorRate | I::TimeoutRate | I::StatusShare(_) | I::Latency(_) | I::Bytes)
}

/// What a relative limit may refer to in this scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around {
    /// There is a rollout.
    pub rollout: bool,
    /// It has a baseline.
    pub baseline: bool,
}

/// What a limit refers to, if anything.
pub fn reference(limit: &Limit) -> Option<&Reference> {
    match &limit.value {
        LimitValue::Fixed(_) => None,
        LimitValue::Times(_, reference) | LimitValue::Plus(_, reference) => Some(reference),
    }
}

/// Decodes `min` or `max`, and `floor`.
pub fn decode(node: &Node, f: &mut Fields, indicator: &Indicator, around: Around, cx: &mut Cx) -> Option<Limit> {
    let (min, max) = (f.take("min"), f.take("max"));
    let floor = f.take("floor");
    let (is_min, at) = match (min, max) {
        (Some(n), None) => (true, n),
        (None, Some(n)) => (false, n),
        _ => {
            let key = if direction(indicator) == Some(true) { "min" } else { "max" };
            cx.p.hint(&node.span, "a limit is either `min` or `max`", format!("write {key}: …"));
            return None;
        }
    };
    if let Some(want) = direction(indicator).filter(|d| *d != is_min) {
        let (right, wrong) = if want { ("min", "max") } else { ("max", "min") };
        cx.p.hint(&f.key_span(wrong), format!("`{wrong}` makes no sense for this indicator"), format!("write {right}: …"));
    }
    let text = at.string("limit", &mut cx.p)?;
    let unit = unit(indicator);
    let value = match value(&text, unit) {
        Ok(value) => value,
        Err(why) => {
            ask::with_hint(at, if is_min { "min" } else { "max" }, &why, &mut cx.p);
            return None;
        }
    };
    let floor_value = floor.and_then(|n| ask::share(n, "floor", &mut cx.p)).map(Ppm::fraction);
    let limit = Limit { min: is_min, value, floor: floor_value, text };
    judge(&limit, at, floor, indicator, around, cx);
    Some(limit)
}

fn judge(limit: &Limit, at: &Node, floor: Option<&Node>, indicator: &Indicator, around: Around, cx: &mut Cx) {
    let ratio = matches!(limit.value, LimitValue::Times(..)) && unit(indicator) == Unit::Fraction;
    match floor {
        None if ratio => cx.p.hint(&at.span, "a ratio of rates needs `floor`", "add floor: 0.1%; the limit is the larger of the two"),
        Some(n) if !ratio => cx.p.hint(&n.span, "`floor` belongs to a ratio of rates", "remove it"),
        _ => {}
    }
    let Some(reference) = reference(limit) else { return };
    if !comparable(indicator) {
        cx.p.hint(&at.span, "this indicator cannot be compared", "give it a fixed limit");
    }
    match reference {
        Reference::Run(_) => cx.p.later(&at.span, "`x run:DIR`"),
        _ if !around.rollout => {
            cx.p.hint(&at.span, "a relative limit needs a rollout", "without control and baseline give it a fixed limit")
        }
        Reference::Before if !around.baseline => {
            cx.p.hint(&at.span, "`before` needs a baseline", "set rollout.baseline, like baseline: 10s");
        }
        _ => {}
    }
}

fn value(text: &str, unit: Unit) -> Result<LimitValue, String> {
    let reference = |name: &str| match name.trim() {
        "control" => Ok(Reference::Control),
        "before" => Ok(Reference::Before),
        other => match other.strip_prefix("run:") {
            Some(dir) => Ok(Reference::Run(dir.to_owned())),
            None => Err(format!("`{other}` is nothing to compare with; write control or before")),
        },
    };
    if let Some((factor, name)) = text.split_once('x').filter(|(n, _)| n.trim().parse::<f64>().is_ok())
        && !name.trim().is_empty()
    {
        let factor: f64 = factor.trim().parse().map_err(|_| format!("`{text}` is not a factor; write 1.5x control"))?;
        if !(factor > 0.0 && factor <= 1e6) {
            return Err(format!("the factor of `{text}` is out of range; write 1.5x control"));
        }
        return Ok(LimitValue::Times(factor, reference(name)?));
    }
    for (sign, by) in [('+', 1.0), ('-', -1.0)] {
        if let Some((name, amount)) = text.split_once(sign).filter(|(n, _)| matches!(n.trim(), "control" | "before")) {
            return Ok(LimitValue::Plus(by * difference(amount.trim(), unit)?, reference(name)?));
        }
    }
    fixed(text, unit).map(LimitValue::Fixed)
}

fn difference(text: &str, unit: Unit) -> Result<f64, String> {
    if unit != Unit::Fraction {
        return fixed(text, unit);
    }
    let points = text.strip_suffix("pp").and_then(|n| n.trim().parse::<f64>().ok()).filter(|v| (0.0..=100.0).contains(v));
    points.map(|v| v / 100.0).ok_or_else(|| format!("`{text}` is not a difference of rates; write control + 0.2pp"))
}

fn fixed(text: &str, unit: Unit) -> Result<f64, String> {
    match unit {
        Unit::Fraction => Ppm::parse(text).map(Ppm::fraction),
        Unit::Nanos => Span::parse(text).map(|s| s.0 as f64),
        Unit::PerSecond => Rate::parse(text).map(Rate::per_second),
        Unit::Bytes => parse_size(text).map(|b| b as f64),
        Unit::Factor => {
            let value = text.parse::<f64>().ok().filter(|v| *v > 0.0 && *v <= 1e6);
            value.ok_or_else(|| format!("`{text}` is not a factor; write a number like 14.4"))
        }
    }
}
