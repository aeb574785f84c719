//! shakedown itself: a scenario written for the job, the decision read back.

use super::{Job, Model, Peer, QUANTILES, Reported, arguments};
use anyhow::{Context, Result};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Where it is.
pub struct Shakedown(pub PathBuf);

impl Peer for Shakedown {
    fn name(&self) -> &'static str {
        "shakedown"
    }

    fn can(&self, _job: &Job) -> bool {
        true
    }

    fn drains(&self) -> bool {
        true
    }

    /// It judges, itself too: every decision is an answer, and the note says which.
    fn accepts(&self, status: i32) -> bool {
        matches!(status, 0 | 4 | 10 | 12 | 13)
    }

    fn command(&self, job: &Job, dir: &Path) -> Result<(PathBuf, Vec<OsString>)> {
        std::fs::write(dir.join("bench.yaml"), scenario(job)?)?;
        Ok((self.0.clone(), arguments(&[&"run", &"bench.yaml", &"--ui", &"none", &"--out", &"run"])))
    }

    fn read(&self, _job: &Job, dir: &Path, _out: &str) -> Result<Reported> {
        let decision: Value = serde_json::from_slice(&std::fs::read(dir.join("run/decision.json"))?)?;
        let count = |key: &str| decision["validity"][key].as_u64().with_context(|| format!("no validity.{key}"));
        let mut reported = Reported { requests: Some(count("sent")?), failed: count("failed")?, ..Reported::default() };
        if decision["exit"].as_u64() != Some(0) {
            reported.note = Some(format!("exit {}: {}", decision["exit"], decision["headline"].as_str().unwrap_or("no headline")));
        }
        for (name, _) in QUANTILES {
            if let Some(ns) = decision["objectives"][name.replace('.', "-")]["value"].as_f64() {
                reported.quantiles.insert(name.to_string(), ns);
            }
        }
        Ok(reported)
    }
}

const JOURNEY: &str = r#"    journeys:
      shop:
        weight: 1
        steps:
          - {name: cart, post: /cart, json: {sku: "42"}, capture: {cart: $.id}, expect: {status: 200, json: {$.state: open}}}
          - {name: look, get: "/cart/{{ cart }}", capture: {item: $.item}, expect: {status: 200}}
          - {name: order, post: /orders, json: {cart: "{{ cart }}", item: "{{ item }}"}, expect: {status: 200, json: {$.state: open}}}
"#;

/// The scenario a user would write for this job. Objectives are mandatory in the language: these never miss, they read the
/// quantiles out.
fn scenario(job: &Job) -> Result<String> {
    let mut text = String::from("version: 1\nname: bench\ndescription: A benchmark\nowner: bench\nseed: 1\ntime_box: 10m\n");
    if let Some(quantum) = job.quantum {
        writeln!(text, "precision: {{quantum: {quantum}}}")?;
    }
    let url = job.url();
    let url = url.trim_end_matches('/');
    let target = if job.streams.is_some() { format!("{{url: \"{url}\", http: 2}}") } else { format!("\"{url}\"") };
    write!(text, "environment:\n  name: bench\n  targets: {{server: {target}}}\ntraffic:\n  load:\n    target: server\n    timeout: 5s\n")?;
    match job.model {
        Model::Closed => writeln!(text, "    users: {{count: {}, think: 0s..0s, for: {}s}}", job.users(), job.seconds)?,
        Model::Open(rate) => writeln!(text, "    shape: [{{hold: {}s, rate: {rate}/s}}]", job.seconds)?,
    }
    let streams = job.streams.map(|s| format!(", streams: {s}")).unwrap_or_default();
    writeln!(text, "    connections: {{max: {}{streams}}}", job.connections)?;
    if job.journey {
        text.push_str(JOURNEY);
    } else {
        text.push_str("    requests: [{get: /}]\n");
    }
    text.push_str("slos:\n  ok: {indicator: success_rate, min: 1%}\n");
    for (name, _) in QUANTILES {
        writeln!(text, "  {}: {{indicator: latency, quantile: {name}, max: 1h}}", name.replace('.', "-"))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_says_what_the_job_says() {
        let text = scenario(&Job { port: 9, streams: Some(16), quantum: Some("1ms"), ..Job::closed(64, 3) }).unwrap();
        for part in ["precision: {quantum: 1ms}", "http: 2", "count: 1024", "max: 64, streams: 16", "127.0.0.1:9\""] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let text = scenario(&Job { journey: true, ..Job::open(30_000, 64, 3) }).unwrap();
        assert!(text.contains("rate: 30000/s") && text.contains("name: order") && !text.contains("precision"));
    }
}
