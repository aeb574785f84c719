//! Journeys and their requests: what is sent, what counts as success, what is kept for later steps. Plain data.

use crate::template::Template;
use crate::units::Span;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A weighted sequence of steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journey {
    /// Name.
    pub name: String,
    /// Relative weight, at least 1.
    pub weight: u32,
    /// Steps in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A request; boxed, it is far larger than a pause.
    Request(Box<RequestPlan>),
    /// A uniform pause.
    Think(Span, Span),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestPlan {
    /// Step name (unique in its journey; `GET /path` when not given).
    pub name: String,
    /// Method, upper case.
    pub method: String,
    /// Path, or a whole URL in setup and teardown.
    pub path: Template,
    /// Headers in order.
    pub headers: Vec<(String, Template)>,
    /// Body.
    pub body: Option<Body>,
    /// What counts as success.
    pub expect: Expect,
    /// Captures from the answer.
    pub capture: Vec<Capture>,
}

/// A request body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// Content type sent.
    pub content_type: String,
    /// Its text; inserted values are escaped per `escape`.
    pub text: Template,
    /// How inserted values are escaped.
    pub escape: Escape,
}

/// How inserted values are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Escape {
    /// As they are.
    None,
    /// Inside a JSON string.
    Json,
    /// Percent-encoded.
    Url,
}

/// What counts as success.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expect {
    /// Accepted statuses, inclusive ranges; empty is 200–399.
    pub status: Vec<(u16, u16)>,
    /// JSONPath to the value it must have.
    pub json: Vec<(String, Value)>,
    /// Header name to the value it must have.
    pub headers: Vec<(String, String)>,
    /// Text the body must contain.
    pub body_contains: Option<String>,
}

/// A value taken from an answer for later steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// Name in templates.
    pub name: String,
    /// Where from.
    pub from: CaptureFrom,
}

/// Where a capture is taken from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureFrom {
    /// JSONPath into the body.
    Json(String),
    /// A header.
    Header(String),
}
