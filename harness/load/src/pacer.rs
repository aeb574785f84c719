//! Arrivals of an open stream: pure, deterministic, in closed form. Nothing here reads a clock or sleeps.
//!
//! Arrival k is due where the shape's area reaches k (constant) or the sum of k+1 unit exponentials (Poisson, by time
//! rescaling: Çinlar 1975). The area is exact across segments, so fractions are carried over and nothing drifts. Within a
//! hold the next due time follows from the last by adding a quotient and a remainder (as Bresenham 1965 steps a line):
//! exact, without a division.

mod part;

use crate::curve::{self, ONE};
use crate::seeds::Seed;
use part::{Part, Steps};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;
use shakedown_core::Span;
use shakedown_core::plan::{Form, Segment};

/// One arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its number in the stream, from 0.
    pub k: u64,
    /// When it is due, from the start of the stream.
    pub due: Span,
}

/// One worker's part of a stream: the arrivals k with `k mod of == index`. All shares together are exactly the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which, from 0.
    pub index: u32,
    /// Of how many; at least 1.
    pub of: u32,
}

impl Share {
    /// Everything.
    pub const WHOLE: Share = Share { index: 0, of: 1 };
}

/// The arrivals of one open shape, in order.
#[derive(Clone, Debug)]
pub struct Pacer {
    parts: Vec<Part>,
    end: u64,
    goes_on: bool,
    poisson: Option<ChaCha8Rng>,
    of: u64,
    /// Area from one own constant arrival to the next.
    stride: u128,
    k: u64,
    /// Area at which the next arrival is due.
    target: u128,
    at: usize,
    /// Set while the next arrival is in a hold.
    steps: Option<Steps>,
    /// When the next arrival is due; `None` when the rate is zero for ever.
    due: Option<u64>,
    last: u64,
}

impl Pacer {
    /// A pacer over `shape`; `poisson` holds the stream's own seed, `None` paces evenly.
    #[must_use]
    pub fn new(shape: &[Segment], poisson: Option<Seed>) -> Pacer {
        Pacer::shared(shape, poisson, Share::WHOLE)
    }

    /// A pacer for a share of the arrivals. Constant ones jump over the others'; Poisson draws them all.
    #[must_use]
    pub fn shared(shape: &[Segment], poisson: Option<Seed>, share: Share) -> Pacer {
        let mut parts = Vec::with_capacity(shape.len() + 1);
        let (mut from, mut before) = (0u64, 0u128);
        for s in shape {
            let part = Part::new(s.form, from, s.length.0, before);
            parts.push(part);
            before += part.area;
            from = from.saturating_add(s.length.0);
        }
        parts.push(Part::new(Form::Hold(curve::last_rate(shape)), from, u64::MAX - from, before));
        let of = u64::from(share.of.max(1));
        let mut pacer = Pacer {
            parts,
            end: from,
            goes_on: false,
            poisson: poisson.map(Seed::rng),
            of,
            stride: u128::from(of) * ONE,
            k: u64::from(share.index),
            target: 0,
            at: 0,
            steps: None,
            due: None,
            last: 0,
        };
        pacer.target = match &mut pacer.poisson {
            None => u128::from(share.index) * ONE,
            Some(rng) => exponentials(rng, u64::from(share.index) + 1),
        };
        pacer.find();
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
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<Arrival> {
        let due = self.due.filter(|due| self.goes_on || *due < self.end)?;
        Some(Arrival { k: self.k, due: Span(due) })
    }

    /// Passes over all own arrivals due by `now`, in closed form; how many. The times of Poisson ones would have to be drawn
    /// one by one, so their expected number is taken, at least the one that is due.
    pub fn skip_until(&mut self, now: Span) -> u64 {
        if self.peek().is_none_or(|a| a.due > now) {
            return 0;
        }
        // There is an arrival before the end, so the shape has a last nanosecond.
        let until = if self.goes_on { now.0 } else { now.0.min(self.end - 1) };
        let (area, within) = {
            let part = self.part_at(until);
            (part.before + part.area_to(until - part.from), (part.before + part.area).div_ceil(ONE))
        };
        let skipped = match &mut self.poisson {
            None => {
                let all = u64::try_from((area / ONE + 1).min(within)).unwrap_or(u64::MAX);
                let skipped = all.saturating_sub(self.k).div_ceil(self.of);
                self.target += u128::from(skipped) * self.stride;
                skipped
            }
            Some(rng) => {
                let more = area.saturating_sub(self.target) / self.stride;
                self.target = area.max(self.target) + exponentials(rng, self.of);
                u64::try_from(more).unwrap_or(u64::MAX).saturating_add(1)
            }
        };
        self.k = self.k.saturating_add(skipped.saturating_mul(self.of));
        self.last = until;
        self.find();
        skipped
    }

    /// Expected arrivals of the whole in [from, to), past the end too when the last rate goes on.
    #[must_use]
    pub fn expected(&self, from: Span, to: Span) -> f64 {
        let cut = |t: Span| if self.goes_on { t.0 } else { t.0.min(self.end) };
        self.area_to(cut(to)).saturating_sub(self.area_to(cut(from))) as f64 / ONE as f64
    }

    fn area_to(&self, t: u64) -> u128 {
        let part = self.part_at(t);
        part.before + part.area_to(t - part.from)
    }

    /// The last part that has begun by `t`.
    fn part_at(&self, t: u64) -> &Part {
        &self.parts[self.parts.partition_point(|p| p.from <= t).saturating_sub(1)]
    }

    /// Works out when the next arrival is due, from its area.
    fn find(&mut self) {
        (self.due, self.steps) = (None, None);
        for (at, part) in self.parts.iter().enumerate().skip(self.at) {
            self.at = at;
            if self.target < part.before + part.area {
                let wanted = self.target - part.before;
                self.steps = Steps::new(part, wanted, self.stride);
                let within = self.steps.map_or_else(|| part.reach(wanted, self.last), |s| s.now());
                self.due = Some(part.from.saturating_add(within).max(self.last));
                return;
            }
        }
    }
}

impl Iterator for Pacer {
    type Item = Arrival;

    /// The next arrival; `None` when there is none (or none before the shape's end).
    #[inline]
    fn next(&mut self) -> Option<Arrival> {
        let arrival = self.peek()?;
        self.last = arrival.due.0;
        self.k += self.of;
        let within = match &mut self.poisson {
            None => {
                self.target += self.stride;
                self.steps.as_mut().and_then(Steps::even)
            }
            Some(rng) => {
                let gap = exponentials(rng, self.of);
                self.target += gap;
                self.steps.as_mut().and_then(|s| s.by(gap))
            }
        };
        match within {
            Some(within) => self.due = Some(self.parts[self.at].from.saturating_add(within)),
            None => self.find(),
        }
        Some(arrival)
    }
}

/// The sum of `n` unit exponentials by inverse CDF (−ln u, u in (0, 1]), in area units.
fn exponentials(rng: &mut ChaCha8Rng, n: u64) -> u128 {
    let one = |_| {
        let u = ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-libm::log(u) * ONE as f64) as u128
    };
    (0..n).map(one).sum()
}

#[cfg(test)]
mod tests;
