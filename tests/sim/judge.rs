//! A strict, small judge: reads facts and counts only, and calls nothing good that it has not seen. Its gates and guards
//! follow a script, so that a run can be led anywhere. Must not look at the simulated world.

use shakedown_core::Plan;
use shakedown_core::decision::{Decision, Exit, SCHEMA, Validity, Verdict};
use shakedown_core::event::{Assessment, Attestation, Check, Event, Fact, Gate, GateState, HaltBy, Input, StageEnd, Tripped};
use shakedown_core::plan::GuardAction;
use shakedown_core::seams::Assessor;
use shakedown_core::snapshot::Arm;
use shakedown_core::units::{Offset, Ppm, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the judge will find.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Stage whose gate proves harm.
    pub harm: Option<usize>,
    /// Stage whose gate stays undecided.
    pub undecided: Option<usize>,
    /// Preflight is missed.
    pub unhealthy: bool,
    /// No fault ever recovers.
    pub never_recovers: bool,
    /// Guards crossed from and to.
    pub guards: Vec<(Offset, Offset, GuardAction)>,
}

pub struct Strict {
    plan: Arc<Plan>,
    script: Script,
    facts: Vec<(Offset, Fact)>,
    now: Offset,
    snapshots: u64,
    as_of: Offset,
    last_canary: Option<Offset>,
    back_since: Option<Offset>,
    stage: Option<(usize, Offset)>,
    canary_in_stage: u64,
    hits: BTreeMap<String, Attestation>,
}

impl Strict {
    pub fn new(plan: Arc<Plan>, script: Script) -> Strict {
        let zero = Offset(i64::MIN);
        Strict {
            plan,
            script,
            facts: Vec::new(),
            now: zero,
            snapshots: 0,
            as_of: zero,
            last_canary: None,
            back_since: None,
            stage: None,
            canary_in_stage: 0,
            hits: BTreeMap::new(),
        }
    }

    fn gate(&self) -> Option<Gate> {
        let (index, since) = self.stage?;
        let name = self.plan.rollout.as_ref()?.stages.get(index)?.name.clone();
        let long = self.now.since(since) > Span::millis(1500) && self.canary_in_stage > 0;
        let state = match () {
            () if long && self.script.harm == Some(index) => GateState::Harm,
            () if long && self.script.undecided != Some(index) => GateState::Pass,
            () => GateState::Undecided,
        };
        Some(Gate { stage: name, state, why: "scripted".into() })
    }

    fn restored(&self) -> Option<Offset> {
        let since = self.back_since?;
        let from = self.last_canary.map_or(since, |last| last.max(since));
        (self.as_of.since(from) >= Span::secs(3)).then_some(from)
    }

    fn recovered(&self) -> BTreeMap<String, Option<Offset>> {
        let reverted = self.facts.iter().filter_map(|(at, fact)| match fact {
            Fact::FaultReverted(fault) => Some((fault.clone(), *at)),
            _ => None,
        });
        let held = |at: Offset| (!self.script.never_recovers && self.as_of.since(at) > Span::secs(3)).then_some(at);
        reverted.map(|(fault, at)| (fault, held(at))).collect()
    }

    fn has(&self, what: impl Fn(&Fact) -> bool) -> bool {
        self.facts.iter().any(|(_, f)| what(f))
    }

    /// The canary still answered well after the router said that it gets nothing.
    fn canary_after_zero(&self) -> bool {
        let last_read = self.facts.iter().rev().find_map(|(at, f)| match f {
            Fact::WeightRead(w) => Some((*at, *w)),
            _ => None,
        });
        matches!((last_read, self.last_canary), (Some((at, Ppm::ZERO)), Some(last)) if last > at.plus(Span::secs(1)))
    }

    fn gaps(&self) -> bool {
        let stages = self.plan.rollout.iter().flat_map(|r| &r.stages);
        let passed = |name: &str| self.has(|f| matches!(f, Fact::StageEnded { stage, end: StageEnd::Passed, .. } if stage == name));
        let hit = |name: &str| self.hits.get(name).is_some_and(|h| h.hits > 0);
        let reverted = |name: &str| self.has(|f| *f == Fact::FaultReverted(name.to_owned()));
        let broken = |f: &Fact| {
            matches!(f, Fact::UndoFailed { .. } | Fact::WeightFailed(_) | Fact::FaultFailed { .. } | Fact::RollbackEnded { restored: None })
        };
        self.snapshots == 0
            || self.has(broken)
            || !self.has(|f| *f == Fact::TrafficEnded)
            || stages.into_iter().any(|s| !passed(&s.name))
            || self.plan.faults.iter().any(|f| !hit(&f.name) || !reverted(&f.name))
    }

    fn answer(&self) -> (Verdict, Exit) {
        let back = |rehearsed: bool| self.has(move |f| matches!(f, Fact::RollbackStarted { rehearsal, .. } if *rehearsal == rehearsed));
        let unready = |f: &Fact| matches!(f, Fact::NotReady { .. } | Fact::PreflightMissed { .. });
        let guard = |f: &Fact| matches!(f, Fact::GuardFired { action: GuardAction::Rollback, .. });
        let halted = |want: fn(&HaltBy) -> bool| self.has(move |f| matches!(f, Fact::Halted(by) if want(by)));
        let stuck = |f: &Fact| matches!(f, Fact::RollbackFailed(_) | Fact::RevertFailed { .. });
        match () {
            () if halted(|by| matches!(by, HaltBy::Internal(_))) => (Verdict::Halted, Exit::Internal),
            () if self.has(stuck) || self.canary_after_zero() => (Verdict::Rollback, Exit::RollbackFailed),
            () if halted(|by| matches!(by, HaltBy::Signal(_))) => (Verdict::Halted, Exit::Interrupted),
            () if self.has(unready) => (Verdict::Invalid, Exit::NotReady),
            () if self.has(|f| matches!(f, Fact::StageEnded { end: StageEnd::Harm, .. })) || self.has(guard) => {
                (Verdict::Rollback, Exit::Rollback)
            }
            () if halted(|_| true) => (Verdict::Halted, Exit::Halted),
            () if self.has(|f| matches!(f, Fact::StageEnded { end: StageEnd::Undecided, .. })) => {
                (Verdict::Inconclusive, Exit::Inconclusive)
            }
            () if self.gaps() || back(false) => (Verdict::Invalid, Exit::Invalid),
            () => (Verdict::Promote, Exit::Promote),
        }
    }
}

impl Assessor for Strict {
    fn push(&mut self, event: &Event) {
        self.now = event.at;
        match &event.what {
            Input::Snapshot(s) => {
                self.snapshots += 1;
                self.as_of = s.as_of;
                if let Some(last) = s.last_answer.get(&Arm::Canary) {
                    self.last_canary = Some(*last);
                    self.canary_in_stage += 1;
                }
                if self.plan.rollout.is_none() {
                    self.canary_in_stage += 1;
                }
            }
            Input::Attested { fault, hits } => {
                self.hits.insert(fault.clone(), hits.clone());
            }
            Input::Fact(fact) => {
                match fact {
                    Fact::StageStarted(name) => {
                        let index = self.plan.rollout.as_ref().and_then(|r| r.stages.iter().position(|s| s.name == *name));
                        self.stage = index.map(|i| (i, event.at));
                        self.canary_in_stage = 0;
                    }
                    Fact::RollbackStarted { .. } => self.back_since = Some(event.at),
                    _ => {}
                }
                self.facts.push((event.at, fact.clone()));
            }
            _ => {}
        }
    }

    fn assess(&mut self) -> Assessment {
        let baseline = Offset::ZERO.plus(self.plan.first_stage());
        let check = |name: &String| Check { objective: name.clone(), ok: !self.script.unhealthy, why: "scripted".into() };
        let preflight = (self.snapshots > 0 && self.as_of >= baseline).then(|| self.plan.preflight.iter().map(check).collect());
        let crossed = self.script.guards.iter().enumerate().filter(|(_, (from, to, _))| (*from..*to).contains(&self.now));
        let guards = crossed.map(|(i, (.., action))| Tripped { guard: format!("guard-{i}"), action: *action, why: "scripted".into() });
        Assessment {
            gate: self.gate(),
            preflight,
            guards: guards.collect(),
            restored: self.restored(),
            recovered: self.recovered(),
            objectives: Vec::new(),
        }
    }

    fn decide(&mut self) -> Decision {
        let (verdict, exit) = self.answer();
        Decision {
            schema: SCHEMA.into(),
            verdict,
            exit,
            headline: String::new(),
            reasons: Vec::new(),
            scenario: self.plan.name.clone(),
            environment: String::new(),
            run: String::new(),
            started: String::new(),
            duration: 0,
            version: String::new(),
            seed: self.plan.seed,
            plan_sha256: String::new(),
            canary: None,
            validity: Validity::default(),
            objectives: BTreeMap::new(),
            stages: Vec::new(),
            faults: Vec::new(),
            rollbacks: Vec::new(),
            conditions: Vec::new(),
            next: Vec::new(),
        }
    }
}
