//! `abort`: requests are answered with an error instead of being forwarded.

use crate::params;
use crate::rolls::Rolls;
use crate::toxic::{Act, Behaviour, proxy_kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shakedown_core::Fail;
use shakedown_core::seams::Kind;
use shakedown_core::tree::{Node, Problems, Tree};
use shakedown_wire::Answer;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Most headers.
const MAX_HEADERS: usize = 32;
/// Headers that say where a message ends: the proxy's own.
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "connection", "upgrade"];

/// The kind.
#[derive(Debug)]
pub struct Abort;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    status: u16,
    body: String,
    headers: BTreeMap<String, String>,
}

impl Kind for Abort {
    fn name(&self) -> &'static str {
        "abort"
    }
    fn about(&self) -> &'static str {
        "answers requests with an error status (400 to 599) without forwarding them"
    }
    fn schema(&self) -> Value {
        params::schema(
            json!({
                "status": {"type": ["integer", "string"], "minimum": 400, "maximum": 599, "description": "status of the answer"},
                "body": {"type": "string", "description": "body of the answer"},
                "headers": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
            }),
            &["status"],
        )
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        let before = problems.0.len();
        let mut fields = node.fields("abort", problems);
        let status = fields.need("status", problems).and_then(|n| n.integer("abort.status", 400..600, problems));
        let body_node = fields.take("body");
        let body = body_node.and_then(|n| n.string("abort.body", problems)).unwrap_or_default();
        if let Some(n) = body_node.filter(|_| body.len() > MAX_BODY) {
            problems.hint(&n.span, "abort.body is too long", format!("at most {MAX_BODY} bytes"));
        }
        let headers = fields.take("headers").map(|n| headers(n, problems)).unwrap_or_default();
        fields.finish(problems);
        let params = Params { status: u16::try_from(status?).ok()?, body, headers };
        (problems.0.len() == before).then(|| json!(params))
    }
}

proxy_kind!(Abort, "", &["http-proxy"]);

fn headers(node: &Node, problems: &mut Problems) -> BTreeMap<String, String> {
    let Tree::Map(entries) = &node.tree else {
        problems.hint(&node.span, format!("abort.headers must be a map, not {}", node.describe()), "write `headers: {retry-after: \"5\"}`");
        return BTreeMap::new();
    };
    if entries.len() > MAX_HEADERS {
        problems.hint(&node.span, "abort.headers has too many entries", format!("at most {MAX_HEADERS}"));
    }
    let mut found = BTreeMap::new();
    for (name, span, value) in entries {
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            problems.hint(span, format!("`{name}` is not a header name"), "letters, digits and - only");
        } else if FRAMING.contains(&lower.as_str()) {
            problems.hint(span, format!("`{name}` cannot be set: the proxy frames its answer itself"), "leave it out");
        }
        let Some(text) = value.string("a header's value", problems) else { continue };
        if http::HeaderValue::from_str(&text).is_err() {
            problems.hint(&value.span, format!("the value of `{name}` is not a header value"), "visible ASCII on one line");
        }
        found.insert(lower, text);
    }
    found
}

/// The behaviour for canonical parameters.
pub fn behaviour(params: &Value) -> Result<Arc<dyn Behaviour>, Fail> {
    let read: Params = params::read("abort", params)?;
    if !(400..600).contains(&read.status) {
        return Err(Fail::new(format!("abort.status: {} is out of range; it must be 400 to 599", read.status)));
    }
    let headers = read.headers.into_iter().collect();
    Ok(Arc::new(Aborted(Answer { status: read.status, headers, body: read.body.into() })))
}

struct Aborted(Answer);

impl Behaviour for Aborted {
    fn request(&self, _rolls: &mut Rolls) -> Act {
        Act::Answer(self.0.clone())
    }
}
