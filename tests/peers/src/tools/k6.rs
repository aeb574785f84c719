//! k6: closed and open loop, by a script written for the job.

use super::{Job, Model, Peer, QUANTILES, Reported, arguments};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where it is.
pub struct K6(pub PathBuf);

impl Peer for K6 {
    fn name(&self) -> &'static str {
        "k6"
    }

    fn can(&self, job: &Job) -> bool {
        job.streams.is_none() && !job.journey
    }

    fn command(&self, job: &Job, dir: &Path) -> Result<(PathBuf, Vec<OsString>)> {
        let duration = format!("{}s", job.seconds);
        let executor = match job.model {
            Model::Closed => json!({"executor": "constant-vus", "vus": job.connections, "duration": duration, "gracefulStop": "2s"}),
            Model::Open(rate) => json!({
                "executor": "constant-arrival-rate", "rate": rate, "timeUnit": "1s", "duration": duration,
                "preAllocatedVUs": job.connections, "maxVUs": job.connections, "gracefulStop": "2s",
            }),
        };
        let options = json!({
            "scenarios": {"load": executor}, "discardResponseBodies": true,
            "summaryTrendStats": QUANTILES.map(|(name, _)| format!("p({})", &name[1..])),
        });
        let url = job.url();
        let script = format!(
            "import http from 'k6/http';\nexport const options = {options};\nexport default function () {{ http.get('{url}'); }}\n"
        );
        std::fs::write(dir.join("load.js"), script)?;
        Ok((self.0.clone(), arguments(&[&"run", &"--quiet", &"--no-color", &"--summary-export=summary.json", &"load.js"])))
    }

    fn read(&self, _job: &Job, dir: &Path, _out: &str) -> Result<Reported> {
        let summary: Value = serde_json::from_slice(&std::fs::read(dir.join("summary.json"))?)?;
        let requests = summary["metrics"]["http_reqs"]["count"].as_u64().context("no count of requests")?;
        let mut reported = Reported { requests: Some(requests), ..Reported::default() };
        for (name, _) in QUANTILES {
            if let Some(milliseconds) = summary["metrics"]["http_req_duration"][format!("p({})", &name[1..])].as_f64() {
                reported.quantiles.insert(name.to_string(), milliseconds * 1e6);
            }
        }
        Ok(reported)
    }
}
