//! The rollout: how an answer says who gave it, stages, rehearsal, what a rollback must achieve. Plain data.

use super::Action;
use crate::units::{Ppm, Span, Weight};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Driver kind.
    pub driver: String,
    /// Its parameters in canonical JSON.
    pub params: Value,
    /// Name of the control.
    pub control: String,
    /// Name of the canary.
    pub canary: String,
    /// Digest of the canary, copied into the decision.
    pub artifact: Option<String>,
    /// How an answer says who gave it.
    pub identify: Identify,
    /// Control only, before the first stage.
    pub baseline: Span,
    /// In order.
    pub stages: Vec<Stage>,
    /// Rollback rehearsal.
    pub rehearse: Rehearse,
    /// What a rollback must achieve.
    pub rollback: RollbackPlan,
    /// What is left behind on promote.
    pub afterwards: Afterwards,
}

/// How an answer says who gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identify {
    /// Where it says it.
    pub by: IdentifyBy,
    /// Patterns (`*` globs) of the control.
    pub control: Vec<String>,
    /// Patterns (`*` globs) of the canary.
    pub canary: Vec<String>,
}

/// Where an answer says who gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentifyBy {
    /// A response header.
    Header(String),
    /// A cookie set by the answer or sent with the request.
    Cookie(String),
    /// A JSONPath into the body.
    Json(String),
    /// The stream's target: control and canary target names.
    Target {
        /// Target of the control.
        control: String,
        /// Target of the canary.
        canary: String,
    },
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Name.
    pub name: String,
    /// Canary share.
    pub weight: Weight,
    /// At least this long.
    pub hold: Span,
    /// At most this much longer while its gate is undecided.
    pub extend: Span,
    /// Samples the canary needs before the gate may pass; `None` uses the objective's default.
    pub min_samples: Option<u64>,
    /// Names of the objectives that gate it.
    pub gate: Vec<String>,
}

/// When the rollback is rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rehearse {
    /// Not at all.
    Never,
    /// After the last stage's gate passed.
    LastStage,
    /// After every stage's gate passed.
    EveryStage,
}

/// What a rollback must achieve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollbackPlan {
    /// Done before the weight is set back.
    pub before: Vec<Action>,
    /// Objectives that must hold again (on all traffic).
    pub restored_when: Vec<String>,
    /// Restored within this.
    pub restored_within: Span,
    /// Most requests that may fail from command to restored.
    pub failed_requests: Option<Ppm>,
}

/// What is left behind on promote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Afterwards {
    /// The weights read at the start.
    Restore,
    /// The last stage's weight.
    Promoted,
}
