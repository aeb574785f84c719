//! Objectives, guards and which of them decide. Plain data.

use crate::units::{Ppm, Quantile, Span};
use serde::{Deserialize, Serialize};

/// An objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Name.
    pub name: String,
    /// What is measured.
    pub indicator: Indicator,
    /// What it is held against.
    pub limit: Limit,
    /// Whose traffic.
    pub arm: ArmChoice,
    /// Only this stream.
    pub stream: Option<String>,
    /// Only this journey.
    pub journey: Option<String>,
    /// Only this step.
    pub step: Option<String>,
    /// Where it is judged.
    pub window: WindowRef,
    /// Every window of this length, not only the whole.
    pub every: Option<Span>,
    /// One-sided confidence of the verdict.
    pub confidence: Ppm,
    /// Samples a gate needs.
    pub min_samples: Option<u64>,
    /// Accepted miss, with owner.
    pub condition: Option<Condition>,
    /// Worst group decides: response header name.
    pub by_header: Option<String>,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Indicator {
    /// Successes over requests.
    SuccessRate,
    /// Failures over requests.
    ErrorRate,
    /// Timeouts over requests.
    TimeoutRate,
    /// Retries over logical requests.
    RetryRate,
    /// Answers with one of these statuses (inclusive ranges) over requests.
    StatusShare(Vec<(u16, u16)>),
    /// Journeys with every step met over journeys.
    JourneySuccess,
    /// Quantile of intended latency, ns.
    Latency(Quantile),
    /// Quantile of whole journeys, ns.
    JourneyDuration(Quantile),
    /// Successful requests a second.
    Throughput,
    /// Sent over asked (share).
    AchievedRate,
    /// Mean bytes an answer.
    Bytes,
    /// Latency of the first answers of an arm after its weight first rose above 0: the slowest within the first second, ns.
    ColdStart,
    /// From reverted until `of` holds for 3 s, ns.
    TimeToRecover {
        /// Objective.
        of: String,
        /// Fault.
        after: String,
    },
    /// From the rollback command until restored, ns.
    TimeToRestore,
    /// Highest burn rate of `of` over long and short window together; windows: (long, short, max factor).
    BurnRate {
        /// Objective (a success or error rate).
        of: String,
        /// Long, short, factor in millis.
        windows: Vec<(Span, Span, u64)>,
    },
    /// Share of the error budget of `of` that the window spent.
    ErrorBudget {
        /// Objective (a success or error rate).
        of: String,
    },
}

/// What an indicator is held against. Rates are fractions, latencies ns, throughput per second, bytes bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// `true`: at least; `false`: at most.
    pub min: bool,
    /// The value.
    pub value: LimitValue,
    /// For ratios of rates: the limit is never below this.
    pub floor: Option<f64>,
    /// As written, for people.
    pub text: String,
}

/// The value of a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitValue {
    /// Fixed.
    Fixed(f64),
    /// A multiple of the reference.
    Times(f64, Reference),
    /// The reference plus this (fraction for rates, ns for latencies).
    Plus(f64, Reference),
}

/// What a relative limit refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// Concurrent slices of the control.
    Control,
    /// This run's baseline.
    Before,
    /// Another run directory (advisory).
    Run(String),
}

/// Whose traffic an objective judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArmChoice {
    /// Canary attempts.
    Canary,
    /// Control attempts.
    Control,
    /// Logical requests of everybody.
    All,
}

/// Where an objective is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowRef {
    /// All stages, or without a rollout the run less warm-up.
    Default,
    /// The whole run.
    Run,
    /// Run less warm-up, faults, what follows them, rollback.
    Steady,
    /// Warm-up.
    Warmup,
    /// Control only.
    Baseline,
    /// While a fault was applied.
    Fault(String),
    /// From a fault's revert to the next stage end, fault or rollback, at most 30 s.
    AfterFault(String),
    /// One stage.
    Stage(String),
    /// From rollback command to restored.
    Rollback,
    /// From the last revert to recovered.
    Recovery,
    /// The author's own.
    Named(String),
}

/// The author's own window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedWindow {
    /// Name.
    pub name: String,
    /// From this offset.
    pub from: Span,
    /// To this offset.
    pub to: Span,
}

/// An accepted miss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Who mends it.
    pub owner: String,
    /// Until when (date as written).
    pub by: String,
    /// What makes it done.
    pub ready_when: String,
}

/// A guard, judged on every snapshot over all slices, open ones too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// Name.
    pub name: String,
    /// What is measured (rates, latency or burn rate).
    pub indicator: Indicator,
    /// Over the last this long.
    pub over: Span,
    /// Silent below this many samples.
    pub min_samples: u64,
    /// What it is held against.
    pub limit: Limit,
    /// Whose traffic.
    pub arm: ArmChoice,
    /// Only this stream.
    pub stream: Option<String>,
    /// Must be crossed for this long.
    pub lasting: Span,
    /// What happens.
    pub then: GuardAction,
}

/// What a guard does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardAction {
    /// End the run, roll back (exit 13).
    Abort,
    /// Roll back (exit 10).
    Rollback,
    /// Set the canary to this weight.
    Reduce(Ppm),
    /// Hold the ramp until it clears; roll back after the stage's `extend`.
    Pause,
    /// Say so.
    Warn,
}

/// Which objectives decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRule {
    /// Must pass; all objectives when neither key is given.
    pub mandatory: Vec<String>,
    /// At least so many of all must pass.
    pub at_least: Option<u32>,
}
