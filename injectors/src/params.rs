//! What the kinds' parameters have in common: reading them back from canonical JSON, and schema pieces.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shakedown_core::Fail;
use shakedown_core::tree::{Node, Problems, Tree};
use shakedown_wire::Direction;

/// Canonical parameters as the kind's own type.
pub fn read<T: DeserializeOwned>(kind: &str, params: &Value) -> Result<T, Fail> {
    serde_json::from_value(params.clone()).map_err(|e| Fail::new(format!("parameters of `{kind}` cannot be read: {e}")))
}

/// Reads `upstream` or `downstream`.
pub fn direction(node: &Node, what: &str, problems: &mut Problems) -> Option<Direction> {
    match node.text() {
        Some("upstream") => Some(Direction::Upstream),
        Some("downstream") => Some(Direction::Downstream),
        _ => {
            let hint = "write `downstream` (towards the client) or `upstream` (towards the upstream)";
            problems.hint(&node.span, format!("{what} is neither upstream nor downstream: {}", node.describe()), hint);
            None
        }
    }
}

/// A direction as it is written.
pub fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Upstream => "upstream",
        Direction::Downstream => "downstream",
    }
}

/// A direction from canonical JSON.
pub fn direction_of(name: Option<&str>) -> Option<Direction> {
    match name {
        Some("upstream") => Some(Direction::Upstream),
        Some("downstream") => Some(Direction::Downstream),
        _ => None,
    }
}

/// Decodes the parameters of a kind that takes none: nothing, or an empty map.
pub fn none(kind: &str, node: &Node, problems: &mut Problems) -> Option<Value> {
    let before = problems.0.len();
    match &node.tree {
        Tree::Null => {}
        Tree::Map(_) => node.fields(kind, problems).finish(problems),
        _ => problems.hint(&node.span, format!("`{kind}` takes no parameters, not {}", node.describe()), format!("write `{kind}: {{}}`")),
    }
    (problems.0.len() == before).then(|| json!({}))
}

/// Schema of a map of parameters.
pub fn schema(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// Schema of a kind without parameters.
pub fn schema_none() -> Value {
    json!({"type": ["object", "null"], "maxProperties": 0})
}

/// Schema of a written unit.
pub fn schema_text(about: &str, example: &str) -> Value {
    json!({"type": "string", "description": about, "examples": [example]})
}

/// Schema of a direction.
pub fn schema_direction() -> Value {
    json!({"type": "string", "enum": ["upstream", "downstream"], "description": "which way the bytes go that it is on"})
}
