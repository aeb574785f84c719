//! What happened when, from the engine's facts: stages, faults, ways back, halts. Must not read snapshots' counts.

use shakedown_core::event::{Attestation, HaltBy, StageEnd};
use shakedown_core::plan::{GuardAction, Plan};
use shakedown_core::{Fact, Offset, Ppm};
use std::collections::BTreeMap;

/// A stage that began.
#[derive(Clone, Debug)]
pub struct StageRun {
    /// Index into the plan's stages.
    pub index: usize,
    /// Its clock.
    pub from: Offset,
    /// No unit beyond this belongs to it: its end, a rollback or a halt.
    pub to: Option<Offset>,
    /// How it ended.
    pub end: Option<(StageEnd, String)>,
    /// Weight read back.
    pub acknowledged: Option<Ppm>,
}

/// A fault's times.
#[derive(Clone, Debug, Default)]
pub struct FaultRun {
    /// In place.
    pub applied: Option<Offset>,
    /// Gone.
    pub reverted: Option<Offset>,
    /// Could not be applied.
    pub failed: Option<String>,
    /// Totals of what it hit.
    pub hits: Attestation,
}

/// A way back.
#[derive(Clone, Debug)]
pub struct Back {
    /// After a passed gate.
    pub rehearsal: bool,
    /// Canary weight before.
    pub from: Ppm,
    /// Stage.
    pub stage: String,
    /// Why.
    pub why: String,
    /// Decided.
    pub commanded: Offset,
    /// Weight 0 read back.
    pub acknowledged: Option<Offset>,
    /// Last answer by the canary.
    pub last_canary: Option<Offset>,
    /// It ended.
    pub ended: Option<Offset>,
    /// Restored, as the engine took it over.
    pub restored: Option<Offset>,
    /// The canary was given weight again: later answers are none of this way back's.
    pub over: bool,
}

/// Everything the facts say.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Wall clock, run, plan hash, version, scaled.
    pub started: Option<(String, String, String, String, bool)>,
    /// Offset 0 has been.
    pub epoch: bool,
    /// Before any change: what was not ready, or missed in the baseline.
    pub not_ready: Option<(String, String, bool)>,
    /// Stages in the order they began.
    pub stages: Vec<StageRun>,
    /// By name.
    pub faults: BTreeMap<String, FaultRun>,
    /// In order.
    pub backs: Vec<Back>,
    /// Guards that acted.
    pub fired: Vec<(String, GuardAction, String)>,
    /// First halt.
    pub halted: Option<(HaltBy, Offset)>,
    /// Reasons why control may not be at full weight or a change may still be there.
    pub stuck: Vec<String>,
    /// Faults that could not be taken back (yet).
    pub unreverted: BTreeMap<String, String>,
    /// Load is out.
    pub traffic_ended: Option<Offset>,
    /// The journal is whole.
    pub ended: bool,
    /// A fault or weight change has begun.
    pub changed: bool,
    /// When streams began.
    pub streams: BTreeMap<String, Offset>,
    /// Offset of the last event.
    pub last: Offset,
    weight: Ppm,
    asked: Option<Ppm>,
    unsettled: Vec<(Offset, Offset)>,
}

impl Timeline {
    /// Takes a fact in.
    pub fn push(&mut self, plan: &Plan, at: Offset, fact: &Fact) {
        self.last = self.last.max(at);
        match fact {
            Fact::Started { wall, run, plan_sha256, version, scaled } => {
                self.started = Some((wall.clone(), run.clone(), plan_sha256.clone(), version.clone(), *scaled));
            }
            Fact::Epoch { .. } => self.epoch = true,
            Fact::NotReady { what, why } => self.unready(format!("{what} is not ready: {why}"), "not-ready"),
            Fact::PreflightMissed { objective, why } => {
                self.unready(format!("preflight {objective} was missed on the baseline: {why}"), "preflight");
            }
            Fact::StreamStarted(name) => {
                self.streams.entry(name.clone()).or_insert(at);
            }
            Fact::StreamEnded(_) | Fact::WeightFailed(_) => {}
            Fact::WeightFound(w) => self.weight = *w,
            Fact::WeightAsked(w) => self.weight_asked(at, *w),
            Fact::WeightRead(w) => self.weight_read(at, *w),
            Fact::StageStarted(name) => self.stage_started(plan, at, name),
            Fact::StageEnded { stage, end, why } => self.stage_ended(plan, at, stage, *end, why),
            Fact::FaultApplied(name) => {
                self.changed = true;
                self.faults.entry(name.clone()).or_default().applied = Some(at);
            }
            Fact::FaultFailed { fault, why } => self.faults.entry(fault.clone()).or_default().failed = Some(why.clone()),
            Fact::FaultReverted(name) => {
                self.unreverted.remove(name);
                self.faults.entry(name.clone()).or_default().reverted = Some(at);
            }
            Fact::RevertFailed { fault, why } => {
                self.unreverted.insert(fault.clone(), format!("fault {fault} could not be taken back: {why}"));
            }
            Fact::UndoFailed { what, why } => self.stuck.push(format!("{what} could not be undone: {why}")),
            Fact::RollbackFailed(why) => self.stuck.push(format!("the way back failed: {why}")),
            Fact::GuardFired { guard, action, why } => self.fired.push((guard.clone(), *action, why.clone())),
            Fact::Halted(by) => self.halt(at, by),
            Fact::TrafficEnded => self.traffic_ended = Some(at),
            Fact::Ended => self.ended = true,
            Fact::RollbackStarted { rehearsal, from, stage, why } => self.rollback_started(at, *rehearsal, *from, stage, why),
            Fact::RollbackEnded { restored } => {
                if let Some(back) = self.backs.last_mut() {
                    back.ended = Some(at);
                    back.restored = *restored;
                }
            }
        }
    }

    fn unready(&mut self, why: String, code: &str) {
        self.not_ready.get_or_insert((code.to_owned(), why, !self.changed));
    }

    fn halt(&mut self, at: Offset, by: &HaltBy) {
        // An internal error outranks whatever stopped the run before.
        if self.halted.is_none() || matches!(by, HaltBy::Internal(_)) {
            self.halted = Some((by.clone(), at));
        }
        self.cut_stage(at);
    }

    fn cut_stage(&mut self, at: Offset) {
        if let Some(stage) = self.stages.last_mut() {
            stage.to.get_or_insert(at);
        }
    }

    fn weight_asked(&mut self, at: Offset, w: Ppm) {
        if w != self.weight {
            self.changed = true;
            self.unsettled.push((at, Offset::MAX));
        }
        self.asked = Some(w);
        if w > Ppm::ZERO {
            self.backs.iter_mut().for_each(|b| b.over = true);
        }
    }

    fn weight_read(&mut self, at: Offset, w: Ppm) {
        if w != self.weight && self.asked.is_none() {
            self.unsettled.push((at, at));
        }
        if let Some(open) = self.unsettled.last_mut().filter(|u| u.1 == Offset::MAX) {
            open.1 = at;
        }
        self.asked = None;
        self.weight = w;
        if w == Ppm::ZERO
            && let Some(back) = self.backs.last_mut().filter(|b| !b.over)
        {
            back.acknowledged.get_or_insert(at);
        }
    }

    fn stage_started(&mut self, plan: &Plan, at: Offset, name: &str) {
        self.changed = true;
        self.cut_stage(at);
        let index = plan.rollout.as_ref().and_then(|r| r.stages.iter().position(|s| s.name == name));
        if let Some(index) = index {
            self.stages.push(StageRun { index, from: at, to: None, end: None, acknowledged: Some(self.weight) });
        }
    }

    fn stage_ended(&mut self, plan: &Plan, at: Offset, name: &str, end: StageEnd, why: &str) {
        let named = |s: &&mut StageRun| plan.rollout.as_ref().is_some_and(|r| r.stages[s.index].name == name);
        if let Some(stage) = self.stages.last_mut().filter(named) {
            stage.to.get_or_insert(at);
            stage.end = Some((end, why.to_owned()));
        }
    }

    fn rollback_started(&mut self, at: Offset, rehearsal: bool, from: Ppm, stage: &str, why: &str) {
        self.cut_stage(at);
        let (stage, why) = (stage.to_owned(), why.to_owned());
        let back = Back {
            rehearsal,
            from,
            stage,
            why,
            commanded: at,
            acknowledged: None,
            last_canary: None,
            ended: None,
            restored: None,
            over: false,
        };
        self.backs.push(back);
    }

    /// The canary answered at this offset.
    pub fn canary_answered(&mut self, at: Offset) {
        if let Some(back) = self.backs.last_mut().filter(|b| !b.over && at >= b.commanded) {
            back.last_canary = back.last_canary.max(Some(at));
        }
    }

    /// The stage running now.
    #[must_use]
    pub fn running(&self) -> Option<&StageRun> {
        self.stages.last().filter(|s| s.to.is_none())
    }

    /// The stage, and its weight, in which all of the time between two offsets lies; `None` where the weight changed.
    #[must_use]
    pub fn stage_of(&self, from: Offset, to: Offset) -> Option<(usize, Ppm)> {
        let stage = self.stages.iter().rev().find(|s| s.from <= from)?;
        let inside = stage.to.is_none_or(|end| to <= end);
        let steady = !self.unsettled.iter().any(|(a, b)| *a < to && *b > from && *b > stage.from);
        // A guard may have lowered the weight within the stage: `acknowledged` is the weight it began with.
        let lowered = self.unsettled.iter().any(|(a, _)| *a > stage.from && *a < from);
        let weight = if lowered { self.weight } else { stage.acknowledged.unwrap_or_default() };
        (inside && steady).then_some((stage.index, weight))
    }

    /// The time touches a way back (from its command to the next stage, or the end).
    #[must_use]
    pub fn in_rollback(&self, from: Offset, to: Offset) -> bool {
        self.backs.iter().any(|b| {
            let next = self.stages.iter().map(|s| s.from).find(|f| *f > b.commanded).unwrap_or(Offset::MAX);
            b.commanded < to && next > from
        })
    }

    /// Requests of this time are counted for a way back: from its command until it ended.
    #[must_use]
    pub fn counts_for_a_way_back(&self, from: Offset, to: Offset) -> bool {
        self.backs.iter().any(|b| b.commanded <= to && b.ended.is_none_or(|ended| from <= ended))
    }

    /// A real (not rehearsed) way back began, or the run was halted: from when on.
    #[must_use]
    pub fn turned_back(&self) -> Option<Offset> {
        let back = self.backs.iter().find(|b| !b.rehearsal).map(|b| b.commanded);
        let halt = self.halted.as_ref().map(|h| h.1);
        back.into_iter().chain(halt).min()
    }

    /// When the first weight change was asked for.
    #[must_use]
    pub fn first_change(&self) -> Option<Offset> {
        self.unsettled.first().map(|u| u.0).into_iter().chain(self.stages.first().map(|s| s.from)).min()
    }
}
