//! One simulated run: a virtual clock, the queue, a dispatcher without tokio. Must not judge.

use crate::judge::{Script, Strict};
use crate::world::{Mood, World};
use serde_json::Value;
use shakedown_core::Plan;
use shakedown_core::decision::Decision;
use shakedown_core::event::{Assessment, EffectId, Event, Fact, HaltBy, Input};
use shakedown_core::plan::When;
use shakedown_core::seams::{Assessor, LoadMode};
use shakedown_core::units::{Offset, Ppm};
use shakedown_engine::{BEFORE_EPOCH, Call, Effect, State, step};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const TICK: u64 = 100_000_000;
const SNAPSHOT: u64 = 200_000_000;
const LEAD: u64 = 50_000_000;
/// No simulated run may take longer than this.
pub const LONGEST: u64 = 1_200_000_000_000;

/// Everything that makes a run.
#[derive(Clone, Debug)]
pub struct Setting {
    pub seed: u64,
    pub plan: Arc<Plan>,
    pub mood: Mood,
    pub script: Script,
    pub found: Ppm,
    /// Halts by virtual time.
    pub halts: Vec<(u64, HaltBy)>,
    /// A service exits then.
    pub exit: Option<u64>,
    pub load_dies: Option<u64>,
}

/// What came of it.
pub struct Run {
    pub events: Vec<Event>,
    pub calls: Vec<(Offset, EffectId, Call)>,
    pub world: World,
    pub decision: Decision,
    /// Calls under way at the end.
    pub running: usize,
    /// Ended within [`LONGEST`].
    pub ended: bool,
}

impl Run {
    pub fn facts(&self) -> impl Iterator<Item = (Offset, &Fact)> {
        self.events.iter().filter_map(|e| match &e.what {
            Input::Fact(fact) => Some((e.at, fact)),
            _ => None,
        })
    }
}

struct Sim {
    state: State,
    plan: Arc<Plan>,
    world: World,
    judge: Box<dyn Assessor>,
    queue: BTreeMap<(u64, u64), Input>,
    order: u64,
    now: u64,
    epoch: Option<u64>,
    last: Offset,
    running: BTreeMap<EffectId, (u64, u64)>,
    finished: BTreeSet<EffectId>,
    events: Vec<Event>,
    calls: Vec<(Offset, EffectId, Call)>,
    assessed: Option<(Offset, Assessment)>,
}

/// Runs a setting with the strict judge.
pub fn run(setting: &Setting) -> Run {
    let judge = Box::new(Strict::new(setting.plan.clone(), setting.script.clone()));
    run_with(setting, judge)
}

/// Runs a setting with any judge.
pub fn run_with(setting: &Setting, judge: Box<dyn Assessor>) -> Run {
    let plan = setting.plan.clone();
    let mut world = World::new(plan.clone(), setting.seed, setting.mood, setting.found);
    world.load_dies = setting.load_dies;
    let mut sim = Sim {
        state: State::new(plan.clone(), plan.teardown.len()),
        plan,
        world,
        judge,
        queue: BTreeMap::new(),
        order: 0,
        now: 0,
        epoch: None,
        last: BEFORE_EPOCH,
        running: BTreeMap::new(),
        finished: BTreeSet::new(),
        events: Vec::new(),
        calls: Vec::new(),
        assessed: None,
    };
    let started = Fact::Started { wall: "w".into(), run: "r".into(), plan_sha256: "p".into(), version: "v".into(), scaled: false };
    sim.event(Input::Fact(started));
    sim.push(TICK, Input::Tick);
    for (at, by) in &setting.halts {
        sim.push(*at, Input::Halt(by.clone()));
    }
    if let Some(at) = setting.exit {
        sim.push(at, Input::ServiceExited { service: "shop".into(), status: 1 });
    }
    sim.go()
}

impl Sim {
    fn go(mut self) -> Run {
        while !self.state.over() && self.now < LONGEST {
            let Some(((at, _), input)) = self.queue.pop_first() else { break };
            self.now = at;
            self.take(input);
        }
        let ended = self.state.over();
        let decision = self.judge.decide();
        Run { events: self.events, calls: self.calls, world: self.world, decision, running: self.running.len(), ended }
    }

    fn push(&mut self, at: u64, input: Input) -> (u64, u64) {
        self.order += 1;
        let key = (at.max(self.now), self.order);
        self.queue.insert(key, input);
        key
    }

    fn offset(&mut self) -> Offset {
        let raw = match self.epoch {
            Some(epoch) => Offset(self.now as i64 - epoch as i64),
            None => Offset(BEFORE_EPOCH.0 + self.now as i64),
        };
        self.last = self.last.max(raw);
        self.last
    }

    fn take(&mut self, input: Input) {
        self.offset();
        match &input {
            Input::Tick => {
                self.push(self.now + TICK, Input::Tick);
            }
            Input::Snapshot(_) => {
                self.push(self.now + SNAPSHOT, Input::Snapshot(Default::default()));
                let at = self.last;
                match self.world.snapshot(self.now, at) {
                    Some(snapshot) => return self.judged(Input::Snapshot(snapshot)),
                    None => return,
                }
            }
            Input::Done { effect, .. } => {
                assert!(self.running.remove(effect).is_some(), "a call ends once");
                self.finished.insert(*effect);
            }
            _ => {}
        }
        self.judged(input);
    }

    fn judged(&mut self, input: Input) {
        let judged = matches!(input, Input::Tick | Input::Snapshot(_));
        self.event(input);
        if !judged || self.state.over() {
            return;
        }
        let a = self.judge.assess();
        if self.assessed.as_ref().is_none_or(|(at, then)| *then != a || self.last.0 - at.0 >= 1_000_000_000) {
            self.assessed = Some((self.last, a.clone()));
            self.event(Input::Assessed(Box::new(a)));
        }
    }

    fn event(&mut self, what: Input) {
        let mut todo = VecDeque::from(self.record_and_step(what));
        while let Some(effect) = todo.pop_front() {
            assert!(!self.ended(), "{effect:?} after Ended");
            match effect {
                Effect::StartLoad => todo.extend(self.start_load()),
                other => self.perform(other),
            }
        }
    }

    fn ended(&self) -> bool {
        self.events.last().is_some_and(|e| e.what == Input::Fact(Fact::Ended))
    }

    fn record_and_step(&mut self, what: Input) -> Vec<Effect> {
        let event = self.record(what);
        step(&mut self.state, &event)
    }

    fn record(&mut self, what: Input) -> Event {
        let event = Event { seq: self.events.len() as u64, at: self.last, what };
        self.judge.push(&event);
        self.events.push(event.clone());
        event
    }

    fn start_load(&mut self) -> Vec<Effect> {
        self.epoch = Some(self.now + LEAD);
        self.last = Offset::ZERO;
        self.world.load = Some(LoadMode::Full);
        for (i, stream) in self.plan.streams.iter().enumerate() {
            if let When::At(at) = stream.at {
                self.world.started.insert(i as u16, Offset::ZERO.plus(at));
            }
        }
        self.push(self.now + SNAPSHOT, Input::Snapshot(Default::default()));
        self.record_and_step(Input::Fact(Fact::Epoch { wall: "w".into() }))
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Announce(fact) => drop(self.record(Input::Fact(fact))),
            Effect::Run { id, call, deadline } => {
                self.calls.push((self.last, id, call));
                let fate = if call == Call::Judge {
                    let verdict = serde_json::to_value(self.judge.decide().verdict).expect("a verdict is plain");
                    crate::world::Fate { after: 0, outcome: Ok(verdict) }
                } else {
                    self.world.begin(call, deadline, self.now)
                };
                assert!(fate.after <= deadline.0, "the dispatcher keeps deadlines");
                let key = self.push(self.now + fate.after, Input::Done { effect: id, outcome: fate.outcome });
                assert!(self.running.insert(id, key).is_none() && !self.finished.contains(&id), "numbers are used once");
            }
            Effect::Cancel(id) => self.reschedule(id, 1_000_000, Some(Err("cancelled".into()))),
            Effect::Hurry(within) => {
                for id in self.running.keys().copied().collect::<Vec<_>>() {
                    self.reschedule(id, within.0, None);
                }
            }
            Effect::StartStream { stream, at } => {
                let index = self.plan.stream(&stream).expect("streams are named in the plan").0;
                self.world.started.insert(index, at);
            }
            Effect::Mode(mode) => {
                if let Some(load) = &mut self.world.load {
                    *load = mode;
                }
            }
            Effect::Attest(i) => {
                let hits = self.world.attest(i);
                let fault = self.plan.faults[i].name.clone();
                self.push(self.now, Input::Attested { fault, hits });
            }
            Effect::StartLoad => unreachable!("handled by the caller"),
        }
    }

    /// Moves a call's end to at most `within` from now; a call moved by this fails.
    fn reschedule(&mut self, id: EffectId, within: u64, outcome: Option<Result<Value, String>>) {
        let Some(key) = self.running.get(&id).copied() else { return };
        let at = self.now + within;
        if key.0 <= at && outcome.is_none() {
            return;
        }
        self.queue.remove(&key);
        let outcome = outcome.unwrap_or_else(|| Err("no answer in time".into()));
        let key = self.push(key.0.min(at), Input::Done { effect: id, outcome });
        self.running.insert(id, key);
    }
}
