//! Whose were the attempts nobody could be identified for, and which empty answers fail: what is done to a unit's counts
//! before any objective reads them. Must not drop a failure.

use crate::indicators::timeouts;
use crate::slices::Cells;
use shakedown_core::snapshot::Failure;
use shakedown_core::sparse::bucket;
use shakedown_core::{Arm, Cell, Dim, Span};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Successes of the other arm needed before "its answers are not empty" is known.
const KNOWN: u64 = 20;

/// What earlier units taught.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    /// Successes and empty ones per stream, dimension and arm (control, canary).
    empties: BTreeMap<(u16, Dim), [(u64, u64); 2]>,
    /// Baseline: unidentified failures and all attempts.
    baseline: (u64, u64),
    /// Canary answers that failed because they were empty where the control's are not.
    pub empty_failures: u64,
    /// Canary's successes.
    pub canary_ok: u64,
    /// Unidentified successes and all successes of attempts.
    pub unidentified: (u64, u64),
}

/// A unit's counts with every unidentified failure counted as the canary's, and with only their excess.
pub struct Views {
    /// For a pass.
    pub pass: Rc<Cells>,
    /// For harm.
    pub harm: Rc<Cells>,
}

impl Attribution {
    /// Reads a unit's counts, moves empty answers to the failures and makes both views.
    pub fn views(&mut self, mut cells: Cells, baseline: bool, timeout: &dyn Fn(u16) -> Span) -> Views {
        self.fail_empties(&mut cells);
        let (control, canary, unknown) = (whole(&cells, Arm::Control), whole(&cells, Arm::Canary), whole(&cells, Arm::Unknown));
        self.unidentified.0 += unknown.0;
        self.unidentified.1 += control.0 + canary.0 + unknown.0;
        self.canary_ok += canary.0;
        let attempts = control.0 + control.1 + canary.0 + canary.1 + unknown.0 + unknown.1;
        if baseline {
            self.baseline.0 += unknown.1;
            self.baseline.1 += attempts;
        }
        if !cells.iter().any(|((_, arm, _), cell)| *arm == Arm::Unknown && cell.failures() > 0) {
            // Mostly: both views are the counts themselves.
            let cells = Rc::new(cells);
            return Views { pass: Rc::clone(&cells), harm: cells };
        }
        let harm = Rc::new(self.harm_view(&cells, timeout));
        Views { pass: Rc::new(with_unknown(&cells, 1.0, timeout)), harm }
    }

    /// The counts with the excess of unidentified failures over the baseline added to the canary.
    #[must_use]
    pub fn harm_view(&self, cells: &Cells, timeout: &dyn Fn(u16) -> Span) -> Cells {
        let (control, canary, unknown) = (whole(cells, Arm::Control), whole(cells, Arm::Canary), whole(cells, Arm::Unknown));
        let attempts = control.0 + control.1 + canary.0 + canary.1 + unknown.0 + unknown.1;
        let usual = if self.baseline.1 == 0 { 0.0 } else { self.baseline.0 as f64 / self.baseline.1 as f64 };
        let excess = (unknown.1 as f64 - usual * attempts as f64).max(0.0);
        let share = if unknown.1 == 0 { 0.0 } else { excess / unknown.1 as f64 };
        with_unknown(cells, share, timeout)
    }

    fn fail_empties(&mut self, cells: &mut Cells) {
        for ((stream, arm, dim), cell) in cells.iter() {
            if let Some(i) = side(*arm) {
                let known = &mut self.empties.entry((*stream, dim.clone())).or_default()[i];
                known.0 += cell.ok;
                known.1 += cell.empty;
            }
        }
        let mut moved: BTreeMap<(u16, Dim), u64> = BTreeMap::new();
        for ((stream, arm, dim), cell) in cells.iter_mut() {
            let Some(i) = side(*arm) else { continue };
            let other = self.empties.get(&(*stream, dim.clone())).map_or((0, 0), |known| known[1 - i]);
            let failures = excess_empties(cell, other);
            fail(cell, failures);
            *moved.entry((*stream, dim.clone())).or_default() += failures;
            if *arm == Arm::Canary && *dim == Dim::Whole {
                self.empty_failures += failures;
            }
        }
        for ((stream, dim), failures) in moved {
            if let Some(all) = cells.get_mut(&(stream, Arm::All, dim)) {
                fail(all, failures.min(all.ok));
            }
        }
    }
}

/// Successes and failures of an arm.
pub fn whole(cells: &Cells, arm: Arm) -> (u64, u64) {
    let of_arm = cells.iter().filter(|(k, _)| k.1 == arm && k.2 == Dim::Whole);
    of_arm.fold((0, 0), |sum, (_, c)| (sum.0 + c.ok, sum.1 + c.failures()))
}

fn side(arm: Arm) -> Option<usize> {
    match arm {
        Arm::Control => Some(0),
        Arm::Canary => Some(1),
        _ => None,
    }
}

/// Empty answers beyond what the other arm's share and three standard deviations explain.
fn excess_empties(cell: &Cell, other: (u64, u64)) -> u64 {
    if other.0 < KNOWN || cell.empty == 0 {
        return 0;
    }
    let expected = other.1 as f64 / other.0 as f64 * cell.ok as f64;
    let allowed = expected + 3.0 * libm::sqrt(expected);
    ((cell.empty as f64 - allowed).max(0.0)) as u64
}

fn fail(cell: &mut Cell, n: u64) {
    if n > 0 {
        cell.ok -= n.min(cell.ok);
        *cell.failed.entry(Failure::Expectation).or_default() += n;
    }
}

/// Adds a share of the unidentified failures to the canary.
fn with_unknown(cells: &Cells, share: f64, timeout: &dyn Fn(u16) -> Span) -> Cells {
    let mut sum = cells.clone();
    for ((stream, arm, dim), cell) in cells {
        if *arm == Arm::Unknown && cell.failures() > 0 {
            let part = failures_only(cell, share, timeout(*stream));
            sum.entry((*stream, Arm::Canary, dim.clone())).or_default().merge(&part);
        }
    }
    sum
}

fn failures_only(cell: &Cell, share: f64, timeout: Span) -> Cell {
    let part = |n: u64| libm::floor(n as f64 * share + 1e-9) as u64;
    let mut only = Cell { failed: cell.failed.iter().map(|(k, n)| (*k, part(*n))).collect(), ..Cell::default() };
    only.status = cell.status.iter().filter(|(s, _)| **s >= 400).map(|(s, n)| (*s, part(*n))).collect();
    let late = part(timeouts(cell));
    if late > 0 {
        only.latency.buckets.add(bucket(timeout.0), late);
    }
    only
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(ok: u64, timeouts: u64, empty: u64) -> Cell {
        let failed = if timeouts > 0 { BTreeMap::from([(Failure::Timeout, timeouts)]) } else { BTreeMap::new() };
        Cell { ok, failed, empty, ..Cell::default() }
    }

    fn unit(control: Cell, canary: Cell, unknown: Cell) -> Cells {
        [(Arm::Control, control), (Arm::Canary, canary), (Arm::Unknown, unknown)].map(|(a, c)| ((0, a, Dim::Whole), c)).into()
    }

    #[test]
    fn unidentified_failures_are_the_canarys_for_a_pass_and_their_excess_for_harm() {
        let mut a = Attribution::default();
        let timeout = |_| Span::secs(1);
        a.views(unit(cell(990, 0, 0), Cell::default(), cell(0, 10, 0)), true, &timeout);
        let v = a.views(unit(cell(900, 0, 0), cell(70, 0, 0), cell(0, 30, 0)), false, &timeout);
        let key = (0, Arm::Canary, Dim::Whole);
        assert_eq!(v.pass[&key].failures(), 30);
        assert_eq!(v.harm[&key].failures(), 20);
        assert_eq!(v.pass[&key].latency.count(), 30);
    }

    #[test]
    fn empty_answers_fail_only_where_the_others_are_not_empty() {
        let mut a = Attribution::default();
        let timeout = |_| Span::secs(1);
        let v = a.views(unit(cell(1000, 0, 0), cell(50, 0, 50), Cell::default()), false, &timeout);
        assert_eq!(v.harm[&(0, Arm::Canary, Dim::Whole)].failures(), 50);
        assert_eq!(a.empty_failures, 50);
        let mut both = Attribution::default();
        let v = both.views(unit(cell(1000, 0, 1000), cell(50, 0, 50), Cell::default()), false, &timeout);
        assert_eq!(v.harm[&(0, Arm::Canary, Dim::Whole)].failures(), 0);
    }
}
