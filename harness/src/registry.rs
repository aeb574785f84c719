//! Every kind the binary knows, in one place: what parsing, the schema, `shakedown kinds` and undo are driven by.

use serde_json::{Value, json};
use shakedown_core::seams::{Available, DriverKind, Injector, Kind, LaterKind, Reporter, Undo};

/// Fault kinds.
pub const INJECTORS: &[&dyn Injector] = shakedown_injectors::KINDS;
/// Rollout drivers.
pub const DRIVERS: &[&dyn DriverKind] = shakedown_rollout::KINDS;
/// Report formats.
pub const REPORTERS: &[&dyn Reporter] = shakedown_report::KINDS;
/// Signals: in the language, none in this version.
pub const SIGNALS: &[&dyn Kind] = &[
    &LaterKind("prometheus", "query a Prometheus server"),
    &LaterKind("alertmanager", "read alerts from an Alertmanager"),
    &LaterKind("command", "a number or JSON from a program"),
    &LaterKind("http", "a number from a JSON document"),
    &LaterKind("otlp", "receive OpenTelemetry metrics and traces"),
];

/// Everything that can undo a record.
#[must_use]
pub fn undos() -> Vec<&'static dyn Undo> {
    shakedown_undo::KINDS.iter().chain(shakedown_rollout::UNDO).chain(shakedown_injectors::UNDO).copied().collect()
}

/// All kinds by family.
fn families() -> Vec<(&'static str, Vec<&'static dyn Kind>)> {
    vec![
        ("faults", INJECTORS.iter().map(|k| k.as_kind()).collect()),
        ("drivers", DRIVERS.iter().map(|k| k.as_kind()).collect()),
        ("signals", SIGNALS.to_vec()),
        ("reports", REPORTERS.iter().map(|k| k.as_kind()).collect()),
    ]
}

/// `shakedown kinds`.
#[must_use]
pub fn kinds_text() -> String {
    let mut out = String::new();
    for (family, kinds) in families() {
        out.push_str(&format!("{family}\n"));
        for kind in kinds {
            let later = if kind.available() == Available::Later { "  (not available yet)" } else { "" };
            out.push_str(&format!("  {:<20} {}{later}\n", kind.name(), kind.about()));
        }
    }
    for (available, title) in [(true, "indicators"), (false, "indicators  (not available yet)")] {
        out.push_str(&format!("{title}\n"));
        let names: Vec<&str> = shakedown_scenario::indicators().filter(|(_, now)| *now == available).map(|(name, _)| name).collect();
        for line in names.chunks(6) {
            out.push_str(&format!("  {}\n", line.join(" ")));
        }
    }
    out.push_str("keys  (not available yet)\n");
    for (key, about) in shakedown_scenario::LATER_KEYS {
        out.push_str(&format!("  {key:<39} {about}\n"));
    }
    out
}

/// `shakedown kinds --json`.
#[must_use]
pub fn kinds_json() -> Value {
    let one =
        |k: &&dyn Kind| json!({"name": k.name(), "about": k.about(), "available": k.available() == Available::Now, "schema": k.schema()});
    let mut all: serde_json::Map<_, Value> =
        families().into_iter().map(|(f, kinds)| (f.to_owned(), kinds.iter().map(one).collect())).collect();
    let indicators = shakedown_scenario::indicators().map(|(name, now)| json!({"name": name, "available": now}));
    all.insert("indicators".into(), indicators.collect());
    let keys = shakedown_scenario::LATER_KEYS.iter().map(|(key, about)| json!({"name": key, "about": about, "available": false}));
    all.insert("keys".into(), keys.collect());
    all.into()
}
