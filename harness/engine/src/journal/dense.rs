//! A histogram as an array over the stretch of buckets it touches: fast to add to. Must not outlive its beat.

use super::hlog;
use shakedown_core::seams::Fail;
use shakedown_core::sparse::Buckets;

/// Counts by position in HdrHistogram's order, from `base` on.
#[derive(Debug, Default)]
pub(crate) struct Dense {
    base: usize,
    counts: Vec<u64>,
}

impl Dense {
    /// Adds the histogram of a line of the interval log. `room` is scratch space.
    pub fn add_line(&mut self, line: &str, room: &mut Vec<u8>) -> Result<(), Fail> {
        hlog::visit(line, room, |at, count| {
            let at = at as usize;
            // Nearly always: seconds of one run look alike.
            if let Some(slot) = self.counts.get_mut(at.wrapping_sub(self.base)) {
                *slot += count;
                return;
            }
            if self.counts.is_empty() {
                self.base = at;
            } else if at < self.base {
                self.counts.splice(0..0, std::iter::repeat_n(0, self.base - at));
                self.base = at;
            }
            let slot = at - self.base;
            if slot >= self.counts.len() {
                self.counts.resize(slot + 1, 0);
            }
            self.counts[slot] += count;
        })
    }

    /// The counts by lowest value of their bucket; this is empty then, its room kept.
    pub fn take(&mut self) -> Buckets {
        let full = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        let buckets = full.map(|(slot, n)| (hlog::lowest((self.base + slot) as u64), *n)).collect();
        self.counts.clear();
        buckets
    }
}
