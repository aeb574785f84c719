//! What the live view remembers: counts of the last seconds, stages, weights, faults, objectives. Must not grow with the
//! run.

use crate::style::clean;
use crate::units::count;
use shakedown_core::Plan;
use shakedown_core::event::{Event, Fact, Input, Progress, StageEnd};
use shakedown_core::snapshot::{Arm, Cell, CellKey, Dim, Snapshot};
use shakedown_core::sparse::Sparse;
use shakedown_core::units::{Offset, Ppm, Span};
use std::collections::BTreeMap;

/// Seconds kept for the sparklines.
pub(super) const SECONDS: u64 = 40;
/// Span over which rates, lag and the observed share are told.
pub(super) const RECENT: Span = Span::secs(5);
/// Most snapshots kept for them.
const SNAPSHOTS: usize = 256;

/// The phase after load.
const DECIDING: &str = "load is out; deciding";
/// The word for a fault that is there.
const IN_PLACE: &str = "in place";

/// How far a stage is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StageState {
    Ahead,
    Running(Offset),
    Ended(StageEnd),
}

/// How far a fault is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FaultState {
    /// `waiting`, `in place`, `ended`, `FAILED`, `NOT TAKEN BACK`.
    pub word: &'static str,
    pub hits: u64,
}

/// A snapshot's part that rates are told from.
#[derive(Debug, Default)]
struct Recent {
    from: Offset,
    to: Offset,
    asked: u64,
    sent: u64,
    lag: Sparse,
    arms: [u64; 2],
}

/// One second of all traffic.
#[derive(Debug, Default)]
pub(super) struct Second {
    pub latency: Sparse,
    pub ok: u64,
    pub failed: u64,
}

/// Everything the view shows.
#[derive(Debug)]
pub(super) struct State {
    pub stages: Vec<(String, StageState)>,
    pub faults: BTreeMap<String, FaultState>,
    pub asked_weight: Option<Ppm>,
    pub read_weight: Option<Ppm>,
    pub objectives: Vec<Progress>,
    pub gate: Option<(String, String)>,
    pub seconds: BTreeMap<u64, Second>,
    /// What the run as a whole is doing, in words; empty while load simply goes on.
    phase: &'static str,
    rollout: bool,
    warm: Offset,
    first_stage: Offset,
    dropped: u64,
    pub sent: u64,
    slice: Span,
    recent: Vec<Recent>,
    last: Offset,
}

/// Rates over the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rates {
    pub asked: f64,
    pub sent: f64,
    pub lag_p99: Option<u64>,
    pub canary_share: Option<f64>,
}

impl State {
    pub(super) fn new(plan: &Plan) -> State {
        let stages = plan.rollout.iter().flat_map(|r| &r.stages).map(|s| (s.name.clone(), StageState::Ahead)).collect();
        let waiting = FaultState { word: "waiting", hits: 0 };
        State {
            stages,
            faults: plan.faults.iter().map(|f| (f.name.clone(), waiting.clone())).collect(),
            asked_weight: None,
            read_weight: None,
            objectives: Vec::new(),
            gate: None,
            seconds: BTreeMap::new(),
            phase: "getting ready",
            rollout: plan.rollout.is_some(),
            warm: Offset::ZERO.plus(plan.longest_warmup()),
            first_stage: Offset::ZERO.plus(plan.first_stage()),
            dropped: 0,
            sent: 0,
            slice: plan.slice,
            recent: Vec::new(),
            last: Offset::ZERO,
        }
    }

    pub(super) fn push(&mut self, event: &Event) {
        match &event.what {
            Input::Snapshot(snapshot) => self.snapshot(snapshot),
            Input::Assessed(assessment) => {
                self.objectives.clone_from(&assessment.objectives);
                self.gate = assessment.gate.as_ref().map(|g| (g.stage.clone(), clean(&g.why)));
            }
            Input::Attested { fault, hits } => {
                self.faults.entry(fault.clone()).or_default().hits = hits.hits;
            }
            Input::Fact(fact) => self.fact(event.at, fact),
            Input::Halt(_) => self.phase = "stopping: undoing everything",
            Input::Tick | Input::Done { .. } | Input::ServiceExited { .. } | Input::Samples(_) => {}
        }
    }

    /// What the run as a whole is doing, in words.
    pub(super) fn phase(&self, now: Offset) -> String {
        let faults: Vec<String> = self.faults.iter().filter(|(_, f)| f.word == IN_PLACE).map(|(n, _)| clean(n)).collect();
        if !self.phase.is_empty() {
            return self.phase.to_owned();
        }
        match self.running() {
            Some(_) => "rolling out".to_owned(),
            None if now < self.warm => "warming up".to_owned(),
            None if self.rollout && now <= self.first_stage => "baseline".to_owned(),
            None if faults.is_empty() => "under load".to_owned(),
            None => format!("under load, fault {} in place", faults.join(" and ")),
        }
    }

    /// Something other than load and stages goes on.
    pub(super) fn stopping(&self) -> bool {
        !self.phase.is_empty()
    }

    /// Traffic was seen and is not over.
    pub(super) fn under_load(&self) -> bool {
        !self.recent.is_empty() && self.phase != DECIDING
    }

    pub(super) fn running(&self) -> Option<(&str, Offset)> {
        self.stages.iter().find_map(|(name, state)| match state {
            StageState::Running(since) => Some((name.as_str(), *since)),
            _ => None,
        })
    }

    /// Arrivals that were never sent, if there are any.
    pub(super) fn dropped_words(&self) -> Option<String> {
        (self.dropped > 0).then(|| format!("DROPPED {}", count(self.dropped)))
    }

    pub(super) fn rates(&self) -> Rates {
        let from = self.last.minus(RECENT);
        let window: Vec<&Recent> = self.recent.iter().filter(|r| r.to > from).collect();
        let Some(first) = window.first() else {
            return Rates::default();
        };
        let seconds = self.last.since(first.from).seconds();
        let per_second = |n: u64| if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
        let mut lag = Sparse::default();
        window.iter().for_each(|r| lag.merge(&r.lag));
        let arms = window.iter().fold([0, 0], |sum, r| [sum[0] + r.arms[0], sum[1] + r.arms[1]]);
        Rates {
            asked: per_second(window.iter().map(|r| r.asked).sum()),
            sent: per_second(window.iter().map(|r| r.sent).sum()),
            lag_p99: lag.quantile(0.99),
            canary_share: (arms[0] + arms[1] > 0).then(|| arms[1] as f64 / (arms[0] + arms[1]) as f64),
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot) {
        let mut recent = Recent { from: self.last, to: snapshot.as_of, ..Recent::default() };
        for totals in snapshot.streams.values() {
            recent.asked += totals.asked;
            recent.sent += totals.sent;
            self.dropped += totals.dropped;
            self.sent += totals.sent;
        }
        for (key, cell) in snapshot.cells.iter().filter(|(k, _)| k.dim == Dim::Whole) {
            self.cell(key, cell, &mut recent);
        }
        self.last = self.last.max(snapshot.as_of);
        self.recent.push(recent);
        let from = self.last.minus(RECENT);
        self.recent.retain(|r| r.to > from);
        if self.recent.len() > SNAPSHOTS {
            self.recent.remove(0);
        }
    }

    fn cell(&mut self, key: &CellKey, cell: &Cell, recent: &mut Recent) {
        match key.arm {
            Arm::Control => recent.arms[0] += cell.done(),
            Arm::Canary => recent.arms[1] += cell.done(),
            Arm::Unknown => {}
            Arm::All => {
                recent.lag.merge(&cell.lag);
                let second = self.seconds.entry(u64::from(key.slice) * self.slice.0 / 1_000_000_000).or_default();
                second.ok += cell.ok;
                second.failed += cell.failures();
                second.latency.merge(&cell.latency);
            }
        }
        let newest = self.seconds.last_key_value().map_or(0, |(k, _)| *k);
        self.seconds.retain(|k, _| k + SECONDS > newest);
    }

    fn fact(&mut self, at: Offset, fact: &Fact) {
        let phase = match fact {
            Fact::Started { .. } => "starting services",
            Fact::Epoch { .. } => "",
            Fact::StageStarted(name) => {
                self.stage(name, StageState::Running(at));
                ""
            }
            Fact::StageEnded { stage, end, .. } => {
                self.stage(stage, StageState::Ended(*end));
                return;
            }
            Fact::WeightAsked(w) => {
                self.asked_weight = Some(*w);
                return;
            }
            Fact::WeightFound(w) | Fact::WeightRead(w) => {
                self.read_weight = Some(*w);
                self.recent.iter_mut().for_each(|r| r.arms = [0, 0]);
                return;
            }
            Fact::FaultApplied(f) => return self.fault(f, IN_PLACE),
            Fact::FaultReverted(f) => return self.fault(f, "ended"),
            Fact::FaultFailed { fault, .. } => return self.fault(fault, "FAILED"),
            Fact::RevertFailed { fault, .. } => return self.fault(fault, "NOT TAKEN BACK"),
            Fact::RollbackStarted { rehearsal: true, .. } => "rehearsing the rollback",
            Fact::RollbackStarted { rehearsal: false, .. } => "ROLLING BACK",
            Fact::RollbackEnded { restored: Some(_) } => "restored",
            Fact::RollbackEnded { restored: None } => "NOT RESTORED in time",
            Fact::RollbackFailed(_) => "the way back FAILED",
            Fact::Halted(_) => "halted: undoing everything",
            Fact::TrafficEnded => DECIDING,
            Fact::NotReady { .. } => "not ready",
            Fact::Ended => "ended",
            _ => return,
        };
        self.phase = phase;
    }

    fn stage(&mut self, name: &str, to: StageState) {
        if let Some((_, state)) = self.stages.iter_mut().find(|(n, _)| n == name) {
            *state = to;
        }
    }

    fn fault(&mut self, name: &str, word: &'static str) {
        self.faults.entry(name.to_owned()).or_default().word = word;
    }
}
