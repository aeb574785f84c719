//! Counts and histograms of one worker between two snapshots: additive deltas by slice, stream, arm and dimension.
//! Must not judge, and keeps nothing that a snapshot has already carried away.

use shakedown_core::snapshot::StreamTotals;
use shakedown_core::{Arm, Cell, CellKey, Dim, Offset, Snapshot};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Index of a dimension in the recorder's table.
pub type DimId = u32;
/// The dimension that every stream has.
pub const WHOLE: DimId = 0;

type Key = (u32, u16, Arm, DimId);

/// The worker's records.
#[derive(Debug)]
pub struct Recorder {
    slice: u64,
    max_cells: usize,
    dims: Vec<Dim>,
    index: HashMap<Dim, DimId>,
    cells: HashMap<Key, Cell>,
    seen: HashSet<(u16, Arm, DimId)>,
    refused: HashSet<(u16, Arm, DimId)>,
    streams: BTreeMap<u16, StreamTotals>,
    first: BTreeMap<Arm, Offset>,
    last: BTreeMap<Arm, Offset>,
    cut: u64,
}

impl Recorder {
    /// Slices of `slice` ns (at least 1); at most `max_cells` different (stream, arm, dimension).
    #[must_use]
    pub fn new(slice: u64, max_cells: u32) -> Recorder {
        Recorder {
            slice: slice.max(1),
            max_cells: max_cells as usize,
            dims: vec![Dim::Whole],
            index: HashMap::from([(Dim::Whole, WHOLE)]),
            cells: HashMap::new(),
            seen: HashSet::new(),
            refused: HashSet::new(),
            streams: BTreeMap::new(),
            first: BTreeMap::new(),
            last: BTreeMap::new(),
            cut: 0,
        }
    }

    /// The index of a dimension; the table is bounded by those that cells exist for.
    pub fn dim(&mut self, dim: Dim) -> DimId {
        if let Some(&id) = self.index.get(&dim) {
            return id;
        }
        let id = u32::try_from(self.dims.len()).expect("fewer dimensions than bytes of memory");
        self.dims.push(dim.clone());
        self.index.insert(dim, id);
        id
    }

    /// The index of a group's dimension. A new group past the bound is `other`, and counted as cut.
    pub fn group(&mut self, objective: &str, value: &str) -> DimId {
        let dim = Dim::Group { objective: objective.to_owned(), value: value.to_owned() };
        // A group has up to four arms, so it is refused while its cells would still fit: none is ever half there.
        if self.index.contains_key(&dim) || self.seen.len() + 4 < self.max_cells {
            return self.dim(dim);
        }
        self.cut += 1;
        self.dim(Dim::Group { objective: objective.to_owned(), value: "other".to_owned() })
    }

    /// The slice of an intended send (offset 0 or later).
    #[must_use]
    pub fn slice(&self, due: Offset) -> u32 {
        let slice = u64::try_from(due.0).unwrap_or(0) / self.slice;
        u32::try_from(slice).unwrap_or(u32::MAX)
    }

    /// Changes a cell. Past `max_cells` a new finer dimension is cut and counted; the whole stream never is.
    pub fn cell(&mut self, slice: u32, stream: u16, arm: Arm, dim: DimId, change: impl FnOnce(&mut Cell)) {
        let key = (stream, arm, dim);
        if !self.seen.contains(&key) {
            let other = matches!(&self.dims[dim as usize], Dim::Whole) || is_other(&self.dims[dim as usize]);
            if !other && self.seen.len() >= self.max_cells {
                self.cut += 1;
                if self.refused.len() < self.max_cells && self.refused.insert(key) {
                    tracing::warn!(stream, ?arm, dim = ?self.dims[dim as usize], "cell cut: more than max_cells");
                }
                return;
            }
            self.seen.insert(key);
        }
        change(self.cells.entry((slice, stream, arm, dim)).or_default());
    }

    /// The totals of a stream since the last snapshot.
    pub fn totals(&mut self, stream: u16) -> &mut StreamTotals {
        self.streams.entry(stream).or_default()
    }

    /// An arm answered.
    pub fn answered(&mut self, arm: Arm, at: Offset) {
        for arm in [arm, Arm::All] {
            let first = self.first.entry(arm).or_insert(at);
            *first = at.min(*first);
            let last = self.last.entry(arm).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// Everything since the last snapshot; the records begin anew.
    pub fn take(&mut self, as_of: Offset, cpu: u64) -> Snapshot {
        let named =
            |((slice, stream, arm, dim), cell): (Key, Cell)| (CellKey { slice, stream, arm, dim: self.dims[dim as usize].clone() }, cell);
        let mut cells: Vec<(CellKey, Cell)> = std::mem::take(&mut self.cells).into_iter().map(named).collect();
        cells.sort_by(|a, b| a.0.cmp(&b.0));
        Snapshot {
            as_of,
            cells,
            streams: std::mem::take(&mut self.streams),
            first_answer: std::mem::take(&mut self.first),
            last_answer: std::mem::take(&mut self.last),
            cpu,
            cut: std::mem::take(&mut self.cut),
            vitals: shakedown_core::snapshot::Vitals::default(),
        }
    }
}

fn is_other(dim: &Dim) -> bool {
    matches!(dim, Dim::Group { value, .. } if value == "other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_deltas_in_key_order() {
        let mut recorder = Recorder::new(1_000_000_000, 100);
        let slice = recorder.slice(Offset(2_500_000_000));
        recorder.cell(slice, 1, Arm::All, WHOLE, |c| c.due += 1);
        recorder.cell(0, 0, Arm::Canary, WHOLE, |c| c.ok += 1);
        recorder.answered(Arm::Canary, Offset(7));
        let snapshot = recorder.take(Offset(9), 5);
        assert_eq!(snapshot.cells.iter().map(|(k, _)| (k.slice, k.stream)).collect::<Vec<_>>(), [(0, 0), (2, 1)]);
        assert_eq!(snapshot.last_answer, BTreeMap::from([(Arm::Canary, Offset(7)), (Arm::All, Offset(7))]));
        assert!(recorder.take(Offset(10), 0).cells.is_empty());
    }

    #[test]
    fn cells_past_the_bound_are_cut_and_counted_but_never_the_whole() {
        let mut recorder = Recorder::new(1, 2);
        let step = |n: usize| Dim::Step { journey: "j".into(), step: n.to_string() };
        for n in 0..3 {
            let dim = recorder.dim(step(n));
            recorder.cell(0, 0, Arm::All, dim, |c| c.ok += 1);
        }
        recorder.cell(0, 0, Arm::All, WHOLE, |c| c.ok += 1);
        let snapshot = recorder.take(Offset(1), 0);
        assert_eq!((snapshot.cells.len(), snapshot.cut), (3, 1));
        assert_eq!(recorder.take(Offset(2), 0).cut, 0);
    }

    #[test]
    fn groups_past_the_bound_are_other() {
        let mut recorder = Recorder::new(1, 10);
        for n in 0..20 {
            let dim = recorder.group("per-region", &n.to_string());
            recorder.cell(0, 0, Arm::All, dim, |c| c.ok += 1);
        }
        let snapshot = recorder.take(Offset(1), 0);
        let total: u64 = snapshot.cells.iter().map(|(_, c)| c.ok).sum();
        assert_eq!(total, 20);
        assert!(snapshot.cells.len() <= 10 && snapshot.cut > 0);
        assert!(snapshot.cells.iter().any(|(k, _)| is_other(&k.dim)));
    }
}
