//! Rate curves in closed form: how many arrivals a shape has up to a moment, in integers. Pure.
//!
//! Rates are nanohertz and times nanoseconds, so an area is counted in atto-arrivals (10⁻¹⁸) and is exact for holds
//! and ramps; only the sine of an unfinished wave period goes through `libm` (the same bits on every machine).

use shakedown_core::Rate;
use shakedown_core::plan::{Form, Segment};

/// One arrival in area units.
pub const ONE: u128 = 1_000_000_000_000_000_000;

/// Arrivals of a form within its first `t` ns, in atto-arrivals, rounded down. `length` is the segment's.
#[must_use]
pub fn area(form: Form, length: u64, t: u64) -> u128 {
    match form {
        Form::Hold(rate) => u128::from(rate.0) * u128::from(t),
        Form::Ramp(from, to) => ramp_area(from.0, to.0, length, t),
        Form::Wave { low, high, period } => wave_area(low.0, high.0, period.0, t),
    }
}

/// The rate `t` ns into a form.
#[must_use]
pub fn rate_at(form: Form, length: u64, t: u64) -> Rate {
    match form {
        Form::Hold(rate) => rate,
        Form::Ramp(from, to) => {
            let part = u128::from(from.0.abs_diff(to.0)) * u128::from(t.min(length)) / u128::from(length.max(1));
            let part = u64::try_from(part).expect("a part of a difference of two u64");
            Rate(if to.0 >= from.0 { from.0 + part } else { from.0 - part })
        }
        Form::Wave { low, high, period } => {
            let angle = (t % period.0.max(1)) as f64 / period.0.max(1) as f64 * std::f64::consts::TAU;
            let lift = (high.0.saturating_sub(low.0)) as f64 * (1.0 - libm::cos(angle)) / 2.0;
            Rate(low.0 + lift.max(0.0) as u64)
        }
    }
}

/// The highest rate of a segment.
#[must_use]
pub fn peak(segment: &Segment) -> Rate {
    match segment.form {
        Form::Hold(rate) => rate,
        Form::Ramp(from, to) => from.max(to),
        Form::Wave { low, high, period } if segment.length.0 * 2 >= period.0 => high.max(low),
        Form::Wave { .. } => rate_at(segment.form, segment.length.0, segment.length.0),
    }
}

/// The rate with which a shape goes on after its end.
#[must_use]
pub fn last_rate(shape: &[Segment]) -> Rate {
    shape.last().map_or(Rate(0), |s| rate_at(s.form, s.length.0, s.length.0))
}

/// r₀·t ± |r₁−r₀|·t²/(2L), without overflow: the square is split into quotient and remainder of 2L.
fn ramp_area(from: u64, to: u64, length: u64, t: u64) -> u128 {
    let (t, two) = (u128::from(t.min(length)), 2 * u128::from(length.max(1)));
    let slope = u128::from(from.abs_diff(to)) * t;
    let bent = (slope / two) * t + (slope % two) * t / two;
    let flat = u128::from(from) * t;
    if to >= from { flat + bent } else { flat - bent }
}

/// Whole periods are exact: (low + high)·P/2 each. Within one: low·t + d/2·(t − P/2π·sin(2πt/P)).
fn wave_area(low: u64, high: u64, period: u64, t: u64) -> u128 {
    let (period, depth) = (period.max(1), high.saturating_sub(low));
    let (whole, rest) = (t / period, t % period);
    let periods = (2 * u128::from(low) + u128::from(depth)) * u128::from(period) * u128::from(whole) / 2;
    // The second half mirrors the first, so that rounding never makes the area fall, not even where the rate is zero.
    let rising = rest.min(period - rest);
    let angle = rising as f64 / period as f64 * std::f64::consts::TAU;
    let lifted = (depth as f64 / 2.0 * (period as f64 / std::f64::consts::TAU) * bulge(angle)) as u128;
    let lifted = if rest == rising { lifted } else { (u128::from(depth) * u128::from(period) / 2).saturating_sub(lifted) };
    periods + u128::from(low) * u128::from(rest) + lifted
}

/// x − sin x for 0 ≤ x ≤ π; by its series where the difference would cancel.
fn bulge(x: f64) -> f64 {
    if x > 0.5 {
        return x - libm::sin(x);
    }
    let square = x * x;
    let series = [210.0, 156.0, 110.0, 72.0, 42.0, 20.0].iter().fold(1.0, |sum, n| 1.0 - square / n * sum);
    x * square / 6.0 * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use shakedown_core::Span;

    fn brute(form: Form, length: u64, t: u64) -> f64 {
        let steps = 200_000u64;
        let dt = t as f64 / steps as f64;
        (0..steps).map(|i| rate_at(form, length, ((i as f64 + 0.5) * dt) as u64).per_second() * dt / 1e9).sum()
    }

    #[test]
    fn areas_agree_with_brute_force() {
        let s = 1_000_000_000;
        let forms = [
            Form::Hold(Rate(123_456_789_012)),
            Form::Ramp(Rate(50 * s), Rate(300 * s)),
            Form::Ramp(Rate(300 * s), Rate(0)),
            Form::Wave { low: Rate(100 * s), high: Rate(300 * s), period: Span::secs(7) },
            Form::Wave { low: Rate(0), high: Rate(11 * s), period: Span::secs(30) },
        ];
        for form in forms {
            for t in [s / 3, 5 * s, 20 * s] {
                let exact = area(form, 20 * s, t) as f64 / 1e18;
                let brute = brute(form, 20 * s, t);
                assert!((exact - brute).abs() < 1e-4 * brute.max(1.0), "{form:?} {t}: {exact} against {brute}");
            }
        }
    }

    #[test]
    fn whole_ramps_and_waves_are_exact() {
        let s = 1_000_000_000;
        assert_eq!(area(Form::Ramp(Rate(50 * s), Rate(300 * s)), 30 * s, 30 * s), 5250 * ONE);
        let wave = Form::Wave { low: Rate(100 * s), high: Rate(300 * s), period: Span::secs(30) };
        assert_eq!(area(wave, 60 * s, 60 * s), 12_000 * ONE);
    }

    #[test]
    fn areas_of_waves_never_fall() {
        let s = 1_000_000_000;
        for (low, high, period) in [(0, 11, 30 * s), (0, 1, 600 * s), (3, 5, 86_400 * s), (0, 1_000_000, 1_000), (0, 20_000, 7 * s + 3)] {
            let form = Form::Wave { low: Rate(low * s), high: Rate(high * s), period: Span(period) };
            let places = [
                0,
                period / 16,
                period / 13,
                period / 8,
                period / 4,
                period / 2,
                period / 2 + period / 3,
                period,
                3 * period / 2,
                2 * period,
            ];
            for around in places.into_iter().chain([(period as f64 * 0.5 / std::f64::consts::TAU) as u64]) {
                let from = around.saturating_sub(1_500);
                let areas: Vec<u128> = (from..from + 3_000).map(|t| area(form, 3 * period, t)).collect();
                assert!(areas.windows(2).all(|w| w[0] <= w[1]), "{form:?} around {around}");
            }
        }
    }

    #[test]
    fn the_largest_ramp_does_not_overflow() {
        let year = 320_000_000_000_000_000;
        let most = 100_000_000 * 1_000_000_000;
        assert_eq!(area(Form::Ramp(Rate(0), Rate(most)), year, year), u128::from(most) * u128::from(year) / 2);
    }
}
