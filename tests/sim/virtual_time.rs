//! A virtual clock, the queue, and a dispatcher without tokio: the real step function and a judge against any [`Truth`].
//! Must not judge, and must not know what the world is like.

use serde_json::Value;
use shakedown_core::Plan;
use shakedown_core::decision::Decision;
use shakedown_core::event::{Assessment, Attestation, EffectId, Event, Fact, Input};
use shakedown_core::plan::When;
use shakedown_core::seams::{Assessor, LoadMode};
use shakedown_core::snapshot::Snapshot;
use shakedown_core::units::{Offset, Span};
use shakedown_engine::{BEFORE_EPOCH, Call, Effect, State, step};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const TICK: u64 = 100_000_000;
const LEAD: u64 = 50_000_000;
/// No simulated run may take longer than this.
pub const LONGEST: u64 = 1_200_000_000_000;

/// How a call will end.
pub struct Fate {
    /// After so many ns.
    pub after: u64,
    /// With this.
    pub outcome: Result<Value, String>,
}

/// The world outside the engine.
pub trait Truth {
    /// Between two snapshots, ns.
    const SNAPSHOT: u64;
    /// Begins a call at virtual time `now`, offset `at`.
    fn begin(&mut self, call: Call, deadline: Span, now: u64, at: Offset) -> Fate;
    /// Load starts at offset 0.
    fn start_load(&mut self);
    /// A stream sends from this offset on.
    fn start_stream(&mut self, stream: u16, at: Offset);
    /// The amount of load changes.
    fn mode(&mut self, mode: LoadMode, at: Offset);
    /// What a fault hit.
    fn attest(&self, fault: usize) -> Attestation;
    /// What load saw since the last time; `None` when it is off.
    fn snapshot(&mut self, now: u64, at: Offset) -> Option<Snapshot>;
}

/// What came of it.
pub struct Run<W> {
    /// Everything that happened.
    pub events: Vec<Event>,
    /// Every call, and when.
    pub calls: Vec<(Offset, EffectId, Call)>,
    /// The truth at the end.
    pub world: W,
    /// The judge's decision.
    pub decision: Decision,
    /// Calls under way at the end.
    pub running: usize,
    /// Ended within [`LONGEST`].
    pub ended: bool,
}

impl<W> Run<W> {
    /// Every fact with its offset.
    pub fn facts(&self) -> impl Iterator<Item = (Offset, &Fact)> {
        self.events.iter().filter_map(|e| match &e.what {
            Input::Fact(fact) => Some((e.at, fact)),
            _ => None,
        })
    }
}

struct Sim<W> {
    state: State,
    plan: Arc<Plan>,
    world: W,
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

/// Runs a plan in a world. `inputs` come from outside at their virtual time.
pub fn run<W: Truth>(plan: &Arc<Plan>, world: W, judge: Box<dyn Assessor>, inputs: Vec<(u64, Input)>) -> Run<W> {
    let mut sim = Sim {
        state: State::new(plan.clone(), plan.teardown.len()),
        plan: plan.clone(),
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
    for (at, input) in inputs {
        sim.push(at, input);
    }
    sim.go()
}

impl<W: Truth> Sim<W> {
    fn go(mut self) -> Run<W> {
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
                self.push(self.now + W::SNAPSHOT, Input::Snapshot(Default::default()));
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
        self.world.start_load();
        for (i, stream) in self.plan.streams.iter().enumerate() {
            if let When::At(at) = stream.at {
                self.world.start_stream(i as u16, Offset::ZERO.plus(at));
            }
        }
        self.push(self.now + W::SNAPSHOT, Input::Snapshot(Default::default()));
        self.record_and_step(Input::Fact(Fact::Epoch { wall: "w".into() }))
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Announce(fact) => drop(self.record(Input::Fact(fact))),
            Effect::Run { id, call, deadline } => {
                self.calls.push((self.last, id, call));
                let fate = if call == Call::Judge {
                    let verdict = serde_json::to_value(self.judge.decide().verdict).expect("a verdict is plain");
                    Fate { after: 0, outcome: Ok(verdict) }
                } else {
                    self.world.begin(call, deadline, self.now, self.last)
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
                self.world.start_stream(index, at);
            }
            Effect::Mode(mode) => self.world.mode(mode, self.last),
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
