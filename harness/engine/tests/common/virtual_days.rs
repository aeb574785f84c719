//! A rollout over days in virtual time: seconds of load made up from a few patterns, everything else as in a real run.

#![allow(dead_code, reason = "each user needs a part of it")]

use super::common;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use shakedown_core::Plan;
use shakedown_core::decision::Decision;
use shakedown_core::event::{Fact, Input};
use shakedown_core::snapshot::{Arm, Cell, CellKey, Dim, Snapshot, StreamTotals, Vitals};
use shakedown_core::units::{Offset, Ppm};
use shakedown_engine::{Call, Chronicle, Effect, Parts, decide_from};
use shakedown_judge::Judge;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
/// Different seconds that are told again and again.
const PATTERNS: usize = 16;

/// Control against canary in three stages, two latency objectives, a success rate and a guard.
pub fn plan(seconds: u64) -> Arc<Plan> {
    let mut plan = serde_json::to_value(common::plan(seconds)).expect("a plan is plain data");
    let span = |share: f64| (seconds as f64 * share) as u64 * SECOND;
    let stage = |name: &str, weight: u32, hold: u64| json!({"name": name, "weight": weight, "hold": hold, "extend": 600 * SECOND, "min_samples": null, "gate": ["success", "p95", "p99"]});
    plan["time_box"] = json!((seconds + 7200) * SECOND);
    plan["rollout"] = json!({"driver": "virtual", "params": {}, "control": "v1", "canary": "v2", "artifact": null,
        "identify": {"by": {"header": "x"}, "control": ["v1"], "canary": ["v2"]}, "baseline": 600 * SECOND,
        "stages": [stage("a", 50_000, span(0.3)), stage("b", 250_000, span(0.3)), stage("c", 500_000, span(0.3))],
        "rehearse": "last-stage", "afterwards": "restore",
        "rollback": {"before": [], "restored_when": ["success"], "restored_within": 60 * SECOND, "failed_requests": null}});
    let of_canary = |o: &mut serde_json::Value| o["arm"] = json!("canary");
    plan["objectives"].as_array_mut().expect("a list").iter_mut().for_each(of_canary);
    let relative = json!({"min": false, "value": {"times": [1.2, "control"]}, "floor": null, "text": "1.2x control"});
    plan["objectives"][1]["limit"] = relative;
    plan["guards"] = json!([{"name": "errors", "indicator": "error_rate", "over": 10 * SECOND, "min_samples": 100, "arm": "all",
        "stream": null, "lasting": 0, "then": "abort",
        "limit": {"min": false, "value": {"fixed": 0.2}, "floor": null, "text": "20%"}}]);
    plan["preflight"] = json!(["success"]);
    Arc::new(serde_json::from_value(plan).expect("the plan is written as core reads it"))
}

/// Runs the plan's first `seconds` (or all of it).
pub fn run(plan: &Arc<Plan>, dir: &Path, seconds: u64, rate: u64) {
    let judge = Box::new(Judge::new(plan.clone()));
    let parts = Parts { plan: plan.clone(), dir, assessor: judge, observer: Box::new(|_| {}), worker: false, whole: true };
    let mut days = Days { chronicle: Chronicle::new(parts), weight: Ppm::ZERO, todo: VecDeque::new(), patterns: BTreeMap::new(), rate };
    days.does(common::started());
    for second in 0..seconds {
        for tenth in 1..=10 {
            days.chronicle.at(Offset((second * SECOND + tenth * SECOND / 10) as i64));
            days.does(Input::Tick);
            let effects = days.chronicle.assess();
            days.perform(effects);
        }
        if days.chronicle.over() {
            break;
        }
        let snapshot = days.second(second as u32);
        days.does(Input::Snapshot(snapshot));
        let effects = days.chronicle.assess();
        days.perform(effects);
        days.chronicle.flush();
    }
    let _ = days.chronicle.finish();
}

struct Days {
    chronicle: Chronicle,
    weight: Ppm,
    todo: VecDeque<Input>,
    /// By weight: control and canary counts of a second.
    patterns: BTreeMap<u32, Vec<[Cell; 3]>>,
    rate: u64,
}

impl Days {
    fn does(&mut self, what: Input) {
        self.todo.push_back(what);
        while let Some(next) = self.todo.pop_front() {
            let effects = self.chronicle.take(next);
            self.perform(effects);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Announce(fact) => self.chronicle.state_fact(fact),
                Effect::Run { id, call, .. } => {
                    let outcome = Ok(match call {
                        Call::Connect => json!(0),
                        Call::ReadWeight => json!(self.weight.0),
                        Call::SetWeight(to) => {
                            self.weight = to;
                            json!(null)
                        }
                        Call::RestoreWeight => {
                            self.weight = Ppm::ZERO;
                            json!(null)
                        }
                        Call::Judge => serde_json::to_value(self.chronicle.decide().verdict).expect("plain data"),
                        _ => json!(null),
                    });
                    self.todo.push_back(Input::Done { effect: id, outcome });
                }
                Effect::StartLoad => {
                    self.chronicle.epoch();
                    self.todo.push_back(Input::Fact(Fact::Epoch { wall: "w".into() }));
                }
                _ => {}
            }
        }
        while let Some(next) = self.todo.pop_front() {
            let effects = self.chronicle.take(next);
            self.perform(effects);
        }
    }

    fn second(&mut self, slice: u32) -> Snapshot {
        let canary = self.rate * u64::from(self.weight.0) / 1_000_000;
        let rate = self.rate;
        let patterns = self.patterns.entry(self.weight.0).or_insert_with(|| {
            let mut rng = ChaCha8Rng::seed_from_u64(canary);
            let mut one = || {
                [common::cell(&mut rng, rate, true), common::cell(&mut rng, rate - canary, false), common::cell(&mut rng, canary, false)]
            };
            (0..PATTERNS).map(|_| one()).collect()
        });
        let cells = &patterns[slice as usize % PATTERNS];
        let key = |arm| CellKey { slice, stream: 0, arm, dim: Dim::Whole };
        let at = Offset((u64::from(slice) + 1) as i64 * SECOND as i64);
        let arms = [Arm::All, Arm::Control, Arm::Canary];
        let cells = arms.into_iter().zip(cells.iter().cloned()).filter(|(_, c)| c.done() > 0).map(|(arm, c)| (key(arm), c)).collect();
        let totals = StreamTotals { asked: rate, sent: rate, in_flight: 20, ..StreamTotals::default() };
        let mut last_answer = BTreeMap::from([(Arm::Control, at)]);
        if canary > 0 {
            last_answer.insert(Arm::Canary, at);
        }
        Snapshot {
            as_of: at,
            cells,
            streams: BTreeMap::from([(0, totals)]),
            last_answer,
            cpu: 20_000_000,
            vitals: Vitals { workers: 1, ..Vitals::default() },
            ..Snapshot::default()
        }
    }
}

/// Judges it again from its files.
pub fn judge(plan: &Arc<Plan>, dir: &Path) -> Decision {
    decide_from(dir, &mut Judge::new(plan.clone())).expect("the journal is whole and judged as during the run")
}

/// Bytes of a run directory's files.
pub fn bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("it exists").map(|e| e.expect("readable").metadata().expect("readable").len());
    files.sum()
}

/// Most memory this process has held so far.
pub fn peak_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
