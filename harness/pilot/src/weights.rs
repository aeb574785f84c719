//! The router's weight: what was asked for, what is in effect, and the flaws between the two. Must not know HTTP.

use crate::flaws::{Flaw, Flaws};
use crate::split::Side;
use shakedown_core::Ppm;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// `slow-rollback`: how long a decrease has no effect.
const SLOW_ROLLBACK: Duration = Duration::from_secs(8);

/// `ignores-weight`: the canary's share, whatever is asked.
const WRONG_SHARE: Ppm = Ppm(120_000);

/// `rollback-errors`: how long after a decrease every request fails.
const ROLLBACK_ERRORS: Duration = Duration::from_secs(2);

/// Shared by router and admin.
pub(crate) struct Weights {
    flaws: Flaws,
    started: Instant,
    effective: AtomicU32,
    fails_until_ns: AtomicU64,
    control: AtomicU64,
    canary: AtomicU64,
    asked: Mutex<Asked>,
}

struct Asked {
    canary: Ppm,
    owner: Option<String>,
    ever_above_zero: bool,
    changes: u64,
    pending: Option<AbortHandle>,
}

/// What the router reports.
pub(crate) struct Report {
    pub(crate) canary: Ppm,
    pub(crate) owner: Option<String>,
    pub(crate) requests: [u64; 2],
}

/// The weight is not taken.
pub(crate) struct Refused(pub(crate) String);

impl Weights {
    /// All traffic to the control.
    pub(crate) fn new(flaws: Flaws) -> Weights {
        Weights {
            flaws,
            started: Instant::now(),
            effective: AtomicU32::new(0),
            fails_until_ns: AtomicU64::new(0),
            control: AtomicU64::new(0),
            canary: AtomicU64::new(0),
            asked: Mutex::new(Asked { canary: Ppm::ZERO, owner: None, ever_above_zero: false, changes: 0, pending: None }),
        }
    }

    /// The weight to route by now.
    pub(crate) fn effective(&self) -> Ppm {
        Ppm(self.effective.load(Ordering::SeqCst))
    }

    /// Does every request fail now?
    pub(crate) fn fails(&self) -> bool {
        self.flaws.has(Flaw::RollbackErrors) && self.now_ns() < self.fails_until_ns.load(Ordering::Relaxed)
    }

    /// Counts a routed request.
    pub(crate) fn count(&self, side: Side) {
        let counter = match side {
            Side::Control => &self.control,
            Side::Canary => &self.canary,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Weight, owner and counts.
    pub(crate) fn report(&self) -> Report {
        let asked = self.asked.lock().expect("no holder panics");
        let requests = [self.control.load(Ordering::Relaxed), self.canary.load(Ordering::Relaxed)];
        Report { canary: asked.canary, owner: asked.owner.clone(), requests }
    }

    /// Takes a weight; when this returns, requests are routed by it (unless a flaw says otherwise).
    pub(crate) fn ask(self: &Arc<Self>, canary: Ppm, owner: Option<String>) -> Result<(), Refused> {
        let mut asked = self.asked.lock().expect("no holder panics");
        let decrease = canary < asked.canary;
        if decrease && self.flaws.has(Flaw::RefusesRollback) {
            return Err(Refused(format!("the weight cannot be decreased from {} to {canary}", asked.canary)));
        }
        asked.changes += 1;
        asked.canary = canary;
        asked.owner = owner;
        asked.ever_above_zero |= canary > Ppm::ZERO;
        if let Some(pending) = asked.pending.take() {
            pending.abort();
        }
        if decrease && self.flaws.has(Flaw::RollbackErrors) {
            let until = self.now_ns() + u64::try_from(ROLLBACK_ERRORS.as_nanos()).expect("two seconds fit");
            self.fails_until_ns.store(until, Ordering::Relaxed);
        }
        if self.flaws.has(Flaw::IgnoresWeight) && asked.ever_above_zero {
            self.route_by(WRONG_SHARE);
        } else if self.flaws.has(Flaw::SlowRollback) && canary < self.effective() {
            asked.pending = Some(self.clone().apply_late(canary, asked.changes));
        } else {
            self.route_by(canary);
        }
        Ok(())
    }

    fn apply_late(self: Arc<Self>, canary: Ppm, change: u64) -> AbortHandle {
        let late = async move {
            tokio::time::sleep(SLOW_ROLLBACK).await;
            let asked = self.asked.lock().expect("no holder panics");
            if asked.changes == change {
                self.route_by(canary);
            }
        };
        tokio::spawn(late).abort_handle()
    }

    fn route_by(&self, canary: Ppm) {
        self.effective.store(canary.0, Ordering::SeqCst);
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
