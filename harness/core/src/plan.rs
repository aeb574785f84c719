//! The checked plan: what a scenario means after every name is resolved. Made only by `scenario`; after that nobody
//! checks again. Plain data: must not read files, clocks or the environment.

mod environment;
mod fault;
mod objective;
mod precision;
mod request;
mod rollout;
mod traffic;

pub use environment::{
    Action, Environment, EnvironmentClass, GrpcSchema, HttpVersion, Limits, Probe, ProxyPlan, Reach, Ready, Service, ServiceKind, Sticky,
    Target, Tls,
};
pub use fault::{FaultPlan, Match, On};
pub use objective::{
    ArmChoice, Condition, Guard, GuardAction, Indicator, Limit, LimitValue, NamedWindow, Objective, Reference, VerdictRule, WindowRef,
};
pub use precision::Precision;
pub use request::{Body, Capture, CaptureFrom, Escape, Exchange, Expect, Journey, RequestPlan, Step, Until};
pub use rollout::{Afterwards, Identify, IdentifyBy, Rehearse, RollbackPlan, Rollout, Stage};
pub use traffic::{Connections, Cookies, Feed, Form, Model, Pick, Replay, Retry, RetryOn, Segment, Stream, When};

use crate::units::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A whole run, decided in advance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Language version, 1.
    pub version: u32,
    /// Scenario name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What is expected to hold.
    pub hypothesis: String,
    /// Who answers for it.
    pub owner: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// The one seed all randomness derives from.
    pub seed: u64,
    /// Hard stop after offset 0.
    pub time_box: Option<Span>,
    /// Slice length: 1 s, or 100 ms where a guard needs it.
    pub slice: Span,
    /// Most cells (slice-less keys) load may keep; more are cut, counted and named.
    pub max_cells: u32,
    /// How exactly arrivals are sent.
    #[serde(default)]
    pub precision: Precision,
    /// Where it runs.
    pub environment: Environment,
    /// Done before load, in order.
    pub setup: Vec<Action>,
    /// Done on every way out, in order.
    pub teardown: Vec<Action>,
    /// Must hold before the first fault or weight change.
    pub preflight: Vec<String>,
    /// Traffic, in file order.
    pub streams: Vec<Stream>,
    /// Faults, in file order.
    pub faults: Vec<FaultPlan>,
    /// The rollout, when there is one.
    pub rollout: Option<Rollout>,
    /// Objectives, in file order.
    pub objectives: Vec<Objective>,
    /// The author's own windows.
    pub windows: Vec<NamedWindow>,
    /// Guards, strongest first.
    pub guards: Vec<Guard>,
    /// Which objectives decide.
    pub verdict: VerdictRule,
    /// Outside files by path as written: SHA-256 in hex.
    pub files: BTreeMap<String, String>,
    /// Names of the secrets used (never their values).
    pub secrets: Vec<String>,
}

// === impl Plan ===

impl Plan {
    /// The stream with this name and its index.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<(u16, &Stream)> {
        let found = self.streams.iter().enumerate().find(|(_, s)| s.name == name)?;
        Some((u16::try_from(found.0).ok()?, found.1))
    }

    /// The objective with this name.
    #[must_use]
    pub fn objective(&self, name: &str) -> Option<&Objective> {
        self.objectives.iter().find(|o| o.name == name)
    }

    /// Longest time a request may stay unanswered: how long after its end a slice closes.
    #[must_use]
    pub fn longest_timeout(&self) -> Span {
        self.streams.iter().map(|s| s.timeout).max().unwrap_or(Span::ZERO)
    }

    /// Longest warm-up of any stream.
    #[must_use]
    pub fn longest_warmup(&self) -> Span {
        self.streams.iter().map(|s| s.warmup).max().unwrap_or(Span::ZERO)
    }

    /// How often load reports: every 100 ms where somebody waits for it (a rollout, faults, guards) and the run is
    /// short, every second otherwise, so that the journal of a run of days stays small.
    #[must_use]
    pub fn snapshot_every(&self) -> Span {
        const LONG: Span = Span::secs(3600);
        let length = self.time_box.unwrap_or_else(|| self.planned_length());
        let waited_for = self.rollout.is_some() || !self.guards.is_empty() || !self.faults.is_empty();
        if self.slice < Span::secs(1) || (waited_for && length <= LONG) { Span::millis(100) } else { Span::secs(1) }
    }

    /// Shortest time the plan's own traffic and stages take (a replay's length is not known here).
    #[must_use]
    pub fn planned_length(&self) -> Span {
        let streams = self.streams.iter().map(|s| match s.at {
            When::At(at) => at.plus(Plan::stream_length(s)),
            When::Stage { .. } | When::After { .. } => Plan::stream_length(s),
        });
        let stages = self.rollout.as_ref().map_or(0, |r| r.stages.iter().map(|s| s.hold.0).sum());
        streams.max().unwrap_or(Span::ZERO).max(self.first_stage().plus(Span(stages)))
    }

    /// When the first stage starts: after the longest warm-up plus `baseline`.
    #[must_use]
    pub fn first_stage(&self) -> Span {
        self.longest_warmup().plus(self.rollout.as_ref().map_or(Span::ZERO, |r| r.baseline))
    }

    /// How long the stream's shape lasts (a replay's length is known to `load` only: zero here).
    #[must_use]
    pub fn stream_length(stream: &Stream) -> Span {
        match &stream.model {
            Model::Open { shape, .. } => Span(shape.iter().map(|s| s.length.0).sum()),
            Model::Closed { length, .. } => *length,
            Model::Replay(_) => Span::ZERO,
        }
    }

    /// SHA-256 input: the plan in canonical JSON (sorted keys, no spaces).
    #[must_use]
    pub fn canonical(&self) -> String {
        crate::canonical::to_canonical(&serde_json::to_value(self).expect("a plan is plain data"))
    }
}
