//! Schema of `traffic`, requests and actions. Must say what `traffic`, `journeys`, `requests` and `actions` decode.

use super::{any_map, anything, duration, factor, flag, list, map, name, object, one_or_more, rate, share, text, whole, words};
use serde_json::{Value, json};

/// `at` of streams and faults.
pub fn when() -> Value {
    let stage = object(&["stage"], &[("stage", name()), ("plus", duration())]);
    let after = object(&["after"], &[("after", name()), ("plus", duration())]);
    json!({"anyOf": [duration(), stage, after]})
}

/// `setup`, `teardown`, `rollback.before`.
pub fn actions() -> Value {
    one_or_more(json!({"anyOf": [object(&["command"], &[("command", list(text()))]), request(&[])]}))
}

pub fn stream() -> Value {
    let retry = [("attempts", whole()), ("on", one_or_more(text())), ("backoff", duration())];
    let connections =
        [("max", whole()), ("prewarm", whole()), ("reuse", flag()), ("idle", duration()), ("max_requests", whole()), ("streams", whole())];
    let users = [("count", whole()), ("think", text()), ("for", duration())];
    let feed = [("csv", text()), ("pick", text())];
    let think = object(&["think"], &[("think", text())]);
    let mut step = exchange(&[]);
    step["anyOf"].as_array_mut().expect("written as a list").push(think);
    let journey = object(&["steps"], &[("weight", whole()), ("steps", list(step))]);
    let properties = [
        ("target", name()),
        ("at", when()),
        ("arrivals", words(&["constant", "poisson"])),
        ("shape", list(segment())),
        ("users", object(&["count", "for"], &users)),
        ("replay", replay()),
        ("warmup", duration()),
        ("timeout", duration()),
        ("retry", object(&["on"], &retry)),
        ("connections", object(&[], &connections)),
        ("cookies", words(&["journey", "user", "none"])),
        ("data", map(object(&["csv"], &feed))),
        ("journeys", map(journey)),
        ("requests", list(exchange(&[("weight", whole())]))),
    ];
    let mut stream = object(&["target"], &properties);
    stream["oneOf"] = json!([{"required": ["shape"]}, {"required": ["users"]}, {"required": ["replay"]}]);
    stream
}

fn segment() -> Value {
    let hold = object(&["hold", "rate"], &[("hold", duration()), ("rate", rate())]);
    let ramp = object(&["ramp", "to"], &[("ramp", duration()), ("to", rate())]);
    let wave = [("wave", duration()), ("low", rate()), ("high", rate()), ("period", duration())];
    let wave = object(&["wave", "low", "high", "period"], &wave);
    let spike = object(&["spike", "by"], &[("spike", duration()), ("by", factor())]);
    json!({"anyOf": [hold, ramp, wave, spike]})
}

fn replay() -> Value {
    let between = object(&["from", "for"], &[("from", duration()), ("for", duration())]);
    let properties = [
        ("file", text()),
        ("format", words(&["access-log"])),
        ("speed", factor()),
        ("between", between),
        ("gaps", duration()),
        ("methods", list(text())),
        ("expect", words(&["recorded"])),
    ];
    object(&["file", "format"], &properties)
}

/// One request or other exchange of traffic.
fn exchange(more: &[(&str, Value)]) -> Value {
    let count = json!({"anyOf": [whole(), {"type": "string", "pattern": "^[0-9]+\\.\\.[0-9]+$|\\$\\{"}]});
    let (status, grpc_status) = (("status", one_or_more(text())), ("grpc_status", one_or_more(text())));
    let (messages, headers) = (("messages", count), ("headers", any_map(text())));
    let until = json!({"anyOf": [{"type": "string"}, object(&["bytes"], &[("bytes", whole())])]});
    let grpc = [("grpc", text()), ("message", any_map(anything())), headers.clone()];
    let websocket = [("websocket", text()), ("send", list(text())), ("receive", whole()), ("hold", duration()), headers.clone()];
    let kind = |needed: &[&str], own: &[(&str, Value)], expect: &[(&str, Value)]| {
        let properties: Vec<_> = own.iter().chain(more).cloned().chain(shared(expect)).collect();
        object(needed, &properties)
    };
    json!({"anyOf": [
        request(more),
        kind(&["grpc"], &grpc, &[grpc_status, messages.clone(), headers.clone()]),
        kind(&["websocket"], &websocket, &[status, messages, headers]),
        kind(&["tcp", "until"], &[("tcp", text()), ("until", until)], &[]),
        kind(&["udp"], &[("udp", text())], &[]),
    ]})
}

/// Keys every exchange has; `expect` has more keys for some.
fn shared(expect: &[(&str, Value)]) -> [(&'static str, Value); 3] {
    let from = json!({"anyOf": [{"type": "string"}, object(&["header"], &[("header", text())])]});
    let expect: Vec<_> = [("json", any_map(anything())), ("body", text())].into_iter().chain(expect.iter().cloned()).collect();
    [("name", name()), ("expect", object(&[], &expect)), ("capture", any_map(from))]
}

fn request(more: &[(&str, Value)]) -> Value {
    let headers = ("headers", any_map(text()));
    let mut properties = vec![headers.clone(), ("json", anything()), ("text", text()), ("form", any_map(text()))];
    properties.extend(shared(&[("status", one_or_more(text())), headers]));
    properties.extend(crate::requests::METHODS.map(|m| (m, text())));
    properties.extend(more.iter().cloned());
    let mut request = object(&[], &properties);
    request["oneOf"] = crate::requests::METHODS.map(|m| json!({"required": [m]})).into_iter().collect();
    request
}

/// `match` and `share` of faults.
pub fn matching() -> [(&'static str, Value); 2] {
    [("match", object(&[], &[("method", text()), ("path", text())])), ("share", share())]
}
