//! Counts and histograms of one worker between two snapshots: additive deltas by slice, stream, arm and dimension.
//! Must not judge, and keeps nothing that a snapshot has already carried away.
//!
//! A row is a (stream, arm, dimension) that was given a small number once. Counting finds the row's [`Tally`] by two
//! array look-ups. Memory: one tally for every row of a slice that was touched within the last two snapshots, so at most
//! rows × (longest timeout / slice + 2); a slice that nothing happens in any more takes no room, however old, and what is
//! given back is kept for [`SPARE`] tallies and freed beyond.

pub use crate::cells::Cells;
pub use crate::tally::Tally;

use crate::cells::OTHER;
use shakedown_core::snapshot::{StreamTotals, Vitals};
use shakedown_core::{Arm, Cell, CellKey, Dim, Offset, Snapshot};
use std::collections::HashMap;
use std::sync::Arc;

/// Index of a dimension in the recorder's table.
pub type DimId = u32;
/// The dimension that every stream has.
pub const WHOLE: DimId = 0;
/// Idle tallies that keep their histograms' room.
const SPARE: usize = 64;
/// No tally.
const NONE: u32 = u32::MAX;
const ARMS: [Arm; 4] = [Arm::All, Arm::Control, Arm::Canary, Arm::Unknown];

/// A (stream, arm, dimension) by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowId(u32);

/// The rows of all four arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows([RowId; 4]);

impl Rows {
    /// The row of an arm.
    #[inline]
    #[must_use]
    pub fn of(&self, arm: Arm) -> RowId {
        self.0[arm as usize]
    }
}

/// The worker's records.
#[derive(Debug)]
pub struct Recorder {
    slice: u64,
    recent: usize,
    open: Vec<Slice>,
    tallies: Vec<Tally>,
    spare: Vec<u32>,
    rows: Vec<Row>,
    by_name: HashMap<(u16, Arm, DimId), RowId>,
    dims: Vec<Dim>,
    index: HashMap<Dim, DimId>,
    groups: HashMap<String, HashMap<String, DimId>>,
    cells: Arc<Cells>,
    /// What refused rows are counted into.
    bin: Tally,
    cut: u64,
    streams: Vec<Option<StreamTotals>>,
    answers: [(i64, i64); 4],
    vitals: Vitals,
}

/// A slice with rows that were touched lately.
#[derive(Debug, Default)]
struct Slice {
    number: u32,
    /// Tally of each row, or [`NONE`].
    tallies: Vec<u32>,
    /// Rows that have one.
    used: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    stream: u16,
    arm: Arm,
    dim: DimId,
    /// Whether it may be counted; not known before it is.
    admitted: Option<bool>,
}

/// No answer yet: earliest and latest.
const SILENT: (i64, i64) = (i64::MAX, i64::MIN);

impl Recorder {
    /// Slices of `slice` ns (at least 1); at most `max_cells` different (stream, arm, dimension).
    #[cfg(test)]
    #[must_use]
    pub fn new(slice: u64, max_cells: u32) -> Recorder {
        Recorder::sharing(slice, &Cells::new(max_cells))
    }

    /// The same with a bound on cells that several workers share.
    #[must_use]
    pub fn sharing(slice: u64, cells: &Arc<Cells>) -> Recorder {
        Recorder {
            slice: slice.max(1),
            recent: 0,
            open: Vec::new(),
            tallies: Vec::new(),
            spare: Vec::new(),
            rows: Vec::new(),
            by_name: HashMap::new(),
            dims: vec![Dim::Whole],
            index: HashMap::from([(Dim::Whole, WHOLE)]),
            groups: HashMap::new(),
            cells: Arc::clone(cells),
            bin: Tally::default(),
            cut: 0,
            streams: Vec::new(),
            answers: [SILENT; 4],
            vitals: Vitals::default(),
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
        if let Some(&id) = self.groups.get(objective).and_then(|values| values.get(value)) {
            return id;
        }
        let dim = |value: &str| Dim::Group { objective: objective.to_owned(), value: value.to_owned() };
        let wanted = dim(value);
        if !self.cells.admits_group(&wanted) {
            self.cut += 1;
            return self.dim(dim(OTHER));
        }
        let id = self.dim(wanted);
        self.groups.entry(objective.to_owned()).or_default().insert(value.to_owned(), id);
        id
    }

    /// The slice of an intended send (offset 0 or later).
    #[inline]
    #[must_use]
    pub fn slice(&self, due: Offset) -> u32 {
        let slice = u64::try_from(due.0).unwrap_or(0) / self.slice;
        u32::try_from(slice).unwrap_or(u32::MAX)
    }

    /// When a slice ends, ns after the epoch.
    #[must_use]
    pub fn end(&self, slice: u32) -> i64 {
        i64::try_from((u64::from(slice) + 1).saturating_mul(self.slice)).unwrap_or(i64::MAX)
    }

    /// The number of a row. Rows that are never counted cost nothing and are not held against the bound on cells.
    pub fn row(&mut self, stream: u16, arm: Arm, dim: DimId) -> RowId {
        let rows = &mut self.rows;
        *self.by_name.entry((stream, arm, dim)).or_insert_with(|| {
            rows.push(Row { stream, arm, dim, admitted: None });
            RowId(u32::try_from(rows.len() - 1).expect("fewer rows than bytes of memory"))
        })
    }

    /// The rows of all arms of a dimension.
    pub fn rows(&mut self, stream: u16, dim: DimId) -> Rows {
        Rows(ARMS.map(|arm| self.row(stream, arm, dim)))
    }

    /// The counts of a row in a slice. Past the bound on cells a new finer row is cut and counted; the whole stream never
    /// is.
    #[inline]
    pub fn at(&mut self, slice: u32, row: RowId) -> &mut Tally {
        if let Some(open) = self.open.get(self.recent)
            && open.number == slice
            && let Some(&at) = open.tallies.get(row.0 as usize)
            && (at as usize) < self.tallies.len()
        {
            let tally = &mut self.tallies[at as usize];
            tally.touched = true;
            return tally;
        }
        self.find(slice, row)
    }

    /// The same for another slice than last time, or a row that is new there.
    #[inline(never)]
    fn find(&mut self, slice: u32, row: RowId) -> &mut Tally {
        let number = row.0 as usize;
        let found = self.open.iter().position(|s| s.number == slice);
        let at = found.and_then(|i| self.open[i].tallies.get(number).copied()).filter(|&at| at != NONE);
        if let (Some(i), Some(at)) = (found, at) {
            self.recent = i;
            let tally = &mut self.tallies[at as usize];
            tally.touched = true;
            return tally;
        }
        let Row { stream, arm, dim, admitted } = self.rows[number];
        let admitted = admitted.unwrap_or_else(|| self.cells.admits(stream, arm, &self.dims[dim as usize]));
        self.rows[number].admitted = Some(admitted);
        if !admitted {
            self.cut += 1;
            return &mut self.bin;
        }
        self.recent = found.unwrap_or_else(|| {
            self.open.push(Slice { number: slice, ..Slice::default() });
            self.open.len() - 1
        });
        let at = self.spare.pop().unwrap_or_else(|| {
            self.tallies.push(Tally::default());
            u32::try_from(self.tallies.len() - 1).expect("fewer tallies than bytes of memory")
        });
        let open = &mut self.open[self.recent];
        if open.tallies.len() <= number {
            open.tallies.resize(self.rows.len(), NONE);
        }
        open.tallies[number] = at;
        open.used.push(row.0);
        let tally = &mut self.tallies[at as usize];
        tally.touched = true;
        tally
    }

    /// Changes a cell in core's form: slow, for models.
    #[cfg(test)]
    pub fn cell(&mut self, slice: u32, stream: u16, arm: Arm, dim: DimId, change: impl FnOnce(&mut Cell)) {
        let row = self.row(stream, arm, dim);
        let mut cell = Cell::default();
        change(&mut cell);
        self.at(slice, row).add(&cell);
    }

    /// The totals of a stream since the last snapshot.
    #[inline]
    pub fn totals(&mut self, stream: u16) -> &mut StreamTotals {
        let index = usize::from(stream);
        if self.streams.len() <= index {
            self.streams.resize(index + 1, None);
        }
        self.streams[index].get_or_insert_default()
    }

    /// An arm answered.
    #[inline]
    pub fn answered(&mut self, arm: Arm, at: Offset) {
        for arm in [arm, Arm::All] {
            let (first, last) = &mut self.answers[arm as usize];
            *first = at.0.min(*first);
            *last = at.0.max(*last);
        }
    }

    /// What the generator found out about itself since the last snapshot.
    pub fn vitals(&mut self) -> &mut Vitals {
        &mut self.vitals
    }

    /// Everything since the last snapshot; the records begin anew.
    pub fn take(&mut self, as_of: Offset, cpu: u64) -> Snapshot {
        let mut cells = self.take_cells();
        cells.sort_by(|a, b| a.0.cmp(&b.0));
        let answers = std::mem::replace(&mut self.answers, [SILENT; 4]);
        let answered = || ARMS.into_iter().zip(answers).filter(|(_, seen)| *seen != SILENT);
        let streams = self.streams.iter_mut().enumerate();
        Snapshot {
            as_of,
            cells,
            streams: streams.filter_map(|(i, totals)| Some((u16::try_from(i).ok()?, totals.take()?))).collect(),
            first_answer: answered().map(|(arm, (first, _))| (arm, Offset(first))).collect(),
            last_answer: answered().map(|(arm, (_, last))| (arm, Offset(last))).collect(),
            cpu,
            cut: std::mem::take(&mut self.cut),
            vitals: std::mem::take(&mut self.vitals),
            ..Snapshot::default()
        }
    }

    /// Empties every tally; what was not touched since the last snapshot gives its room back.
    fn take_cells(&mut self) -> Vec<(CellKey, Cell)> {
        let mut cells = Vec::new();
        for open in &mut self.open {
            open.used.retain(|&number| {
                let at = open.tallies[number as usize];
                let tally = &mut self.tallies[at as usize];
                if tally.touched {
                    let row = self.rows[number as usize];
                    let dim = self.dims[row.dim as usize].clone();
                    let key = CellKey { slice: open.number, stream: row.stream, arm: row.arm, dim };
                    cells.push((key, tally.drain()));
                    return true;
                }
                if self.spare.len() >= SPARE {
                    *tally = Tally::default();
                }
                self.spare.push(at);
                open.tallies[number as usize] = NONE;
                false
            });
        }
        self.open.retain(|s| !s.used.is_empty());
        self.recent = 0;
        self.bin.drain();
        cells
    }

    /// Bytes of room the tallies hold, and how many there are: for tests of what is kept.
    #[cfg(test)]
    fn room(&mut self) -> (usize, usize) {
        (self.tallies.iter_mut().map(Tally::room).sum(), self.tallies.len())
    }
}

#[cfg(test)]
mod hour;
#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn snapshots_are_deltas_in_key_order() {
        let mut recorder = Recorder::new(1_000_000_000, 100);
        let slice = recorder.slice(Offset(2_500_000_000));
        recorder.cell(slice, 1, Arm::All, WHOLE, |c| c.due += 1);
        let canary = recorder.row(0, Arm::Canary, WHOLE);
        recorder.at(0, canary).ok();
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
        assert!(snapshot.cells.iter().any(|(k, _)| matches!(&k.dim, Dim::Group { value, .. } if value == OTHER)));
    }

    #[test]
    fn rows_never_counted_take_no_place() {
        let mut recorder = Recorder::new(1, 2);
        let mut step = |n: usize| {
            let dim = recorder.dim(Dim::Step { journey: "j".into(), step: n.to_string() });
            recorder.rows(0, dim)
        };
        let all: Vec<Rows> = (0..10).map(&mut step).collect();
        recorder.at(0, all[9].of(Arm::Canary)).ok();
        recorder.at(0, all[8].of(Arm::All)).ok();
        recorder.at(0, all[7].of(Arm::All)).ok();
        let snapshot = recorder.take(Offset(1), 0);
        assert_eq!((snapshot.cells.len(), snapshot.cut), (2, 1));
    }
}
