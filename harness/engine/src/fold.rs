//! Long runs: snapshots of quiet stretches are held back and folded before they are written down, so that a run of days
//! leaves a journal that can be kept, and a judge that need not look at every second of it. Must not touch what happens
//! around a fact: there every slice stays as it was reported.
//!
//! A slice is folded only once it has closed (its last answer can have come), so that nothing follows for it. What has
//! not closed stays held, slice by slice; whoever releases gets both. Counts are only ever made later by this.

use shakedown_core::Plan;
use shakedown_core::plan::Retry;
use shakedown_core::snapshot::{Cell, CellKey, Snapshot};
use shakedown_core::units::{Offset, Span};
use std::collections::BTreeMap;

/// Runs up to this long are written down as they are reported.
const SHORT: Span = Span::secs(3600);
/// A long run is folded into about so many blocks.
const BLOCKS: u64 = 1440;
/// Blocks are at least this long.
const LEAST: Span = Span::secs(5);
/// Nothing is folded this long after a fact.
const AFTER_A_FACT: Span = Span::secs(30);
/// Timeouts are noticed a little late.
const SLACK: Span = Span::millis(100);

/// How long the blocks of a plan's run are; `None` when it is too short to be folded.
#[must_use]
pub fn block(plan: &Plan) -> Option<Span> {
    let length = plan.time_box.unwrap_or_else(|| plan.planned_length());
    let second = 1_000_000_000;
    (length > SHORT).then(|| Span((length.0 / BLOCKS).div_ceil(second) * second).max(LEAST))
}

/// The snapshots held back.
pub(crate) struct Fold {
    block: Option<Span>,
    slice: u64,
    /// Slices in a second: blocks begin and end with one.
    second: u32,
    /// Slices younger than this may still change, or a guard looks at them.
    young: Span,
    /// Cells of the block that is being filled, all under its first slice.
    filled: BTreeMap<CellKey, Cell>,
    /// First slice of it and the one after its last.
    range: Option<(u32, u32)>,
    /// Everything else: young cells, totals.
    rest: Option<Snapshot>,
    /// When the last fact was stated, and how long nothing is folded after one.
    fact: Offset,
    unrest: Span,
}

// === impl Fold ===

impl Fold {
    /// For a plan; `whole` is false for one segment of several, whose seconds are merged with others'.
    pub fn new(plan: &Plan, whole: bool) -> Fold {
        let wait = |r: &Retry| Span(r.backoff.0.saturating_mul(2 << r.attempts.saturating_sub(2).min(16)));
        let close = plan.streams.iter().map(|s| s.timeout.plus(s.retry.as_ref().map_or(Span::ZERO, wait))).max().unwrap_or_default();
        let over = plan.guards.iter().map(|g| g.over).max().unwrap_or_default();
        let young = |span: Span| span.plus(Span::secs(1)).plus(SLACK);
        let fold = Fold::with(block(plan).filter(|_| whole), plan.slice, young(close.max(over)));
        // What is still answered for slices from before the fact is not folded either.
        Fold { unrest: AFTER_A_FACT.max(young(close)), ..fold }
    }

    fn with(block: Option<Span>, slice: Span, young: Span) -> Fold {
        let slice = slice.0.max(1);
        Fold {
            block,
            slice,
            second: u32::try_from((1_000_000_000 / slice).max(1)).unwrap_or(1),
            young,
            filled: BTreeMap::new(),
            range: None,
            rest: None,
            fact: Offset(i64::MIN),
            unrest: AFTER_A_FACT,
        }
    }

    /// How often an unchanged assessment is worth writing down.
    pub fn assessed_every(&self) -> Span {
        self.block.unwrap_or(Span::secs(1))
    }

    /// A fact was stated: what follows it is not folded for a while.
    pub fn fact(&mut self, at: Offset) {
        self.fact = at;
    }

    /// Is anything held that may go into a block?
    pub fn calm(&self, at: Offset) -> bool {
        self.block.is_some() && at.since(self.fact) >= self.unrest
    }

    /// The young slices held back.
    pub fn young(&self) -> Option<&Snapshot> {
        self.rest.as_ref()
    }

    /// Holds a snapshot back; true once there is a whole block.
    pub fn hold(&mut self, at: Offset, snapshot: Snapshot) -> bool {
        match &mut self.rest {
            Some(rest) => rest.then(snapshot),
            None => self.rest = Some(snapshot),
        }
        self.fill(at);
        let width = self.range.map_or(0, |(first, end)| u64::from(end - first) * self.slice);
        self.block.is_some_and(|block| width >= block.0)
    }

    /// Moves what has closed into the block.
    fn fill(&mut self, at: Offset) {
        let cut = self.slice_of(at.minus(self.young)) / self.second * self.second;
        let Some(rest) = &mut self.rest else { return };
        let (old, young): (Vec<_>, Vec<_>) = std::mem::take(&mut rest.cells).into_iter().partition(|(key, _)| key.slice < cut);
        rest.cells = young;
        let Some(oldest) = old.iter().map(|(key, _)| key.slice / self.second * self.second).min() else { return };
        let (first, _) = *self.range.get_or_insert((oldest, cut));
        // A straggler from before the block counts with its first slice: it closed long ago.
        self.range = Some((first, cut));
        for (key, cell) in old {
            self.filled.entry(CellKey { slice: first, ..key }).or_default().merge(&cell);
        }
    }

    /// Gives the block, and keeps the young slices held.
    pub fn take_block(&mut self) -> Option<Snapshot> {
        let (first, end) = self.range.take()?;
        let mut block = self.rest.take()?;
        let rest = Snapshot { as_of: block.as_of, cells: std::mem::take(&mut block.cells), ..Snapshot::default() };
        block.cells = std::mem::take(&mut self.filled).into_iter().collect();
        block.folded = end - first;
        block.as_of = block.as_of.min(Offset(i64::try_from(u64::from(end) * self.slice).unwrap_or(i64::MAX)));
        self.rest = Some(rest);
        Some(block)
    }

    /// Gives everything held back: what has closed as one block, the rest slice by slice.
    pub fn release(&mut self) -> [Option<Snapshot>; 2] {
        let nothing = |s: &Snapshot| s.cells.is_empty() && s.streams.is_empty() && s.cut == 0;
        [self.take_block(), self.rest.take().filter(|s| !nothing(s))]
    }

    fn slice_of(&self, at: Offset) -> u32 {
        u32::try_from(u64::try_from(at.0).unwrap_or(0) / self.slice).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shakedown_core::snapshot::{Arm, Dim};

    #[test]
    fn closed_slices_are_folded_and_nothing_is_lost() {
        let mut fold = Fold::with(Some(Span::secs(5)), Span::secs(1), Span::secs(2));
        let second = |i: i64| Offset(i * 1_000_000_000);
        let mut blocks = Vec::new();
        for i in 1..=20_i64 {
            let key = CellKey { slice: i as u32 - 1, stream: 0, arm: Arm::All, dim: Dim::Whole };
            let cell = Cell { due: 1, ok: 1, ..Cell::default() };
            if fold.hold(second(i), Snapshot { as_of: second(i), cells: vec![(key, cell)], cut: 1, ..Snapshot::default() }) {
                blocks.extend(fold.take_block());
            }
        }
        let widths: Vec<(u32, u32)> = blocks.iter().map(|b| (b.cells[0].0.slice, b.folded)).collect();
        assert_eq!(widths, [(0, 5), (5, 5), (10, 5)]);
        assert!(blocks.iter().all(|b| b.as_of == second(i64::from(b.cells[0].0.slice + b.folded))), "known up to the block's end");
        let rest = fold.release().into_iter().flatten();
        let sum: u64 = blocks.into_iter().chain(rest).flat_map(|s| s.cells).map(|(_, c)| c.ok).sum();
        assert_eq!(sum, 20);
    }
}
