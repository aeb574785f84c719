//! The raw epoll loop of this program, as a tool among tools.

use super::{Job, Model, Peer, Reported, arguments};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// This program.
pub struct Floor(pub PathBuf);

impl Peer for Floor {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn can(&self, job: &Job) -> bool {
        job.model == Model::Closed && job.streams.is_none() && !job.journey
    }

    fn drains(&self) -> bool {
        true
    }

    fn command(&self, job: &Job, _dir: &Path) -> Result<(PathBuf, Vec<OsString>)> {
        let list = arguments(&[&"floor", &"--port", &job.port, &"--connections", &job.connections, &"--seconds", &job.seconds]);
        Ok((self.0.clone(), list))
    }

    fn read(&self, _job: &Job, _dir: &Path, out: &str) -> Result<Reported> {
        let requests = out.trim().strip_prefix("requests ").context("no count")?.parse()?;
        Ok(Reported { requests: Some(requests), ..Reported::default() })
    }
}
