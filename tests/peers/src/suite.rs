//! Rounds: every case once, then all again, so that a machine that changes its mind changes it for everybody. Keeps what
//! failed. Must not know what a figure wants.

use crate::bench::{Bench, Sample, Server};
use crate::stats::Spread;
use crate::table::Cell;
use crate::tools::{Found, Job, Peer};
use anyhow::Result;
use std::collections::BTreeSet;
use std::io::Write;

/// All that figures share.
pub struct Suite {
    /// Where runs happen.
    pub bench: Bench,
    /// The tools.
    pub found: Vec<Found>,
    /// Rounds of each case.
    pub runs: usize,
    /// The short form.
    pub short: bool,
    /// Tools that crashed or miscounted, in words.
    pub failures: Vec<String>,
    /// What tools found wrong with their own runs.
    pub notes: BTreeSet<String>,
}

/// A tool and what it is asked to do.
pub struct Case {
    /// Place of the tool in [`Suite::found`].
    pub tool: usize,
    /// Its line in the table.
    pub label: String,
    /// The server it meets.
    pub server: Server,
    /// What it does.
    pub job: Job,
}

/// Repeated values of one case, one list a metric.
pub struct Series {
    /// Its line in the table.
    pub label: String,
    /// By metric, then by round; a round without a value is left out.
    pub values: Vec<Vec<f64>>,
}

impl Suite {
    /// `full` normally, `short` in the short form.
    pub fn pick<T>(&self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }

    /// A case for each of these tools that is here and can do the job; all tools when none are named.
    pub fn cases(&self, names: &[&str], server: Server, job: &Job) -> Vec<Case> {
        let wanted = |found: &Found| names.is_empty() || names.contains(&found.name);
        let able = |found: &Found| found.peer.as_deref().is_some_and(|p| p.can(job));
        let found = self.found.iter().enumerate().filter(|(_, f)| wanted(f) && able(f));
        found.map(|(tool, f)| Case { tool, label: f.name.to_string(), server, job: job.clone() }).collect()
    }

    /// Runs the cases in rounds against the server that knows the truth.
    pub fn rounds(&mut self, what: &str, cases: &[Case], metrics: usize, read: impl Fn(&Case, &Sample) -> Vec<Option<f64>>) -> Vec<Series> {
        self.rounds_by(what, cases, metrics, |bench, peer, case| bench.sample(peer, case.server, &case.job), read)
    }

    /// Runs the cases in rounds, each by `run`.
    pub fn rounds_by(
        &mut self,
        what: &str,
        cases: &[Case],
        metrics: usize,
        run: impl Fn(&Bench, &dyn Peer, &Case) -> Result<Sample>,
        read: impl Fn(&Case, &Sample) -> Vec<Option<f64>>,
    ) -> Vec<Series> {
        let mut all: Vec<Series> = cases.iter().map(|c| Series { label: c.label.clone(), values: vec![Vec::new(); metrics] }).collect();
        for round in 1..=self.runs {
            for (case, series) in cases.iter().zip(&mut all) {
                say(&format!("{what}: {} {round}/{}", case.label, self.runs));
                let Some(peer) = self.found[case.tool].peer.as_deref() else { continue };
                match run(&self.bench, peer, case) {
                    Ok(sample) => {
                        self.notes.extend(sample.reported.note.iter().map(|n| format!("{what}: {}: {n}", case.label)));
                        if sample.reported.failed > 0 {
                            self.notes.insert(format!("{what}: {}: requests that failed by its own count", case.label));
                        }
                        for (list, value) in series.values.iter_mut().zip(read(case, &sample)) {
                            list.extend(value);
                        }
                    }
                    Err(error) => {
                        say(&format!("{what}: {} failed: {error:#}", case.label));
                        self.failures.push(format!("{what}: {}: {error:#}", case.label));
                    }
                }
            }
        }
        all
    }
}

impl Series {
    /// Median and extremes of a metric.
    pub fn spread(&self, metric: usize) -> Option<Spread> {
        Spread::of(self.values.get(metric)?)
    }

    /// The median of a metric.
    pub fn median(&self, metric: usize) -> Option<f64> {
        self.spread(metric).map(|s| s.median)
    }

    /// Cells of the table, with this many digits after the point for each metric.
    pub fn cells(&self, digits: &[usize]) -> Vec<Cell> {
        digits.iter().enumerate().map(|(metric, digits)| Cell { spread: self.spread(metric), digits: *digits }).collect()
    }
}

/// The median of a metric of the tool named.
pub fn median_of(all: &[Series], label: &str, metric: usize) -> Option<f64> {
    all.iter().find(|s| s.label == label)?.median(metric)
}

/// Progress, on stderr: stdout is for the tables.
pub fn say(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{line}");
}
