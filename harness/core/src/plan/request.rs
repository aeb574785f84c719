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
    /// What is exchanged; HTTP when nothing else is said.
    #[serde(default, skip_serializing_if = "Exchange::is_http")]
    pub exchange: Exchange,
}

/// What is exchanged in one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// One HTTP request and its answer.
    #[default]
    Http,
    /// A gRPC call, unary or server streaming; `path` is `/package.Service/Method`, `body` the message as JSON. An
    /// answer's status is its gRPC status code (0 is OK), its body the message as JSON (an array of them when the call streams).
    Grpc,
    /// A WebSocket: opened at `path`, messages sent in order, answers awaited, then held open and closed. The answer's
    /// status is 101 (or the HTTP status of a refusal), its body the received messages, one a line.
    WebSocket {
        /// Sent in order, as text.
        send: Vec<Template>,
        /// How many messages are awaited.
        receive: u32,
        /// Kept open for this long after the last awaited message.
        hold: Span,
    },
    /// Bytes over a connection: `body` is sent, then read until `until`. There is no status.
    Tcp {
        /// Where the answer ends.
        until: Until,
    },
    /// One datagram: `body` is sent, one datagram awaited. There is no status.
    Udp,
}

impl Exchange {
    /// Whether it is plain HTTP.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(self, Exchange::Http)
    }
}

/// Where the answer over a raw connection ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// After these bytes (they belong to it).
    Text(String),
    /// After so many bytes.
    Bytes(u64),
    /// When the server closes.
    Close,
    /// At once: nothing is awaited.
    Sent,
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
    /// Accepted statuses, inclusive ranges; empty is 200–399 (gRPC: 0, WebSocket: 101, raw connections: none).
    pub status: Vec<(u16, u16)>,
    /// JSONPath to the value it must have.
    pub json: Vec<(String, Value)>,
    /// Header name to the value it must have.
    pub headers: Vec<(String, String)>,
    /// Text the body must contain.
    pub body_contains: Option<String>,
    /// Fewest and most messages of a streaming call or a WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<(u32, u32)>,
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
