//! What a run may not exceed: attempts, requests in flight, the rate of closed users. Shared by the workers of a process;
//! between segments every limit is divided beforehand. Must not know who asks.
//!
//! A segment `i` of `n` gets `limit / n`, and one more when `i < limit mod n`, so that the parts add up; what must not be
//! zero (in flight, connections) is at least 1. The rate is divided exactly.

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use shakedown_core::plan::{Limits, Model, Plan};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Logical requests in flight when the plan sets no limit; closed users, who bound themselves, come on top.
pub const DEFAULT_IN_FLIGHT: u64 = 10_000;
/// Atto-hertz: a rate of 1 nanohertz has a period of this many nanoseconds.
const PERIOD: u64 = 1_000_000_000_000_000_000;
/// The rate may be exceeded for this long, so that fast ones do not depend on how finely time is told.
const BURST: u64 = 1_000_000;

/// One segment of a run: which part of its arrivals and limits is this process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number, from 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

/// The ceilings of one process.
#[derive(Debug)]
pub struct Ceilings {
    requests: u64,
    in_flight: u64,
    taken: AtomicU64,
    open: AtomicU64,
    halted: AtomicBool,
    rate: Option<Gate>,
}

#[derive(Debug)]
struct Gate {
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware<<DefaultClock as governor::clock::Clock>::Instant>>,
    clock: DefaultClock,
}

impl Segment {
    /// This segment's part of a limit.
    #[must_use]
    pub fn part(self, limit: u64) -> u64 {
        let of = u64::from(self.of.max(1));
        limit / of + u64::from(u64::from(self.index) < limit % of)
    }
}

impl Ceilings {
    /// The ceilings that a plan sets for one segment.
    #[must_use]
    pub fn new(plan: &Plan, segment: Segment) -> Ceilings {
        let Limits { rate, requests, in_flight, .. } = &plan.environment.limits;
        let users = |s: &shakedown_core::plan::Stream| if let Model::Closed { users, .. } = s.model { u64::from(users) } else { 0 };
        let usual = DEFAULT_IN_FLIGHT + plan.streams.iter().map(users).sum::<u64>();
        Ceilings {
            requests: requests.map_or(u64::MAX, |all| segment.part(all)),
            in_flight: segment.part(in_flight.unwrap_or(usual)).max(1),
            taken: AtomicU64::new(0),
            open: AtomicU64::new(0),
            halted: AtomicBool::new(false),
            rate: rate.and_then(|r| Gate::new(PERIOD.checked_div(r.0)?.saturating_mul(u64::from(segment.of.max(1))))),
        }
    }

    /// Takes one attempt; `Err(true)` for the first that is refused.
    ///
    /// # Errors
    /// When there is none left.
    #[inline]
    pub fn take_attempt(&self) -> Result<(), bool> {
        if self.requests == u64::MAX {
            return Ok(());
        }
        if self.taken.fetch_add(1, Ordering::Relaxed) < self.requests { Ok(()) } else { Err(!self.halted.swap(true, Ordering::Relaxed)) }
    }

    /// The last attempt was refused: nothing is sent any more.
    #[inline]
    #[must_use]
    pub fn halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// One more in flight, when a new arrival still may be.
    #[inline]
    #[must_use]
    pub fn admit(&self) -> bool {
        let admitted = self.open.fetch_add(1, Ordering::Relaxed) < self.in_flight;
        if !admitted {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        admitted
    }

    /// One more of a journey that was admitted already.
    #[inline]
    pub fn fly(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// One less in flight.
    #[inline]
    pub fn land(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether closed users have to keep to a rate.
    #[must_use]
    pub fn paced(&self) -> bool {
        self.rate.is_some()
    }

    /// Takes one request of a closed user from the rate.
    ///
    /// # Errors
    /// How long until there may be one.
    pub fn pass(&self) -> Result<(), Duration> {
        let Some(gate) = &self.rate else { return Ok(()) };
        gate.limiter.check().map_err(|not_until| not_until.wait_time_from(gate.clock.now()))
    }
}

impl Gate {
    /// `None` for a period of zero: faster than time is told.
    fn new(period: u64) -> Option<Gate> {
        let burst = u32::try_from(BURST / period.max(1)).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_nanos(period))?.allow_burst(burst);
        let clock = DefaultClock::default();
        Some(Gate { limiter: RateLimiter::direct_with_clock(quota, clock.clone()), clock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        for limit in [0u64, 1, 7, 8, 1_000_003] {
            assert_eq!((0..8).map(|index| Segment { index, of: 8 }.part(limit)).sum::<u64>(), limit);
        }
        assert_eq!(Segment { index: 0, of: 1 }.part(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_rate_lets_through_so_many() {
        let gate = Gate::new(20_000_000).unwrap();
        assert!(gate.limiter.check().is_ok());
        assert!(gate.limiter.check().is_err());
        assert!(Gate::new(0).is_none());
    }
}
