//! `reset`: connections end with a TCP reset (RST), at once or after a while.

use crate::params;
use crate::rolls::Rolls;
use crate::toxic::{Act, Behaviour, proxy_kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shakedown_core::seams::Kind;
use shakedown_core::tree::{Node, Problems, Tree};
use shakedown_core::{Fail, Span};
use shakedown_wire::Ending;
use std::sync::Arc;

/// The kind.
#[derive(Debug)]
pub struct Reset;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    after: Span,
}

impl Kind for Reset {
    fn name(&self) -> &'static str {
        "reset"
    }
    fn about(&self) -> &'static str {
        "resets connections (TCP RST), at once or after a while"
    }
    fn schema(&self) -> Value {
        let mut schema = params::schema(json!({"after": params::schema_text("from the start of the connection or request", "100ms")}), &[]);
        schema["type"] = json!(["object", "null"]);
        schema
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        if node.tree == Tree::Null {
            return Some(json!(Params { after: Span::ZERO }));
        }
        let before = problems.0.len();
        let mut fields = node.fields("reset", problems);
        let after = fields.take("after").and_then(|n| n.duration("reset.after", problems)).unwrap_or_default();
        fields.finish(problems);
        (problems.0.len() == before).then(|| json!(Params { after }))
    }
}

proxy_kind!(Reset, "", &["proxy", "http-proxy"]);

/// The behaviour for canonical parameters.
pub fn behaviour(params: &Value) -> Result<Arc<dyn Behaviour>, Fail> {
    let read: Params = params::read("reset", params)?;
    Ok(Arc::new(Resets(read.after)))
}

struct Resets(Span);

impl Behaviour for Resets {
    fn request(&self, _rolls: &mut Rolls) -> Act {
        Act::End(self.0, Ending::Reset)
    }
    fn ending(&self) -> Option<(Span, Ending)> {
        Some((self.0, Ending::Reset))
    }
}
