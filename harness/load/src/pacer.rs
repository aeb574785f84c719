//! Arrivals of an open stream: pure, deterministic, in closed form. Nothing here reads a clock or sleeps.
//!
//! Arrival k is due where the shape's area reaches k (constant) or the sum of k+1 unit exponentials (Poisson, by time
//! rescaling: Çinlar 1975). The area is exact across segments, so fractions are carried over and nothing drifts.

use crate::curve::{self, ONE};
use crate::seeds::Seed;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;
use shakedown_core::plan::{Form, Segment};
use shakedown_core::{Rate, Span};

/// One arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its number in the stream, from 0.
    pub k: u64,
    /// When it is due, from the start of the stream.
    pub due: Span,
}

/// The arrivals of one open shape, in order.
#[derive(Clone, Debug)]
pub struct Pacer {
    parts: Vec<Part>,
    end: u64,
    goes_on: bool,
    poisson: Option<ChaCha8Rng>,
    target: u128,
    k: u64,
    at: usize,
    last: u64,
}

/// A segment with what came before it. The last one is the rate that goes on past the end.
#[derive(Clone, Copy, Debug)]
struct Part {
    form: Form,
    from: u64,
    length: u64,
    before: u128,
}

impl Pacer {
    /// A pacer over `shape`; `poisson` holds the stream's own seed, `None` paces evenly.
    #[must_use]
    pub fn new(shape: &[Segment], poisson: Option<Seed>) -> Pacer {
        let mut parts = Vec::with_capacity(shape.len() + 1);
        let (mut from, mut before) = (0u64, 0u128);
        for s in shape {
            parts.push(Part { form: s.form, from, length: s.length.0, before });
            before += curve::area(s.form, s.length.0, s.length.0);
            from = from.saturating_add(s.length.0);
        }
        parts.push(Part { form: Form::Hold(curve::last_rate(shape)), from, length: u64::MAX - from, before });
        let mut pacer = Pacer { parts, end: from, goes_on: false, poisson: poisson.map(Seed::rng), target: 0, k: 0, at: 0, last: 0 };
        pacer.target = pacer.gap(0);
        pacer
    }

    /// Whether the last rate goes on past the end of the shape.
    pub fn go_on(&mut self, goes_on: bool) {
        self.goes_on = goes_on;
    }

    /// When the shape ends.
    #[must_use]
    pub fn end(&self) -> Span {
        Span(self.end)
    }

    /// The next arrival without taking it; `None` when there is none (or none before the shape's end).
    #[must_use]
    pub fn peek(&mut self) -> Option<Arrival> {
        loop {
            let part = self.parts[self.at];
            if self.target < part.before + curve::area(part.form, part.length, part.length) {
                let due = part.from.saturating_add(part.reach(self.target - part.before, self.last)).max(self.last);
                return (self.goes_on || due < self.end).then_some(Arrival { k: self.k, due: Span(due) });
            }
            if self.at + 1 == self.parts.len() {
                return None;
            }
            self.at += 1;
        }
    }

    /// Expected arrivals in [from, to), past the end too when the last rate goes on.
    #[must_use]
    pub fn expected(&self, from: Span, to: Span) -> f64 {
        let cut = |t: Span| if self.goes_on { t.0 } else { t.0.min(self.end) };
        self.area_to(cut(to)).saturating_sub(self.area_to(cut(from))) as f64 / ONE as f64
    }

    fn area_to(&self, t: u64) -> u128 {
        let i = self.parts.partition_point(|p| p.from <= t).saturating_sub(1);
        let part = self.parts[i];
        part.before + curve::area(part.form, part.length, t - part.from)
    }

    /// How much further the next arrival is: exactly `even`, or an exponential by inverse CDF (−ln u, u in (0, 1]).
    fn gap(&mut self, even: u128) -> u128 {
        match &mut self.poisson {
            None => even,
            Some(rng) => {
                let u = ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
                (-libm::log(u) * ONE as f64) as u128
            }
        }
    }
}

impl Iterator for Pacer {
    type Item = Arrival;

    /// The next arrival; `None` when there is none (or none before the shape's end).
    fn next(&mut self) -> Option<Arrival> {
        let arrival = self.peek()?;
        self.last = arrival.due.0;
        self.k += 1;
        self.target += self.gap(ONE);
        Some(arrival)
    }
}

impl Part {
    fn rate(&self, t: u64) -> Rate {
        curve::rate_at(self.form, self.length, t)
    }

    /// The first ns at which the area within this part reaches `wanted` (it does, by the caller's check).
    fn reach(&self, wanted: u128, last: u64) -> u64 {
        if let Form::Hold(rate) = self.form {
            return u64::try_from(wanted.div_ceil(u128::from(rate.0.max(1)))).unwrap_or(u64::MAX);
        }
        let area = |t: u64| curve::area(self.form, self.length, t);
        let start = last.saturating_sub(self.from).min(self.length);
        let missing = wanted.saturating_sub(area(start));
        let guess = missing / u128::from(self.rate(start).0.max(1));
        let guess = start.saturating_add(u64::try_from(guess).unwrap_or(u64::MAX)).min(self.length);
        // Gallop from the guess to a bracket (low: not reached, high: reached), then halve it; at most 2·64 steps.
        let (mut low, mut high, mut step) = (0, self.length, 1u64);
        if area(guess) >= wanted {
            high = guess;
            while high > 0 && area(high.saturating_sub(step)) >= wanted {
                high = high.saturating_sub(step);
                step = step.saturating_mul(2);
            }
            low = high.saturating_sub(step).max(low);
        } else {
            low = guess;
            while low < self.length && area(low.saturating_add(step).min(self.length)) < wanted {
                low = low.saturating_add(step).min(self.length);
                step = step.saturating_mul(2);
            }
            high = low.saturating_add(step).min(high);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if area(middle) >= wanted { high = middle } else { low = middle + 1 }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn hold(seconds: u64, rate: u64) -> Segment {
        Segment { length: Span::secs(seconds), form: Form::Hold(Rate(rate * S)) }
    }

    fn all(pacer: &mut Pacer) -> Vec<Arrival> {
        std::iter::from_fn(|| pacer.next()).collect()
    }

    #[test]
    fn constant_arrivals_are_where_they_belong() {
        let dues: Vec<u64> = all(&mut Pacer::new(&[hold(1, 10)], None)).iter().map(|a| a.due.0).collect();
        assert_eq!(dues, (0..10).map(|i| i * S / 10).collect::<Vec<_>>());
    }

    #[test]
    fn thirds_do_not_drift() {
        let shape = [Segment { length: Span::secs(3000), form: Form::Hold(Rate(333_333_333_333)) }];
        let arrivals = all(&mut Pacer::new(&shape, None));
        for a in arrivals.iter().step_by(9_999) {
            assert_eq!(u128::from(a.due.0), (u128::from(a.k) * ONE).div_ceil(333_333_333_333));
        }
    }

    #[test]
    fn totals_over_ramps_and_waves_are_exact() {
        let wave = Form::Wave { low: Rate(100 * S), high: Rate(300 * S), period: Span::secs(5) };
        let shape = [
            hold(3, 50),
            Segment { length: Span::secs(10), form: Form::Ramp(Rate(50 * S), Rate(300 * S)) },
            Segment { length: Span::secs(10), form: wave },
            hold(1, 7),
        ];
        let mut pacer = Pacer::new(&shape, None);
        assert!((pacer.expected(Span::ZERO, pacer.end()) - (150.0 + 1750.0 + 2000.0 + 7.0)).abs() < 1e-9);
        let arrivals = all(&mut pacer);
        assert_eq!(arrivals.len(), 150 + 1750 + 2000 + 7);
        assert!(arrivals.windows(2).all(|w| w[0].due < w[1].due && w[0].k + 1 == w[1].k));
    }

    #[test]
    fn dues_are_the_first_nanosecond_that_reaches_k() {
        let form = Form::Ramp(Rate(0), Rate(200 * S));
        let shape = [Segment { length: Span::secs(2), form }];
        for a in all(&mut Pacer::new(&shape, None)).into_iter().skip(1) {
            let area = |t| curve::area(form, 2 * S, t);
            assert!(area(a.due.0) >= u128::from(a.k) * ONE && area(a.due.0 - 1) < u128::from(a.k) * ONE);
        }
    }

    #[test]
    fn the_last_rate_goes_on_only_when_told() {
        let mut pacer = Pacer::new(&[hold(1, 4)], None);
        pacer.go_on(true);
        let seen: Vec<u64> = (0..8).filter_map(|_| pacer.next()).map(|a| a.due.0).collect();
        assert_eq!(seen.last(), Some(&(7 * S / 4)));
        pacer.go_on(false);
        assert_eq!(pacer.next(), None);
        assert!((pacer.expected(Span::ZERO, Span::secs(9)) - 4.0).abs() < 1e-12);
    }

    #[test]
    fn poisson_has_the_right_mean_and_variance_and_repeats() {
        let shape = [hold(1000, 100)];
        let seed = Seed::of(7).and("shoppers");
        let arrivals = all(&mut Pacer::new(&shape, Some(seed)));
        assert_eq!(arrivals, all(&mut Pacer::new(&shape, Some(seed))));
        assert_ne!(arrivals, all(&mut Pacer::new(&shape, Some(Seed::of(8).and("shoppers")))));
        let mut counts = vec![0.0f64; 1000];
        arrivals.iter().for_each(|a| counts[(a.due.0 / S) as usize] += 1.0);
        let mean = counts.iter().sum::<f64>() / 1000.0;
        let variance = counts.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>() / 999.0;
        assert!((mean - 100.0).abs() < 1.2, "{mean}");
        assert!((variance / mean - 1.0).abs() < 0.15, "{variance}");
    }

    #[test]
    fn nothing_comes_of_a_zero_rate() {
        assert_eq!(all(&mut Pacer::new(&[hold(5, 0)], None)), Vec::new());
        let mut pacer = Pacer::new(&[hold(1, 1), hold(1, 0)], None);
        pacer.go_on(true);
        assert_eq!(all(&mut pacer).len(), 1);
    }
}
