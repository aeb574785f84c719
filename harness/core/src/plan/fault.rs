//! Faults on the time axis: when, on what, for which requests. Plain data.

use super::When;
use crate::units::{Ppm, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fault on the time axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// Name.
    pub name: String,
    /// When it is applied.
    pub at: When,
    /// Its length; never absent.
    pub length: Span,
    /// What it is on.
    pub on: On,
    /// Share of connections or requests.
    pub share: Ppm,
    /// Only requests that match.
    pub matches: Match,
    /// Injector kind.
    pub kind: String,
    /// Its parameters in canonical JSON.
    pub params: Value,
    /// Stays during a rollback.
    pub during_rollback: bool,
}

/// What a fault is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// A proxy of the environment.
    Proxy(String),
    /// A service of the environment.
    Service(String),
}

/// Which requests a fault hits; empty is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Method, upper case.
    pub method: Option<String>,
    /// Glob over the path.
    pub path: Option<String>,
}
