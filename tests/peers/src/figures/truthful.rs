//! Do reported quantiles say what happened? Held answers, and a server that freezes.

use super::{columns, rows};
use crate::bench::{Sample, Server};
use crate::stats::{held as true_held, intended, quantile};
use crate::suite::{Case, Suite, median_of};
use crate::table::{Goal, Table};
use crate::tools::{Job, Model, QUANTILES};
use crate::truth::{Answer, Mode};

const RATE: u32 = 1000;
/// Few: with many, requests sent during a freeze are few beside those under way, and omission hides.
const FEW: u32 = 16;

/// Reported over true, less one, in percent, for each quantile; then the worst of them without its sign.
pub fn held(suite: &mut Suite) -> Vec<Table> {
    let server = Server { mode: Mode::Delay, answer: Answer::Tiny };
    let open = Job::open(RATE, 64, suite.pick(10, 3));
    let mut cases = suite.cases(&["shakedown", "oha", "k6", "vegeta"], server, &open);
    cases.extend(suite.cases(&["wrk"], server, &Job::closed(FEW, open.seconds)));
    let all = suite.rounds("truth", &cases, QUANTILES.len() + 1, |_case, sample| {
        let truth = true_held(&sample.log);
        let errors: Vec<Option<f64>> = QUANTILES.iter().map(|(name, q)| off(sample, name, quantile(&truth, *q))).collect();
        let worst = errors.iter().flatten().map(|e| e.abs()).fold(None, |worst: Option<f64>, e| Some(worst.map_or(e, |w| w.max(e))));
        errors.into_iter().chain([worst]).collect()
    });
    vec![Table {
        id: "truth",
        title: "Reported quantiles against the truth".into(),
        setting: format!("{open} (wrk: closed loop, {FEW} connections); answers held for a lognormal time, median 5 ms, sigma 0.8"),
        columns: columns(&["p50 off by %", "p90 %", "p99 %", "p99.9 %", "worst %"]),
        rows: rows(&all, &[2, 2, 2, 2, 2]),
        goals: vec![Goal::at_most("worst of the four within 1 %", median_of(&all, "shakedown", QUANTILES.len()), 1.0)],
        notes: Vec::new(),
    }]
}

/// p99 over a server that freezes for 1 s of every 10 s: 900 ms by the schedule.
pub fn stall(suite: &mut Suite) -> Vec<Table> {
    let server = Server { mode: Mode::Stall, answer: Answer::Tiny };
    let open = Job::open(RATE, FEW, suite.pick(20, 10));
    let names: &[&str] = if suite.short { &["shakedown"] } else { &["shakedown", "oha", "k6", "vegeta"] };
    let mut cases = suite.cases(names, server, &open);
    if !suite.short {
        cases.extend(suite.cases(&["wrk"], server, &Job::closed(FEW, open.seconds)));
    }
    let runs = suite.runs;
    suite.runs = runs.min(3);
    let all = suite.rounds("stall", &cases, 4, |case: &Case, sample| {
        let truth = match case.job.model {
            Model::Open(rate) => Some(quantile(&intended(&sample.log, f64::from(rate)), 0.99) as f64),
            Model::Closed => None,
        };
        let said = sample.reported.quantiles.get("p99").copied();
        let off_900 = said.map(|s| (s / 900e6 - 1.0).abs() * 100.0);
        vec![said.map(|s| s / 1e6), truth.map(|t| t / 1e6), said.map(|s| (s / 900e6 - 1.0) * 100.0), off_900]
    });
    suite.runs = runs;
    vec![Table {
        id: "stall",
        title: "A freeze of 1 s in every 10 s".into(),
        setting: format!("{open} (wrk: closed loop); the true p99, counted from the intended send, is 900 ms"),
        columns: columns(&["reported p99 ms", "true p99 of this run ms", "off 900 ms by %"]),
        rows: rows(&all, &[1, 1, 2]),
        goals: vec![Goal::at_most("p99 within 1 % of 900 ms", median_of(&all, "shakedown", 3), 1.0)],
        notes: vec!["A closed loop has no schedule to be late against: its true p99 by one is left out.".into()],
    }]
}

fn off(sample: &Sample, name: &str, truth: u64) -> Option<f64> {
    let said = sample.reported.quantiles.get(name)?;
    (truth > 0).then(|| (said / truth as f64 - 1.0) * 100.0)
}
