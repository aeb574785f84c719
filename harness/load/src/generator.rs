//! The generator as the engine sees it: core's `Load` in front of one worker thread. Every call but `prepare` and `stop`
//! returns at once; what was asked is kept in one value that the worker follows.

use crate::compile::{self, Stream};
use crate::worker;
use shakedown_core::event::HaltBy;
use shakedown_core::plan::Plan;
use shakedown_core::seams::{Boxed, Endpoints, Load, LoadMode, Sink};
use shakedown_core::{AllowList, Epoch, Fail, Input, Offset, Secrets};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How much longer than its own drain `stop` waits for the worker.
const STOP_MARGIN: Duration = Duration::from_secs(10);

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
}

/// What generator and worker share.
pub struct Shared {
    /// Wiring.
    pub wiring: Wiring,
    /// Compiled streams.
    pub streams: Arc<Vec<Stream>>,
}

/// What the worker has been told.
#[derive(Clone)]
pub struct Control {
    /// Epoch and sink, once started.
    pub clock: Option<(Epoch, Arc<dyn Sink>)>,
    /// Starts of streams that wait for a stage or fault.
    pub streams: BTreeMap<String, Offset>,
    /// Mode.
    pub mode: LoadMode,
    /// Stop.
    pub stop: bool,
}

struct Generator {
    shared: Arc<Shared>,
    control: watch::Sender<Control>,
    worker: Mutex<Worker>,
}

/// State of the worker thread.
enum Worker {
    /// Not started.
    Idle,
    /// Running; the receiver gets its end.
    Running(oneshot::Receiver<Result<(), Fail>>),
    /// Ended, or being waited for.
    Ended,
}

/// A generator for the plan's streams. Reads feeds and logs and compiles every request; opens no socket.
///
/// # Errors
/// Names the file and line, or the stream and step, that cannot be used.
pub fn generator(w: Wiring) -> Result<Arc<dyn Load>, Fail> {
    let streams = Arc::new(compile::streams(&w.plan, &w.secrets)?);
    let control = Control { clock: None, streams: BTreeMap::new(), mode: LoadMode::Full, stop: false };
    let shared = Arc::new(Shared { wiring: w, streams });
    Ok(Arc::new(Generator { shared, control: watch::channel(control).0, worker: Mutex::new(Worker::Idle) }))
}

impl Generator {
    /// Starts the worker thread; the receivers get its readiness.
    fn spawn(&self) -> Result<oneshot::Receiver<Result<(), Fail>>, Fail> {
        let mut worker = self.worker.lock().expect("no holder panics");
        if !matches!(*worker, Worker::Idle) {
            return Err(Fail::new("load was prepared twice"));
        }
        let (ready, is_ready) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (shared, control) = (Arc::clone(&self.shared), self.control.subscribe());
        let watched = self.control.subscribe();
        let life = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| worker::run(&shared, control, ready)))
                .unwrap_or_else(|_| Err(Fail::new("the load worker panicked; this is a bug in shakedown")));
            if let (Err(fail), Some((_, sink))) = (&outcome, &watched.borrow().clock) {
                sink.send(Input::Halt(HaltBy::Internal(fail.0.clone())));
            }
            // Nobody waits any more when the generator was dropped without `stop`.
            end.send(outcome).ok();
        };
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(life);
        thread.map_err(|e| Fail::new(format!("load cannot start its thread: {e}")))?;
        *worker = Worker::Running(ended);
        Ok(is_ready)
    }
}

impl Load for Generator {
    fn prepare(&self) -> Boxed<'_, Result<(), Fail>> {
        Box::pin(async move {
            let ready = self.spawn()?;
            ready.await.unwrap_or_else(|_| Err(Fail::new("the load worker ended while it was being prepared")))
        })
    }

    fn start(&self, epoch: Epoch, sink: Arc<dyn Sink>) {
        if !matches!(*self.worker.lock().expect("no holder panics"), Worker::Running(_)) {
            sink.send(Input::Halt(HaltBy::Internal("load was started without having been prepared".to_owned())));
        }
        self.control.send_modify(|c| c.clock = Some((epoch, sink)));
    }

    fn start_stream(&self, stream: &str, at: Offset) {
        self.control.send_modify(|c| {
            c.streams.entry(stream.to_owned()).or_insert(at);
        });
    }

    fn mode(&self, mode: LoadMode) {
        self.control.send_modify(|c| c.mode = mode);
    }

    fn stop(&self) -> Boxed<'_, Result<(), Fail>> {
        Box::pin(async move {
            self.control.send_modify(|c| c.stop = true);
            let before = std::mem::replace(&mut *self.worker.lock().expect("no holder panics"), Worker::Ended);
            let Worker::Running(ended) = before else { return Ok(()) };
            let bound = self.shared.wiring.plan.longest_timeout().duration() + STOP_MARGIN;
            match tokio::time::timeout(bound, ended).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(Fail::new("the load worker ended without a word")),
                Err(_) => Err(Fail::new(format!("the load worker did not stop within {bound:?}"))),
            }
        })
    }
}
