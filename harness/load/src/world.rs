//! What the tasks of one worker share: streams with their connections, records, limits, mode. Decides whether
//! something may be sent; sends nothing itself.

use crate::alarm::Alarm;
use crate::client::Pool;
use crate::compile::{Step, Stream};
use crate::record::{DimId, Recorder, WHOLE};
use crate::samples::{Redactor, Samples};
use crate::source::Source;
use http::HeaderValue;
use shakedown_core::event::HaltBy;
use shakedown_core::seams::{LoadMode, Sink};
use shakedown_core::snapshot::Failure;
use shakedown_core::{Arm, Cell as Counts, Epoch, Input, Offset};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Logical requests in flight when the plan sets no limit.
pub const DEFAULT_IN_FLIGHT: u64 = 10_000;
/// Most journeys under way, thinking ones too; more arrivals are dropped.
pub const MAX_JOURNEYS: u64 = 1_000_000;

/// Shared by the tasks of a worker.
pub struct World {
    /// Streams.
    pub lanes: Vec<Lane>,
    /// Value of `x-shakedown-run`.
    pub run: HeaderValue,
    /// The run ID as text: it makes trace IDs differ between runs of one seed.
    pub run_id: String,
    /// Base URLs by target name.
    pub targets: BTreeMap<String, String>,
    /// Counts.
    pub recorder: RefCell<Recorder>,
    /// Samples.
    pub samples: RefCell<Samples>,
    /// Takes secrets out of samples.
    pub redactor: Redactor,
    /// Wakes on time.
    pub alarm: Rc<Alarm>,
    /// Offset 0.
    pub epoch: Epoch,
    /// Where snapshots go.
    pub sink: Arc<dyn Sink>,
    /// Limits of the plan.
    pub limits: Caps,
    /// Changes whenever mode or stop do.
    pub changes: watch::Sender<()>,
    in_flight: Cell<u64>,
    journeys: Cell<u64>,
    attempts: Cell<u64>,
    mode: Cell<LoadMode>,
    stopped: Cell<bool>,
    halted: Cell<bool>,
    resumed: Cell<Offset>,
}

/// Ceilings that load keeps itself.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Most logical requests in flight.
    pub in_flight: u64,
    /// Most attempts in all.
    pub requests: u64,
}

/// One stream of a worker.
pub struct Lane {
    /// Connections.
    pub pool: Pool,
    /// All arrivals are out.
    pub ended: Cell<bool>,
    /// When its shape began.
    pub started: Cell<Option<Offset>>,
    /// The arrivals once more, for counting what was due.
    pub asked: RefCell<Option<Source>>,
    /// Dimensions of each journey's steps.
    pub steps: Vec<Vec<Vec<DimId>>>,
    /// Dimension of each journey, if any.
    pub journeys: Vec<Vec<DimId>>,
    streams: Arc<Vec<Stream>>,
    index: usize,
    in_flight: Cell<u64>,
}

/// One logical request in flight; gone when dropped.
pub struct Flight {
    world: Rc<World>,
    lane: usize,
}

/// One journey under way; gone when dropped.
pub struct Trip(Rc<World>);

impl Lane {
    /// A lane for stream `index`; its dimensions are entered into `recorder`.
    #[must_use]
    pub fn new(streams: &Arc<Vec<Stream>>, index: usize, pool: Pool, recorder: &mut Recorder) -> Lane {
        let spec = &streams[index];
        let dims_of = |step: &Step, recorder: &mut Recorder| match step {
            Step::Request(r) => std::iter::once(WHOLE).chain(r.dim.clone().map(|d| recorder.dim(d))).collect(),
            Step::Think(..) => Vec::new(),
        };
        let steps = spec.journeys.iter().map(|j| j.steps.iter().map(|s| dims_of(s, recorder)).collect()).collect();
        let journeys = spec.journeys.iter().map(|j| j.dim.clone().map(|d| recorder.dim(d)).into_iter().collect()).collect();
        Lane {
            pool,
            ended: Cell::new(false),
            started: Cell::new(None),
            asked: RefCell::new(None),
            steps,
            journeys,
            streams: Arc::clone(streams),
            index,
            in_flight: Cell::new(0),
        }
    }

    /// The compiled stream.
    #[must_use]
    pub fn spec(&self) -> &Stream {
        &self.streams[self.index]
    }

    /// Counts arrivals that became due up to `now`, by the pacer alone.
    pub fn count_asked(&self, now: Offset, recorder: &mut Recorder) {
        let due = self.pass(now);
        recorder.totals(self.spec().index).asked += due;
    }

    /// Takes the arrivals due up to `now` out of the counting source; how many.
    fn pass(&self, now: Offset) -> u64 {
        match (self.started.get(), &mut *self.asked.borrow_mut()) {
            (Some(start), Some(asked)) if now >= start => asked.take_until(now.since(start), self.spec().log.as_ref()),
            _ => 0,
        }
    }
}

impl World {
    /// A world in mode `Full`.
    #[allow(clippy::too_many_arguments, reason = "one call, in the worker")]
    #[must_use]
    pub fn new(
        lanes: Vec<Lane>,
        run_id: String,
        run: HeaderValue,
        targets: BTreeMap<String, String>,
        recorder: Recorder,
        samples: (Samples, Redactor),
        alarm: Rc<Alarm>,
        clock: (Epoch, Arc<dyn Sink>),
        limits: Caps,
    ) -> World {
        World {
            lanes,
            run,
            run_id,
            targets,
            recorder: RefCell::new(recorder),
            samples: RefCell::new(samples.0),
            redactor: samples.1,
            alarm,
            epoch: clock.0,
            sink: clock.1,
            limits,
            changes: watch::channel(()).0,
            in_flight: Cell::new(0),
            journeys: Cell::new(0),
            attempts: Cell::new(0),
            mode: Cell::new(LoadMode::Full),
            stopped: Cell::new(false),
            halted: Cell::new(false),
            resumed: Cell::new(Offset(i64::MIN)),
        }
    }

    /// The offset now.
    #[must_use]
    pub fn now(&self) -> Offset {
        self.epoch.offset(Instant::now())
    }

    /// The moment of an offset.
    #[must_use]
    pub fn instant(&self, at: Offset) -> Instant {
        let span = Duration::from_nanos(at.0.unsigned_abs());
        if at.0 >= 0 { self.epoch.0 + span } else { self.epoch.0.checked_sub(span).unwrap_or(self.epoch.0) }
    }

    /// The mode now.
    #[must_use]
    pub fn mode(&self) -> LoadMode {
        self.mode.get()
    }

    /// Arrivals before this offset fell into a time without load.
    #[must_use]
    pub fn resumed(&self) -> Offset {
        self.resumed.get()
    }

    /// Streams send (and arrivals count as asked).
    #[must_use]
    pub fn flowing(&self) -> bool {
        matches!(self.mode.get(), LoadMode::Full | LoadMode::Finish) && !self.stopped.get()
    }

    /// Whether another request of a journey (or of the probe) may be sent.
    #[must_use]
    pub fn may_send(&self, probe: bool) -> bool {
        !self.stopped.get() && !self.halted.get() && if probe { self.mode.get() == LoadMode::Probe } else { self.flowing() }
    }

    /// Changes the mode at `now`: what was due under the old one is counted first.
    pub fn set_mode(&self, mode: LoadMode, now: Offset) {
        let flowed = self.flowing();
        self.count_asked(now);
        self.mode.set(mode);
        for lane in &self.lanes {
            if !flowed {
                lane.pass(now);
            }
            if let Some(asked) = &mut *lane.asked.borrow_mut() {
                asked.go_on(mode == LoadMode::Full);
            }
        }
        if !flowed && self.flowing() {
            self.resumed.set(now);
        }
        self.changes.send_replace(());
    }

    /// Nothing is sent any more.
    pub fn stop(&self) {
        self.count_asked(self.now());
        self.stopped.set(true);
        self.changes.send_replace(());
    }

    /// Counts what became due up to `now`, while streams flow.
    pub fn count_asked(&self, now: Offset) {
        if self.flowing() {
            let mut recorder = self.recorder.borrow_mut();
            self.lanes.iter().for_each(|lane| lane.count_asked(now, &mut recorder));
        }
    }

    /// Takes one attempt from `limits.requests`; the first refusal halts the run.
    #[must_use]
    pub fn take_attempt(&self) -> bool {
        if self.attempts.get() < self.limits.requests {
            self.attempts.set(self.attempts.get() + 1);
            return true;
        }
        if !self.halted.replace(true) {
            self.sink.send(Input::Halt(HaltBy::Limit("requests".to_owned())));
        }
        false
    }

    /// Room for one more logical request of a new arrival; `None` at the limit.
    #[must_use]
    pub fn admit(self: &Rc<World>, lane: usize) -> Option<(Flight, Trip)> {
        if self.in_flight.get() >= self.limits.in_flight || self.journeys.get() >= MAX_JOURNEYS {
            return None;
        }
        self.journeys.set(self.journeys.get() + 1);
        Some((self.fly(lane), Trip(Rc::clone(self))))
    }

    /// One more logical request of a journey that was admitted already.
    #[must_use]
    pub fn fly(self: &Rc<World>, lane: usize) -> Flight {
        self.in_flight.set(self.in_flight.get() + 1);
        self.lanes[lane].in_flight.set(self.lanes[lane].in_flight.get() + 1);
        Flight { world: Rc::clone(self), lane }
    }

    /// Logical requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// Hands over everything observed up to now. `cpu` is the worker's processor time since the last snapshot.
    pub fn emit(&self, cpu: u64) {
        let now = self.now();
        self.count_asked(now);
        let mut recorder = self.recorder.borrow_mut();
        for lane in self.lanes.iter().filter(|l| l.started.get().is_some()) {
            let totals = recorder.totals(lane.spec().index);
            totals.in_flight = lane.in_flight.get();
            totals.ended = lane.ended.get();
        }
        let snapshot = recorder.take(now, cpu);
        drop(recorder);
        self.sink.send(Input::Snapshot(snapshot));
    }

    /// An arrival that was not admitted.
    pub fn drop_arrival(&self, lane: usize, journey: Option<usize>, due: Offset) {
        let lane = &self.lanes[lane];
        let mut recorder = self.recorder.borrow_mut();
        let (slice, stream) = (recorder.slice(due), lane.spec().index);
        recorder.totals(stream).dropped += 1;
        let first = journey.and_then(|j| lane.steps[j].iter().find(|dims| !dims.is_empty()));
        let dims = first.map_or(&[WHOLE][..], Vec::as_slice).iter().chain(journey.map_or(&[][..], |j| &lane.journeys[j]));
        for &dim in dims {
            recorder.cell(slice, stream, Arm::All, dim, |c: &mut Counts| {
                c.due += 1;
                *c.failed.entry(Failure::Dropped).or_default() += 1;
            });
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.world.in_flight.set(self.world.in_flight.get() - 1);
        let lane = &self.world.lanes[self.lane].in_flight;
        lane.set(lane.get() - 1);
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        self.0.journeys.set(self.0.journeys.get() - 1);
    }
}
