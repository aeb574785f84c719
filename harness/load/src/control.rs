//! What the workers have been told, and how they hear of it: one value, a version, and a bell for each. Must not decide.

use crate::collect::Collector;
use shakedown_core::seams::{LoadMode, Sink};
use shakedown_core::{Epoch, Offset};
use shakedown_net::Notifier;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// When offset 0 is, and who hears of it.
#[derive(Clone)]
pub struct Clock {
    /// Offset 0.
    pub epoch: Epoch,
    /// Where halts and samples go.
    pub sink: Arc<dyn Sink>,
    /// Where snapshots go.
    pub collector: Arc<Collector>,
}

/// Everything the workers are told.
#[derive(Clone)]
pub struct Told {
    /// Once started.
    pub clock: Option<Clock>,
    /// Starts of streams that wait for a stage or fault.
    pub streams: BTreeMap<String, Offset>,
    /// Mode.
    pub mode: LoadMode,
    /// Stop.
    pub stop: bool,
}

/// The shared value.
pub struct Control {
    told: Mutex<Told>,
    version: AtomicU64,
    bells: Mutex<Vec<Notifier>>,
}

const UNBROKEN: &str = "no holder panics";

impl Default for Control {
    fn default() -> Control {
        let told = Told { clock: None, streams: BTreeMap::new(), mode: LoadMode::Full, stop: false };
        Control { told: Mutex::new(told), version: AtomicU64::new(1), bells: Mutex::default() }
    }
}

impl Control {
    /// Changes what is told and wakes everybody.
    pub fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().expect(UNBROKEN));
        self.version.fetch_add(1, Ordering::Release);
        self.bells.lock().expect(UNBROKEN).iter().for_each(Notifier::notify);
    }

    /// Wakes a worker at every change from here on.
    pub fn listen(&self, bell: Notifier) {
        self.bells.lock().expect(UNBROKEN).push(bell);
    }

    /// What is told, when it has changed since `seen`.
    #[inline]
    pub fn news(&self, seen: &mut u64) -> Option<Told> {
        let version = self.version.load(Ordering::Acquire);
        if version == *seen {
            return None;
        }
        *seen = version;
        Some(self.told.lock().expect(UNBROKEN).clone())
    }

    /// What is told.
    pub fn now(&self) -> Told {
        self.told.lock().expect(UNBROKEN).clone()
    }
}
