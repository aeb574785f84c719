//! The one ordered queue of a run: every input is stamped with its offset on arrival. Never blocks a sender; bounded,
//! because deltas that pile up are merged. Must not interpret inputs.

use shakedown_core::event::Input;
use shakedown_core::seams::{Epoch, Sink};
use shakedown_core::snapshot::Snapshot;
use shakedown_core::units::Offset;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::Notify;

/// Offsets before the epoch count up from here, in nanoseconds since the inbox was made (about 11 days of room).
pub const BEFORE_EPOCH: Offset = Offset(-1_000_000_000_000_000);
/// Beyond this length snapshots, ticks and attestations are merged with those already waiting.
const COALESCE: usize = 64;
/// Beyond this length nothing is taken in any more and the run is halted: only a broken sender gets here.
const LONGEST: usize = 65_536;

/// The receiving end; given to [`run`](crate::run()).
pub struct Inbox {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    queue: VecDeque<(Offset, Input)>,
    clock: Clock,
    overflowed: bool,
}

struct Clock {
    made: Instant,
    epoch: Option<Epoch>,
    last: Offset,
}

struct Sender(Arc<Shared>);

/// Makes the queue: its receiving end for [`run`](crate::run()), and the sink that services and load send to.
#[must_use]
pub fn inbox() -> (Inbox, Arc<dyn Sink>) {
    let clock = Clock { made: Instant::now(), epoch: None, last: BEFORE_EPOCH };
    let state = State { queue: VecDeque::new(), clock, overflowed: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() });
    (Inbox { shared: shared.clone() }, Arc::new(Sender(shared)))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the queue panics")
    }
}

impl Sink for Sender {
    fn send(&self, input: Input) {
        self.0.lock().push(input);
        self.0.wake.notify_one();
    }
}

impl State {
    fn push(&mut self, input: Input) {
        let at = self.clock.now();
        let crowded = self.queue.len() >= COALESCE;
        let input = match input {
            Input::Tick if self.queue.iter().any(|(_, i)| *i == Input::Tick) => return,
            Input::Snapshot(new) if crowded => self.absorb(new),
            Input::Attested { fault, hits } if crowded => {
                self.queue.retain(|(_, i)| !matches!(i, Input::Attested { fault: f, .. } if *f == fault));
                Input::Attested { fault, hits }
            }
            other => other,
        };
        if self.queue.len() >= LONGEST {
            self.overflowed = true;
        } else {
            self.queue.push_back((at, input));
        }
    }

    /// Takes the waiting snapshot out of the queue and merges the new one into it. Evidence is only ever made later by
    /// this, never earlier.
    fn absorb(&mut self, new: Snapshot) -> Input {
        let waiting = self.queue.iter().rposition(|(_, i)| matches!(i, Input::Snapshot(_)));
        match waiting.and_then(|i| self.queue.remove(i)) {
            Some((_, Input::Snapshot(mut old))) => {
                old.then(new);
                Input::Snapshot(old)
            }
            _ => Input::Snapshot(new),
        }
    }
}

impl Clock {
    fn now(&mut self) -> Offset {
        let raw = match self.epoch {
            Some(epoch) => epoch.offset(Instant::now()),
            None => {
                let nanos = i64::try_from(self.made.elapsed().as_nanos()).unwrap_or(i64::MAX);
                Offset(BEFORE_EPOCH.0.saturating_add(nanos).min(-1))
            }
        };
        self.last = self.last.max(raw);
        self.last
    }
}

impl Inbox {
    /// The next input, in order; waits for it.
    pub(crate) async fn recv(&self) -> (Offset, Input) {
        loop {
            if let Some(next) = self.shared.lock().queue.pop_front() {
                return next;
            }
            self.shared.wake.notified().await;
        }
    }

    /// A further sink of this queue.
    #[must_use]
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(Sender(self.shared.clone()))
    }

    /// Fixes the epoch: a moment ahead, so that the first arrivals are not late already.
    pub(crate) fn fix_epoch(&self, at: Instant) -> Epoch {
        let mut state = self.shared.lock();
        *state.clock.epoch.get_or_insert(Epoch(at))
    }

    /// Inputs were lost: the run cannot be trusted any more. Answers once.
    pub(crate) fn overflowed(&self) -> bool {
        std::mem::take(&mut self.shared.lock().overflowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shakedown_core::snapshot::{Arm, Dim, StreamTotals};
    use shakedown_core::snapshot::{Cell, CellKey};
    use std::collections::BTreeMap;

    fn snapshot(ok: u64) -> Snapshot {
        let key = CellKey { slice: 1, stream: 0, arm: Arm::All, dim: Dim::Whole };
        let mut cell = Cell { ok, ..Cell::default() };
        cell.latency.record(1000 * ok);
        let streams = BTreeMap::from([(0, StreamTotals { sent: ok, in_flight: ok, ..StreamTotals::default() })]);
        Snapshot { as_of: Offset(ok as i64), cells: vec![(key, cell)], streams, ..Snapshot::default() }
    }

    #[tokio::test]
    async fn snapshots_beyond_the_bound_merge_without_loss() {
        let (inbox, sink) = inbox();
        for i in 1..=1000 {
            sink.send(Input::Snapshot(snapshot(i)));
        }
        assert!(inbox.shared.lock().queue.len() <= COALESCE);
        let (mut ok, mut sent, mut samples) = (0, 0, 0);
        while !inbox.shared.lock().queue.is_empty() {
            let (_, Input::Snapshot(s)) = inbox.recv().await else { panic!("only snapshots were sent") };
            ok += s.cells.iter().map(|(_, c)| c.ok).sum::<u64>();
            samples += s.cells.iter().map(|(_, c)| c.latency.count()).sum::<u64>();
            sent += s.streams[&0].sent;
        }
        assert_eq!((ok, sent, samples), (500_500, 500_500, 1000));
    }

    #[tokio::test]
    async fn offsets_never_go_back_and_ticks_do_not_pile_up() {
        let (inbox, sink) = inbox();
        sink.send(Input::Tick);
        sink.send(Input::Tick);
        sink.send(Input::Samples(Vec::new()));
        inbox.fix_epoch(Instant::now() + std::time::Duration::from_millis(5));
        sink.send(Input::Samples(Vec::new()));
        let (a, tick) = inbox.recv().await;
        let (b, _) = inbox.recv().await;
        let (c, _) = inbox.recv().await;
        assert_eq!(tick, Input::Tick);
        assert!(a < b && b < c && a < Offset(-900_000_000_000_000), "{a:?} {b:?} {c:?}");
        assert!(inbox.shared.lock().queue.is_empty());
    }

    #[tokio::test]
    async fn losing_an_input_is_noticed() {
        let (inbox, sink) = inbox();
        for _ in 0..=LONGEST {
            sink.send(Input::Samples(Vec::new()));
        }
        assert!(inbox.overflowed());
        assert!(!inbox.overflowed());
    }
}
