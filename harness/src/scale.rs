//! `--time-scale`: the same plan, shorter or longer, to try a scenario out. Such a run never promotes. Must not change
//! what a single request may take: timeouts, delays and think times stay.

use shakedown_core::plan::{Form, Model, Plan, Stream, When};
use shakedown_core::units::Span;

/// Smallest and largest factor.
const FACTORS: std::ops::RangeInclusive<f64> = 0.01..=10.0;

/// Reads `0.1x`.
pub fn parse(text: &str) -> Result<f64, String> {
    let wrong =
        || format!("`{text}` is not a time scale; write 0.1x (a tenth of the time), between {}x and {}x", FACTORS.start(), FACTORS.end());
    let factor: f64 = text.strip_suffix('x').and_then(|t| t.parse().ok()).ok_or_else(wrong)?;
    if FACTORS.contains(&factor) { Ok(factor) } else { Err(wrong()) }
}

/// Scales the plan's own time axis.
pub fn scale(plan: &mut Plan, factor: f64) {
    let by = |span: &mut Span| *span = Span((span.0 as f64 * factor).round() as u64);
    if let Some(time_box) = &mut plan.time_box {
        by(time_box);
    }
    for stream in &mut plan.streams {
        when(&mut stream.at, &by);
        by(&mut stream.warmup);
        traffic(stream, &by);
    }
    for fault in &mut plan.faults {
        when(&mut fault.at, &by);
        by(&mut fault.length);
    }
    for window in &mut plan.windows {
        by(&mut window.from);
        by(&mut window.to);
    }
    if let Some(rollout) = &mut plan.rollout {
        by(&mut rollout.baseline);
        for stage in &mut rollout.stages {
            by(&mut stage.hold);
            by(&mut stage.extend);
        }
    }
}

fn when(at: &mut When, by: &impl Fn(&mut Span)) {
    match at {
        When::At(span) | When::Stage { plus: span, .. } | When::After { plus: span, .. } => by(span),
    }
}

fn traffic(stream: &mut Stream, by: &impl Fn(&mut Span)) {
    match &mut stream.model {
        Model::Open { shape, .. } => {
            for segment in shape {
                by(&mut segment.length);
                if let Form::Wave { period, .. } = &mut segment.form {
                    by(period);
                }
            }
        }
        Model::Closed { length, .. } => by(length),
        // Recorded time has its own `speed`, which users set beside it.
        Model::Replay(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn factors() {
        assert_eq!(parse("0.1x"), Ok(0.1));
        for wrong in ["", "x", "0.1", "0x", "-1x", "11x", "NaNx"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
