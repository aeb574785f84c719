//! What strangers get wrong: outside files, YAML habits of other tools, keys of later versions, misspelt kinds. One
//! mistake gives one problem that says what to do. Paths stay as written until somebody opens them.

mod common;

use common::{GOOD, run};
use shakedown_core::plan::{Model, ServiceKind};
use shakedown_scenario::{LATER_KEYS, indicators, render, resolve};
use std::path::Path;

/// Replaces `from` by `to` in the good scenario and expects one problem.
fn one(from: &str, to: &str, message: &str, hint: &str) {
    assert!(GOOD.contains(from), "`{from}` is not in the good scenario");
    let text = GOOD.replacen(from, to, 1);
    let problems = run(&text).expect_err(to);
    let shown = render(&problems, Path::new("x.yaml"), &text);
    let [problem] = problems.0.as_slice() else { panic!("one problem expected for `{to}`:\n{shown}") };
    assert!(problem.message.contains(message), "{shown}");
    assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{shown}");
}

#[test]
fn outside_files() {
    let csv = "csv: products.csv";
    let log = "file: access.log";
    for (from, to, message, hint) in [
        (csv, "csv: ragged.csv", "the row on line 3 does not fit: it has 1 field(s), the first line names 2", "names the columns"),
        (csv, "csv: unnamed.csv", "column 2 has no name", "names the columns"),
        (csv, "csv: head.csv", "there are no rows", "names the columns"),
        (csv, "csv: nothing", "it is empty", "names the columns"),
        (csv, "jsonl: products.jsonl", "`jsonl` is not available yet", "kinds"),
        (log, "file: nothing", "`nothing` is empty", ""),
        (log, "file: packed.log.gz", "compressed recording is not available yet", "gunzip"),
        (log, "file: absent.log", "cannot be read", "relative to the scenario file"),
        ("answers: bank.yaml", "answers: nothing", "nothing:1:1: the file is empty", ""),
    ] {
        one(from, to, message, hint);
    }
    let url = "{url: \"http://127.0.0.1:9100/base\", http: 1.1,";
    one(url, "{url: \"https://127.0.0.1:9100\", tls: {ca: not.pem},", "`not.pem` holds no certificate", "PEM");
    one(url, "{url: \"https://127.0.0.1:9100\", tls: {ca: absent.pem},", "cannot be read", "relative");
}

#[test]
fn habits_of_other_tools() {
    for (from, to, message, hint) in [
        ("    shop: pilot.router", "\tshop: pilot.router", "this is not YAML", "indent with spaces"),
        ("owner: payments-sre", "owner: *sre", "this is not YAML", "`&name`"),
        ("owner: payments-sre", "owner: pay\u{0}ments", "this is not YAML", "remove the character"),
        ("labels: {ticket: PAY-311}", "labels: {<<: {a: b}}", "merge keys", "write the keys out"),
        ("version: 1\n", "version: 1.0\n", "`1.0` is not a version", "write version: 1"),
        ("signal: TERM", "signal: SIGTERM", "`SIGTERM` is not a value of signal", "`TERM`"),
        ("driver: {builtin: pilot}", "driver: builtin", "the driver `builtin` needs its settings", "write driver: {builtin: …}"),
        ("driver: {builtin: pilot}", "driver: envoy", "the driver `envoy` is not available yet", "kinds"),
        ("driver: {builtin: pilot}", "driver: {bultin: pilot}", "unknown key `bultin`", "`builtin`"),
        ("get: \"/products/{{ products.id }}\"", "get: \"/products/{{ products.id \"", "`{{` is not closed", "{{{{"),
    ] {
        one(from, to, message, hint);
    }
}

#[test]
fn a_misspelt_kind_of_service_brings_no_second_mistake() {
    let text = GOOD.replacen("builtin: shop", "bultin: shop", 1);
    let said: Vec<String> = run(&text).unwrap_err().0.into_iter().map(|p| p.message).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().any(|m| m.contains("unknown key `bultin`")), "{said:?}");
}

#[test]
fn exactly_enough_samples_gate_a_stage() {
    let scenario = |rate: u32| {
        format!(
            "version: 1\nname: t\nenvironment:\n  name: e\n  services: {{pilot: {{builtin: shop, releases: {{v1: [], v2: []}}}}}}\n  targets: {{shop: pilot.router}}\n\
             traffic: {{s: {{target: shop, shape: [{{hold: 10s, rate: {rate}/s}}], requests: [{{get: /}}]}}}}\n\
             rollout: {{driver: {{builtin: pilot}}, control: v1, canary: v2, stages: [{{name: a, weight: 6%, hold: 10s, gate: [ok]}}]}}\n\
             slos: {{ok: {{indicator: success_rate, min: 90%}}}}\n"
        )
    };
    assert!(run(&scenario(50)).is_ok(), "30 samples are needed and 30 expected: {:?}", run(&scenario(50)).err());
    assert!(run(&scenario(49)).is_err());
}

#[test]
fn later_keys_and_indicators_say_so() {
    let stage = "weight: 100%, hold: 30s";
    for (from, to) in [
        ("  class: local", "  class: local\n  prices: {per_gib: 1}"),
        ("  class: local", "  class: local\n  conflicts_with: [x]"),
        ("  class: local", "  class: local\n  fingerprint: {command: [x]}"),
        ("pid_file: queue.pid", "unit: queue.service"),
        ("on: {proxy: payments}", "on: {host: a}"),
        (stage, "weight: 100%, hold: 30s, region: eu"),
        (stage, "cohort: {header: {x-group: staff}}, hold: 30s"),
        ("  baseline: 10s\n", "  baseline: 10s\n  regions: {eu: {}}\n"),
        ("verdict:", "ledgers: {shoppers: {within: 5s}}\nverdict:"),
    ] {
        assert!(GOOD.contains(from), "`{from}`");
        let problems = run(&GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(problems.0.iter().any(|p| p.message.contains("is not available yet")), "{to}: {problems:?}");
    }
    for (name, now) in indicators().filter(|(_, now)| !now) {
        let text = GOOD.replacen("verdict:", &format!("verdict:\n#{now}"), 1).replacen(
            "slos:\n",
            &format!("slos:\n  x: {{indicator: {name}, max: 0}}\n"),
            1,
        );
        let said = run(&text).expect_err(name);
        assert!(said.0.iter().all(|p| p.message == format!("the indicator `{name}` is not available yet")), "{said:?}");
    }
    let mut keys: Vec<_> = LATER_KEYS.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), LATER_KEYS.len());
}

#[test]
fn paths_are_made_whole_only_for_whoever_opens_them() {
    let plan = run(GOOD).expect("good").plan;
    let mut whole = plan.clone();
    resolve(&mut whole, Path::new("/base"));
    assert_eq!((plan.streams[0].feeds[0].csv.as_str(), whole.streams[0].feeds[0].csv.as_str()), ("products.csv", "/base/products.csv"));
    let Model::Replay(replay) = &whole.streams[2].model else { panic!("a replay") };
    assert_eq!(replay.file, "/base/access.log");
    assert!(whole.environment.services.iter().any(|s| s.kind == ServiceKind::AttachPidFile("/base/queue.pid".into())));
    assert_eq!(plan.files, whole.files);
}
