//! The dispatcher: takes inputs off the queue in order, writes them down, lets [`step`](crate::step()) decide, and does
//! what it asks. Must not decide anything about the run itself.

use crate::chronicle::{Chronicle, Parts};
use crate::effect::{Call, Effect};
use crate::inbox::Inbox;
use crate::runner::Runner;
use crate::world::World;
use serde_json::Value;
use shakedown_core::Plan;
use shakedown_core::decision::Decision;
use shakedown_core::event::{EffectId, Event, Fact, HaltBy, Input};
use shakedown_core::seams::{Actions, Assessor, Cx, DriverKind, Fail, Injector, Load, Services, Sink, UndoLog};
use shakedown_core::units::{Offset, Span};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Between two ticks; the journal is flushed at each.
const TICK: Duration = Duration::from_millis(100);
/// The epoch lies this far ahead when load is started, so that its first arrivals are not late already: what workers still
/// do by then takes some ten microseconds.
const LEAD: Duration = Duration::from_millis(1);
/// How long before a common epoch targets are reached and connections opened.
const PREPARED_BEFORE: Duration = Duration::from_secs(5);

/// Which part of the load a run makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// One segment, and everything else of the run.
    Controller,
    /// One segment and nothing else: without a known end it goes on until it is told to stop.
    Worker,
}

/// Gives the undo records (kind, words, data) of teardown in the plan's order. Asked once services are up, since only then
/// their addresses are known.
pub type TeardownRecords = Arc<dyn Fn() -> Result<Vec<(String, String, Value)>, Fail> + Send + Sync>;

/// Everything a run works with.
pub struct Wiring {
    /// Load generator.
    pub load: Arc<dyn Load>,
    /// Services of the environment.
    pub services: Arc<dyn Services>,
    /// Injectors by kind.
    pub injectors: BTreeMap<String, &'static dyn Injector>,
    /// The rollout's driver kind.
    pub driver: Option<&'static dyn DriverKind>,
    /// Runs setup and `rollback.before`.
    pub actions: Arc<dyn Actions>,
    /// Undo journal.
    pub undo: Arc<dyn UndoLog>,
    /// What injectors and drivers work with.
    pub cx: Cx,
    /// Undo records of teardown; registered before setup, undone on every way out.
    pub teardown: TeardownRecords,
    /// The judge.
    pub assessor: Box<dyn Assessor>,
    /// Sees every event right after it was written down: the live view.
    pub observer: Box<dyn FnMut(&Event) + Send>,
    /// Run directory; exists.
    pub dir: PathBuf,
    /// Run ID.
    pub run: String,
    /// Hash of the plan.
    pub plan_sha256: String,
    /// Harness version.
    pub version: String,
    /// The run has another time scale and never promotes.
    pub scaled: bool,
    /// Wall clock, RFC 3339.
    pub wall: fn() -> String,
    /// Takes secrets out of what is kept.
    pub redact: Arc<dyn Fn(&str) -> String + Send + Sync>,
    /// The run's queue; its sink goes to services and load.
    pub inbox: Inbox,
    /// Which part of the load.
    pub part: Part,
    /// Offset 0, common to all segments; `None` is as soon as everything is ready.
    pub epoch: Option<Instant>,
}

/// How a run came out.
pub struct Outcome {
    /// The judge's decision; exit 70 when the run's own records could not be kept.
    pub decision: Decision,
}

/// Runs a plan. Returns only after everything was undone or announced as not undone; every step of that is bounded.
/// Halts may come at any time; a second interrupt shortens every wait.
pub async fn run(plan: Arc<Plan>, wiring: Wiring, halts: mpsc::Receiver<HaltBy>) -> Outcome {
    let sink = wiring.inbox.sink();
    let _ticker = Helper(tokio::spawn(tick(sink.clone())));
    let _halts = Helper(tokio::spawn(forward(halts, sink)));
    let mut dispatcher = Dispatcher::new(plan, wiring);
    dispatcher.begin();
    while !dispatcher.chronicle.over() {
        let (at, what) = dispatcher.inbox.recv().await;
        dispatcher.take(at, what);
    }
    Outcome { decision: dispatcher.chronicle.finish() }
}

/// A task that ends with its owner.
struct Helper(JoinHandle<()>);

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn tick(sink: Arc<dyn Sink>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sink.send(Input::Tick);
    }
}

async fn forward(mut halts: mpsc::Receiver<HaltBy>, sink: Arc<dyn Sink>) {
    while let Some(by) = halts.recv().await {
        sink.send(Input::Halt(by));
    }
}

struct Dispatcher {
    chronicle: Chronicle,
    plan: Arc<Plan>,
    world: Arc<World>,
    runner: Runner,
    inbox: Inbox,
    sink: Arc<dyn Sink>,
    started: Fact,
    epoch: Option<Instant>,
    part: Part,
    halted: watch::Sender<bool>,
    wall: fn() -> String,
    redact: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

impl Dispatcher {
    fn new(plan: Arc<Plan>, w: Wiring) -> Dispatcher {
        let sink = w.inbox.sink();
        let started = Fact::Started { wall: (w.wall)(), run: w.run, plan_sha256: w.plan_sha256, version: w.version, scaled: w.scaled };
        let parts = Parts {
            plan: plan.clone(),
            dir: &w.dir,
            assessor: w.assessor,
            observer: w.observer,
            worker: w.part == Part::Worker,
            whole: w.part == Part::Whole,
        };
        let chronicle = Chronicle::new(parts);
        let world = World {
            plan: plan.clone(),
            load: w.load,
            services: w.services,
            injectors: w.injectors,
            driver: w.driver,
            actions: w.actions,
            undo: w.undo,
            cx: w.cx,
            teardown: w.teardown,
            held: Default::default(),
        };
        Dispatcher {
            chronicle,
            plan,
            world: Arc::new(world),
            runner: Runner::new(sink.clone()),
            inbox: w.inbox,
            sink,
            started,
            epoch: w.epoch,
            part: w.part,
            halted: watch::Sender::new(false),
            wall: w.wall,
            redact: w.redact,
        }
    }

    fn begin(&mut self) {
        let first = match self.chronicle.broke() {
            // Without a journal nothing is begun: the halt comes before the first step.
            Some(why) => Input::Halt(HaltBy::Internal(why)),
            None => Input::Fact(self.started.clone()),
        };
        let effects = self.chronicle.take(first);
        self.perform(effects);
    }

    /// Takes one input off the queue.
    fn take(&mut self, at: Offset, what: Input) {
        self.chronicle.at(at);
        if self.inbox.overflowed() {
            let why = "internal error: the event queue overflowed and inputs were lost".to_owned();
            self.sink.send(Input::Halt(HaltBy::Internal(why)));
        }
        match &what {
            Input::Samples(samples) => {
                let redact = self.redact.clone();
                return self.chronicle.samples(samples, redact.as_ref());
            }
            Input::Done { effect, .. } => self.runner.ended(*effect),
            Input::Tick => self.chronicle.flush(),
            Input::Halt(_) => drop(self.halted.send_replace(true)),
            _ => {}
        }
        let judged = matches!(what, Input::Tick | Input::Snapshot(_));
        let effects = self.chronicle.take(what);
        self.perform(effects);
        if judged {
            let effects = self.chronicle.assess();
            self.perform(effects);
        }
        if let Some(why) = self.chronicle.broke() {
            self.sink.send(Input::Halt(HaltBy::Internal(why)));
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut todo = VecDeque::from(effects);
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Announce(fact) => self.chronicle.state_fact(fact),
                Effect::Run { id, call: Call::Judge, .. } => {
                    let verdict = serde_json::to_value(self.chronicle.decide().verdict).map_err(|e| e.to_string());
                    self.sink.send(Input::Done { effect: id, outcome: verdict });
                }
                Effect::Run { id, call, deadline } => self.call(id, call, deadline),
                Effect::Cancel(id) => self.runner.cancel(id),
                Effect::Hurry(within) => self.runner.hurry(within),
                Effect::StartLoad => todo.extend(self.start_load()),
                Effect::StartStream { stream, at } => self.world.load.start_stream(&stream, at),
                Effect::Mode(mode) => self.world.load.mode(mode),
                Effect::Attest(i) => {
                    let fault = self.plan.faults[i].name.clone();
                    self.sink.send(Input::Attested { fault, hits: self.world.attest(i) });
                }
            }
        }
    }

    fn call(&mut self, id: EffectId, call: Call, deadline: Span) {
        if call.changes() {
            self.chronicle.flush();
        }
        let work = self.world.clone().call(call, deadline);
        let wait = self.wait_before(call);
        let deadline = deadline.plus(Span(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)));
        let mut halted = self.halted.subscribe();
        let waited = async move {
            // Nobody who wants the run to end is kept waiting.
            // A sleep of nothing would still take a millisecond.
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    Ok(_) = halted.wait_for(|halted| *halted) => {}
                }
            }
            work.await
        };
        self.runner.start(id, deadline, waited);
    }

    /// What the other segments ask for.
    fn wait_before(&self, call: Call) -> Duration {
        match (self.epoch, call) {
            // Connections opened long before a common epoch would be closed again by then.
            (Some(at), Call::PrepareLoad) => at.saturating_duration_since(Instant::now()).saturating_sub(PREPARED_BEFORE),
            // Workers may still be sending in the last slice of the controller's traffic, and wait for answers.
            (Some(_), Call::StopServices) if self.part == Part::Controller => self.plan.slice.plus(self.plan.longest_timeout()).duration(),
            _ => Duration::ZERO,
        }
    }

    fn start_load(&mut self) -> Vec<Effect> {
        self.chronicle.flush();
        let now = Instant::now();
        if let Some(late) = self.epoch.and_then(|at| now.checked_duration_since(at)) {
            let why = format!("it was {:.3} s ago when the load was ready; choose a later one", late.as_secs_f64());
            self.chronicle.state_fact(Fact::NotReady { what: "the common epoch".to_owned(), why });
            return self.chronicle.take(Input::Halt(HaltBy::Limit("the common epoch was missed".to_owned())));
        }
        let epoch = self.inbox.fix_epoch(self.epoch.unwrap_or(now + LEAD));
        self.world.load.start(epoch, self.sink.clone());
        self.chronicle.epoch();
        let wall = (self.wall)();
        self.chronicle.take(Input::Fact(Fact::Epoch { wall }))
    }
}
