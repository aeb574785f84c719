//! Schema of `faults` and `rollout`. Must say what `faults` and `rollout` decode; kinds bring their own parameters.

use super::{any_map, duration, flag, list, name, object, one_or_more, share, text, traffic, whole, words};
use crate::source::Kinds;
use serde_json::{Value, json};
use shakedown_core::seams::Available;

pub fn fault(kinds: &Kinds) -> Value {
    let on = json!({"anyOf": [object(&["proxy"], &[("proxy", name())]), object(&["service"], &[("service", name())])]});
    let mut properties = vec![("at", traffic::when()), ("for", duration()), ("on", on), ("during_rollback", flag())];
    properties.extend(traffic::matching());
    let now: Vec<_> = kinds.injectors.iter().filter(|k| k.available() == Available::Now).collect();
    properties.extend(now.iter().map(|k| (k.name(), k.schema())));
    let mut fault = object(&["at", "for", "on"], &properties);
    fault["oneOf"] = now.iter().map(|k| json!({"required": [k.name()]})).collect();
    fault
}

pub fn schema(kinds: &Kinds) -> Value {
    let canary = object(&["name"], &[("name", text()), ("artifact", text())]);
    let rollback = [
        ("before", traffic::actions()),
        ("restored_when", one_or_more(name())),
        ("restored_within", duration()),
        ("failed_requests", share()),
    ];
    object(
        &["driver", "control", "canary", "stages"],
        &[
            ("driver", driver(kinds)),
            ("control", text()),
            ("canary", json!({"anyOf": [text(), canary]})),
            ("identify", identify()),
            ("baseline", duration()),
            ("stages", list(stage())),
            ("rehearse", object(&[], &[("rollback", words(&["last-stage", "every-stage", "never"]))])),
            ("rollback", object(&[], &rollback)),
            ("afterwards", words(&["restore", "promoted"])),
        ],
    )
}

fn driver(kinds: &Kinds) -> Value {
    let now = kinds.drivers.iter().filter(|k| k.available() == Available::Now);
    let properties: Vec<(&str, Value)> = now.map(|k| (k.name(), k.schema())).collect();
    let mut driver = object(&[], &properties);
    driver["minProperties"] = json!(1);
    driver["maxProperties"] = json!(1);
    driver
}

fn identify() -> Value {
    let target = object(&["control", "canary"], &[("control", name()), ("canary", name())]);
    let properties =
        [("header", text()), ("cookie", text()), ("json", text()), ("target", target), ("values", any_map(one_or_more(text())))];
    let mut identify = object(&[], &properties);
    identify["oneOf"] = ["header", "cookie", "json", "target"].map(|k| json!({"required": [k]})).into_iter().collect();
    identify
}

fn stage() -> Value {
    let properties = [
        ("name", name()),
        ("weight", share()),
        ("hold", duration()),
        ("extend", duration()),
        ("min_samples", whole()),
        ("gate", one_or_more(name())),
    ];
    object(&["name", "weight", "hold"], &properties)
}
