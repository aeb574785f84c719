//! A fault's parameters as people write them: `100 ms ± 20 ms, normal`. Must not know what a kind does with them; a kind
//! it has never heard of is shown key by key.

use crate::style::clean;
use crate::units::{bytes, nanos};
use serde_json::{Map, Value};

/// The parameters in words; empty when there is nothing to say.
pub(crate) fn told(kind: &str, params: &Value) -> String {
    let Value::Object(map) = params else {
        return if params.is_null() { String::new() } else { clean(&plain(params)) };
    };
    let known = match kind {
        "latency" => latency(map),
        "bandwidth" => map.get("rate").and_then(Value::as_f64).map(|r| vec![format!("{}/s a connection", bytes(r))]),
        "abort" => map.get("status").map(|s| vec![format!("answers {}", plain(s))]),
        "reset" => map
            .get("after")
            .and_then(Value::as_f64)
            .map(|after| vec![if after == 0.0 { "at once".to_owned() } else { format!("after {}", nanos(after)) }]),
        _ => None,
    };
    let mut parts = known.unwrap_or_else(|| map.iter().filter(|(_, v)| !empty(v)).map(|(k, v)| format!("{k} {}", plain(v))).collect());
    if KNOWN.contains(&kind)
        && let Some(Value::String(direction)) = map.get("direction")
    {
        parts.push(format!("{direction} only"));
    }
    clean(&parts.join(", "))
}

/// Kinds with words of their own.
const KNOWN: [&str; 4] = ["latency", "bandwidth", "abort", "reset"];

fn latency(map: &Map<String, Value>) -> Option<Vec<String>> {
    let delay = nanos(map.get("delay")?.as_f64()?);
    let jitter = map.get("jitter").and_then(Value::as_f64).unwrap_or(0.0);
    let form = map.get("distribution").and_then(Value::as_str).unwrap_or("fixed");
    Some(if jitter > 0.0 { vec![format!("{delay} ± {}", nanos(jitter)), form.to_owned()] } else { vec![delay] })
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_carry_units() {
        let slow = json!({"delay": 100_000_000, "direction": null, "distribution": "normal", "jitter": 20_000_000});
        assert_eq!(told("latency", &slow), "100 ms ± 20 ms, normal");
        let fixed = json!({"delay": 100_000_000, "direction": "upstream", "distribution": "fixed", "jitter": 0});
        assert_eq!(told("latency", &fixed), "100 ms, upstream only");
        assert_eq!(told("bandwidth", &json!({"rate": 65_536, "direction": "downstream"})), "64 KiB/s a connection, downstream only");
        assert_eq!(told("abort", &json!({"status": 503, "body": "", "headers": {}})), "answers 503");
        assert_eq!(told("reset", &json!({"after": 0})), "at once");
        assert_eq!(told("pause", &json!({})), "");
        assert_eq!(told("new", &json!({"size": 3, "note": null})), "size 3");
    }
}
