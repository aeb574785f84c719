//! What a request costs: closed loop, plain and as a journey.

use super::{columns, ratio, rows};
use crate::bench::{PLAIN, Sample, Server};
use crate::stats::Spread;
use crate::suite::{Case, Series, Suite, median_of, say};
use crate::table::{Cell, Goal, Row, Table};
use crate::tools::Job;
use crate::truth::{Answer, Mode};
use std::collections::BTreeMap;

/// Connections of both figures.
const CONNECTIONS: u32 = 64;
/// Seconds of a run that is stepped through: longer than the stepping.
const STEPPED: u32 = 18;
/// Tools whose instructions are counted: those with a thread that sends; Go moves its work about.
const COUNTED: [&str; 5] = ["shakedown", "floor", "wrk", "h2load", "oha"];

fn cost(_case: &Case, sample: &Sample) -> Vec<Option<f64>> {
    vec![Some(sample.rate()), Some(sample.cpu_per_million()), Some(sample.usage.user * 1e6 / sample.seen as f64)]
}

/// Plain requests, every tool.
pub fn closed(suite: &mut Suite) -> Vec<Table> {
    let job = Job::closed(CONNECTIONS, suite.pick(5, 1));
    let cases = suite.cases(&[], PLAIN, &job);
    let all = suite.rounds("closed", &cases, 3, cost);
    let counted: Vec<Case> = if suite.short { Vec::new() } else { suite.cases(&COUNTED, PLAIN, &job) };
    let instructions = instructions(suite, "closed", &counted);
    let own = median_of(&all, "shakedown", 1);
    let goals = vec![
        Goal::at_most("CPU per request, share of wrk's, ≤ 0.90", ratio(own, median_of(&all, "wrk", 1)), 0.90),
        Goal::at_most("CPU per request, share of the floor's, ≤ 1.15", ratio(own, median_of(&all, "floor", 1)), 1.15),
        Goal::at_most("user instructions per request ≤ 1,500", instructions.get("shakedown").copied(), 1500.0),
    ];
    vec![Table {
        id: "closed",
        title: "Cost of a request, closed loop".into(),
        setting: format!("{job}, HTTP/1.1 keep-alive, answers of 2 bytes, recording and reports on"),
        columns: columns(&["requests/s", "CPU s per million", "of it user", "user instructions per request"]),
        rows: with_instructions(&all, &instructions),
        goals,
        notes: vec![
            "CPU is the whole process with its helpers, start and report included; instructions are counted in the sending thread, one step at a time.".into(),
        ],
    }]
}

/// A journey of three steps with captures and checks, against oha without any.
pub fn journey(suite: &mut Suite) -> Vec<Table> {
    let server = Server { mode: Mode::Now, answer: Answer::Json };
    let plain = Job::closed(CONNECTIONS, suite.pick(5, 1));
    let job = Job { journey: true, ..plain.clone() };
    let mut cases = suite.cases(&["shakedown"], server, &job);
    for case in &mut cases {
        case.label = "shakedown, journey".into();
    }
    cases.extend(suite.cases(&["shakedown", "oha"], server, &plain));
    let all = suite.rounds("journey", &cases, 3, cost);
    let own = median_of(&all, "shakedown, journey", 1);
    let goals = vec![
        Goal::at_most("CPU per request, share of oha's without any, ≤ 0.5", ratio(own, median_of(&all, "oha", 1)), 0.5),
        Goal::at_most("CPU per request, share of its own plain requests, ≤ 1.2", ratio(own, median_of(&all, "shakedown", 1)), 1.2),
    ];
    vec![Table {
        id: "journey",
        title: "Cost of a request in a journey".into(),
        setting: format!("{plain}, answers of 62 bytes of JSON; the journey: 3 steps (POST, GET, POST), 2 captures, 2 JSON checks"),
        columns: columns(&["requests/s", "CPU s per million", "of it user"]),
        rows: rows(&all, &[0, 2, 2]),
        goals,
        notes: Vec::new(),
    }]
}

/// User instructions per request: once per tool, they hardly vary.
fn instructions(suite: &mut Suite, what: &str, cases: &[Case]) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for case in cases {
        say(&format!("{what}: {} step by step", case.label));
        let Some(peer) = suite.found[case.tool].peer.as_deref() else { continue };
        match suite.bench.instructions(peer, case.server, &Job { seconds: STEPPED, ..case.job.clone() }) {
            Ok(count) => _ = found.insert(case.label.clone(), count),
            Err(error) => _ = suite.notes.insert(format!("{what}: {}: instructions not counted: {error:#}", case.label)),
        }
    }
    found
}

fn with_instructions(all: &[Series], instructions: &BTreeMap<String, f64>) -> Vec<Row> {
    let mut rows = rows(all, &[0, 2, 2]);
    for row in &mut rows {
        let spread = instructions.get(&row.name).and_then(|n| Spread::of(&[*n]));
        row.cells.push(Cell { spread, digits: 0 });
    }
    rows
}
