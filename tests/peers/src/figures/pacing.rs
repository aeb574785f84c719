//! How exactly a constant rate is kept, and what that costs.

use super::{columns, rows};
use crate::bench::{PLAIN, Sample};
use crate::stats::pacing;
use crate::suite::{Case, Suite, median_of};
use crate::table::{Goal, Table};
use crate::tools::{Job, Model};

const CONNECTIONS: u32 = 64;
const TOOLS: [&str; 4] = ["shakedown", "oha", "k6", "vegeta"];
const COLUMNS: [&str; 4] = ["send error p50 µs", "p99 µs", "rate missed by, ppm", "CPU s per million"];

/// Send error p50 and p99 (µs), deviation of the rate (ppm), CPU seconds per million.
fn kept(case: &Case, sample: &Sample) -> Vec<Option<f64>> {
    let Model::Open(rate) = case.job.model else { return Vec::new() };
    let rate = f64::from(rate);
    let Some(found) = pacing(&sample.log, rate) else { return Vec::new() };
    // Both the pace between first and last and the number of requests: neither hides behind the other. One request more or
    // less is a matter of whether the last instant belongs to the run.
    let asked = rate * f64::from(case.job.seconds);
    let short = ((sample.seen as f64 - asked).abs() - 1.0).max(0.0) / asked;
    let missed = (found.achieved - 1.0).abs().max(short);
    vec![Some(found.p50 as f64 / 1e3), Some(found.p99 as f64 / 1e3), Some(missed * 1e6), Some(sample.cpu_per_million())]
}

/// Three rates with default settings, side by side.
pub fn open(suite: &mut Suite) -> Vec<Table> {
    let rates: &[u32] = if suite.short { &[10_000] } else { &[1_000, 10_000, 30_000] };
    rates.iter().map(|rate| at_rate(suite, *rate)).collect()
}

fn at_rate(suite: &mut Suite, rate: u32) -> Table {
    let job = Job::open(rate, CONNECTIONS, suite.pick(5, 2));
    let cases = suite.cases(&TOOLS, PLAIN, &job);
    let all = suite.rounds(&format!("open {rate}/s"), &cases, 4, kept);
    let own = |metric| median_of(&all, "shakedown", metric);
    let goals = vec![
        Goal::at_most("send error p50 ≤ 30 µs", own(0), 30.0),
        Goal::at_most("send error p99 ≤ 100 µs", own(1), 100.0),
        Goal::at_most("rate within 100 ppm (0.01 %)", own(2), 100.0),
    ];
    let wrk2 = "wrk2 is in no registry used here and is not measured; measured elsewhere on such a machine: p50 / p99 of 1,047 / 1,899 µs at \
                1,000/s, 737 / 1,649 at 10,000/s, 698 / 1,403 at 30,000/s for 37, 13.6 and 8.2 CPU s per million.";
    Table {
        id: "open",
        title: format!("Send error at {rate}/s"),
        setting: format!("{job}, constant arrivals, default precision; |arrival − (t0 + i/rate)| as the server saw it"),
        columns: columns(&COLUMNS),
        rows: rows(&all, &[1, 1, 0, 2]),
        goals,
        notes: vec![wrk2.into()],
    }
}

/// A coarse quantum: cheaper, and as late as it says.
pub fn quantum(suite: &mut Suite) -> Vec<Table> {
    let job = Job { quantum: Some("1ms"), ..Job::open(30_000, CONNECTIONS, suite.pick(5, 2)) };
    let cases = suite.cases(&["shakedown"], PLAIN, &job);
    let all = suite.rounds("quantum", &cases, 4, kept);
    let own = |metric| median_of(&all, "shakedown", metric);
    let goals = vec![
        Goal::at_most("CPU s per million ≤ 6.2 (0.75 × wrk2's 8.2, measured elsewhere)", own(3), 6.2),
        Goal::at_most("send error p99 ≤ 900 µs", own(1), 900.0),
    ];
    vec![Table {
        id: "quantum",
        title: "A quantum of 1 ms".into(),
        setting: format!("{job}, constant arrivals, `precision: {{quantum: 1ms}}`"),
        columns: columns(&COLUMNS),
        rows: rows(&all, &[1, 1, 0, 2]),
        goals,
        notes: Vec::new(),
    }]
}
