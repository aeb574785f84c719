//! The language as one JSON Schema (draft 2020-12), generated: what editors complete and refuse. It refuses unknown keys
//! like the check does; what needs names, files or arithmetic is left to the check. Keys of later versions are not in it.

mod environment;
mod rollout;
mod slos;
mod traffic;

use crate::source::Kinds;
use serde_json::{Map, Value, json};

/// One JSON Schema for scenarios, with the parameters of the given kinds.
#[must_use]
pub fn schema(kinds: &Kinds) -> Value {
    let mut root = object(
        &["version", "name", "environment", "traffic", "slos"],
        &[
            ("version", json!({"const": 1})),
            ("name", name()),
            ("description", text()),
            ("hypothesis", text()),
            ("owner", text()),
            ("labels", any_map(text())),
            ("seed", whole()),
            ("time_box", duration()),
            ("max_cells", whole()),
            ("precision", precision()),
            ("environment", environment::schema(kinds)),
            ("setup", traffic::actions()),
            ("teardown", traffic::actions()),
            ("preflight", list(name())),
            ("traffic", map(traffic::stream())),
            ("faults", map(rollout::fault(kinds))),
            ("rollout", rollout::schema(kinds)),
            ("slos", map(slos::objective())),
            ("windows", map(object(&["from", "to"], &[("from", duration()), ("to", duration())]))),
            ("guards", map(slos::guard())),
            ("verdict", object(&[], &[("mandatory", one_or_more(name())), ("at_least", whole())])),
        ],
    );
    let more = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:shakedown:scenario:1",
        "title": "shakedown scenario, version 1",
    });
    if let (Value::Object(root), Value::Object(more)) = (&mut root, more) {
        root.extend(more);
    }
    root
}

fn precision() -> Value {
    let settings = [("quantum", duration()), ("spin", duration()), ("workers", whole())];
    json!({"anyOf": [words(&["auto"]), object(&[], &settings)]})
}

/// A map with fixed keys; `null` counts as not given.
fn object(required: &[&str], properties: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> = properties.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A map keyed by name.
fn map(value: Value) -> Value {
    json!({"type": "object", "propertyNames": {"pattern": NAME}, "additionalProperties": value})
}

/// A map with keys of any form.
fn any_map(value: Value) -> Value {
    json!({"type": "object", "additionalProperties": value})
}

fn list(item: Value) -> Value {
    json!({"type": "array", "items": item, "maxItems": crate::ask::MAX_ITEMS})
}

fn one_or_more(item: Value) -> Value {
    json!({"anyOf": [item.clone(), list(item)]})
}

fn words(words: &[&str]) -> Value {
    json!({"anyOf": [{"enum": words}, reference()]})
}

const NAME: &str = "^[a-z0-9][a-z0-9-]*$";

/// A text that is replaced before it is read.
fn reference() -> Value {
    json!({"type": "string", "pattern": "\\$\\{"})
}

fn written(pattern: &str, about: &str) -> Value {
    json!({"type": "string", "pattern": format!("{pattern}|\\$\\{{"), "description": about})
}

fn name() -> Value {
    json!({"anyOf": [{"type": "string", "pattern": NAME}, {"type": "integer", "minimum": 0}, reference()]})
}

fn text() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

fn whole() -> Value {
    json!({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+$|\\$\\{"}]})
}

fn flag() -> Value {
    json!({"anyOf": [{"type": "boolean"}, {"enum": ["true", "false"]}, reference()]})
}

fn duration() -> Value {
    written("^[0-9.]+ *(ns|us|µs|ms|s|m|h)$", "a duration, like 250ms, 30s, 2m or 1h")
}

fn rate() -> Value {
    written("^[0-9.]+ */ *[smh]$", "a rate, like 200/s or 30/m")
}

fn share() -> Value {
    written("^[0-9.]+ *%$", "a share, like 30% or 0.5%")
}

fn factor() -> Value {
    written("^[0-9.]+x$", "a factor, like 3x")
}

fn quantile() -> Value {
    written("^p[0-9.]+$", "a quantile, like p95 or p99.9")
}

/// Anything; used where values are data of the author's.
fn anything() -> Value {
    Value::Bool(true)
}
