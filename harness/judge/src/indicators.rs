//! From counts to an indicator's value: which cells an objective reads, and what it makes of them. Must not decide.

use crate::slices::Cells;
use shakedown_core::plan::{ArmChoice, Indicator, Objective, Plan};
use shakedown_core::snapshot::Failure;
use shakedown_core::{Arm, Cell, Dim, Sparse};
use std::collections::BTreeMap;

/// What an indicator needs of one arm over some time; adds up exactly in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Requests (for quantiles: values in the histogram).
    pub total: u64,
    /// The indicator's numerator: successes for a success rate, timeouts for a timeout rate, bytes for bytes …
    pub count: u64,
    /// Latencies, for quantiles.
    pub hist: Sparse,
    /// Units of one second it was taken over.
    pub seconds: u64,
}

/// Where an indicator looks.
#[derive(Clone, Debug)]
pub struct Selector {
    indicator: Indicator,
    streams: Vec<u16>,
    dim: Pick,
}

#[derive(Clone, Debug)]
enum Pick {
    Whole,
    Journey(Option<String>),
    Steps { journey: Option<String>, step: Option<String> },
    Group(String),
}

impl Tally {
    /// Adds the other's counts to these.
    pub fn merge(&mut self, other: &Tally) {
        self.total += other.total;
        self.count += other.count;
        self.seconds += other.seconds;
        self.hist.merge(&other.hist);
    }
}

impl Selector {
    /// For an objective.
    #[must_use]
    pub fn of(plan: &Plan, o: &Objective) -> Selector {
        let whole_journey = matches!(o.indicator, Indicator::JourneySuccess | Indicator::JourneyDuration(_));
        let dim = if o.by_header.is_some() {
            Pick::Group(o.name.clone())
        } else if whole_journey {
            Pick::Journey(o.journey.clone())
        } else if o.journey.is_some() || o.step.is_some() {
            Pick::Steps { journey: o.journey.clone(), step: o.step.clone() }
        } else {
            Pick::Whole
        };
        Selector { indicator: o.indicator.clone(), streams: streams(plan, o.stream.as_deref()), dim }
    }

    /// For an indicator over whole streams.
    #[must_use]
    pub fn whole(plan: &Plan, indicator: Indicator, stream: Option<&str>) -> Selector {
        Selector { indicator, streams: streams(plan, stream), dim: Pick::Whole }
    }

    /// The same place, another indicator.
    #[must_use]
    pub fn with(&self, indicator: Indicator) -> Selector {
        Selector { indicator, ..self.clone() }
    }

    /// Streams it reads.
    #[must_use]
    pub fn streams(&self) -> &[u16] {
        &self.streams
    }

    /// It reads a dimension that `max_cells` could have cut.
    #[must_use]
    pub fn finer(&self) -> bool {
        !matches!(self.dim, Pick::Whole)
    }

    /// One tally per group of the arm; a single one under the empty name without grouping.
    #[must_use]
    pub fn tally(&self, cells: &Cells, arm: Arm, admits: &dyn Fn(u16) -> bool) -> BTreeMap<String, Tally> {
        let mut groups = BTreeMap::new();
        if !matches!(self.dim, Pick::Group(_)) {
            groups.insert(String::new(), Tally::default());
        }
        for ((stream, of, dim), cell) in cells {
            if *of == arm
                && self.streams.contains(stream)
                && admits(*stream)
                && let Some(group) = self.group(dim)
            {
                self.add(groups.entry(group).or_default(), cell);
            }
        }
        groups
    }

    fn group(&self, dim: &Dim) -> Option<String> {
        let same = |want: &Option<String>, have: &String| want.as_ref().is_none_or(|w| w == have);
        let matches = match (&self.dim, dim) {
            (Pick::Whole, Dim::Whole) => true,
            (Pick::Journey(want), Dim::Journey(have)) => same(want, have),
            (Pick::Steps { journey, step }, Dim::Step { journey: j, step: s }) => same(journey, j) && same(step, s),
            (Pick::Group(want), Dim::Group { objective, value }) if want == objective => return Some(value.clone()),
            _ => false,
        };
        matches.then(String::new)
    }

    fn add(&self, tally: &mut Tally, cell: &Cell) {
        let (total, count) = match &self.indicator {
            Indicator::Latency(_) | Indicator::JourneyDuration(_) | Indicator::ColdStart => {
                tally.hist.merge(&cell.latency);
                (cell.latency.count(), 0)
            }
            Indicator::ErrorRate => (cell.done(), cell.failures()),
            Indicator::TimeoutRate => (cell.done(), timeouts(cell)),
            Indicator::RetryRate => (cell.done(), cell.retries.min(cell.done())),
            Indicator::StatusShare(ranges) => {
                let inside = |s: &u16| ranges.iter().any(|(a, b)| a <= s && s <= b);
                (cell.done(), cell.status.iter().filter(|(s, _)| inside(s)).map(|(_, n)| n).sum::<u64>().min(cell.done()))
            }
            Indicator::Bytes => (cell.status.values().sum(), cell.bytes),
            _ => (cell.done(), cell.ok),
        };
        tally.total += total;
        tally.count += count;
    }

    /// The indicator's value; `None` without samples.
    #[must_use]
    pub fn value(&self, tally: &Tally) -> Option<f64> {
        if tally.total == 0 {
            return None;
        }
        let ratio = tally.count as f64 / tally.total as f64;
        match &self.indicator {
            Indicator::Latency(q) | Indicator::JourneyDuration(q) => tally.hist.quantile(q.fraction()).map(|v| v as f64),
            Indicator::ColdStart => tally.hist.quantile(1.0).map(|v| v as f64),
            Indicator::Throughput => (tally.seconds > 0).then(|| tally.count as f64 / tally.seconds as f64),
            _ => Some(ratio),
        }
    }
}

fn streams(plan: &Plan, only: Option<&str>) -> Vec<u16> {
    let named = |(_, s): &(usize, &shakedown_core::plan::Stream)| only.is_none_or(|o| o == s.name);
    plan.streams.iter().enumerate().filter(named).filter_map(|(i, _)| u16::try_from(i).ok()).collect()
}

/// The arm of a choice.
#[must_use]
pub fn arm(choice: ArmChoice) -> Arm {
    match choice {
        ArmChoice::Canary => Arm::Canary,
        ArmChoice::Control => Arm::Control,
        ArmChoice::All => Arm::All,
    }
}

/// Timed-out attempts of a cell.
#[must_use]
pub fn timeouts(cell: &Cell) -> u64 {
    cell.failed.get(&Failure::Timeout).copied().unwrap_or(0)
}

/// The unit a value is given in.
#[must_use]
pub fn unit(indicator: &Indicator) -> &'static str {
    match indicator {
        Indicator::Latency(_)
        | Indicator::JourneyDuration(_)
        | Indicator::ColdStart
        | Indicator::TimeToRecover { .. }
        | Indicator::TimeToRestore => "ns",
        Indicator::Throughput => "per_second",
        Indicator::Bytes => "bytes",
        Indicator::BurnRate { .. } => "factor",
        _ => "fraction",
    }
}
