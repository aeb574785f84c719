//! Snapshots of one beat of several generators, added up. Histograms are added bucket by bucket in arrays, straight from
//! the interval log. Must not know segments or files.

use crate::journal::{Dense, KINDS, Raw, histograms_mut};
use shakedown_core::seams::Fail;
use shakedown_core::snapshot::{Cell, CellKey, Snapshot};
use std::collections::BTreeMap;

/// The sum so far. What it keeps between beats is room.
#[derive(Default)]
pub(super) struct Pool {
    /// Slices from this one on are left out.
    pub until: Option<u32>,
    cells: BTreeMap<CellKey, Sum>,
    spare: Vec<Dense>,
    head: Option<Snapshot>,
}

#[derive(Default)]
struct Sum {
    counts: Cell,
    histograms: [Option<Dense>; KINDS],
    clipped: [u64; KINDS],
}

impl Pool {
    /// Adds all that one generator reported of the beat, in its order.
    pub fn add(&mut self, reports: Vec<Raw>) -> Result<(), Fail> {
        let mut own: Option<Snapshot> = None;
        for mut raw in reports {
            self.cells(&mut raw)?;
            match &mut own {
                Some(own) => own.then(raw.snapshot),
                None => own = Some(raw.snapshot),
            }
        }
        match (&mut self.head, own) {
            (Some(head), Some(own)) => head.beside(own),
            (None, own) => self.head = own,
            (_, None) => {}
        }
        Ok(())
    }

    fn cells(&mut self, raw: &mut Raw) -> Result<(), Fail> {
        let mut room = Vec::new();
        let cells = std::mem::take(&mut raw.snapshot.cells);
        let mut lines = raw.lines();
        for (index, (key, cell)) in cells.into_iter().enumerate() {
            if self.until.is_some_and(|until| key.slice >= until) {
                let left_out = (0..KINDS).filter(|which| raw.has(index, *which)).count();
                lines.by_ref().take(left_out).for_each(drop);
                continue;
            }
            let sum = self.cells.entry(key).or_default();
            sum.counts.merge(&cell);
            for which in 0..KINDS {
                if raw.has(index, which) {
                    let line = lines.next().ok_or_else(|| Fail::new("a histogram is missing"))?;
                    let dense = sum.histograms[which].get_or_insert_with(|| self.spare.pop().unwrap_or_default());
                    dense.add_line(line, &mut room)?;
                }
                sum.clipped[which] += raw.clipped(index, which);
            }
        }
        if lines.next().is_some() {
            return Err(Fail::new("a histogram belongs to no cell"));
        }
        Ok(())
    }

    /// The sum; `None` when nothing was added. The pool is empty again.
    pub fn take(&mut self) -> Option<Snapshot> {
        let mut snapshot = self.head.take()?;
        for (key, sum) in std::mem::take(&mut self.cells) {
            let mut cell = sum.counts;
            let slots = histograms_mut(&mut cell).into_iter().zip(sum.histograms).zip(sum.clipped);
            for ((slot, dense), clipped) in slots {
                slot.clipped = clipped;
                if let Some(mut dense) = dense {
                    slot.buckets = dense.take();
                    self.spare.push(dense);
                }
            }
            snapshot.cells.push((key, cell));
        }
        Some(snapshot)
    }
}
