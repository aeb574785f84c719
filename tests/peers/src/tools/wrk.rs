//! wrk: closed loop, HTTP/1.1.

use super::{Job, Model, Peer, Reported, arguments};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where it is.
pub struct Wrk(pub PathBuf);

impl Peer for Wrk {
    fn name(&self) -> &'static str {
        "wrk"
    }

    fn can(&self, job: &Job) -> bool {
        job.model == Model::Closed && job.streams.is_none() && !job.journey
    }

    fn command(&self, job: &Job, _dir: &Path) -> Result<(PathBuf, Vec<OsString>)> {
        let duration = format!("-d{}s", job.seconds);
        Ok((self.0.clone(), arguments(&[&"-t1", &format!("-c{}", job.connections), &duration, &"--latency", &job.url()])))
    }

    fn read(&self, _job: &Job, _dir: &Path, out: &str) -> Result<Reported> {
        let mut reported = Reported::default();
        for line in out.lines().map(str::trim) {
            if let Some((count, _)) = line.split_once(" requests in ") {
                reported.requests = Some(count.parse()?);
            }
            if let Some((share, value)) = line.split_once('%')
                && let Some(value) = span(value.trim())
            {
                reported.quantiles.insert(format!("p{}", share.trim()), value);
            }
        }
        reported.requests.context("no count of requests")?;
        Ok(reported)
    }
}

/// `1.23ms` in ns.
fn span(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic())?;
    let unit = match &text[digits..] {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        _ => return None,
    };
    text[..digits].parse::<f64>().ok().map(|n| n * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: &str = "Running 5s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   366.15us   36.86us   1.33ms   92.37%
    Req/Sec   171.77k     6.17k  180.95k    86.00%
  Latency Distribution
     50%  358.00us
     90%  391.00us
     99%    1.20ms
  854512 requests in 5.00s, 113.27MB read
Requests/sec: 170897.06
";

    #[test]
    fn its_report_is_read() {
        let reported = Wrk(PathBuf::new()).read(&Job::closed(64, 5), Path::new(""), OUT).unwrap();
        assert_eq!(reported.requests, Some(854_512));
        assert_eq!((reported.quantiles["p50"], reported.quantiles["p99"]), (358e3, 1.2e6));
    }

    #[test]
    fn no_report_is_an_error() {
        assert!(Wrk(PathBuf::new()).read(&Job::closed(64, 5), Path::new(""), "unable to connect").is_err());
    }
}
