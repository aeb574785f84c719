//! h2load: closed loop, HTTP/1.1 and HTTP/2.

use super::{Job, Model, Peer, Reported, arguments};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where it is.
pub struct H2load(pub PathBuf);

impl Peer for H2load {
    fn name(&self) -> &'static str {
        "h2load"
    }

    fn can(&self, job: &Job) -> bool {
        job.model == Model::Closed && !job.journey
    }

    fn command(&self, job: &Job, _dir: &Path) -> Result<(PathBuf, Vec<OsString>)> {
        let mut list = arguments(&[&"-t1", &"-c", &job.connections, &"-D", &job.seconds]);
        match job.streams {
            Some(streams) => list.extend(arguments(&[&"-m", &streams])),
            None => list.push("--h1".into()),
        }
        list.push(job.url().into());
        Ok((self.0.clone(), list))
    }

    fn read(&self, _job: &Job, _dir: &Path, out: &str) -> Result<Reported> {
        // requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout
        let line = out.lines().find_map(|l| l.strip_prefix("requests: ")).context("no count of requests")?;
        let field = |name: &str| {
            line.split(", ").find_map(|f| f.strip_suffix(name)).and_then(|n| n.trim().parse().ok()).with_context(|| format!("no{name}"))
        };
        Ok(Reported { requests: Some(field(" done")?), failed: field(" failed")?, ..Reported::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_report_is_read() {
        let out = "finished in 5.0s\nrequests: 30 total, 31 started, 30 done, 29 succeeded, 1 failed, 0 errored, 0 timeout\n";
        let reported = H2load(PathBuf::new()).read(&Job::closed(64, 5), Path::new(""), out).unwrap();
        assert_eq!((reported.requests, reported.failed), (Some(30), 1));
    }
}
