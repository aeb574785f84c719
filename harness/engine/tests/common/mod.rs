//! Evidence of a plausible run, made in virtual time: what a generator would have reported, second by second. Shared by the
//! merge test and the examples.

#![allow(dead_code, reason = "each user needs a part of it")]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use shakedown_core::Plan;
use shakedown_core::event::{Event, Fact, Input};
use shakedown_core::snapshot::{Arm, Cell, CellKey, Dim, Snapshot, StreamTotals};
use shakedown_core::sparse::Sparse;
use shakedown_core::units::{Offset, Span};
use shakedown_engine::journal::Writer;
use std::collections::BTreeMap;
use std::path::Path;

const SECOND: u64 = 1_000_000_000;

/// One open stream without a rollout; a success rate and two latency objectives.
pub fn plan(seconds: u64) -> Plan {
    let objective = |name: &str, indicator: serde_json::Value, min: bool, value: f64| {
        json!({"name": name, "indicator": indicator, "arm": "all", "stream": null, "journey": null, "step": null,
            "by_header": null, "window": "default", "every": null, "confidence": 950_000, "min_samples": null, "condition": null,
            "limit": {"min": min, "value": {"fixed": value}, "floor": null, "text": "limit"}})
    };
    let plan = json!({
        "version": 1, "name": "days", "description": "", "hypothesis": "", "owner": "", "labels": {}, "seed": 1,
        "time_box": (seconds + 60) * SECOND, "slice": SECOND, "max_cells": 500,
        "environment": {"name": "local", "class": "local", "allow": [], "services": [], "targets": {}, "proxies": [],
            "limits": {"rate": null, "requests": null, "in_flight": null, "max_weight": null, "max_share": null}},
        "setup": [], "teardown": [], "preflight": [],
        "streams": [{"name": "shoppers", "target": "shop", "at": {"at": 0}, "warmup": 0, "timeout": SECOND, "retry": null,
            "model": {"open": {"poisson": false, "shape": [{"length": seconds * SECOND, "form": {"hold": 300_000}}]}},
            "connections": serde_json::to_value(shakedown_core::plan::Connections::default()).expect("plain data"),
            "cookies": "none", "feeds": [], "journeys": []}],
        "faults": [], "rollout": null, "windows": [], "guards": [], "verdict": {"mandatory": [], "at_least": null},
        "files": {}, "secrets": [],
        "objectives": [objective("success", json!("success_rate"), true, 0.99), objective("p95", json!({"latency": 950_000}), false, 250e6),
            objective("p99", json!({"latency": 990_000}), false, 400e6)],
    });
    serde_json::from_value(plan).expect("the plan is written as core reads it")
}

/// A run's events.
pub struct Recording {
    pub events: Vec<Event>,
    seed: u64,
}

impl Recording {
    /// `seconds` at about `rate` requests a second.
    pub fn new(seconds: u64, rate: f64, seed: u64) -> Recording {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut events = vec![(Offset(-1), started()), (Offset::ZERO, Input::Fact(Fact::Epoch { wall: "w".into() }))];
        for second in 0..seconds {
            let at = Offset(((second + 1) * SECOND) as i64);
            let mut snapshot = report(&mut rng, second as u32, rate as u64);
            snapshot.streams.get_mut(&0).expect("one stream").ended = second + 1 == seconds;
            events.push((at, Input::Snapshot(snapshot)));
        }
        let end = Offset((seconds * SECOND) as i64).plus(Span::millis(1500));
        let last = Snapshot { as_of: end, ..Snapshot::default() };
        events.extend([(end, Input::Snapshot(last)), (end, Input::Fact(Fact::TrafficEnded)), (end, Input::Fact(Fact::Ended))]);
        let events = events.into_iter().enumerate().map(|(i, (at, what))| Event { seq: i as u64, at, what }).collect();
        Recording { events, seed }
    }

    /// What segment `index` of `n` would have seen of it: every count and every bucket is dealt out at random.
    pub fn share(&self, index: u32, n: u32) -> Recording {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x5eed);
        let deal = |event: &Event| match &event.what {
            Input::Snapshot(s) => Input::Snapshot(dealt(s, &mut rng, index as usize - 1, n as usize)),
            other => other.clone(),
        };
        let whats: Vec<Input> = self.events.iter().map(deal).collect();
        let events = self.events.iter().zip(whats).map(|(e, what)| Event { what, ..e.clone() }).collect();
        Recording { events, seed: self.seed }
    }

    /// The same, ended properly but too early.
    pub fn until(mut self, seconds: u64) -> Recording {
        let end = Offset((seconds * SECOND) as i64);
        self.events.retain(|e| e.at <= end);
        for fact in [Fact::TrafficEnded, Fact::Ended] {
            let seq = self.events.len() as u64;
            self.events.push(Event { seq, at: end, what: Input::Fact(fact) });
        }
        self
    }

    /// Writes it as a run directory.
    pub fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir).expect("a new directory");
        let mut writer = Writer::create(dir, Span::secs(1), vec!["shoppers".into()]).expect("writable");
        for event in &self.events {
            writer.append(event).expect("writable");
        }
        writer.sync().expect("writable");
    }
}

pub fn started() -> Input {
    let (wall, run, plan_sha256, version) = ("w".into(), "r".into(), "p".into(), "v".into());
    Input::Fact(Fact::Started { wall, run, plan_sha256, version, scaled: false })
}

/// What a generator reports of one second.
pub fn report(rng: &mut ChaCha8Rng, slice: u32, n: u64) -> Snapshot {
    let all = cell(rng, n, true);
    let totals = StreamTotals { asked: n, sent: n, in_flight: 3, connections: 1, ..StreamTotals::default() };
    let key = CellKey { slice, stream: 0, arm: Arm::All, dim: Dim::Whole };
    Snapshot {
        as_of: Offset((u64::from(slice) + 1) as i64 * SECOND as i64),
        cells: vec![(key, all)],
        streams: BTreeMap::from([(0, totals)]),
        cpu: 1_000_000,
        ..Snapshot::default()
    }
}

/// Counts and histograms of `n` requests: about log-normal latencies around 50 ms, one failure in 2,000.
pub fn cell(rng: &mut ChaCha8Rng, n: u64, all: bool) -> Cell {
    let failed = n / 2000;
    let ok = n - failed;
    let mut cell = Cell { due: if all { n as i64 } else { 0 }, ok, bytes: 500 * n, ..Cell::default() };
    cell.status.insert(200, ok);
    if failed > 0 {
        cell.failed.insert(shakedown_core::snapshot::Failure::Status, failed);
        cell.status.insert(500, failed);
    }
    spread(rng, &mut cell.latency, ok, 50e6, 0.45);
    if all {
        spread(rng, &mut cell.dispatch, ok, 49e6, 0.45);
        spread(rng, &mut cell.service, ok, 48e6, 0.45);
        spread(rng, &mut cell.lag, n, 12e3, 0.6);
        spread(rng, &mut cell.first_byte, ok, 45e6, 0.45);
        spread(rng, &mut cell.send, n, 15e3, 0.6);
        spread(rng, &mut cell.connect, 1, 200e3, 0.3);
    }
    cell
}

fn spread(rng: &mut ChaCha8Rng, into: &mut Sparse, n: u64, median: f64, sigma: f64) {
    for _ in 0..n {
        // Twelve uniform numbers make a good enough normal one.
        let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        into.record((median * (sigma * normal).exp()) as u64);
    }
}

/// One of `n` shares of a report.
fn dealt(s: &Snapshot, rng: &mut ChaCha8Rng, mine: usize, n: usize) -> Snapshot {
    let mut out = Snapshot { cells: Vec::new(), cpu: portion(rng, s.cpu, mine, n), ..s.clone() };
    for totals in out.streams.values_mut() {
        for count in [&mut totals.asked, &mut totals.sent, &mut totals.connections, &mut totals.in_flight] {
            *count = portion(rng, *count, mine, n);
        }
    }
    for (key, cell) in &s.cells {
        let mut part = Cell { due: portion(rng, cell.due as u64, mine, n) as i64, ok: portion(rng, cell.ok, mine, n), ..Cell::default() };
        part.bytes = portion(rng, cell.bytes, mine, n);
        part.failed = cell.failed.iter().map(|(k, c)| (*k, portion(rng, *c, mine, n))).filter(|(_, c)| *c > 0).collect();
        part.status = cell.status.iter().map(|(k, c)| (*k, portion(rng, *c, mine, n))).filter(|(_, c)| *c > 0).collect();
        let pairs = [
            (&cell.latency, &mut part.latency),
            (&cell.dispatch, &mut part.dispatch),
            (&cell.service, &mut part.service),
            (&cell.lag, &mut part.lag),
            (&cell.connect, &mut part.connect),
            (&cell.first_byte, &mut part.first_byte),
            (&cell.send, &mut part.send),
        ];
        for (from, to) in pairs {
            to.buckets = from.buckets.iter().map(|(v, c)| (v, portion(rng, c, mine, n))).filter(|(_, c)| *c > 0).collect();
        }
        out.cells.push((key.clone(), part));
    }
    out
}

/// Deals a count out to `n` and gives one of the shares; every caller with the same numbers deals alike.
fn portion(rng: &mut ChaCha8Rng, count: u64, mine: usize, n: usize) -> u64 {
    let mut left = count;
    let mut share = 0;
    for i in 0..n {
        let part = if i + 1 == n { left } else { rng.random_range(0..=left.min(2 * count / n as u64 + 1)) };
        left -= part;
        if i == mine {
            share = part;
        }
    }
    share
}
