//! Slices of intended send: what load reported, kept while a slice is open or looked back at, grouped to units of one
//! second. Must not judge; must not keep histograms of slices nobody looks at any more.

use shakedown_core::plan::Plan;
use shakedown_core::{Arm, Cell, CellKey, Dim, Offset, Snapshot, Span, Sparse};
use std::collections::BTreeMap;

/// Stream, arm and dimension of a count.
pub type Key = (u16, Arm, Dim);
/// Counts of a slice or unit.
pub type Cells = BTreeMap<Key, Cell>;

/// A unit of evidence is this long.
pub const UNIT: Span = Span::secs(1);
/// Timeouts are noticed a little late: how long after the last possible answer a slice closes.
const SLACK: Span = Span::millis(20);
/// Closed slices are kept at least this long for restoration and recovery.
const LEAST_LOOKBACK: Span = Span::secs(10);

/// Totals of the generator over the whole run.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Arrivals due.
    pub asked: u64,
    /// Attempts sent.
    pub sent: u64,
    /// Arrivals dropped.
    pub dropped: u64,
    /// Retries sent.
    pub retries: u64,
    /// Logical requests that met their expectations.
    pub ok: u64,
    /// Logical requests that did not.
    pub failed: u64,
    /// Cells cut.
    pub cut: u64,
    /// Values above the highest a histogram holds.
    pub clipped: u64,
    /// Counts that came after their slice had closed.
    pub late: u64,
    /// How late the generator was.
    pub lag: Sparse,
}

/// All logical requests of one slice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Light {
    /// Requests due.
    pub due: i64,
    /// Requests answered or given up.
    pub done: u64,
    /// Of them failed.
    pub failed: u64,
}

/// The slices of a run.
#[derive(Debug)]
pub struct Slices {
    length: u64,
    per_unit: u32,
    delay: Span,
    lookback: Span,
    kept: BTreeMap<u32, Cells>,
    light: BTreeMap<u32, Light>,
    /// How many slices a folded one stands for.
    widths: BTreeMap<u32, u32>,
    /// The baseline is still to be looked at.
    baseline: Span,
    /// Everything up to here is known.
    pub as_of: Offset,
    /// No more will come.
    pub finished: bool,
    /// First slice that has not closed.
    next: u32,
    last_slice: Option<u32>,
    /// Totals so far.
    pub totals: Totals,
}

impl Slices {
    /// For a plan: how long slices stay open follows from its timeouts and retries.
    #[must_use]
    pub fn new(plan: &Plan) -> Slices {
        let length = plan.slice.0.max(1);
        let over = plan.guards.iter().map(|g| g.over).max().unwrap_or_default();
        Slices {
            length,
            per_unit: u32::try_from((UNIT.0 / length).max(1)).unwrap_or(1),
            delay: close_delay(plan),
            lookback: LEAST_LOOKBACK.max(over.plus(UNIT)),
            baseline: if plan.preflight.is_empty() { Span::ZERO } else { plan.first_stage() },
            widths: BTreeMap::new(),
            kept: BTreeMap::new(),
            light: BTreeMap::new(),
            as_of: Offset(i64::MIN),
            finished: false,
            next: 0,
            last_slice: None,
            totals: Totals::default(),
        }
    }

    /// Takes a delta in. Counts for a slice that has closed go to the first open one: late evidence is counted, not lost.
    pub fn push(&mut self, snapshot: &Snapshot) {
        self.as_of = self.as_of.max(snapshot.as_of);
        for totals in snapshot.streams.values() {
            self.totals.asked += totals.asked;
            self.totals.sent += totals.sent;
            self.totals.dropped += totals.dropped;
        }
        self.totals.cut += snapshot.cut;
        for (key, cell) in &snapshot.cells {
            let slice = key.slice.max(self.next);
            if key.slice < self.next {
                self.totals.late += cell.done();
            } else if snapshot.folded > self.per_unit {
                self.widths.insert(slice, snapshot.folded);
            }
            self.last_slice = self.last_slice.max(Some(slice + snapshot.folded.saturating_sub(1)));
            self.add(slice, key, cell);
        }
    }

    /// These slices with counts that have not been handed over, for a look at the last `back` of them and nothing else.
    /// Histograms are most of the work, and come along only where `latency` asks for them.
    #[must_use]
    pub fn with(&self, held: &Snapshot, back: Span, latency: bool) -> Slices {
        let as_of = self.as_of.max(held.as_of);
        let from = self.slice_of(as_of.minus(back));
        let mut kept: BTreeMap<u32, Cells> = BTreeMap::new();
        let mut add = |slice: u32, key: Key, cell: &Cell| {
            let sum = kept.entry(slice).or_default().entry(key).or_default();
            count(sum, cell);
            if latency {
                sum.latency.merge(&cell.latency);
            }
        };
        for (slice, cells) in self.kept.range(from..) {
            cells.iter().for_each(|(key, cell)| add(*slice, key.clone(), cell));
        }
        for (key, cell) in &held.cells {
            // As when it is handed over: what is late counts with the first open slice.
            let slice = key.slice.max(self.next);
            if slice >= from {
                add(slice, (key.stream, key.arm, key.dim.clone()), cell);
            }
        }
        Slices { kept, light: BTreeMap::new(), widths: BTreeMap::new(), totals: Totals::default(), as_of, ..*self }
    }

    fn add(&mut self, slice: u32, key: &CellKey, cell: &Cell) {
        self.totals.clipped += cell.latency.clipped;
        if key.arm == Arm::All && key.dim == Dim::Whole {
            let light = self.light.entry(slice).or_default();
            light.due += cell.due;
            light.done += cell.done();
            light.failed += cell.failures();
            self.totals.ok += cell.ok;
            self.totals.failed += cell.failures();
            self.totals.retries += cell.retries;
            self.totals.lag.merge(&cell.lag);
        }
        // What the judge never reads is not kept: it is most of the memory.
        let kept = self.kept.entry(slice).or_default().entry((key.stream, key.arm, key.dim.clone())).or_default();
        count(kept, cell);
        kept.latency.merge(&cell.latency);
    }

    /// The next unit that has closed, once each, in order: its first slice and the one after its last. A unit is a second,
    /// or as long as the slices that were folded into one.
    pub fn next_closed(&mut self) -> Option<(u32, u32)> {
        let unit = (self.next, self.next + self.widths.get(&self.next).copied().unwrap_or(self.per_unit));
        let end = self.start(unit.1);
        let more = self.last_slice.is_some_and(|last| unit.0 <= last);
        if !(self.as_of >= end.plus(self.delay) || self.finished && more) {
            return None;
        }
        self.next = unit.1;
        Some(unit)
    }

    /// Forgets what nobody looks back at; `keep` says of which times the requests are still counted.
    pub fn forget(&mut self, keep: impl Fn(Offset, Offset) -> bool) {
        let first = self.slice_of(self.start(self.next).minus(self.lookback).minus(self.baseline));
        if self.light.first_key_value().is_none_or(|(slice, _)| *slice >= first) {
            return;
        }
        self.kept = self.kept.split_off(&first);
        let (length, widths) = (self.length, &self.widths);
        let begin = |slice: u32| Offset(i64::try_from(u64::from(slice) * length).unwrap_or(i64::MAX));
        let end = |slice: u32| begin(slice.saturating_add(widths.get(&slice).copied().unwrap_or(1)));
        self.light.retain(|slice, _| *slice >= first || keep(begin(*slice), end(*slice)));
        self.widths.retain(|slice, _| *slice >= first || self.light.contains_key(slice));
    }

    /// The baseline has been looked at: it need not be kept for that any more.
    pub fn baseline_seen(&mut self) {
        self.baseline = Span::ZERO;
    }

    /// Begin and end of a unit.
    #[must_use]
    pub fn unit_range(&self, unit: (u32, u32)) -> (Offset, Offset) {
        (self.start(unit.0), self.start(unit.1))
    }

    /// All counts of a unit.
    #[must_use]
    pub fn unit_cells(&self, unit: (u32, u32)) -> Cells {
        self.cells(unit.0, unit.1)
    }

    /// All counts of the slices from `from` up to, not including, `to`.
    #[must_use]
    pub fn cells(&self, from: u32, to: u32) -> Cells {
        let mut sum = Cells::new();
        for (_, cells) in self.kept.range(from..to.max(from)) {
            for (key, cell) in cells {
                sum.entry(key.clone()).or_default().merge(cell);
            }
        }
        sum
    }

    /// The slices from `first` to `last` that are still kept, in order.
    pub fn kept(&self, first: u32, last: u32) -> impl Iterator<Item = (u32, &Cells)> {
        self.kept.range(first..=last.max(first)).map(|(slice, cells)| (*slice, cells))
    }

    /// Begin of a slice.
    #[must_use]
    pub fn start(&self, slice: u32) -> Offset {
        Offset(i64::try_from(u64::from(slice) * self.length).unwrap_or(i64::MAX))
    }

    /// The slice an offset lies in (the first one for times before the epoch).
    #[must_use]
    pub fn slice_of(&self, at: Offset) -> u32 {
        u32::try_from(u64::try_from(at.0).unwrap_or(0) / self.length).unwrap_or(u32::MAX)
    }

    /// The first slice that begins at or after an offset.
    #[must_use]
    pub fn slice_from(&self, at: Offset) -> u32 {
        u32::try_from(u64::try_from(at.0).unwrap_or(0).div_ceil(self.length)).unwrap_or(u32::MAX)
    }

    /// Everything of this slice is known: it is closed, or it is over and nothing of it is open.
    #[must_use]
    pub fn settled(&self, slice: u32) -> bool {
        let end = self.start(slice + 1);
        self.finished || self.as_of >= end.plus(self.delay) || self.as_of >= end && self.light(slice).open() == 0
    }

    /// All logical requests of a slice.
    #[must_use]
    pub fn light(&self, slice: u32) -> Light {
        self.light.get(&slice).copied().unwrap_or_default()
    }

    /// Requests and failures of every slice that touches the time between two offsets (outward).
    #[must_use]
    pub fn between(&self, from: Offset, to: Offset) -> (u64, u64) {
        let first = self.slice_of(from);
        // A folded slice reaches further than its number says.
        let reaching = self.widths.range(..first).next_back().filter(|(slice, width)| **slice + **width > first);
        let range = reaching.map_or(first, |(slice, _)| *slice)..=self.slice_of(to);
        self.light
            .range(range)
            .fold((0, 0), |(due, failed), (_, l)| (due + u64::try_from(l.due).unwrap_or(0).max(l.done), failed + l.lost()))
    }

    /// How many slices last at least this long.
    #[must_use]
    pub fn count_for(&self, span: Span) -> u32 {
        u32::try_from(span.0.div_ceil(self.length)).unwrap_or(u32::MAX)
    }
}

impl Light {
    /// Requests still unanswered.
    #[must_use]
    pub fn open(self) -> u64 {
        u64::try_from(self.due).unwrap_or(0).saturating_sub(self.done)
    }

    /// Failed, or never answered.
    #[must_use]
    pub fn lost(self) -> u64 {
        self.failed + self.open()
    }
}

/// Adds a cell's counts without its histograms.
pub fn count(sum: &mut Cell, cell: &Cell) {
    sum.due += cell.due;
    sum.ok += cell.ok;
    sum.retries += cell.retries;
    sum.bytes += cell.bytes;
    sum.empty += cell.empty;
    for (kind, n) in &cell.failed {
        *sum.failed.entry(*kind).or_default() += n;
    }
    for (status, n) in &cell.status {
        *sum.status.entry(*status).or_default() += n;
    }
}

/// A slice closes when its last request can have been answered: the longest timeout, and the longest wait before a retry.
fn close_delay(plan: &Plan) -> Span {
    let of = |s: &shakedown_core::plan::Stream| {
        let wait = s.retry.as_ref().map_or(0, |r| {
            let doublings = r.attempts.saturating_sub(2).min(16);
            r.backoff.0.saturating_mul(1 << doublings).saturating_mul(2)
        });
        s.timeout.plus(Span(wait))
    };
    plan.streams.iter().map(of).max().unwrap_or_default().plus(SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(slice: u32, due: i64, ok: u64, as_of_ms: i64) -> Snapshot {
        let key = CellKey { slice, stream: 0, arm: Arm::All, dim: Dim::Whole };
        Snapshot { as_of: Offset(as_of_ms * 1_000_000), cells: vec![(key, Cell { due, ok, ..Cell::default() })], ..Snapshot::default() }
    }

    #[test]
    fn tenths_group_to_seconds_that_close_a_timeout_later() {
        let mut plan = crate::tests::quickstart();
        plan.slice = Span::millis(100);
        let mut slices = Slices::new(&plan);
        (0..10).for_each(|i| slices.push(&due(i, 5, 5, i64::from(i) * 100 + 100)));
        assert_eq!(slices.next_closed(), None, "the timeout is a second");
        slices.push(&due(10, 5, 0, 2_020));
        assert_eq!(slices.next_closed(), Some((0, 10)));
        assert_eq!(slices.unit_cells((0, 10))[&(0, Arm::All, Dim::Whole)].ok, 50);
        assert!(!slices.settled(10), "five are open");
        assert_eq!(slices.between(Offset(0), Offset(1_000_000_000)), (55, 5));
        slices.push(&due(3, 0, 1, 2_100));
        assert_eq!(slices.totals.late, 1);
        assert_eq!(slices.next_closed(), None);
        slices.finished = true;
        assert_eq!(slices.next_closed(), Some((10, 20)));
        assert_eq!(slices.next_closed(), None);
    }

    #[test]
    fn a_folded_slice_is_one_unit_that_counts_as_long_as_it_is() {
        let plan = crate::tests::quickstart();
        let mut slices = Slices::new(&plan);
        slices.push(&Snapshot { folded: 60, ..due(0, 600, 600, 60_000) });
        slices.push(&Snapshot { folded: 60, ..due(60, 600, 597, 120_000) });
        slices.push(&due(120, 10, 10, 300_000));
        let units: Vec<_> = std::iter::from_fn(|| slices.next_closed()).take(3).collect();
        assert_eq!(units, [(0, 60), (60, 120), (120, 121)]);
        let second = |s: i64| Offset(s * 1_000_000_000);
        assert_eq!(slices.between(second(100), second(110)), (600, 3), "from its middle");
        assert_eq!(slices.between(second(120), second(121)), (10, 0), "it ends where the next begins");
        // Long over, but its end lies in the time that is still counted.
        slices.push(&due(300, 1, 1, 302_000));
        while slices.next_closed().is_some() {}
        slices.forget(|from, to| from <= second(115) && to >= second(110));
        assert_eq!(slices.between(second(110), second(115)), (600, 3));
        assert_eq!(slices.between(second(0), second(50)), (0, 0));
    }

    #[test]
    fn a_look_at_counts_held_back_is_one_at_all_of_them() {
        let plan = crate::tests::quickstart();
        let mut slices = Slices::new(&plan);
        slices.push(&due(0, 5, 5, 1_000));
        slices.push(&due(1, 5, 4, 2_000));
        let mut held = due(2, 5, 3, 3_000);
        held.cells[0].1.latency.record(7);
        let all = (0, Arm::All, Dim::Whole);
        for latency in [false, true] {
            let seen = slices.with(&held, Span::secs(2), latency);
            let ok: Vec<u64> = seen.kept(0, 9).map(|(_, cells)| cells[&all].ok).collect();
            assert_eq!((ok, seen.as_of), (vec![4, 3], held.as_of));
            assert_eq!(seen.cells(0, 9)[&all].latency.count(), u64::from(latency));
        }
        assert_eq!(slices.as_of, Offset(2_000_000_000), "the slices themselves are as they were");
    }
}
