//! What happens in a run, in one order: inputs, facts, assessments. Must not decide anything.

use crate::plan::GuardAction;
use crate::snapshot::{Sample, Snapshot};
use crate::units::{Offset, Ppm};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A line of the event journal. `seq` and `at` are given by the dispatcher; `at` never goes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Order.
    pub seq: u64,
    /// Offset from the load epoch (negative before it, counted from the planned epoch).
    pub at: Offset,
    /// What.
    pub what: Input,
}

/// Names one running effect.
pub type EffectId = u64;

/// What the engine's step takes in, and (`Fact`) what it states. Everything but `Assessed` is primary: `judge RUN`
/// recomputes the assessments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Time passes.
    Tick,
    /// Counts from load.
    Snapshot(Snapshot),
    /// Derived: what the judge makes of everything so far.
    Assessed(Box<Assessment>),
    /// An effect ended (or passed its deadline).
    Done {
        /// Which.
        effect: EffectId,
        /// Its answer, or why it failed.
        outcome: Result<Value, String>,
    },
    /// How much a fault hit so far (totals, not deltas).
    Attested {
        /// Fault name.
        fault: String,
        /// Totals.
        hits: Attestation,
    },
    /// A service ended that nobody stopped.
    ServiceExited {
        /// Service name.
        service: String,
        /// Exit status or −signal.
        status: i32,
    },
    /// Stop now.
    Halt(HaltBy),
    /// Bounded samples, once at the end; kept in `samples.jsonl`, not in the journal.
    Samples(Vec<Sample>),
    /// What the engine did or found: the judge's second source beside snapshots.
    Fact(Fact),
}

/// Totals of what a fault really did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Connections or requests (or processes) hit.
    pub hits: u64,
    /// Connections or requests seen, hit or not.
    pub seen: u64,
    /// Bytes passed while hit.
    pub bytes: u64,
}

/// Who stopped the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltBy {
    /// SIGINT (2) or SIGTERM (15): everything is undone, control gets full weight.
    Signal(i32),
    /// The time box.
    TimeBox,
    /// An abort guard.
    Guard(String),
    /// A limit: `requests`.
    Limit(String),
    /// The harness itself is broken (journal cannot be written, an internal error).
    Internal(String),
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageEnd {
    /// Its gate passed.
    Passed,
    /// Harm was proven.
    Harm,
    /// Neither, at hold + extend.
    Undecided,
    /// A halt or guard cut it.
    Cut,
}

/// Something that was done or found. Offsets are the event's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// First event of a journal.
    Started {
        /// Wall clock, RFC 3339.
        wall: String,
        /// Run ID (32 hex digits).
        run: String,
        /// Hash of the plan.
        plan_sha256: String,
        /// Harness version.
        version: String,
        /// Run at another time scale: never promotes.
        scaled: bool,
    },
    /// The environment could not be made ready, or setup failed: exit 3 when before the first change.
    NotReady {
        /// What (service, target, proxy, setup, driver, lock).
        what: String,
        /// Why.
        why: String,
    },
    /// Offset 0.
    Epoch {
        /// Wall clock, RFC 3339.
        wall: String,
    },
    /// The weight the driver found at the start.
    WeightFound(Ppm),
    /// A preflight objective was missed on the baseline: exit 3.
    PreflightMissed {
        /// Objective.
        objective: String,
        /// Why.
        why: String,
    },
    /// A stream began or all its arrivals are out.
    StreamStarted(String),
    /// See `StreamStarted`.
    StreamEnded(String),
    /// A weight was asked of the router.
    WeightAsked(Ppm),
    /// The router acknowledged; `read` was read back.
    WeightRead(Ppm),
    /// Setting or reading failed.
    WeightFailed(String),
    /// The stage's clock starts.
    StageStarted(String),
    /// The stage is over.
    StageEnded {
        /// Stage.
        stage: String,
        /// How.
        end: StageEnd,
        /// In words.
        why: String,
    },
    /// The fault is in place.
    FaultApplied(String),
    /// It could not be applied.
    FaultFailed {
        /// Fault.
        fault: String,
        /// Why.
        why: String,
    },
    /// The fault is gone.
    FaultReverted(String),
    /// It could not be taken back: exit 11 unless `recover` or the guard did.
    RevertFailed {
        /// Fault.
        fault: String,
        /// Why.
        why: String,
    },
    /// The way back begins (decided now).
    RollbackStarted {
        /// A rehearsal after a passed gate.
        rehearsal: bool,
        /// Weight before.
        from: Ppm,
        /// Stage in which it was decided.
        stage: String,
        /// Why.
        why: String,
    },
    /// The way back ended: restored, or not within its bound.
    RollbackEnded {
        /// When service was restored (the start of the 3 s that held), if it was.
        restored: Option<Offset>,
    },
    /// The control could not be given full weight, or that was not observed: exit 11.
    RollbackFailed(String),
    /// A guard acted.
    GuardFired {
        /// Guard.
        guard: String,
        /// What it did.
        action: GuardAction,
        /// Value against limit, in words.
        why: String,
    },
    /// The run was stopped.
    Halted(HaltBy),
    /// Load is out and drained; every slice is closed.
    TrafficEnded,
    /// Something could not be undone (teardown, service, driver).
    UndoFailed {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// Last event.
    Ended,
}

/// What the judge makes of the evidence so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// The running stage's gate.
    pub gate: Option<Gate>,
    /// Preflight objectives on the baseline; `None` until the baseline's slices are closed.
    pub preflight: Option<Vec<Check>>,
    /// Guards that are crossed now (already lasting as long as they must), strongest first.
    pub guards: Vec<Tripped>,
    /// Since the last `RollbackStarted`: start of the first 3 s in which `restored_when` held and no canary answered.
    pub restored: Option<Offset>,
    /// Per reverted fault with a `time_to_recover` objective: when it was recovered.
    pub recovered: BTreeMap<String, Option<Offset>>,
    /// For the live view: per objective.
    pub objectives: Vec<Progress>,
}

/// A gate's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Stage.
    pub stage: String,
    /// State.
    pub state: GateState,
    /// In words, with numbers.
    pub why: String,
}

/// A gate's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// Enough samples, no harm, point estimates meet the limits.
    Pass,
    /// Harm is proven: act at once.
    Harm,
    /// Not yet.
    Undecided,
}

/// One checked objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Objective.
    pub objective: String,
    /// Holds.
    pub ok: bool,
    /// In words, with numbers.
    pub why: String,
}

/// A crossed guard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tripped {
    /// Guard.
    pub guard: String,
    /// What it wants.
    pub action: GuardAction,
    /// Value against limit, in words.
    pub why: String,
}

/// How an objective stands, for the live view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Objective.
    pub objective: String,
    /// Control's (or the reference's) value, in the indicator's unit.
    pub control: Option<f64>,
    /// The judged arm's value.
    pub value: Option<f64>,
    /// Point estimate meets the limit; `None` without data.
    pub meets: Option<bool>,
    /// Share of the proof gathered, 0 to 1.
    pub proof: f64,
}
