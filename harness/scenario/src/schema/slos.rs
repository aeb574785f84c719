//! Schema of `slos` and `guards`. Must say what `slos`, `guards`, `indicators` and `limits` decode.

use super::{duration, list, name, object, one_or_more, quantile, share, text, whole, words};
use crate::indicators;
use serde_json::{Value, json};

/// Keys that objectives and guards share.
fn shared() -> Vec<(&'static str, Value)> {
    vec![
        ("indicator", words(&indicators::NOW)),
        ("quantile", quantile()),
        ("status", one_or_more(text())),
        ("of", name()),
        ("min", text()),
        ("max", text()),
        ("floor", share()),
        ("arm", words(&["canary", "control", "all"])),
        ("stream", name()),
        ("min_samples", whole()),
    ]
}

pub fn objective() -> Value {
    let window = object(&["long", "short", "max"], &[("long", duration()), ("short", duration()), ("max", text())]);
    let condition = object(&["owner", "by", "ready_when"], &[("owner", text()), ("by", text()), ("ready_when", text())]);
    let mut properties = shared();
    properties.extend([
        ("journey", text()),
        ("step", text()),
        ("window", text()),
        ("every", duration()),
        ("confidence", share()),
        ("condition", condition),
        ("by", object(&["header"], &[("header", text())])),
        ("after", name()),
        ("windows", list(window)),
    ]);
    object(&["indicator"], &properties)
}

pub fn guard() -> Value {
    let reduce = object(&["reduce"], &[("reduce", share())]);
    let then = json!({"anyOf": [words(&["abort", "rollback", "pause", "warn"]), reduce]});
    let mut properties = shared();
    properties.extend([("over", duration()), ("for", duration()), ("then", then)]);
    object(&["indicator", "over", "then"], &properties)
}
