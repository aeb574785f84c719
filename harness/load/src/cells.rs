//! Which cells may exist: the plan's bound on (stream, arm, dimension), one for all workers of a process, so that they cut
//! the same. Asked only the first time a worker meets a cell or a group. Must not count.

use shakedown_core::{Arm, Dim};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Arms a group may have: it is refused while all of them would still fit, so that none is ever half there.
const ARMS: usize = 4;

/// The cells that exist, at most `max` but for the coarsest.
#[derive(Debug)]
pub struct Cells {
    max: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    cells: HashSet<(u16, Arm, Dim)>,
    groups: HashSet<Dim>,
    refused: HashSet<(u16, Arm, Dim)>,
}

impl Cells {
    /// No cells yet; at most `max`.
    #[must_use]
    pub fn new(max: u32) -> Arc<Cells> {
        Arc::new(Cells { max: max as usize, known: Mutex::default() })
    }

    /// Whether a cell may be counted. The whole stream and the group `other` always may. The first refusal of each cell (of
    /// as many as there may be cells) is logged.
    pub fn admits(&self, stream: u16, arm: Arm, dim: &Dim) -> bool {
        let mut known = self.lock();
        let key = (stream, arm, dim.clone());
        if known.cells.contains(&key) {
            return true;
        }
        if !coarsest(dim) && known.cells.len() >= self.max {
            if known.refused.len() < self.max && known.refused.insert(key) {
                tracing::warn!(stream, ?arm, ?dim, "cell cut: more than max_cells");
            }
            return false;
        }
        known.cells.insert(key)
    }

    /// Whether a group may have cells of its own.
    pub fn admits_group(&self, group: &Dim) -> bool {
        let mut known = self.lock();
        known.groups.contains(group) || (known.cells.len() + ARMS < self.max && known.groups.insert(group.clone()))
    }

    /// What another worker left when it panicked is whole: every change above is a single insertion.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a dimension is one that the rest falls back to.
fn coarsest(dim: &Dim) -> bool {
    match dim {
        Dim::Whole => true,
        Dim::Group { value, .. } => value == OTHER,
        Dim::Journey(_) | Dim::Step { .. } => false,
    }
}

/// The group of all values past the bound.
pub const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_one_bound() {
        let cells = Cells::new(6);
        let group = |value: &str| Dim::Group { objective: "o".into(), value: value.into() };
        assert!(cells.admits_group(&group("a")) && cells.admits(0, Arm::All, &group("a")));
        assert!(cells.admits_group(&group("b")) && cells.admits(0, Arm::All, &group("b")));
        assert!(!cells.admits_group(&group("c")), "its four arms would not fit");
        assert!(cells.admits_group(&group("a")), "what one worker has, all may have");
        for arm in [Arm::Control, Arm::Canary, Arm::Unknown] {
            assert!(cells.admits(0, arm, &group("a")));
        }
        assert!(cells.admits(0, Arm::Control, &group("b")) && !cells.admits(0, Arm::Canary, &group("b")));
        assert!(cells.admits(0, Arm::All, &Dim::Whole) && cells.admits(0, Arm::All, &group(OTHER)));
    }
}
