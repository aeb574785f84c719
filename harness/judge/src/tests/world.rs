//! A world in seconds: load, a weighted router, two releases and a fault; and an engine that does what the gates say.

use crate::Judge;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shakedown_core::decision::Decision;
use shakedown_core::event::{Attestation, Event, GateState, Input, StageEnd};
use shakedown_core::plan::Plan;
use shakedown_core::seams::Assessor;
use shakedown_core::snapshot::{Failure, StreamTotals};
use shakedown_core::{Arm, Cell, CellKey, Dim, Fact, Offset, Ppm, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

const MS: i64 = 1_000_000;
const TICK: i64 = 100 * MS;

/// What the releases and the surroundings are like.
#[derive(Clone)]
pub struct World {
    pub rate: u32,
    pub errors: [f64; 2],
    pub ratio: f64,
    pub empty: bool,
    /// Canary never answers: timeouts nobody can be identified for.
    pub black_hole: bool,
    /// Share of successes without identification.
    pub unknown: f64,
    /// The router's real share over the share asked for.
    pub skew: f64,
    pub fault_hits: u64,
    /// Canary keeps answering after this way back.
    pub sticky_canary: bool,
    /// Stops before this stage, as if nothing were there.
    pub stop_before: Option<usize>,
    /// Seconds between the command and the weight being read back, and failures meanwhile.
    pub failing_back: bool,
    pub lag_ms: u64,
    pub dropped: u64,
    pub asked_factor: f64,
}

impl Default for World {
    fn default() -> World {
        World {
            rate: 1500,
            errors: [0.0005, 0.0005],
            ratio: 1.0,
            empty: false,
            black_hole: false,
            unknown: 0.0,
            skew: 1.0,
            fault_hits: 60,
            sticky_canary: false,
            stop_before: None,
            failing_back: false,
            lag_ms: 0,
            dropped: 0,
            asked_factor: 1.0,
        }
    }
}

/// A run of the world: every event it gave.
pub struct Run {
    pub events: Vec<Event>,
    pub judge: Judge,
    rng: ChaCha8Rng,
    world: World,
    now: i64,
    weights: Vec<(i64, f64)>,
    back_since: Option<i64>,
    plan: Arc<Plan>,
}

impl Run {
    pub fn new(plan: Plan, world: World, seed: u64) -> Run {
        let plan = Arc::new(plan);
        let judge = Judge::new(Arc::clone(&plan));
        Run {
            events: Vec::new(),
            judge,
            rng: ChaCha8Rng::seed_from_u64(seed),
            world,
            now: 0,
            weights: vec![(0, 0.0)],
            back_since: None,
            plan,
        }
    }

    pub fn input(&mut self, what: Input) {
        let event = Event { seq: self.events.len() as u64, at: Offset(self.now), what };
        self.judge.push(&event);
        self.events.push(event);
    }

    pub fn fact(&mut self, fact: Fact) {
        self.input(Input::Fact(fact));
    }

    pub fn start(&mut self) {
        self.fact(Fact::Started {
            wall: "2026-11-21T00:00:00Z".into(),
            run: "ab".into(),
            plan_sha256: "00".into(),
            version: "0".into(),
            scaled: false,
        });
        self.fact(Fact::Epoch { wall: "2026-11-21T00:00:00Z".into() });
        self.fact(Fact::WeightFound(Ppm::ZERO));
        self.fact(Fact::StreamStarted("shoppers".into()));
    }

    /// One tenth of a second; a snapshot each, with the counts of a slice when it is over.
    pub fn tick(&mut self) {
        self.now += TICK;
        let mut snapshot = Snapshot { as_of: Offset(self.now), ..Snapshot::default() };
        if self.now % (10 * TICK) == 0 {
            self.slice(&mut snapshot, (self.now / (10 * TICK) - 1) as u32);
        }
        self.input(Input::Snapshot(snapshot));
        for (at, on) in [(20, true), (24, false)] {
            if self.now == at * 10 * TICK && !self.plan.faults.is_empty() && self.back_since.is_none() {
                let name = "payments-slow".to_string();
                self.fact(if on { Fact::FaultApplied(name.clone()) } else { Fact::FaultReverted(name.clone()) });
                let hits = Attestation { hits: self.world.fault_hits, seen: 1000, bytes: 0 };
                self.input(Input::Attested { fault: name, hits });
            }
        }
    }

    fn weight_at(&self, at: i64) -> f64 {
        self.weights.iter().rev().find(|w| w.0 <= at).map_or(0.0, |w| w.1)
    }

    fn slice(&mut self, snapshot: &mut Snapshot, slice: u32) {
        let rate = self.world.rate;
        let mut cells: BTreeMap<Arm, Cell> = BTreeMap::new();
        let fault = (20..24).contains(&slice) && !self.plan.faults.is_empty();
        for i in 0..rate {
            let due = i64::from(slice) * 10 * TICK + i64::from(i) * 10 * TICK / i64::from(rate);
            let canary = self.rng.random::<f64>() < self.weight_at(due) * self.world.skew
                || self.world.sticky_canary && self.back_since.is_some() && self.rng.random::<f64>() < 0.02;
            self.request(&mut cells, snapshot, canary, due, fault);
        }
        let totals = StreamTotals {
            asked: (f64::from(rate) * self.world.asked_factor) as u64,
            sent: u64::from(rate),
            dropped: self.world.dropped,
            ..StreamTotals::default()
        };
        snapshot.streams.insert(0, totals);
        snapshot.cells = cells.into_iter().map(|(arm, c)| (CellKey { slice, stream: 0, arm, dim: Dim::Whole }, c)).collect();
    }

    fn request(&mut self, cells: &mut BTreeMap<Arm, Cell>, snapshot: &mut Snapshot, canary: bool, due: i64, fault: bool) {
        let w = &self.world;
        let (ratio, error) = if canary { (w.ratio, w.errors[1]) } else { (1.0, w.errors[0]) };
        let normal = (0..12).map(|_| self.rng.random::<f64>()).sum::<f64>() - 6.0;
        let slow = if fault && self.rng.random::<f64>() < 0.01 { 200.0 } else { 0.0 };
        let latency = ((2.5 * ratio * libm::exp(0.5 * normal) + slow).ceil() as u64) * 1_000_000;
        let hole = canary && w.black_hole;
        let failed =
            hole || self.rng.random::<f64>() < error || w.failing_back && self.back_since.is_some() && self.rng.random::<f64>() < 0.2;
        let known = !hole && (failed || self.rng.random::<f64>() >= w.unknown);
        let arm = if !known {
            Arm::Unknown
        } else if canary {
            Arm::Canary
        } else {
            Arm::Control
        };
        for of in [Arm::All, arm] {
            let cell = cells.entry(of).or_default();
            if of == Arm::All {
                cell.due += 1;
                cell.lag.record(w.lag_ms * 1_000_000 + 1000);
            }
            if failed {
                let kind = if hole { Failure::Timeout } else { Failure::Status };
                *cell.failed.entry(kind).or_default() += 1;
                if hole {
                    cell.latency.record(1_000_000_000);
                }
            } else {
                cell.ok += 1;
                cell.latency.record(latency);
                cell.empty += u64::from(w.empty && canary);
            }
        }
        if arm == Arm::Canary {
            let at = Offset(due + latency as i64);
            let last = snapshot.last_answer.entry(arm).or_insert(at);
            *last = (*last).max(at);
        }
    }

    pub fn until(&mut self, at: i64) {
        while self.now < at {
            self.tick();
        }
    }

    fn weigh(&mut self, w: Ppm) {
        self.fact(Fact::WeightAsked(w));
        self.now += MS;
        self.weights.push((self.now, w.fraction()));
        self.fact(Fact::WeightRead(w));
        self.now -= MS;
    }

    pub fn back(&mut self, rehearsal: bool, from: Ppm, stage: &str) {
        self.back_since = Some(self.now);
        self.fact(Fact::RollbackStarted { rehearsal, from, stage: stage.into(), why: "gate".into() });
        if !rehearsal && self.judge.line.faults.get("payments-slow").is_some_and(|f| f.applied.is_some() && f.reverted.is_none()) {
            self.fact(Fact::FaultReverted("payments-slow".into()));
        }
        self.weigh(Ppm::ZERO);
        let end = self.now + 60 * TICK;
        let mut restored = None;
        while restored.is_none() && self.now < end {
            self.tick();
            restored = self.judge.assess().restored;
        }
        self.fact(Fact::RollbackEnded { restored });
    }

    /// The rollout as the engine would do it.
    pub fn rollout(&mut self) {
        let plan = Arc::clone(&self.plan);
        let rollout = plan.rollout.as_ref().unwrap();
        self.until(plan.first_stage().0 as i64);
        for (index, stage) in rollout.stages.iter().enumerate() {
            if self.world.stop_before == Some(index) {
                return;
            }
            self.weigh(stage.weight);
            self.fact(Fact::StageStarted(stage.name.clone()));
            let began = self.now;
            let end = loop {
                self.tick();
                let gate = self.judge.assess().gate.expect("a stage runs");
                let passed = (self.now - began) / (10 * TICK);
                let whole = (self.now - began) % (10 * TICK) == 0;
                match gate.state {
                    GateState::Harm => break (StageEnd::Harm, gate.why),
                    GateState::Pass if whole && passed >= stage.hold.0 as i64 / (10 * TICK) => break (StageEnd::Passed, gate.why),
                    _ if passed >= (stage.hold.0 + stage.extend.0) as i64 / (10 * TICK) => break (StageEnd::Undecided, gate.why),
                    _ => {}
                }
            };
            self.fact(Fact::StageEnded { stage: stage.name.clone(), end: end.0, why: end.1 });
            if end.0 != StageEnd::Passed {
                return self.back(false, stage.weight, &stage.name);
            }
        }
        let last = rollout.stages.last().unwrap();
        self.back(true, last.weight, &last.name);
    }

    pub fn finish(&mut self) -> Decision {
        let end = self.now + 20 * TICK;
        self.until(end);
        self.fact(Fact::TrafficEnded);
        self.fact(Fact::Ended);
        self.judge.decide()
    }
}

/// A whole run.
pub fn run(plan: Plan, world: World, seed: u64) -> Decision {
    whole(plan, world, seed).1
}

/// A whole run and its events.
pub fn whole(plan: Plan, world: World, seed: u64) -> (Vec<Event>, Decision) {
    let mut run = Run::new(plan, world, seed);
    run.start();
    run.rollout();
    let decision = run.finish();
    (run.events, decision)
}
