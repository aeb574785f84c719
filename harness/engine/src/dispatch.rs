//! The dispatcher: takes inputs off the queue in order, writes them down, lets [`step`](crate::step()) decide, and does
//! what it asks. Must not decide anything about the run itself.

use crate::effect::{Call, Effect};
use crate::inbox::{BEFORE_EPOCH, Inbox};
use crate::journal::Writer;
use crate::runner::Runner;
use crate::state::State;
use crate::world::World;
use serde_json::Value;
use shakedown_core::decision::{Decision, Exit, Reason, Verdict};
use shakedown_core::event::{Assessment, Event, Fact, HaltBy, Input};
use shakedown_core::seams::{Actions, Assessor, Cx, DriverKind, Fail, Injector, Load, Services, Sink, UndoLog};
use shakedown_core::units::Offset;
use shakedown_core::{Plan, Span};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Between two ticks; the journal is flushed at each.
const TICK: Duration = Duration::from_millis(100);
/// The epoch lies this far ahead when load is started, so that its first arrivals are not late already.
const LEAD: Duration = Duration::from_millis(50);
/// An unchanged assessment is written down and handed on once in so long.
const ASSESSED_EVERY: Span = Span::secs(1);

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
    while !dispatcher.state.over() {
        let (at, what) = dispatcher.inbox.recv().await;
        dispatcher.take(at, what);
    }
    Outcome { decision: dispatcher.finish() }
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
    state: State,
    plan: Arc<Plan>,
    world: Arc<World>,
    runner: Runner,
    inbox: Inbox,
    sink: Arc<dyn Sink>,
    journal: Option<Writer>,
    /// Why the journal is no longer written.
    broken: Option<String>,
    assessor: Box<dyn Assessor>,
    observer: Box<dyn FnMut(&Event) + Send>,
    started: Fact,
    wall: fn() -> String,
    redact: Arc<dyn Fn(&str) -> String + Send + Sync>,
    seq: u64,
    last: Offset,
    assessed: Option<(Offset, Assessment)>,
}

impl Dispatcher {
    fn new(plan: Arc<Plan>, w: Wiring) -> Dispatcher {
        let sink = w.inbox.sink();
        let started = Fact::Started { wall: (w.wall)(), run: w.run, plan_sha256: w.plan_sha256, version: w.version, scaled: w.scaled };
        let streams = plan.streams.iter().map(|s| s.name.clone()).collect();
        let journal = Writer::create(&w.dir, plan.slice, streams);
        let state = State::new(plan.clone(), plan.teardown.len());
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
        let mut dispatcher = Dispatcher {
            state,
            plan,
            world: Arc::new(world),
            runner: Runner::new(sink.clone()),
            inbox: w.inbox,
            sink,
            journal: None,
            broken: None,
            assessor: w.assessor,
            observer: w.observer,
            started,
            wall: w.wall,
            redact: w.redact,
            seq: 0,
            last: BEFORE_EPOCH,
            assessed: None,
        };
        match journal {
            Ok(writer) => dispatcher.journal = Some(writer),
            Err(Fail(why)) => dispatcher.break_journal(why),
        }
        dispatcher
    }

    fn begin(&mut self) {
        if let Some(why) = self.broken.clone() {
            // Without a journal nothing is begun: the halt comes before the first step.
            let effects = self.event(Input::Halt(HaltBy::Internal(why)));
            return self.perform(effects);
        }
        let effects = self.event(Input::Fact(self.started.clone()));
        self.perform(effects);
    }

    /// Takes one input off the queue.
    fn take(&mut self, at: Offset, what: Input) {
        self.last = self.last.max(at);
        if self.inbox.overflowed() {
            let why = "internal error: the event queue overflowed and inputs were lost".to_owned();
            self.sink.send(Input::Halt(HaltBy::Internal(why)));
        }
        match &what {
            Input::Samples(samples) => {
                let redact = self.redact.clone();
                return self.write(|journal| journal.samples(samples, redact.as_ref()));
            }
            Input::Done { effect, .. } => self.runner.ended(*effect),
            Input::Tick => self.write(Writer::flush),
            _ => {}
        }
        let judged = matches!(what, Input::Tick | Input::Snapshot(_));
        let effects = self.event(what);
        self.perform(effects);
        if judged && !self.state.over() {
            self.assess();
        }
    }

    /// Writes an event down, shows it, has it judged, and asks what follows.
    fn event(&mut self, what: Input) -> Vec<Effect> {
        let event = self.record(what);
        crate::step(&mut self.state, &event)
    }

    fn record(&mut self, what: Input) -> Event {
        let event = Event { seq: self.seq, at: self.last, what };
        self.seq += 1;
        self.write(|journal| journal.append(&event));
        (self.observer)(&event);
        self.assessor.push(&event);
        event
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut todo = VecDeque::from(effects);
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Announce(fact) => {
                    self.record(Input::Fact(fact));
                }
                Effect::Run { id, call: Call::Judge, .. } => {
                    let verdict = serde_json::to_value(self.assessor.decide().verdict).map_err(|e| e.to_string());
                    self.sink.send(Input::Done { effect: id, outcome: verdict });
                }
                Effect::Run { id, call, deadline } => {
                    if call.changes() {
                        self.write(Writer::flush);
                    }
                    self.runner.start(id, deadline, self.world.clone().call(call, deadline));
                }
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

    fn start_load(&mut self) -> Vec<Effect> {
        self.write(Writer::flush);
        let epoch = self.inbox.fix_epoch(LEAD);
        self.world.load.start(epoch, self.sink.clone());
        self.last = Offset::ZERO;
        let wall = (self.wall)();
        self.event(Input::Fact(Fact::Epoch { wall }))
    }

    fn assess(&mut self) {
        let now = self.assessor.assess();
        let due = self
            .assessed
            .as_ref()
            .is_none_or(|(at, then)| self.last.since(*at) >= ASSESSED_EVERY || significant(then) != significant(&now));
        if due {
            self.assessed = Some((self.last, now.clone()));
            let effects = self.event(Input::Assessed(Box::new(now)));
            self.perform(effects);
        }
    }

    fn write(&mut self, f: impl FnOnce(&mut Writer) -> Result<(), Fail>) {
        let Some(journal) = &mut self.journal else { return };
        if let Err(Fail(why)) = f(journal) {
            self.break_journal(why);
        }
    }

    /// The journal cannot be written: the run is undone, and its exit is 70. Nothing more is written to it.
    fn break_journal(&mut self, why: String) {
        tracing::error!("{why}");
        self.journal = None;
        self.sink.send(Input::Halt(HaltBy::Internal(why.clone())));
        self.broken = Some(why);
    }

    fn finish(mut self) -> Decision {
        self.write(Writer::sync);
        let mut decision = self.assessor.decide();
        if let Some(why) = self.broken {
            decision.exit = Exit::Internal;
            decision.verdict = Verdict::Halted;
            decision.headline = format!("The run was stopped and undone: {why}.");
            decision.reasons.insert(0, Reason { code: "journal-lost".to_owned(), text: why });
        }
        decision
    }
}

/// What steps act on, without the words: numbers in them change with every snapshot.
fn significant(a: &Assessment) -> Assessment {
    let mut a = crate::recompute::acted_on(a);
    if let Some(gate) = &mut a.gate {
        gate.why.clear();
    }
    a.preflight.iter_mut().flatten().for_each(|check| check.why.clear());
    a.guards.iter_mut().for_each(|guard| guard.why.clear());
    a
}
