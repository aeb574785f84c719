//! Series over time, gathered as events stream by: per second (or coarser, at most [`POINTS`] in all) and arm. Must not
//! keep events; memory is bounded by the number of bins.

use shakedown_core::snapshot::{Arm, Cell, CellKey, Dim, Snapshot, StreamTotals};
use shakedown_core::sparse::Sparse;
use shakedown_core::units::{Offset, Span};
use std::collections::BTreeMap;

/// Most points a series may have; a longer run gets wider bins.
pub(crate) const POINTS: usize = 2_000;
/// Width of a bin to begin with.
const FIRST_WIDTH: Span = Span::secs(1);

/// Counts of one arm in one bin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub ok: u64,
    pub failed: u64,
    pub latency: Sparse,
}

/// One bin of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bin {
    pub all: Counts,
    pub control: Counts,
    pub canary: Counts,
    pub unknown: Counts,
    /// Arrivals due and attempts sent by the generator's own count.
    pub asked: f64,
    pub sent: f64,
    /// Arrivals due by slice of intended send.
    pub due: i64,
    /// The generator's processor time, ns.
    pub cpu: f64,
    pub lag: Sparse,
}

/// Bins from the epoch on.
#[derive(Debug)]
pub(crate) struct Bins {
    pub width: Span,
    pub bins: Vec<Bin>,
    slice: Span,
    last: BTreeMap<u16, Offset>,
    last_cpu: Offset,
}

impl Counts {
    fn add(&mut self, cell: &Cell) {
        self.ok += cell.ok;
        self.failed += cell.failures();
        self.latency.merge(&cell.latency);
    }

    fn merge(&mut self, other: &Counts) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.latency.merge(&other.latency);
    }

    pub(crate) fn done(&self) -> u64 {
        self.ok + self.failed
    }

    /// Failed over answered or given up; `None` without any.
    pub(crate) fn errors(&self) -> Option<f64> {
        (self.done() > 0).then(|| self.failed as f64 / self.done() as f64)
    }
}

impl Bin {
    fn merge(&mut self, o: &Bin) {
        self.all.merge(&o.all);
        self.control.merge(&o.control);
        self.canary.merge(&o.canary);
        self.unknown.merge(&o.unknown);
        self.asked += o.asked;
        self.sent += o.sent;
        self.due += o.due;
        self.cpu += o.cpu;
        self.lag.merge(&o.lag);
    }

    /// Canary's share of the identified attempts; `None` without any.
    pub(crate) fn share(&self) -> Option<f64> {
        let (canary, control) = (self.canary.done(), self.control.done());
        (canary + control > 0).then(|| canary as f64 / (canary + control) as f64)
    }
}

impl Bins {
    pub(crate) fn new(slice: Span) -> Bins {
        Bins { width: FIRST_WIDTH, bins: Vec::new(), slice, last: BTreeMap::new(), last_cpu: Offset::ZERO }
    }

    pub(crate) fn push(&mut self, snapshot: &Snapshot) {
        for (key, cell) in snapshot.cells.iter().filter(|(k, _)| k.dim == Dim::Whole) {
            self.cell(key, cell);
        }
        for (&stream, totals) in &snapshot.streams {
            let from = self.last.insert(stream, snapshot.as_of).unwrap_or(Offset::ZERO);
            self.totals(from, snapshot.as_of, totals);
        }
        let from = std::mem::replace(&mut self.last_cpu, snapshot.as_of);
        self.spread(from, snapshot.as_of, snapshot.cpu as f64, |bin, v| bin.cpu += v);
    }

    fn cell(&mut self, key: &CellKey, cell: &Cell) {
        let at = u64::from(key.slice) * self.slice.0;
        let bin = self.at(at);
        match key.arm {
            Arm::All => {
                bin.all.add(cell);
                bin.due += cell.due;
                bin.lag.merge(&cell.lag);
            }
            Arm::Control => bin.control.add(cell),
            Arm::Canary => bin.canary.add(cell),
            Arm::Unknown => bin.unknown.add(cell),
        }
    }

    fn totals(&mut self, from: Offset, to: Offset, totals: &StreamTotals) {
        self.spread(from, to, totals.asked as f64, |bin, v| bin.asked += v);
        self.spread(from, to, totals.sent as f64, |bin, v| bin.sent += v);
    }

    /// Gives every bin between two moments its part of an amount that came in between them.
    fn spread(&mut self, from: Offset, to: Offset, amount: f64, add: fn(&mut Bin, f64)) {
        let (from, to) = (from.0.max(0) as u64, to.0.max(0) as u64);
        if amount == 0.0 {
            return;
        }
        if to <= from {
            add(self.at(to), amount);
            return;
        }
        self.at(to - 1);
        let width = self.width.0;
        for i in from / width..=(to - 1) / width {
            let (low, high) = ((i * width).max(from), ((i + 1) * width).min(to));
            add(self.at(low), amount * (high - low) as f64 / (to - from) as f64);
        }
    }

    /// The bin of a moment; widens all bins when there would be too many.
    fn at(&mut self, at: u64) -> &mut Bin {
        while at / self.width.0 >= POINTS as u64 {
            self.width = Span(self.width.0.saturating_mul(2));
            self.bins = self.bins.chunks(2).map(|pair| pair.iter().skip(1).fold(pair[0].clone(), merged)).collect();
        }
        let index = (at / self.width.0) as usize;
        if index >= self.bins.len() {
            self.bins.resize_with(index + 1, Bin::default);
        }
        &mut self.bins[index]
    }
}

fn merged(mut bin: Bin, other: &Bin) -> Bin {
    bin.merge(other);
    bin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_counts_in_at_most_so_many_bins() {
        let mut bins = Bins::new(Span::secs(1));
        for slice in 0..10_000u32 {
            let key = CellKey { slice, stream: 0, arm: Arm::All, dim: Dim::Whole };
            let streams = BTreeMap::from([(0, StreamTotals { asked: 3, sent: 2, ..StreamTotals::default() })]);
            let as_of = Offset(i64::from(slice + 1) * 1_000_000_000);
            bins.push(&Snapshot { as_of, cells: vec![(key, Cell { ok: 1, ..Cell::default() })], streams, ..Snapshot::default() });
        }
        assert!(bins.bins.len() <= POINTS, "{}", bins.bins.len());
        assert_eq!(bins.bins.iter().map(|b| b.all.ok).sum::<u64>(), 10_000);
        assert_eq!(bins.bins.iter().map(|b| b.asked).sum::<f64>().round() as u64, 30_000);
    }
}
