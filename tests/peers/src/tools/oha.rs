//! oha: closed and open loop. In the open loop it is asked to count from the intended time.

use super::{Job, Model, Peer, QUANTILES, Reported, arguments};
use anyhow::{Context, Result};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where it is.
pub struct Oha(pub PathBuf);

impl Peer for Oha {
    fn name(&self) -> &'static str {
        "oha"
    }

    fn can(&self, job: &Job) -> bool {
        job.streams.is_none() && !job.journey
    }

    fn command(&self, job: &Job, _dir: &Path) -> Result<(PathBuf, Vec<OsString>)> {
        let duration = format!("{}s", job.seconds);
        let mut list = arguments(&[&"--no-tui", &"--output-format", &"json", &"-z", &duration, &"-c", &job.connections]);
        if let Model::Open(rate) = job.model {
            list.extend(arguments(&[&"-q", &rate, &"--latency-correction"]));
        }
        list.push(job.url().into());
        Ok((self.0.clone(), list))
    }

    fn read(&self, _job: &Job, _dir: &Path, out: &str) -> Result<Reported> {
        let report: Value = serde_json::from_str(out)?;
        let counts = |key: &str| -> Option<u64> { report[key].as_object()?.values().map(Value::as_u64).sum() };
        let requests = counts("statusCodeDistribution").context("no count of answers")?;
        let mut reported = Reported { requests: Some(requests), ..Reported::default() };
        for (name, _) in QUANTILES {
            if let Some(seconds) = report["latencyPercentiles"][name].as_f64() {
                reported.quantiles.insert(name.to_string(), seconds * 1e9);
            }
        }
        Ok(reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_report_is_read() {
        let out = r#"{"latencyPercentiles": {"p50": 0.001, "p99": 0.9, "p99.9": null}, "statusCodeDistribution": {"200": 5, "500": 2}}"#;
        let reported = Oha(PathBuf::new()).read(&Job::closed(64, 5), Path::new(""), out).unwrap();
        assert_eq!(reported.requests, Some(7));
        assert_eq!(reported.quantiles["p50"], 1e6);
        assert!(!reported.quantiles.contains_key("p99.9"));
    }
}
