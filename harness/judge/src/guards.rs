//! Guards: judged on every snapshot over all slices, open ones too. A request open for longer than its limit counts as
//! bad, so that a black hole is seen before it times out. Must not use closed slices' evidence.

use crate::attribution::Attribution;
use crate::indicators::{Selector, Tally, arm, unit};
use crate::limits::adverse;
use crate::slices::{Cells, Slices, count};
use crate::spec::Spec;
use crate::timeline::Timeline;
use crate::windows::warm;
use crate::words;
use shakedown_core::event::Tripped;
use shakedown_core::plan::{Condition, Guard, Indicator, Objective, Plan, WindowRef};
use shakedown_core::sparse::bucket;
use shakedown_core::{Arm, Dim, Offset, Ppm, Span};

/// A guard and how long it has been crossed.
#[derive(Debug)]
pub struct GuardState {
    guard: Guard,
    spec: Spec,
    selector: Selector,
    /// Burn: the share of bad requests the objective allows.
    budget: Option<f64>,
    since: Option<Offset>,
    tripped: Option<String>,
}

impl GuardState {
    /// For a guard of a plan.
    #[must_use]
    pub fn new(plan: &Plan, guard: &Guard) -> GuardState {
        let about = match &guard.indicator {
            Indicator::BurnRate { of, .. } => plan.objective(of),
            _ => None,
        };
        let as_objective = objective(guard);
        let (spec, budget) = match about {
            Some(o) => {
                let spec = Spec::of(o, 1);
                let budget = spec.allowed();
                (spec, budget)
            }
            None => (Spec::of(&as_objective, 1), None),
        };
        let selector = match about {
            Some(o) => Selector::of(plan, o),
            None => Selector::whole(plan, guard.indicator.clone(), guard.stream.as_deref()),
        };
        GuardState { guard: guard.clone(), spec, selector, budget, since: None, tripped: None }
    }

    /// What it wants now, if it is crossed for long enough.
    #[must_use]
    pub fn tripped(&self) -> Option<Tripped> {
        let why = self.tripped.clone()?;
        Some(Tripped { guard: self.guard.name.clone(), action: self.guard.then, why })
    }

    /// Looks again, at a snapshot.
    pub fn update(&mut self, plan: &Plan, slices: &Slices, line: &Timeline, attribution: &Attribution) {
        let now = slices.as_of;
        self.tripped = None;
        let Some((value, limit, samples)) = self.crossed(plan, slices, line, attribution) else {
            self.since = None;
            return;
        };
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= self.guard.lasting {
            let unit = unit(&self.guard.indicator);
            let word = if self.guard.limit.min { "at least" } else { "at most" };
            let (value, limit) = (words::amount(unit, value), words::amount(unit, limit));
            let over = self.guard.over;
            self.tripped =
                Some(format!("{} is {value} over the last {over} ({word} {limit} allowed; {samples} requests)", self.guard.name));
        }
    }

    /// Value, limit and samples, when there are enough and the limit is crossed.
    #[must_use]
    pub fn crossed(&self, plan: &Plan, slices: &Slices, line: &Timeline, attribution: &Attribution) -> Option<(f64, f64, u64)> {
        let found @ (value, limit, samples) = self.measure(plan, slices, line, attribution)?;
        let within = if self.guard.limit.min { value >= limit } else { value <= limit };
        (samples >= self.guard.min_samples.max(1) && !within).then_some(found)
    }

    fn measure(&self, plan: &Plan, slices: &Slices, line: &Timeline, attribution: &Attribution) -> Option<(f64, f64, u64)> {
        let (first, last) = (slices.slice_of(slices.as_of.minus(self.guard.over)), slices.slice_of(slices.as_of));
        let of = if self.guard.indicator == Indicator::RetryRate { Arm::All } else { arm(self.guard.arm) };
        let timeout = |s: u16| plan.streams[usize::from(s)].timeout;
        let mut recent = Cells::new();
        let mut open = Vec::new();
        for (slice, cells) in slices.kept(first, last) {
            for (key, cell) in cells {
                if !warm(line, &plan.streams[usize::from(key.0)], slices.start(slice)) {
                    continue;
                }
                let waiting = u64::try_from(cell.due).unwrap_or(0).saturating_sub(cell.done());
                if key.1 == Arm::All && key.2 == Dim::Whole && waiting > 0 && self.selector.streams().contains(&key.0) {
                    open.push((key.0, slices.as_of.since(slices.start(slice + 1)), slices.as_of.since(slices.start(slice)), waiting));
                }
                // Histograms are most of the work, ten times a second: only guards over latencies need them.
                let sum = recent.entry(key.clone()).or_default();
                count(sum, cell);
                if self.latency() {
                    sum.latency.merge(&cell.latency);
                }
            }
        }
        let recent = attribution.harm_view(&recent, &timeout);
        let whole = |a: Arm| {
            let mut sum = Tally::default();
            self.selector.tally(&recent, a, &|_| true).values().for_each(|t| sum.merge(t));
            sum.seconds = (self.guard.over.0 / 1_000_000_000).max(1);
            sum
        };
        let control = whole(Arm::Control);
        let reference = if of == Arm::Control { None } else { self.selector.value(&control) };
        let limit = match self.budget {
            Some(_) => fixed(&self.guard)?,
            None => self.spec.limit(reference)?,
        };
        let mut tally = whole(of);
        if of != Arm::Control {
            self.add_open(&mut tally, &open, limit, &timeout);
        }
        let value = match self.budget {
            Some(allowed) if allowed > 0.0 && tally.total > 0 => adverse(&self.spec, &tally) as f64 / tally.total as f64 / allowed,
            Some(_) => return None,
            None => self.selector.value(&tally)?,
        };
        Some((value, limit, tally.total))
    }

    /// Is it about latencies? Only then it looks at histograms.
    #[must_use]
    pub fn latency(&self) -> bool {
        matches!(self.guard.indicator, Indicator::Latency(_) | Indicator::JourneyDuration(_))
    }

    /// Requests open for too long count as bad: beyond the limit for latencies, beyond the timeout for rates.
    fn add_open(&self, tally: &mut Tally, open: &[(u16, Span, Span, u64)], limit: f64, timeout: &dyn Fn(u16) -> Span) {
        let latency = self.latency();
        for (stream, youngest, oldest, n) in open {
            let longest = if latency { Span(limit.max(0.0) as u64) } else { timeout(*stream) };
            if *youngest < longest {
                continue;
            }
            tally.total += n;
            if latency {
                tally.hist.buckets.add(bucket(oldest.0), *n);
            } else if matches!(self.guard.indicator, Indicator::ErrorRate | Indicator::TimeoutRate)
                || self.budget.is_some() && !self.spec.min
            {
                tally.count += n;
            }
        }
    }
}

fn fixed(guard: &Guard) -> Option<f64> {
    match guard.limit.value {
        shakedown_core::plan::LimitValue::Fixed(v) => Some(v),
        _ => None,
    }
}

/// A guard's limit, as an objective's: the same reading of "2x control".
fn objective(guard: &Guard) -> Objective {
    Objective {
        name: guard.name.clone(),
        indicator: guard.indicator.clone(),
        limit: guard.limit.clone(),
        arm: guard.arm,
        stream: guard.stream.clone(),
        journey: None,
        step: None,
        window: WindowRef::Run,
        every: None,
        confidence: Ppm(950_000),
        min_samples: Some(guard.min_samples),
        condition: None::<Condition>,
        by_header: None,
    }
}
