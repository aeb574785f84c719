//! What the step function remembers. Must not decide: that is `step`'s.

use crate::effect::{Call, Effect, HURRIED};
use shakedown_core::Plan;
use shakedown_core::event::{EffectId, Fact, Gate, HaltBy};
use shakedown_core::plan::{Rollout, Stage};
use shakedown_core::units::{Offset, Ppm, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The state of a run. Made by [`State::new`], changed by [`step`](crate::step()) only.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) plan: Arc<Plan>,
    pub(crate) teardowns: usize,
    pub(crate) now: Offset,
    pub(crate) next_id: EffectId,
    pub(crate) pending: BTreeMap<EffectId, Call>,
    pub(crate) phase: Phase,
    pub(crate) ramp: Ramp,
    pub(crate) faults: Vec<FaultState>,
    pub(crate) streams: Vec<StreamState>,
    pub(crate) clocks: Vec<Option<Offset>>,
    pub(crate) weight: WeightState,
    pub(crate) seen: Seen,
    pub(crate) held: Held,
    pub(crate) halted: Option<HaltBy>,
    pub(crate) hurried: bool,
    pub(crate) rolled_back: bool,
    pub(crate) preflight_ok: bool,
    pub(crate) load_started: bool,
    pub(crate) services_touched: bool,
    pub(crate) teardown_due: bool,
    pub(crate) sent: u64,
    /// One segment of several: its load goes on until it is told to stop, whatever its shape.
    pub(crate) until_told: bool,
    pub(crate) out: Vec<Effect>,
}

/// Where the run is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Nothing has happened.
    New,
    /// Before the epoch.
    Begin(Begin),
    /// Load runs.
    Running,
    /// Undoing.
    Ending(Ending),
    /// `Ended` is announced.
    Over,
}

/// Steps before the epoch, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Begin {
    Service(usize),
    Targets,
    Register,
    Setup(usize),
    Connect,
    Faults,
    Epoch,
}

/// Steps of the end, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    /// Until every fault is gone and no call is under way.
    Settle,
    Drain,
    Judge,
    Weight(Final),
    Keep,
    Teardown(usize),
    Services,
}

/// Putting the final weight in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Final {
    pub goal: Goal,
    pub tries: u32,
    pub retry_at: Option<Offset>,
}

/// Which weight stays behind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// What was found at the start.
    Found,
    /// Control at full weight.
    Control,
    /// The last stage's.
    Promoted(Ppm),
}

/// Where the rollout is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ramp {
    /// There is none.
    None,
    /// Warm-up and baseline.
    Baseline,
    /// Setting and reading back a stage's weight.
    Enter(usize),
    /// The stage's clock runs.
    Hold(usize),
    /// Between stages: the next one begins as soon as no guard holds the ramp.
    Next(usize),
    /// On the way back, rehearsed or real.
    Back(Back),
    /// Every stage passed.
    Done,
}

/// A way back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Back {
    /// The stage it began in.
    pub stage: usize,
    /// Decided then.
    pub commanded: Offset,
    /// A rehearsal that still goes on with the rollout afterwards.
    pub go_on: bool,
    /// Where it is.
    pub at: BackAt,
    /// Tries to set and read 0 so far.
    pub tries: u32,
    /// First try.
    pub first_try: Offset,
}

/// Where a way back is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BackAt {
    /// Until the cancelled calls are out of the way.
    Clear,
    Before(usize),
    Setting,
    RetryAt(Offset),
    /// Until restored, or this offset.
    Await(Offset),
}

/// A fault's life.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FaultState {
    pub life: Life,
    pub tries: u32,
    pub attested: Offset,
    /// It is not (fully) in place: say `FaultFailed`, not `FaultReverted`.
    pub failed: bool,
}

/// Where a fault is in its life.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Life {
    #[default]
    Waiting,
    /// Being applied; `true` once it has been cancelled to be reverted.
    Applying(bool),
    Active(Offset),
    Reverting,
    /// Gone since then.
    Gone(Offset),
    /// Never in place, or still in place: both are announced.
    Failed,
}

/// A stream's life.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StreamState {
    pub started: Option<Offset>,
    pub ended: Option<Offset>,
}

/// What is known about the router.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WeightState {
    /// As found at the start.
    pub found: Option<Ppm>,
    /// A set has been issued.
    pub touched: bool,
    /// Last asked for.
    pub asked: Option<Ppm>,
    /// Last read back after it was asked for; `None` while unknown.
    pub known: Option<Ppm>,
}

/// The parts of the last assessment that steps need.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub gate: Option<Gate>,
    pub preflight: Option<Vec<(String, bool, String)>>,
    pub restored: Option<Offset>,
    pub recovered: BTreeMap<String, Offset>,
    pub tripped: BTreeSet<String>,
}

/// The ramp held by `pause` and `reduce` guards.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Held {
    /// Held now, since then, by that guard.
    pub since: Option<(Offset, String)>,
    /// Held before in this stage, in all.
    pub before: Span,
    /// Lowest weight a `reduce` guard asks for now.
    pub reduce: Option<Ppm>,
}

impl State {
    /// The state before the first event. `teardowns` is the number of teardown records the dispatcher will register.
    #[must_use]
    pub fn new(plan: Arc<Plan>, teardowns: usize) -> State {
        let stages = plan.rollout.as_ref().map_or(0, |r| r.stages.len());
        State {
            teardowns,
            now: Offset(i64::MIN),
            next_id: 1,
            pending: BTreeMap::new(),
            phase: Phase::New,
            ramp: if plan.rollout.is_some() { Ramp::Baseline } else { Ramp::None },
            faults: vec![FaultState::default(); plan.faults.len()],
            streams: vec![StreamState::default(); plan.streams.len()],
            clocks: vec![None; stages],
            weight: WeightState::default(),
            seen: Seen::default(),
            held: Held::default(),
            halted: None,
            hurried: false,
            rolled_back: false,
            preflight_ok: plan.preflight.is_empty(),
            load_started: false,
            services_touched: false,
            teardown_due: false,
            sent: 0,
            until_told: false,
            out: Vec::new(),
            plan,
        }
    }

    /// The load's last rate goes on until an interrupt or the time box, which then end the run in good order.
    pub(crate) fn until_told(&mut self) {
        self.until_told = true;
    }

    /// `Ended` has been announced; nothing follows.
    #[must_use]
    pub fn over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(crate) fn say(&mut self, fact: Fact) {
        self.out.push(Effect::Announce(fact));
    }

    pub(crate) fn call(&mut self, call: Call, deadline: Span) {
        let id = self.next_id;
        self.next_id += 1;
        let deadline = if self.hurried { deadline.min(HURRIED) } else { deadline };
        self.pending.insert(id, call);
        self.out.push(Effect::Run { id, call, deadline });
    }

    /// Cancels every pending call `which` picks; their `Done`s still come.
    pub(crate) fn cancel(&mut self, which: impl Fn(Call) -> bool) {
        let ids: Vec<EffectId> = self.pending.iter().filter(|(_, c)| which(**c)).map(|(id, _)| *id).collect();
        self.out.extend(ids.into_iter().map(Effect::Cancel));
    }

    pub(crate) fn is_pending(&self, which: impl Fn(Call) -> bool) -> bool {
        self.pending.values().any(|c| which(*c))
    }

    pub(crate) fn rollout(&self) -> &Rollout {
        self.plan.rollout.as_ref().expect("the ramp moves only with a rollout")
    }

    pub(crate) fn stage(&self, index: usize) -> &Stage {
        &self.rollout().stages[index]
    }

    /// The canary's weight as far as it is known: read back, else asked for, else found.
    pub(crate) fn weight_now(&self) -> Ppm {
        self.weight.known.or(self.weight.asked).or(self.weight.found).unwrap_or(Ppm::ZERO)
    }
}

impl Call {
    /// Sets or reads the router's weight.
    pub(crate) fn on_weight(self) -> bool {
        matches!(self, Call::SetWeight(_) | Call::ReadWeight | Call::RestoreWeight)
    }
}
