//! From exec to the first request at the server.

use super::{columns, rows};
use crate::bench::PLAIN;
use crate::suite::{Suite, median_of};
use crate::table::{Goal, Table};
use crate::tools::Job;

/// Every tool, one connection's worth of work.
pub fn start(suite: &mut Suite) -> Vec<Table> {
    let job = Job::closed(64, 1);
    let cases = suite.cases(if suite.short { &["shakedown", "floor", "wrk"] } else { &[] }, PLAIN, &job);
    let all = suite.rounds("start", &cases, 1, |_case, sample| {
        vec![sample.log.first().map(|first| first.arrived.saturating_sub(sample.usage.started) as f64 / 1e6)]
    });
    vec![Table {
        id: "start",
        title: "First request after start".into(),
        setting: format!("{job}; from just before fork and exec to the first request whole at the server; no services, faults or rollout"),
        columns: columns(&["ms"]),
        rows: rows(&all, &[1]),
        goals: vec![Goal::at_most("≤ 10 ms", median_of(&all, "shakedown", 0), 10.0)],
        notes: Vec::new(),
    }]
}
