//! The search for the highest level that holds: which level to try next, and when enough is known. Pure; must not run
//! anything.
//!
//! Bisection on the logarithm of the level, assuming that what fails at one level fails at every higher one. A single
//! run can pass by luck, so the level that is named has held in a row of runs: if its chance to hold were one half or less, a
//! row of n would have probability 2⁻ⁿ at most, and n is chosen so that this is at most 1 − confidence. A level that
//! breaks its row counts as not held.

/// How one run at a level came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Every objective the verdict needs was proven.
    Held,
    /// Not proven, or proven to fail.
    NotHeld,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Lowest level.
    pub low: f64,
    /// Highest level.
    pub high: f64,
    /// The bracket is narrow enough when highest over lowest is at most one plus this.
    pub within: f64,
    /// Runs at most.
    pub runs: u32,
    /// Of the named level, one-sided, 0.5 to 1.
    pub confidence: f64,
}

/// What is known at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// Highest level that held, and in how many runs in a row.
    pub held: Option<(f64, u32)>,
    /// Lowest level that did not.
    pub broke: Option<f64>,
    /// The row was long enough, and the bracket narrow enough or the whole range held.
    pub settled: bool,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Bisection {
    asked: Asked,
    row: u32,
    /// Levels that held, ascending, with the length of their unbroken row.
    held: Vec<(f64, u32)>,
    broke: Option<f64>,
    runs: u32,
}

impl Bisection {
    /// A search that has tried nothing.
    #[must_use]
    pub fn new(asked: Asked) -> Bisection {
        let row = (-(1.0 - asked.confidence).log2()).ceil().max(1.0) as u32;
        Bisection { asked, row, held: Vec::new(), broke: None, runs: 0 }
    }

    /// Runs in a row that a named level needs.
    #[must_use]
    pub fn row(&self) -> u32 {
        self.row
    }

    /// The level to try next, chosen by `round` (which must not leave the open interval between two levels it is given);
    /// `None` when enough is known or no run is left.
    #[must_use]
    pub fn next(&self, round: impl Fn(f64) -> f64) -> Option<f64> {
        if self.runs >= self.asked.runs {
            return None;
        }
        match (self.held.last().copied(), self.broke) {
            // First the ends: a search whose answer lies outside says so after two runs.
            (None, None) => Some(self.asked.low),
            (None, Some(broke)) if broke > self.asked.low => Some(self.asked.low),
            (None, Some(_)) => None,
            (Some((level, row)), None) if level >= self.asked.high => (row < self.row).then_some(level),
            (Some(_), None) => Some(self.asked.high),
            (Some((level, row)), Some(broke)) => {
                let middle = round((level * broke).sqrt());
                if self.narrow(level, broke) || middle <= level || middle >= broke {
                    return (row < self.row).then_some(level);
                }
                Some(middle)
            }
        }
    }

    /// Takes in how a run at a level came out.
    pub fn tell(&mut self, level: f64, came: Came) {
        self.runs += 1;
        match (came, self.held.iter_mut().find(|(l, _)| *l == level)) {
            (Came::Held, Some((_, row))) => *row += 1,
            (Came::Held, None) => {
                self.held.push((level, 1));
                self.held.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
            (Came::NotHeld, _) => {
                // Its row is broken, and by the assumption no higher one counts either.
                self.held.retain(|(l, _)| *l < level);
                self.broke = Some(self.broke.map_or(level, |b| b.min(level)));
            }
        }
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Known {
        let held = self.held.last().copied();
        let settled = match (held, self.broke) {
            (Some((level, row)), Some(broke)) => row >= self.row && self.narrow(level, broke),
            (Some((level, row)), None) => row >= self.row && level >= self.asked.high,
            (None, broke) => broke.is_some_and(|b| b <= self.asked.low),
        };
        Known { held, broke: self.broke, settled }
    }

    fn narrow(&self, level: f64, broke: f64) -> bool {
        broke / level <= 1.0 + self.asked.within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked { low: 50.0, high: 2000.0, within: 0.05, runs: 40, confidence: 0.95 };

    fn search(asked: Asked, holds: impl Fn(f64, u32) -> bool) -> (Known, Vec<f64>) {
        let (mut bisection, mut tried) = (Bisection::new(asked), Vec::new());
        while let Some(level) = bisection.next(|l| l.round()) {
            assert!((asked.low..=asked.high).contains(&level));
            tried.push(level);
            bisection.tell(level, if holds(level, bisection.runs) { Came::Held } else { Came::NotHeld });
        }
        (bisection.known(), tried)
    }

    #[test]
    fn the_edge_is_bracketed_and_confirmed() {
        let (known, tried) = search(ASKED, |level, _| level <= 700.0);
        let (held, row) = known.held.unwrap();
        assert!(known.settled && held <= 700.0 && row >= 5, "{known:?}");
        assert!(known.broke.unwrap() > 700.0 && known.broke.unwrap() / held <= 1.05);
        assert!(tried.len() <= 14, "{tried:?}");
    }

    #[test]
    fn ends_outside_the_range_are_said() {
        let (known, tried) = search(ASKED, |_, _| true);
        assert_eq!((known.held, known.broke, known.settled), (Some((2000.0, 5)), None, true));
        assert_eq!(tried.len(), 6);
        let (known, tried) = search(ASKED, |_, _| false);
        assert_eq!((known.held, known.broke, known.settled, tried.len()), (None, Some(50.0), true, 1));
    }

    #[test]
    fn a_lucky_level_loses_its_place() {
        // 700 holds once by luck: its second run breaks the row, and the search goes on below.
        let (known, _) = search(ASKED, |level, run| level <= 600.0 || (level < 760.0 && run < 8));
        assert!(known.held.unwrap().0 <= 600.0 && known.held.unwrap().1 >= 5 && known.settled, "{known:?}");
    }

    #[test]
    fn runs_are_bounded_and_then_nothing_is_settled() {
        let (known, tried) = search(Asked { runs: 4, ..ASKED }, |level, _| level <= 700.0);
        assert!(!known.settled && tried.len() == 4);
    }

    #[test]
    fn noisy_edges_are_never_named_too_high() {
        // The chance to hold falls from one to nothing around 500; what is named has to hold mostly.
        let mut state = 12345_u64;
        for _ in 0..500 {
            let mut roll = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 11) as f64 / (1u64 << 53) as f64
            };
            let mut bisection = Bisection::new(ASKED);
            while let Some(level) = bisection.next(|l| l.round()) {
                let chance = 1.0 / (1.0 + ((level - 500.0) / 20.0_f64).exp());
                bisection.tell(level, if roll() < chance { Came::Held } else { Came::NotHeld });
            }
            let known = bisection.known();
            if known.settled {
                assert!(known.held.unwrap().0 < 560.0, "{known:?}");
            }
        }
    }

    #[test]
    fn rounding_that_cannot_tell_levels_apart_ends_the_search() {
        let (known, tried) = search(Asked { low: 1.0, high: 4.0, within: 0.01, runs: 50, confidence: 0.5 }, |l, _| l <= 2.0);
        assert_eq!(known.held.map(|h| h.0), Some(2.0));
        assert!(tried.len() < 10 && !known.settled);
    }
}
