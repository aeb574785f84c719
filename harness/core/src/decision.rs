//! The decision record, `shakedown.decision/v1`, and the exit codes. Must hold no time of day but the run's own.

mod generator;

pub use generator::{BadSeconds, GeneratorCheck, SecondsCheck, SendError};

use crate::units::{Offset, Ppm};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The record's schema name.
pub const SCHEMA: &str = "shakedown.decision/v1";

/// The answer to "may this be promoted?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The evidence allows promotion (`pass` without a rollout).
    Promote,
    /// Only objectives with a `condition` missed.
    PromoteWithConditions,
    /// Harm is proven, or a fact is over its limit (`fail` without a rollout).
    Rollback,
    /// Neither proven.
    Inconclusive,
    /// The evidence cannot be trusted or is missing.
    Invalid,
    /// Stopped before it could say.
    Halted,
}

/// Exit codes, in the order in which the first that applies wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Exit {
    /// Promote.
    Promote = 0,
    /// Usage or scenario error; nothing was sent.
    Usage = 2,
    /// Environment not reachable, not ready, locked or unhealthy in its baseline.
    NotReady = 3,
    /// The evidence is in doubt, or there is none.
    Invalid = 4,
    /// Roll back.
    Rollback = 10,
    /// The rollback path failed: control may not be at full weight.
    RollbackFailed = 11,
    /// Inconclusive.
    Inconclusive = 12,
    /// Halted by an abort guard, the time box or a limit.
    Halted = 13,
    /// Promote with conditions.
    Conditions = 14,
    /// Internal error.
    Internal = 70,
    /// SIGINT; everything undone.
    Interrupted = 130,
    /// SIGTERM; everything undone.
    Terminated = 143,
}

/// The record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// [`SCHEMA`].
    pub schema: String,
    /// The answer.
    pub verdict: Verdict,
    /// Exit code.
    pub exit: Exit,
    /// One sentence for people: the headline.
    pub headline: String,
    /// Codes and sentences, strongest first.
    pub reasons: Vec<Reason>,
    /// Scenario name.
    pub scenario: String,
    /// Environment name.
    pub environment: String,
    /// Run ID.
    pub run: String,
    /// Wall clock of the start, from the journal.
    pub started: String,
    /// Length of the load in ns.
    pub duration: u64,
    /// Harness version.
    pub version: String,
    /// Seed.
    pub seed: u64,
    /// Hash of the plan.
    pub plan_sha256: String,
    /// Canary name and digest.
    pub canary: Option<(String, Option<String>)>,
    /// Can the evidence be trusted?
    pub validity: Validity,
    /// By name.
    pub objectives: BTreeMap<String, ObjectiveResult>,
    /// In order.
    pub stages: Vec<StageResult>,
    /// In order of the plan.
    pub faults: Vec<FaultResult>,
    /// Every way back, rehearsed or real, in order.
    pub rollbacks: Vec<RollbackResult>,
    /// Objectives missed under a condition.
    pub conditions: Vec<String>,
    /// What to do next, for people.
    pub next: Vec<String>,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable code, e.g. `harm-proven`, `arm-unknown`, `no-traffic`, `fault-no-hit`, `rollback-slow`.
    pub code: String,
    /// One sentence with numbers and the limit they were held against.
    pub text: String,
}

/// Can the evidence be trusted?
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// No doubt.
    pub ok: bool,
    /// Arrivals due.
    pub asked: u64,
    /// Attempts sent.
    pub sent: u64,
    /// Logical requests that met their expectations.
    pub succeeded: u64,
    /// Logical requests that failed.
    pub failed: u64,
    /// Arrivals dropped at the in-flight limit.
    pub dropped: u64,
    /// Dispatched over asked.
    pub achieved: f64,
    /// Generator lag in ns: p50, p99, p99.9.
    pub lag: [u64; 3],
    /// p-value of the sample-ratio test over stages; `None` without a rollout.
    pub sample_ratio_p: Option<f64>,
    /// Unidentified successes over successes; `None` without a rollout.
    pub unidentified: Option<f64>,
    /// Slice length, ns.
    pub slice: u64,
    /// Lag-1 autocorrelation of the per-slice error rate.
    pub autocorrelation: Option<f64>,
    /// Whole slices per block in paired tests.
    pub block: u32,
    /// Cells cut by `max_cells`.
    pub cut: u64,
    /// The generator's self-check.
    #[serde(default)]
    pub generator: GeneratorCheck,
}

/// How an objective came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Proven to hold.
    Pass,
    /// Proven not to hold, or a fact over its limit.
    Fail,
    /// Neither.
    Inconclusive,
    /// No samples.
    Nodata,
    /// An earlier rollback or halt prevented it.
    NotReached,
}

/// An objective's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveResult {
    /// Outcome.
    pub status: Status,
    /// The verdict needs it.
    pub mandatory: bool,
    /// Point estimate in the indicator's unit.
    pub value: Option<f64>,
    /// Reference's point estimate (control, before), for relative limits.
    pub reference: Option<f64>,
    /// The limit in the same unit.
    pub limit: Option<f64>,
    /// The limit as written.
    pub limit_text: String,
    /// `fraction`, `ns`, `per_second`, `bytes`, `factor`.
    pub unit: String,
    /// Samples: judged arm, reference.
    pub samples: [u64; 2],
    /// Effect (ratio or difference) against the reference.
    pub effect: Option<f64>,
    /// Interval of the value (fixed limits) or effect (relative ones) at `confidence`.
    pub interval: Option<[f64; 2]>,
    /// Evidence for a pass: e-value or confidence reached, and what is needed.
    pub proof: Option<[f64; 2]>,
    /// One sentence with numbers.
    pub text: String,
    /// Condition's owner, date and readiness, when it has one.
    pub condition: Option<[String; 3]>,
}

/// A stage's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageResult {
    /// Name.
    pub name: String,
    /// Weight asked for.
    pub asked: Ppm,
    /// Weight read back.
    pub acknowledged: Option<Ppm>,
    /// Canary share observed over its identified attempts.
    pub observed: Option<f64>,
    /// Its clock.
    pub from: Option<Offset>,
    /// Its end.
    pub to: Option<Offset>,
    /// `passed`, `harm`, `undecided`, `cut`, `not_reached`.
    pub end: String,
    /// In words.
    pub why: String,
}

/// A fault's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultResult {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: String,
    /// In place.
    pub applied: Option<Offset>,
    /// Gone.
    pub reverted: Option<Offset>,
    /// Requests, connections or processes hit.
    pub hits: u64,
    /// Seen, hit or not.
    pub seen: u64,
    /// `hit`, `no_hit`, `not_reached`, `failed`.
    pub status: String,
}

/// A way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollbackResult {
    /// Rehearsed after a passed gate.
    pub rehearsal: bool,
    /// Stage in which it was decided.
    pub stage: String,
    /// Canary weight before.
    pub from: Ppm,
    /// Decided.
    pub commanded: Offset,
    /// Router acknowledged and read back.
    pub acknowledged: Option<Offset>,
    /// Last answer by the canary.
    pub last_canary: Option<Offset>,
    /// Service restored.
    pub restored: Option<Offset>,
    /// Logical requests due from command to restored.
    pub requests: u64,
    /// Of them failed.
    pub failed: u64,
    /// `ok`, `slow`, `lossy`, `failed`.
    pub status: String,
    /// In words.
    pub why: String,
}

// === impl Exit ===

impl From<Exit> for u8 {
    fn from(exit: Exit) -> u8 {
        exit as u8
    }
}

impl TryFrom<u8> for Exit {
    type Error = String;

    fn try_from(code: u8) -> Result<Exit, String> {
        use Exit::{
            Conditions, Halted, Inconclusive, Internal, Interrupted, Invalid, NotReady, Promote, Rollback, RollbackFailed, Terminated,
            Usage,
        };
        [Promote, Usage, NotReady, Invalid, Rollback, RollbackFailed, Inconclusive, Halted, Conditions, Internal, Interrupted, Terminated]
            .into_iter()
            .find(|e| *e as u8 == code)
            .ok_or_else(|| format!("{code} is no exit code of shakedown"))
    }
}
