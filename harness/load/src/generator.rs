//! The generator as the engine sees it: core's `Load` in front of its worker threads. Every call but `prepare` and `stop`
//! returns at once; what was asked is kept in one value that the workers follow.

use crate::ceilings::{Ceilings, Segment};
use crate::cells::Cells;
use crate::collect::Collector;
use crate::compile::{self, Stream};
use crate::control::{Clock, Control};
use crate::link::Described;
use crate::precision::InForce;
use crate::samples::Finale;
use crate::worker::{self, Seat};
use shakedown_core::event::HaltBy;
use shakedown_core::plan::Plan;
use shakedown_core::seams::{Boxed, Endpoints, Load, LoadMode, Sink};
use shakedown_core::{AllowList, Epoch, Fail, Input, Offset, Secrets};
use shakedown_net::{Alpn, Route};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// How much longer than its own drain `stop` waits for the workers.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// Most segments of one run.
const MAX_SEGMENTS: u32 = 10_000;

/// What a generator is wired to.
#[derive(Clone)]
pub struct Wiring {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Endpoints of the run; looked up when `prepare` is called and at every new connection.
    pub endpoints: Endpoints,
    /// What may get load.
    pub allow: AllowList,
    /// Secret values for templates.
    pub secrets: Arc<Secrets>,
    /// Run ID, 32 hex digits.
    pub run: String,
    /// Which part of the arrivals is this generator's: number (from 0) and count; `(0, 1)` is all of them. Arrival `k`
    /// belongs to segment `k mod count`; limits and connections are divided (see `ceilings`).
    pub segment: (u32, u32),
}

/// What generator and workers share.
pub struct Shared {
    /// Wiring.
    pub wiring: Wiring,
    /// Which segment.
    pub segment: Segment,
    /// Precision in force.
    pub force: InForce,
    /// Compiled streams.
    pub streams: Vec<Stream>,
    /// Ways to the targets in use, by name.
    pub routes: BTreeMap<String, Route>,
    /// Descriptions of gRPC services by target: had once, by whichever worker is first.
    pub schemas: BTreeMap<String, Described>,
    /// Limits.
    pub ceilings: Arc<Ceilings>,
    /// Which cells there may be.
    pub cells: Arc<Cells>,
    /// What is told.
    pub control: Control,
    /// Samples of workers that have ended.
    pub finale: Finale,
}

/// Hears how something of a worker came out.
type Outcome = oneshot::Receiver<Result<(), Fail>>;

struct Generator {
    wiring: Wiring,
    streams: Mutex<Option<Vec<Stream>>>,
    shared: Mutex<Option<Arc<Shared>>>,
    /// What was told before there was anybody to hear it.
    early: Mutex<Early>,
    workers: Mutex<Vec<Outcome>>,
}

#[derive(Default)]
struct Early {
    mode: Option<LoadMode>,
    streams: BTreeMap<String, Offset>,
}

const UNBROKEN: &str = "no holder panics";

/// A generator for the plan's streams. Reads feeds and logs and compiles every request; opens no socket.
///
/// # Errors
/// Names the file and line, or the stream and step, that cannot be used; or the segment that there is not.
pub fn generator(w: Wiring) -> Result<Arc<dyn Load>, Fail> {
    let (index, of) = w.segment;
    if of == 0 || index >= of || of > MAX_SEGMENTS {
        return Err(Fail::new(format!("there is no segment {} of {of}; there are 1 to {MAX_SEGMENTS}", u64::from(index) + 1)));
    }
    let streams = compile::streams(&w.plan, &w.secrets)?;
    Ok(Arc::new(Generator {
        wiring: w,
        streams: Mutex::new(Some(streams)),
        shared: Mutex::default(),
        early: Mutex::default(),
        workers: Mutex::default(),
    }))
}

impl Generator {
    /// What the workers share; finds the targets and reads their certificates.
    fn share(&self) -> Result<Arc<Shared>, Fail> {
        let twice = || Fail::new("load was prepared twice");
        let streams = self.streams.lock().expect(UNBROKEN).take().ok_or_else(twice)?;
        let w = &self.wiring;
        let mut routes = BTreeMap::new();
        for name in streams.iter().map(|s| &s.plan.target) {
            let target = w.plan.environment.targets.get(name).ok_or_else(|| Fail::new(format!("there is no target `{name}`")))?;
            routes.insert(name.clone(), Route::new(target, Alpn::of(target), &w.endpoints, &w.allow)?);
        }
        let segment = Segment { index: w.segment.0, of: w.segment.1 };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let force = InForce::choose(&w.plan, segment.of, cores);
        let shared = Arc::new(Shared {
            wiring: w.clone(),
            segment,
            force,
            streams,
            schemas: routes.keys().map(|name| (name.clone(), Described::default())).collect(),
            routes,
            ceilings: Arc::new(Ceilings::new(&w.plan, segment)),
            cells: Cells::new(w.plan.max_cells),
            control: Control::default(),
            finale: Finale::new(usize::from(force.workers)),
        });
        let mut place = self.shared.lock().expect(UNBROKEN);
        let early = std::mem::take(&mut *self.early.lock().expect(UNBROKEN));
        shared.control.tell(|told| {
            told.streams = early.streams;
            told.mode = early.mode.unwrap_or(told.mode);
        });
        *place = Some(Arc::clone(&shared));
        Ok(shared)
    }

    /// Starts the worker threads, as far as there can be any; the receivers get their readiness.
    fn spawn(&self, shared: &Arc<Shared>) -> (Vec<Outcome>, Result<(), Fail>) {
        let mut all_ready = Vec::new();
        for worker in 0..usize::from(shared.force.workers) {
            let (ready, is_ready) = oneshot::channel();
            let (end, ended) = oneshot::channel();
            let shared = Arc::clone(shared);
            let life = move || {
                let seat = Seat { shared: &shared, worker, ready };
                let outcome = catch_unwind(AssertUnwindSafe(|| worker::run(seat)))
                    .unwrap_or_else(|_| Err(Fail::new("the load worker panicked; this is a bug in shakedown")));
                if let (Err(fail), Some(clock)) = (&outcome, shared.control.now().clock) {
                    clock.sink.send(Input::Halt(HaltBy::Internal(fail.0.clone())));
                    clock.collector.leave(worker);
                }
                // Nobody waits any more when the generator was dropped without `stop`.
                end.send(outcome).ok();
            };
            let thread = std::thread::Builder::new().name(format!("load-{worker}")).spawn(life);
            if let Err(e) = thread {
                return (all_ready, Err(Fail::new(format!("load cannot start its thread: {e}"))));
            }
            self.workers.lock().expect(UNBROKEN).push(ended);
            all_ready.push(is_ready);
        }
        (all_ready, Ok(()))
    }

    /// The shared part, once prepared.
    fn prepared(&self) -> Option<Arc<Shared>> {
        self.shared.lock().expect(UNBROKEN).clone()
    }
}

impl Drop for Generator {
    /// Nobody could stop the workers any more.
    fn drop(&mut self) {
        if let Some(shared) = self.prepared() {
            shared.control.tell(|told| told.stop = true);
        }
    }
}

impl Load for Generator {
    fn prepare(&self) -> Boxed<'_, Result<(), Fail>> {
        Box::pin(async move {
            let shared = self.share()?;
            let (all, mut outcome) = self.spawn(&shared);
            for ready in all {
                let one = ready.await.unwrap_or_else(|_| Err(Fail::new("a load worker ended while it was being prepared")));
                outcome = outcome.and(one);
            }
            if outcome.is_err() {
                shared.control.tell(|told| told.stop = true);
            }
            outcome
        })
    }

    fn start(&self, epoch: Epoch, sink: Arc<dyn Sink>) {
        let Some(shared) = self.prepared() else {
            sink.send(Input::Halt(HaltBy::Internal("load was started without having been prepared".to_owned())));
            return;
        };
        let collector = Collector::new(Arc::clone(&sink), usize::from(shared.force.workers));
        shared.control.tell(|told| told.clock = Some(Clock { epoch, sink, collector }));
    }

    fn start_stream(&self, stream: &str, at: Offset) {
        match self.prepared() {
            Some(shared) => shared.control.tell(|told| {
                told.streams.entry(stream.to_owned()).or_insert(at);
            }),
            None => {
                self.early.lock().expect(UNBROKEN).streams.entry(stream.to_owned()).or_insert(at);
            }
        }
    }

    fn mode(&self, mode: LoadMode) {
        match self.prepared() {
            Some(shared) => shared.control.tell(|told| told.mode = mode),
            None => self.early.lock().expect(UNBROKEN).mode = Some(mode),
        }
    }

    fn stop(&self) -> Boxed<'_, Result<(), Fail>> {
        Box::pin(async move {
            if let Some(shared) = self.prepared() {
                shared.control.tell(|told| told.stop = true);
            }
            let workers = std::mem::take(&mut *self.workers.lock().expect(UNBROKEN));
            let bound = self.wiring.plan.longest_timeout().duration() + STOP_MARGIN;
            let mut outcome = Ok(());
            let all = async {
                for ended in workers {
                    let one = ended.await.unwrap_or_else(|_| Err(Fail::new("a load worker ended without a word")));
                    outcome = std::mem::replace(&mut outcome, Ok(())).and(one);
                }
            };
            match tokio::time::timeout(bound, all).await {
                Ok(()) => outcome,
                Err(_) => Err(Fail::new(format!("the load workers did not stop within {bound:?}"))),
            }
        })
    }
}
