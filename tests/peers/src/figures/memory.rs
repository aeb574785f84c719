//! Peak memory: over a million requests, and over ten thousand connections.

use super::{columns, rows};
use crate::bench::{PLAIN, Sample};
use crate::suite::{Case, Suite, median_of};
use crate::table::{Goal, Table};
use crate::tools::Job;

const MANY: u32 = 10_000;
/// A k6 user is a JavaScript engine; ten thousand of them say nothing about connections.
const MANY_TOOLS: [&str; 6] = ["shakedown", "floor", "wrk", "h2load", "oha", "vegeta"];
/// Descriptors a side needs for [`MANY`] connections, and some.
const DESCRIPTORS: u64 = 10_100;

fn peak(_case: &Case, sample: &Sample) -> Vec<Option<f64>> {
    vec![Some(sample.usage.peak as f64 / 1024.0), Some(sample.seen as f64)]
}

/// Both, one after the other.
pub fn memory(suite: &mut Suite) -> Vec<Table> {
    // Long enough for a million requests of every tool that does 100,000/s.
    let few = Job::closed(64, suite.pick(10, 1));
    let runs = suite.runs;
    suite.runs = runs.min(3);
    let cases = suite.cases(if suite.short { &["shakedown", "wrk"] } else { &[] }, PLAIN, &few);
    let all = suite.rounds("memory", &cases, 2, peak);
    let mut tables = vec![Table {
        id: "memory",
        title: "Peak memory, a million requests".into(),
        setting: format!("{few}; the largest process of each tool"),
        columns: columns(&["peak MiB", "requests"]),
        rows: rows(&all, &[1, 0]),
        goals: vec![Goal::at_most("peak ≤ 12 MiB", median_of(&all, "shakedown", 0), 12.0)],
        notes: vec!["A million requests are reached by tools of 100,000/s; the count is beside each peak.".into()],
    }];
    tables.push(many(suite));
    suite.runs = runs;
    tables
}

fn many(suite: &mut Suite) -> Table {
    let job = Job::closed(MANY, suite.pick(10, 2));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let mut notes = Vec::new();
    let names: &[&str] = if suite.short { &["shakedown", "wrk"] } else { &MANY_TOOLS };
    let cases = if limit < DESCRIPTORS {
        notes.push(format!("not measured: {limit} descriptors are allowed, {DESCRIPTORS} are needed (ulimit -Hn)"));
        Vec::new()
    } else {
        suite.cases(names, PLAIN, &job)
    };
    let all = suite.rounds("memory of 10,000", &cases, 2, peak);
    Table {
        id: "memory",
        title: "Peak memory, 10,000 connections".into(),
        setting: format!("{job}; the largest process of each tool"),
        columns: columns(&["peak MiB", "requests"]),
        rows: rows(&all, &[1, 0]),
        goals: vec![Goal::at_most("peak ≤ 60 MiB", median_of(&all, "shakedown", 0), 60.0)],
        notes,
    }
}
