//! A plan, its decisions and events to show: a canary of a small shop, as a run of ninety seconds would leave them.
#![allow(dead_code)]

use serde_json::{Value, json};
use shakedown_core::Plan;
use shakedown_core::decision::{Decision, SCHEMA};
use shakedown_core::event::{Assessment, Attestation, Event, Fact, Gate, GateState, Input, Progress, StageEnd};
use shakedown_core::snapshot::{Arm, Cell, CellKey, Dim, Failure, Sample, Snapshot, StreamTotals};
use shakedown_core::units::{Offset, Ppm};
use std::collections::BTreeMap;

pub const HOSTILE: &str = "</script><img src=x onerror=alert(1)>";

pub fn s(seconds: f64) -> Offset {
    Offset((seconds * 1e9) as i64)
}

fn ns(seconds: u64) -> u64 {
    seconds * 1_000_000_000
}

fn objective(name: &str, indicator: Value, min: bool, value: Value, text: &str) -> Value {
    json!({"name": name, "indicator": indicator, "limit": {"min": min, "value": value, "floor": null, "text": text}, "arm": "canary",
        "stream": null, "journey": null, "step": null, "window": "default", "every": null, "confidence": 950_000, "min_samples": null,
        "condition": null, "by_header": null})
}

pub fn plan() -> Plan {
    let stage = |name: &str, weight: u32, hold: u64, extend: u64| json!({"name": name, "weight": weight, "hold": ns(hold), "extend": ns(extend), "min_samples": 200, "gate": ["availability", "p95"]});
    let plan = json!({
        "version": 1, "name": "checkout-canary", "description": "Canary of checkout v2 while the payment provider is slow",
        "hypothesis": "v2 holds availability and stays within 1.5x of v1's p95", "owner": "payments-sre", "labels": {}, "seed": 7,
        "time_box": ns(360), "slice": ns(1), "max_cells": 10_000,
        "environment": {"name": "pilot-eu", "class": "local", "allow": ["127.0.0.0/8", "::1"],
            "limits": {"rate": 2_000_000_000_000u64, "requests": 500_000, "in_flight": 2000, "max_weight": null, "max_share": null},
            "services": [{"name": "pilot", "kind": {"shop": {"releases": {"v1": [], "v2": ["slow-tail"]}, "payments": "proxy.payments"}},
                "env": {}, "ready": null, "stop_signal": "TERM", "stop_within": ns(5), "restart": false}],
            "targets": {"shop": {"name": "shop", "at": "pilot.router", "tls": {"ca": null, "cert": null, "key": null, "insecure": false}, "headers": []}},
            "proxies": [{"name": "payments", "listen": "127.0.0.1:19001", "upstream": "pilot.payments", "http": true}]},
        "setup": [], "teardown": [], "preflight": ["availability"],
        "streams": [{"name": "shoppers", "target": "shop", "at": {"at": 0},
            "model": {"open": {"poisson": true, "shape": [{"length": ns(90), "form": {"hold": 300_000_000_000u64}}]}},
            "warmup": ns(5), "timeout": ns(2), "retry": null, "connections": {"max": 256, "prewarm": 16, "reuse": true, "idle": ns(30), "max_requests": null, "streams": 100},
            "cookies": "none", "feeds": [], "journeys": []}],
        "faults": [{"name": "payments-slow", "at": {"stage": {"stage": "canary-25", "plus": ns(5)}}, "length": ns(12), "on": {"proxy": "payments"},
            "share": 300_000, "matches": {"method": "POST", "path": "/charge/*"}, "kind": "latency", "params": {"delay": "200ms"}, "during_rollback": false}],
        "rollout": {"driver": "builtin", "params": {}, "control": "v1", "canary": "v2", "artifact": "sha256:abc",
            "identify": {"by": {"header": "x-release"}, "control": ["v1"], "canary": ["v2"]}, "baseline": ns(10),
            "stages": [stage("canary-5", 50_000, 20, 10), stage("canary-25", 250_000, 30, 15), stage("full", 1_000_000, 15, 0)],
            "rehearse": "last-stage", "rollback": {"before": [], "restored_when": ["availability"], "restored_within": ns(5), "failed_requests": 1000},
            "afterwards": "restore"},
        "objectives": [
            objective("availability", json!("success_rate"), true, json!({"fixed": 0.995}), "99.5%"),
            objective("p95", json!({"latency": 950_000}), false, json!({"times": [1.5, "control"]}), "1.5x control"),
        ],
        "windows": [], "guards": [], "verdict": {"mandatory": [], "at_least": null},
        "files": {"products.csv": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}, "secrets": [],
    });
    serde_json::from_value(plan).expect("the plan is written in core's form")
}

fn objective_result(status: &str, text: &str) -> Value {
    json!({"status": status, "mandatory": true, "value": 0.9994, "reference": 0.9997, "limit": 0.995, "limit_text": "99.5%", "unit": "fraction",
        "samples": [5_120, 13_084], "effect": null, "interval": [0.9986, 1.0], "proof": [0.999, 0.95], "text": text, "condition": null})
}

/// A decision with this verdict (`promote`, `rollback`, `invalid`, `inconclusive`).
pub fn decision(verdict: &str) -> Decision {
    let (exit, headline, code, reason, p95) = match verdict {
        "promote" => (0, "v2 holds its objectives; the way back works.", "proven", "every objective is proven at 95 %", "pass"),
        "rollback" => (
            10,
            "v2 was slower than v1 allows; the way back works.",
            "harm-proven",
            "p95 1.83 × control (limit 1.5 ×; 95 % interval 1.66–2.02) in stage canary-25, from 01:37",
            "fail",
        ),
        "invalid" => (
            4,
            "The generator fell behind; nothing can be said of v2.",
            "generator-behind",
            "achieved 71 % of the asked rate (limit 99 %)",
            "nodata",
        ),
        _ => (
            12,
            "p95 could not be decided in the given time.",
            "undecided",
            "p95 1.31 × control (limit 1.5 ×; 95 % interval 1.02–1.69)",
            "inconclusive",
        ),
    };
    let mut slow = objective_result(p95, reason);
    let factor = if verdict == "rollback" { 1.83 } else { 1.08 };
    slow["unit"] = json!("ns");
    slow["value"] = json!(48.1e6 * factor);
    slow["reference"] = json!(48.1e6);
    slow["effect"] = json!(factor);
    slow["interval"] = json!([factor - 0.17, factor + 0.19]);
    slow["proof"] = json!([31.4, 20.0]);
    slow["limit_text"] = json!("1.5x control");
    let bad = verdict == "rollback";
    let back = json!({"rehearsal": !bad, "stage": if bad { "canary-25" } else { "full" }, "from": if bad { 250_000 } else { 1_000_000 },
        "commanded": 56_310_000_000i64, "acknowledged": 56_310_200_000i64, "last_canary": 56_311_100_000i64, "restored": 59_210_000_000i64,
        "requests": 18_204, "failed": 0, "status": "ok", "why": "restored within 5 s"});
    let decision = json!({
        "schema": SCHEMA, "verdict": verdict, "exit": exit, "headline": headline, "reasons": [{"code": code, "text": reason}],
        "scenario": "checkout-canary", "environment": "pilot-eu", "run": "0123456789abcdef0123456789abcdef", "started": "2026-01-02T03:04:05Z",
        "duration": 90_000_000_000u64, "version": "0.1.0", "seed": 7, "plan_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "canary": ["v2", "sha256:abc"],
        "validity": {"ok": verdict != "invalid", "asked": 27_000, "sent": 27_000, "succeeded": 26_992, "failed": 8, "dropped": 0,
            "achieved": if verdict == "invalid" { 0.71 } else { 0.99998 }, "lag": [9_000, 44_000, 210_000], "sample_ratio_p": 0.41,
            "unidentified": 0.0004, "slice": 1_000_000_000u64, "autocorrelation": 0.03, "block": 1, "cut": 0},
        "objectives": {"availability": objective_result(if verdict == "invalid" { "nodata" } else { "pass" }, "99.94 % of 5,120 met (limit ≥ 99.5 %)"), "p95": slow},
        "stages": [
            {"name": "canary-5", "asked": 50_000, "acknowledged": 50_000, "observed": 0.0497, "from": 15_000_000_000i64, "to": 35_000_000_000i64, "end": "passed", "why": "both objectives meet their limits"},
            {"name": "canary-25", "asked": 250_000, "acknowledged": 250_000, "observed": 0.248, "from": 35_100_000_000i64, "to": 56_300_000_000i64, "end": if bad { "harm" } else { "passed" }, "why": reason},
            {"name": "full", "asked": 1_000_000, "acknowledged": null, "observed": null, "from": null, "to": null, "end": "not_reached", "why": "an earlier rollback prevented it"},
        ],
        "faults": [{"name": "payments-slow", "kind": "latency", "applied": 40_100_000_000i64, "reverted": 52_100_000_000i64, "hits": 812, "seen": 2711, "status": "hit"}],
        "rollbacks": [back], "conditions": [], "next": ["compare the slowest requests: samples.jsonl"],
    });
    serde_json::from_value(decision).expect("the decision is written in core's form")
}

fn event(seq: &mut u64, at: f64, what: Input) -> Event {
    *seq += 1;
    Event { seq: *seq, at: s(at), what }
}

/// The run's events, slow canary from 35 s on.
pub fn events() -> Vec<Event> {
    let mut seq = 0;
    let mut out = vec![];
    let mut facts: Vec<(f64, Fact)> = vec![
        (
            -2.0,
            Fact::Started {
                wall: "2026-01-02T03:04:03Z".into(),
                run: "0123".into(),
                plan_sha256: "9f86".into(),
                version: "0.1.0".into(),
                scaled: false,
            },
        ),
        (-0.1, Fact::WeightFound(Ppm(0))),
        (0.0, Fact::Epoch { wall: "2026-01-02T03:04:05Z".into() }),
        (0.0, Fact::StreamStarted("shoppers".into())),
        (14.9, Fact::WeightAsked(Ppm(50_000))),
        (15.0, Fact::WeightRead(Ppm(50_000))),
        (15.0, Fact::StageStarted("canary-5".into())),
        (35.0, Fact::StageEnded { stage: "canary-5".into(), end: StageEnd::Passed, why: "99.95 % of 300 met, p95 1.1 × control".into() }),
        (35.05, Fact::WeightAsked(Ppm(250_000))),
        (35.1, Fact::WeightRead(Ppm(250_000))),
        (35.1, Fact::StageStarted("canary-25".into())),
        (40.1, Fact::FaultApplied("payments-slow".into())),
        (52.1, Fact::FaultReverted("payments-slow".into())),
        (56.3, Fact::StageEnded { stage: "canary-25".into(), end: StageEnd::Harm, why: "p95 1.83 × control (limit 1.5 ×)".into() }),
        (
            56.31,
            Fact::RollbackStarted { rehearsal: false, from: Ppm(250_000), stage: "canary-25".into(), why: "harm proven in p95".into() },
        ),
        (56.3101, Fact::WeightAsked(Ppm(0))),
        (56.3102, Fact::WeightRead(Ppm(0))),
        (62.3, Fact::RollbackEnded { restored: Some(s(59.21)) }),
        (90.0, Fact::StreamEnded("shoppers".into())),
        (91.0, Fact::TrafficEnded),
        (92.0, Fact::Ended),
    ];
    facts.reverse();
    for second in 0..90u32 {
        while facts.last().is_some_and(|f| f.0 <= f64::from(second)) {
            let (at, fact) = facts.pop().expect("just looked at");
            out.push(event(&mut seq, at, Input::Fact(fact)));
        }
        let at = f64::from(second) + 1.0;
        out.push(event(&mut seq, at, Input::Snapshot(snapshot(second))));
        if second > 16 && second < 57 {
            out.push(event(
                &mut seq,
                at,
                Input::Attested {
                    fault: "payments-slow".into(),
                    hits: Attestation { hits: u64::from(second) * 14, seen: 2_000, bytes: 0 },
                },
            ));
            out.push(event(&mut seq, at, Input::Assessed(Box::new(assessment(second)))));
        }
    }
    while let Some((at, fact)) = facts.pop() {
        out.push(event(&mut seq, at.max(90.0), Input::Fact(fact)));
    }
    out.push(event(&mut seq, 92.0, Input::Samples((0..60).map(sample).collect())));
    out
}

/// A cheap, even scatter in 0..1.
fn scatter(n: u32) -> f64 {
    f64::from(n.wrapping_mul(2_654_435_761) >> 8) / f64::from(1u32 << 24)
}

fn snapshot(second: u32) -> Snapshot {
    let share = match second {
        15..=34 => 0.05,
        35..=55 => 0.25,
        _ => 0.0,
    };
    let asked = 300 + (scatter(second) * 20.0) as u64 - 10;
    let mut cells: BTreeMap<Arm, Cell> = BTreeMap::new();
    for k in 0..asked as u32 {
        let canary = scatter(second * 1000 + k) < share;
        let tail = scatter(second * 777 + k * 31 + 5);
        let fault = (40..52).contains(&second) && tail > 0.93;
        let slow = if canary { 1.75 } else { 1.0 };
        let latency = (18e6 + 30e6 * tail * tail * slow + if tail > 0.985 { 60e6 * slow } else { 0.0 } + if fault { 90e6 } else { 0.0 })
            * slow.sqrt();
        let bad = canary && tail > 0.997 || fault && tail > 0.998;
        for arm in [Arm::All, if canary { Arm::Canary } else { Arm::Control }] {
            let cell = cells.entry(arm).or_default();
            if bad {
                *cell.failed.entry(Failure::Status).or_default() += 1;
            } else {
                cell.ok += 1;
                cell.latency.record(latency as u64);
            }
            if arm == Arm::All {
                cell.due += 1;
                cell.lag.record(9_000 + u64::from(k) * 120);
            }
        }
    }
    let key = |arm| CellKey { slice: second, stream: 0, arm, dim: Dim::Whole };
    let totals = StreamTotals { asked, sent: asked - u64::from(second == 44) * 12, ..StreamTotals::default() };
    Snapshot {
        as_of: s(f64::from(second) + 1.0),
        cells: cells.into_iter().map(|(arm, cell)| (key(arm), cell)).collect(),
        streams: BTreeMap::from([(0, totals)]),
        cpu: 42_000_000,
        ..Snapshot::default()
    }
}

fn assessment(second: u32) -> Assessment {
    let grown = f64::from(second - 16) / 40.0;
    let p95 = if second > 35 { 88.0e6 } else { 51.9e6 };
    let progress = |objective: &str, control: f64, value: f64, proof: f64, meets: bool| Progress {
        objective: objective.into(),
        control: Some(control),
        value: Some(value),
        meets: Some(meets),
        proof,
    };
    Assessment {
        gate: Some(Gate { stage: "canary-25".into(), state: GateState::Undecided, why: "p95 needs 120 more samples".into() }),
        objectives: vec![
            progress("availability", 0.9997, 0.9994, grown.min(1.0), true),
            progress("p95", 48.1e6, p95, (grown * grown * 0.8).min(0.71), second <= 35),
        ],
        ..Assessment::default()
    }
}

fn sample(n: u32) -> Sample {
    let failed = n < 8;
    Sample {
        at: s(36.0 + f64::from(n) * 0.33),
        stream: "shoppers".into(),
        step: "buy/order".into(),
        trace: format!("{:032x}", u128::from(n) * 0x1234_5678_9abc_def0),
        arm: if n.is_multiple_of(3) { Arm::Control } else { Arm::Canary },
        status: Some(if failed { 503 } else { 201 }),
        failure: failed.then_some(Failure::Status),
        detail: if failed { "status 503, expected 201".into() } else { String::new() },
        latency: 180_000_000 - u64::from(n) * 900_000,
        dispatch: 179_000_000 - u64::from(n) * 900_000,
        service: 178_000_000 - u64::from(n) * 900_000,
        request: "POST /orders".into(),
        answer: "HTTP/1.1 503 Service Unavailable\nretry-after: 1\n\n{\"error\":\"payments\"}".into(),
    }
}
