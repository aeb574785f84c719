//! One segment of a shape with what came before it, and the inverse of its area. Pure.

use crate::curve;
use shakedown_core::plan::Form;

/// A segment with what came before it. The last one is the rate that goes on past the end.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its curve.
    pub form: Form,
    /// When it begins.
    pub from: u64,
    /// How long it is.
    pub length: u64,
    /// The area of all before it.
    pub before: u128,
    /// Its own area.
    pub area: u128,
}

impl Part {
    /// A part that begins at `from`, after an area of `before`.
    pub fn new(form: Form, from: u64, length: u64, before: u128) -> Part {
        Part { form, from, length, before, area: curve::area(form, length, length) }
    }

    /// Its area after `t` ns of it.
    pub fn area_to(&self, t: u64) -> u128 {
        curve::area(self.form, self.length, t)
    }

    /// The first ns at which the area within this part reaches `wanted` (it does, by the caller's check).
    pub fn reach(&self, wanted: u128, last: u64) -> u64 {
        if let Form::Hold(rate) = self.form {
            return u64::try_from(wanted.div_ceil(u128::from(rate.0.max(1)))).unwrap_or(u64::MAX);
        }
        let area = |t: u64| self.area_to(t);
        let start = last.saturating_sub(self.from).min(self.length);
        let missing = wanted.saturating_sub(area(start));
        let guess = missing / u128::from(curve::rate_at(self.form, self.length, start).0.max(1));
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

/// Due times within a hold, one after the other: `wanted = quotient·rate − spare` for every arrival, so the quotient is
/// the first ns that reaches it.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    rate: u64,
    length: u64,
    quotient: u64,
    spare: u64,
    even: (u64, u64),
}

impl Steps {
    /// From the arrival at the area `wanted` of a part; even steps are `stride` apart. `None` when the part is no hold, or
    /// so slow that a step is longer than all time.
    pub fn new(part: &Part, wanted: u128, stride: u128) -> Option<Steps> {
        let Form::Hold(rate) = part.form else { return None };
        let rate = rate.0;
        // So that sums of two remainders stay in range.
        if rate == 0 || rate > u64::MAX / 2 {
            return None;
        }
        let quotient = u64::try_from(wanted.div_ceil(u128::from(rate))).ok()?;
        let spare = u64::try_from(u128::from(quotient) * u128::from(rate) - wanted).expect("less than one rate");
        Some(Steps { rate, length: part.length, quotient, spare, even: divide(stride, rate)? })
    }

    /// When the arrival is due, from the start of the part.
    #[inline]
    pub fn now(&self) -> u64 {
        self.quotient
    }

    /// Goes one even step on; `None` when that is past the part.
    #[inline]
    pub fn even(&mut self) -> Option<u64> {
        self.go(self.even)
    }

    /// Goes on by an area; `None` when that is past the part.
    #[inline]
    pub fn by(&mut self, area: u128) -> Option<u64> {
        self.go(divide(area, self.rate)?)
    }

    #[inline]
    fn go(&mut self, (whole, rest): (u64, u64)) -> Option<u64> {
        self.quotient = self.quotient.checked_add(whole)?;
        if rest > self.spare {
            self.quotient = self.quotient.checked_add(1)?;
            self.spare += self.rate;
        }
        self.spare -= rest;
        // The part's very last ns reaches its whole area, which is the next part's first arrival already.
        (self.quotient < self.length || self.quotient == self.length && self.spare > 0).then_some(self.quotient)
    }
}

/// Quotient and remainder; `None` when the quotient is out of range.
#[inline]
fn divide(area: u128, rate: u64) -> Option<(u64, u64)> {
    if let Ok(area) = u64::try_from(area) {
        return Some((area / rate, area % rate));
    }
    let quotient = u64::try_from(area / u128::from(rate)).ok()?;
    Some((quotient, u64::try_from(area % u128::from(rate)).expect("less than the rate")))
}
