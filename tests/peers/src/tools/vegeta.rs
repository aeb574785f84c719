//! vegeta: open loop, and a closed one as its rate 0.

use super::{Job, Model, Peer, Reported, arguments};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where it is.
pub struct Vegeta(pub PathBuf);

impl Peer for Vegeta {
    fn name(&self) -> &'static str {
        "vegeta"
    }

    fn can(&self, job: &Job) -> bool {
        job.streams.is_none() && !job.journey
    }

    fn command(&self, job: &Job, dir: &Path) -> Result<(PathBuf, Vec<OsString>)> {
        std::fs::write(dir.join("targets"), format!("GET {}\n", job.url()))?;
        let rate = match job.model {
            Model::Closed => 0,
            Model::Open(rate) => rate,
        };
        let workers = format!("-max-workers={}", job.connections);
        let list = arguments(&[
            &"attack",
            &"-targets=targets",
            &"-output=results",
            &format!("-rate={rate}/1s"),
            &format!("-duration={}s", job.seconds),
            &format!("-connections={}", job.connections),
            &format!("-workers={}", job.connections),
            &workers,
        ]);
        Ok((self.0.clone(), list))
    }

    #[expect(clippy::disallowed_methods, reason = "reads a file and ends")]
    fn read(&self, _job: &Job, dir: &Path, _out: &str) -> Result<Reported> {
        let out = Command::new(&self.0).args(["report", "-type=json", "results"]).current_dir(dir).output()?;
        ensure!(out.status.success(), "vegeta report: {}", String::from_utf8_lossy(&out.stderr));
        let report: Value = serde_json::from_slice(&out.stdout)?;
        let requests = report["requests"].as_u64().context("no count of requests")?;
        let mut reported = Reported { requests: Some(requests), ..Reported::default() };
        for (name, key) in [("p50", "50th"), ("p90", "90th"), ("p99", "99th")] {
            if let Some(ns) = report["latencies"][key].as_f64() {
                reported.quantiles.insert(name.to_string(), ns);
            }
        }
        Ok(reported)
    }
}
