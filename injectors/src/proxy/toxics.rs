//! The toxics of one proxy: in order of insertion, changed live, counted for good.

use crate::rolls::{self, Rolls};
use crate::toxic::{Behaviour, behaviour};
use globset::{GlobBuilder, GlobMatcher};
use shakedown_core::event::Attestation;
use shakedown_core::plan::Match;
use shakedown_core::seams::Toxic;
use shakedown_core::{Fail, Ppm};
use shakedown_wire::{Head, Timer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::watch;

/// Most toxics on one proxy at once.
const MAX_TOXICS: usize = 256;

/// A toxic in place.
pub(super) struct Live {
    pub(super) id: u64,
    pub(super) behaviour: Arc<dyn Behaviour>,
    pub(super) counts: Arc<Counts>,
    pub(super) since: Instant,
    name: String,
    share: Ppm,
    seed: u64,
    method: Option<String>,
    path: Option<GlobMatcher>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) hits: AtomicU64,
    pub(super) seen: AtomicU64,
    pub(super) bytes: AtomicU64,
}

pub(super) struct Toxics {
    seed: u64,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    list: Arc<Vec<Arc<Live>>>,
    counts: BTreeMap<String, Arc<Counts>>,
    next: u64,
}

impl Live {
    /// The decision about a connection or request by its number, and the stream its further draws come from.
    pub(super) fn roll(&self, number: u64) -> Option<Rolls> {
        let mut rolls = Rolls::of(self.seed, number);
        rolls.hit(self.share).then_some(rolls)
    }

    pub(super) fn matches(&self, head: &Head) -> bool {
        self.method.as_ref().is_none_or(|m| m == head.method()) && self.path.as_ref().is_none_or(|p| p.is_match(head.path()))
    }

    pub(super) fn bytes(&self, count: u64) {
        self.counts.bytes.fetch_add(count, Ordering::Relaxed);
    }
}

impl Toxics {
    pub(super) fn new(seed: u64) -> Toxics {
        Toxics { seed, state: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Those in place now, in order.
    pub(super) fn list(&self) -> Arc<Vec<Arc<Live>>> {
        Arc::clone(&self.state.lock().expect("no holder panics").list)
    }

    /// Told at every change after now.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn add(&self, toxic: Toxic) -> Result<(), Fail> {
        let behaviour = behaviour(&toxic.kind, &toxic.params)?;
        let Match { method, path } = toxic.matches;
        let path = path.map(|glob| matcher(&glob)).transpose()?;
        let mut state = self.state.lock().expect("no holder panics");
        if state.list.iter().any(|live| live.name == toxic.name) {
            return Err(Fail::new(format!("toxic {} is on this proxy already", toxic.name)));
        }
        if state.list.len() >= MAX_TOXICS {
            return Err(Fail::new(format!("there are {MAX_TOXICS} toxics on this proxy already; remove one first")));
        }
        state.next += 1;
        let id = state.next;
        let counts = Arc::clone(state.counts.entry(toxic.name.clone()).or_default());
        let seed = rolls::named(self.seed ^ toxic.seed.rotate_left(32), &toxic.name);
        let live = Live { id, behaviour, counts, since: Instant::now(), name: toxic.name, share: toxic.share, seed, method, path };
        let mut list = Vec::clone(&state.list);
        list.push(Arc::new(live));
        state.list = Arc::new(list);
        drop(state);
        self.changed.send_modify(|version| *version += 1);
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) {
        let mut state = self.state.lock().expect("no holder panics");
        state.list = Arc::new(state.list.iter().filter(|live| live.name != name).cloned().collect());
        drop(state);
        self.changed.send_modify(|version| *version += 1);
    }

    pub(super) fn attest(&self, name: &str) -> Attestation {
        let state = self.state.lock().expect("no holder panics");
        let Some(counts) = state.counts.get(name) else { return Attestation::default() };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Attestation { hits: read(&counts.hits), seen: read(&counts.seen), bytes: read(&counts.bytes) }
    }

    pub(super) fn in_place(&self, id: u64) -> bool {
        self.list().iter().any(|live| live.id == id)
    }

    /// Resolves when the toxic is gone.
    pub(super) async fn gone(&self, id: u64) {
        let mut changed = self.subscribe();
        while self.in_place(id) && changed.changed().await.is_ok() {}
    }

    /// Waits until a moment; `false` when the toxic went before it.
    pub(super) async fn wait(&self, id: u64, until: Instant, timer: &Timer) -> bool {
        tokio::select! {
            biased;
            () = self.gone(id) => false,
            () = timer.until(until) => true,
        }
    }
}

fn matcher(glob: &str) -> Result<GlobMatcher, Fail> {
    let built = GlobBuilder::new(glob).literal_separator(false).build();
    built.map(|g| g.compile_matcher()).map_err(|e| Fail::new(format!("`{glob}` is not a glob over paths: {e}; for one /charge/*")))
}
