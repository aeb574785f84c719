//! One stream of snapshots out of several workers'. Every worker reports once a beat or, when it is late, for several beats
//! at once; what all have reported up to is merged and handed on, in order. Must not count or change anything.
//!
//! A merged snapshot knows what the slowest worker knows. A worker that says nothing holds the others' reports back: they
//! are folded together past [`MAX_PENDING`], never sent as if they were everything.

use shakedown_core::seams::Sink;
use shakedown_core::{Input, Offset, Snapshot};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Reports of one worker that wait for the other workers; further ones are folded into the newest.
const MAX_PENDING: usize = 64;

/// Merges the workers' snapshots.
pub struct Collector {
    sink: Arc<dyn Sink>,
    /// With one worker there is nothing to collect.
    alone: bool,
    state: Mutex<State>,
}

struct State {
    workers: Vec<Worker>,
    /// Somebody is merging and sending; it goes on until nothing is ready, so nobody waits and the order is kept.
    sending: bool,
}

#[derive(Default)]
struct Worker {
    pending: VecDeque<(u64, Snapshot)>,
    gone: bool,
}

impl Collector {
    /// Collects from `workers` (numbered from 0) for `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>, workers: usize) -> Arc<Collector> {
        let state = State { workers: (0..workers).map(|_| Worker::default()).collect(), sending: false };
        Arc::new(Collector { sink, alone: workers <= 1, state: Mutex::new(state) })
    }

    /// What `worker` has to report at `beat`: everything since its last report. Beats of a worker only grow; it may leave
    /// some out. Whoever completes a beat merges and sends; the others never wait for that.
    pub fn add(&self, worker: usize, beat: u64, snapshot: Snapshot) {
        self.report(worker, beat, snapshot, false);
    }

    /// The last that `worker` has to report. It goes on with the next beat of the others, or now when it is the last of all.
    pub fn last(&self, worker: usize, snapshot: Snapshot) {
        self.report(worker, 0, snapshot, true);
    }

    /// `worker` reports nothing any more and is not waited for. Does nothing after [`Collector::last`].
    pub fn leave(&self, worker: usize) {
        if !self.alone {
            let mut state = self.lock();
            state.workers[worker].gone = true;
            self.send(state);
        }
    }

    fn report(&self, worker: usize, beat: u64, snapshot: Snapshot, gone: bool) {
        if self.alone {
            self.sink.send(Input::Snapshot(snapshot));
            return;
        }
        let mut state = self.lock();
        let own = &mut state.workers[worker];
        own.gone |= gone;
        let full = own.pending.len() >= MAX_PENDING;
        match own.pending.back_mut() {
            Some((last, before)) if full || gone || beat <= *last => {
                *last = beat.max(*last);
                before.then(snapshot);
            }
            _ => own.pending.push_back((beat, snapshot)),
        }
        self.send(state);
    }

    /// Sends what is ready, unless somebody is at it.
    fn send<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if state.sending {
            return;
        }
        state.sending = true;
        // Ends: every turn takes reports away, and a worker adds at most one while others merge its last.
        while let Some(reports) = state.ready() {
            drop(state);
            if let Some(snapshot) = merged(reports) {
                self.sink.send(Input::Snapshot(snapshot));
            }
            state = self.lock();
        }
        state.sending = false;
    }

    /// No holder panics while the state is half changed: all it does is to move reports in and out.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's reports for a merged snapshot, and whether they are its last.
struct Reports {
    taken: Vec<Snapshot>,
    gone: bool,
}

impl State {
    /// The reports of the earliest beat up to which all who are still there have reported; all that is left when nobody is.
    fn ready(&mut self) -> Option<Vec<Reports>> {
        let first = |w: &Worker| w.pending.front().map(|(beat, _)| *beat);
        if self.workers.iter().any(|w| !w.gone && w.pending.is_empty()) {
            return None;
        }
        // Everybody's first is in it, so nobody's news are missing; and nobody is still on the way to it.
        let beat = self.workers.iter().filter_map(first).max()?;
        let all_gone = self.workers.iter().all(|w| w.gone);
        if self.workers.iter().any(|w| !w.gone && w.pending.back().is_some_and(|(last, _)| *last < beat)) {
            return None;
        }
        let take = |w: &mut Worker| {
            let until = w.pending.iter().take_while(|(at, _)| all_gone || *at <= beat).count();
            Reports { taken: w.pending.drain(..until).map(|(_, s)| s).collect(), gone: w.gone && w.pending.is_empty() }
        };
        Some(self.workers.iter_mut().map(take).collect())
    }
}

/// One snapshot of all, in the order of workers. Of one who is gone everything is known, whenever it was that it left.
fn merged(workers: Vec<Reports>) -> Option<Snapshot> {
    let (mut there, mut left): (Option<Offset>, Option<Offset>) = (None, None);
    let mut all: Option<Snapshot> = None;
    for worker in workers {
        let mut reports = worker.taken.into_iter();
        let Some(mut own) = reports.next() else { continue };
        reports.for_each(|later| own.then(later));
        if worker.gone {
            left = left.max(Some(own.as_of));
        } else {
            there = Some(there.map_or(own.as_of, |at| at.min(own.as_of)));
        }
        match &mut all {
            None => all = Some(own),
            Some(sum) => sum.beside(own),
        }
    }
    let mut all = all?;
    all.as_of = there.or(left).unwrap_or(all.as_of);
    Some(all)
}

#[cfg(test)]
mod tests;
