//! Is service restored, and is a fault recovered from? Both look for three seconds in a row that hold. Must not decide
//! whether that was soon enough.

use crate::slices::{Slices, UNIT};
use crate::timeline::Timeline;
use crate::track::Track;
use shakedown_core::{Arm, Dim, Offset, Span};

/// How long everything must hold.
pub const HOLD: Span = Span::secs(3);

/// The search since the last way back began.
#[derive(Debug, Default)]
pub struct Restore {
    commanded: Option<Offset>,
    next: Option<u32>,
    run: Option<(u32, u32)>,
    /// Start of the three seconds that held.
    pub found: Option<Offset>,
}

impl Restore {
    /// A way back begins.
    pub fn start(&mut self, at: Offset) {
        *self = Restore { commanded: Some(at), ..Restore::default() };
    }

    /// Looks at every slice that is known by now, once and in order.
    pub fn advance(&mut self, slices: &Slices, line: &Timeline, tracks: &[&Track]) {
        let (Some(commanded), Some(back)) = (self.commanded, line.backs.last()) else { return };
        let Some(acknowledged) = back.acknowledged else { return };
        let mut slice = self.next.unwrap_or_else(|| slices.slice_from(acknowledged.max(commanded)));
        let second = slices.count_for(UNIT);
        while self.found.is_none() && slices.as_of >= slices.start(slice + 1) && slices.settled(slice) {
            self.run = match (holds(slices, slice, tracks), self.run) {
                (Some(false), _) => None,
                // Short slices may be empty (a probe sends one request a second); a whole second may not.
                (None, run) => run.filter(|(_, last)| slice - last < second),
                (Some(true), Some((first, last))) if slice - last <= second => Some((first, slice)),
                (Some(true), _) => Some((slice, slice)),
            };
            if let Some((first, _)) = self.run.filter(|(first, _)| slice + 1 - first >= slices.count_for(HOLD)) {
                let begin = slices.start(first).max(commanded);
                self.found = Some(back.last_canary.map_or(begin, |c| begin.max(c)));
            }
            slice += 1;
        }
        self.next = Some(slice);
    }
}

/// Does everything hold in a slice? `None` without traffic.
fn holds(slices: &Slices, slice: u32, tracks: &[&Track]) -> Option<bool> {
    if slices.light(slice).done == 0 {
        return None;
    }
    let cells = slices.cells(slice, slice + 1);
    let canary = cells.iter().any(|((_, arm, dim), c)| *arm == Arm::Canary && *dim == Dim::Whole && c.done() > 0);
    Some(!canary && tracks.iter().all(|t| t.holds_on(&cells, Arm::All, &|_| true).is_some_and(|h| h.0)))
}

/// The search after a fault.
#[derive(Debug)]
pub struct Recovery {
    /// Objective that asks.
    pub objective: String,
    /// Objective that must hold.
    pub of: String,
    /// Fault.
    pub fault: String,
    run: Option<(Offset, u32)>,
    /// `of` was violated after the fault.
    pub violated: bool,
    /// When it was recovered.
    pub found: Option<Offset>,
}

impl Recovery {
    /// For an objective over a fault.
    #[must_use]
    pub fn new(objective: &str, of: &str, fault: &str) -> Recovery {
        let (objective, of, fault) = (objective.to_owned(), of.to_owned(), fault.to_owned());
        Recovery { objective, of, fault, run: None, violated: false, found: None }
    }

    /// Takes in whether `of` held in a unit of one second; a unit without traffic breaks a run.
    pub fn push(&mut self, reverted: Offset, from: Offset, held: Option<bool>) {
        if self.found.is_some() || from < reverted {
            return;
        }
        self.violated |= held == Some(false);
        if held != Some(true) {
            self.run = None;
            return;
        }
        let (first, n) = self.run.map_or((from, 1), |(first, n)| (first, n + 1));
        self.run = Some((first, n));
        if n >= 3 {
            self.found = Some(if self.violated { first } else { reverted });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_counts_to_the_start_of_three_seconds() {
        let s = |n: i64| Offset(n * 1_000_000_000);
        let mut r = Recovery::new("r", "a", "f");
        for (i, held) in [Some(false), Some(true), Some(true), None, Some(true), Some(true), Some(true)].into_iter().enumerate() {
            r.push(s(10), s(10 + i as i64), held);
        }
        assert_eq!(r.found, Some(s(14)));
        let mut never = Recovery::new("r", "a", "f");
        (11..14).for_each(|i| never.push(Offset(10_500_000_000), s(i), Some(true)));
        assert_eq!(never.found, Some(Offset(10_500_000_000)), "never violated is zero seconds");
    }
}
