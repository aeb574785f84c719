//! How exactly arrivals are sent: what the plan says, or what suits its rate and this machine. Must not measure.

use crate::curve;
use shakedown_core::plan::{Model, Plan};
use shakedown_core::{Rate, Span};

/// Planned arrivals a second that one worker takes.
const PER_WORKER: u64 = 50_000;
/// Planned arrivals a second of a worker above which a quantum is kept to.
const EXACT: u64 = 50_000;
/// ... and above which a coarse one is.
const FINE: u64 = 200_000;
/// Planned arrivals a second of a worker up to which the clock is watched before each send.
const WATCHED: u64 = 5_000;
const FINE_QUANTUM: Span = Span(100_000);
const COARSE_QUANTUM: Span = Span::millis(1);
const SPIN: Span = Span(50_000);
/// Most workers.
const MOST: usize = 256;
const HZ: u64 = 1_000_000_000;

/// What is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Sends are rounded up to multiples of this; zero is not at all.
    pub quantum: Span,
    /// The clock is watched for this long before each send.
    pub spin: Span,
    /// Threads.
    pub workers: u16,
}

impl InForce {
    /// For a plan (a segment of `of` has that part of its rate) on a machine with so many processors.
    #[must_use]
    pub fn choose(plan: &Plan, of: u32, cores: usize) -> InForce {
        let rate = peak(plan) / u64::from(of.max(1));
        let eager = plan.streams.iter().any(|s| matches!(s.model, Model::Closed { think, .. } if think.1 == Span::ZERO));
        let cores = cores.clamp(1, MOST);
        let by_rate = usize::try_from(rate.div_ceil(PER_WORKER)).unwrap_or(MOST).clamp(1, cores);
        let usual = if eager { by_rate.max(cores / 2).max(1) } else { by_rate };
        // Each worker keeps connections of its own: no more workers than the smallest pool has connections.
        let smallest = plan.streams.iter().map(|s| s.connections.max.div_ceil(of.max(1)).max(1)).min().unwrap_or(1) as usize;
        let workers = plan.precision.workers.map_or(usual, usize::from).clamp(1, MOST).min(smallest);
        let each = rate / workers as u64;
        let coarse = if each > FINE { COARSE_QUANTUM } else { FINE_QUANTUM };
        let quantum = if each > EXACT { coarse } else { Span::ZERO };
        let spin = if each <= WATCHED && cores >= 2 { SPIN } else { Span::ZERO };
        InForce {
            quantum: plan.precision.quantum.unwrap_or(quantum),
            spin: plan.precision.spin.unwrap_or(spin),
            workers: u16::try_from(workers).unwrap_or(1),
        }
    }

    /// A due time (ns after the epoch) rounded up to the grid.
    #[inline]
    #[must_use]
    pub fn wake(&self, due: i64) -> i64 {
        let quantum = i64::try_from(self.quantum.0).unwrap_or(0);
        if quantum == 0 { due } else { due.saturating_add(quantum - 1).div_euclid(quantum).saturating_mul(quantum) }
    }

    /// What is due at `now` on the grid: everything up to this.
    #[inline]
    #[must_use]
    pub fn due_by(&self, now: i64) -> i64 {
        let quantum = i64::try_from(self.quantum.0).unwrap_or(0);
        if quantum == 0 { now } else { now.div_euclid(quantum) * quantum }
    }
}

/// Highest planned arrivals a second of all open streams together. Replays and users' think times count by their means.
fn peak(plan: &Plan) -> u64 {
    let one = |s: &shakedown_core::plan::Stream| match &s.model {
        Model::Open { shape, .. } => shape.iter().map(curve::peak).max().unwrap_or(Rate(0)).0 / HZ,
        Model::Closed { users, think, .. } => {
            let mean = (think.0.0 / 2 + think.1.0 / 2).max(1);
            if think.1 == Span::ZERO { 0 } else { u64::from(*users).saturating_mul(HZ) / mean }
        }
        Model::Replay(_) => 0,
    };
    plan.streams.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(quantum: u64) -> InForce {
        InForce { quantum: Span(quantum), spin: Span::ZERO, workers: 1 }
    }

    #[test]
    fn due_times_are_rounded_up_to_the_grid() {
        assert_eq!([grid(0).wake(123), grid(100).wake(100), grid(100).wake(101), grid(100).wake(-1)], [123, 100, 200, 0]);
        assert_eq!([grid(0).due_by(123), grid(100).due_by(199), grid(100).due_by(200)], [123, 100, 200]);
    }
}
