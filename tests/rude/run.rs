//! One run watched from outside: how long it took, how much memory it had, and what its journal counted. Must not judge.

#![allow(clippy::disallowed_methods, reason = "a test is not the harness: its children need no keeper")]

use crate::common::Scratch;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a stream came to.
#[derive(Debug, Default)]
pub struct Sum {
    pub due: i64,
    pub ok: u64,
    pub failed: BTreeMap<String, u64>,
    pub asked: u64,
    pub dropped: u64,
    pub connections: u64,
    pub waited: u64,
}

/// A finished run.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
    /// Most memory it had, KiB, as last seen.
    pub peak: u64,
    pub streams: BTreeMap<String, Sum>,
    pub decision: Value,
}

impl Run {
    /// Codes of the decision's reasons.
    pub fn reasons(&self) -> Vec<&str> {
        let reasons = self.decision["reasons"].as_array();
        reasons.into_iter().flatten().filter_map(|r| r["code"].as_str()).collect()
    }

    /// A stream whose requests all failed, each by one of these kinds.
    pub fn all_failed(&self, stream: &str, asked: u64, kinds: &[&str]) {
        let sum = &self.streams[stream];
        let failed: u64 = sum.failed.values().sum();
        assert_eq!((sum.asked, sum.due, sum.ok, failed), (asked, asked as i64, 0, asked), "{stream}: {sum:?}\n{self:#?}");
        assert!(sum.failed.keys().all(|k| kinds.contains(&k.as_str())), "{stream}: {sum:?}, not {kinds:?}");
    }

    /// A stream whose requests all succeeded.
    pub fn all_ok(&self, stream: &str, asked: u64) {
        let sum = &self.streams[stream];
        assert_eq!((sum.asked, sum.due, sum.ok), (asked, asked as i64, asked), "{stream}: {sum:?}\n{self:#?}");
    }
}

/// A scenario on these targets with these streams, one a line.
pub fn scenario(targets: &str, streams: &str, more: &str) -> String {
    let streams: String = streams.lines().filter(|l| !l.trim().is_empty()).map(|l| format!("  {}\n", l.trim())).collect();
    format!(
        "version: 1\nname: rude\nseed: 3\ntime_box: 40s\nenvironment:\n  name: rude\n  targets: {{{targets}}}\n{more}traffic:\n{streams}slos:\n  ok: {{indicator: success_rate, min: 90%}}\n"
    )
}

/// Runs it; `before` comes in front of the binary. Fails when it takes longer than `within`, or panics.
pub fn run(scratch: &Scratch, text: &str, within: Duration, before: &[&str]) -> Run {
    let (file, out) = (scratch.write("rude.yaml", text), scratch.path("out"));
    if out.exists() {
        std::fs::remove_dir_all(&out).expect("the last run directory");
    }
    let binary = env!("CARGO_BIN_EXE_shakedown");
    let mut words = before.to_vec();
    words.extend([binary, "run", file.to_str().expect("a path"), "--out", out.to_str().expect("a path"), "--ui", "plain"]);
    let (said, wrong) = (scratch.path("said"), scratch.path("wrong"));
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(crate::common::root()).stdin(Stdio::null());
    command.env("SHAKEDOWN_STATE", scratch.path("state")).env("NO_COLOR", "1");
    command.stdout(File::create(&said).expect("a file")).stderr(File::create(&wrong).expect("a file"));
    let start = Instant::now();
    let mut child = command.spawn().expect("the binary runs");
    let mut peak = 0;
    let status = loop {
        peak = peak.max(memory(child.id()));
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break Some(status);
        }
        if start.elapsed() > within {
            child.kill().expect("it can be killed");
            child.wait().expect("a killed child ends");
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = start.elapsed();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let (out_text, err) = (read(&said), read(&wrong));
    let status = status.unwrap_or_else(|| panic!("not within {within:?}:\n{out_text}\n{err}"));
    assert!(!err.contains("panicked"), "{err}");
    let decision = serde_json::from_str(&read(&out.join("decision.json"))).unwrap_or_default();
    let streams = sums(&read(&out.join("plan.json")), &read(&out.join("journal.jsonl")));
    Run { code: status.code().unwrap_or(-1), out: out_text, err, took, peak, streams, decision }
}

fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}

/// The journal's counts of logical requests, by stream.
fn sums(plan: &str, journal: &str) -> BTreeMap<String, Sum> {
    let plan: Value = serde_json::from_str(plan).unwrap_or_default();
    let names: Vec<String> =
        plan["streams"].as_array().into_iter().flatten().map(|s| s["name"].as_str().unwrap_or_default().to_owned()).collect();
    let mut sums: BTreeMap<String, Sum> = names.iter().map(|n| (n.clone(), Sum::default())).collect();
    for line in journal.lines() {
        let event: Value = serde_json::from_str(line).expect("a journal line");
        let snapshot = &event["what"]["snapshot"];
        for cell in snapshot["cells"].as_array().into_iter().flatten() {
            if cell[0]["arm"] != "all" || cell[0]["dim"] != "whole" {
                continue;
            }
            let sum = sums.get_mut(&names[cell[0]["stream"].as_u64().expect("an index") as usize]).expect("a stream");
            sum.due += cell[1]["due"].as_i64().unwrap_or(0);
            sum.ok += cell[1]["ok"].as_u64().unwrap_or(0);
            for (kind, count) in cell[1]["failed"].as_object().into_iter().flatten() {
                *sum.failed.entry(kind.clone()).or_default() += count.as_u64().expect("a count");
            }
        }
        for (index, totals) in snapshot["streams"].as_object().into_iter().flatten() {
            let sum = sums.get_mut(&names[index.parse::<usize>().expect("an index")]).expect("a stream");
            let count = |key: &str| totals[key].as_u64().unwrap_or(0);
            sum.asked += count("asked");
            sum.dropped += count("dropped");
            sum.connections += count("connections");
            sum.waited += count("waited");
        }
    }
    sums
}
