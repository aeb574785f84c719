//! The generators: how each is called for a job and how its own report is read. One file a tool.
//! Must not know which figure the job belongs to.

mod floor;
mod h2load;
mod k6;
mod oha;
mod shakedown;
mod vegeta;
mod wrk;

use anyhow::Result;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use shakedown::Shakedown;

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Model {
    /// As soon as the answer before is there.
    Closed,
    /// This many a second, whatever the answers do.
    Open(u32),
}

/// What a generator is asked to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// Port on 127.0.0.1; filled in when the server listens.
    pub port: u16,
    /// When requests are sent.
    pub model: Model,
    /// Most connections at once.
    pub connections: u32,
    /// For how long.
    pub seconds: u32,
    /// HTTP/2 with this many streams a connection.
    pub streams: Option<u32>,
    /// Three steps with captures and checks instead of one request.
    pub journey: bool,
    /// Sends are rounded up to multiples of this.
    pub quantum: Option<&'static str>,
}

/// What a tool says of its own run.
#[derive(Clone, Debug, Default)]
pub struct Reported {
    /// Requests sent, or answered where it counts only those.
    pub requests: Option<u64>,
    /// Requests it calls failed.
    pub failed: u64,
    /// Latency by quantile name (`p50`, `p99.9`), in ns.
    pub quantiles: BTreeMap<String, f64>,
    /// What it finds wrong with its own run.
    pub note: Option<String>,
}

/// The quantiles compared.
pub const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// One generator.
pub trait Peer {
    /// Its name in tables.
    fn name(&self) -> &'static str;
    /// It can do this job.
    fn can(&self, job: &Job) -> bool;
    /// It waits for the answers to everything it sent, so its count must be the server's exactly.
    fn drains(&self) -> bool {
        false
    }
    /// This exit status means that it did its work.
    fn accepts(&self, status: i32) -> bool {
        status == 0
    }
    /// Program and arguments; files it needs go into `dir`, which is also its working directory.
    fn command(&self, job: &Job, dir: &Path) -> Result<(PathBuf, Vec<OsString>)>;
    /// Reads its report after it ended.
    fn read(&self, job: &Job, dir: &Path, out: &str) -> Result<Reported>;
}

/// A tool that is looked for: where it is, or how to get it.
pub struct Found {
    /// Its name.
    pub name: &'static str,
    /// The tool, if it is here.
    pub peer: Option<Box<dyn Peer>>,
    /// How to get it when it is not.
    pub hint: &'static str,
}

impl Job {
    /// A closed loop of this many connections.
    pub fn closed(connections: u32, seconds: u32) -> Self {
        Self { port: 0, model: Model::Closed, connections, seconds, streams: None, journey: false, quantum: None }
    }

    /// A constant rate.
    pub fn open(rate: u32, connections: u32, seconds: u32) -> Self {
        Self { model: Model::Open(rate), ..Self::closed(connections, seconds) }
    }

    /// Requests under way at once.
    pub fn users(&self) -> u32 {
        self.connections * self.streams.unwrap_or(1)
    }

    /// The URL asked for.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// How far a tool's count may be from the server's: what is under way when it stops, and one probe.
    pub fn slack(&self, drains: bool) -> u64 {
        if drains { 0 } else { u64::from(self.users()) + 1 }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.model {
            Model::Closed => write!(f, "closed loop")?,
            Model::Open(rate) => write!(f, "{rate}/s")?,
        }
        write!(f, ", {} connections, {} s", self.connections, self.seconds)
    }
}

/// Every generator this program knows, found or not. `own` is this program, `root` the checkout.
pub fn all(own: &Path, root: &Path, shakedown: &Path) -> Vec<Found> {
    let bin = root.join("target/peers/bin");
    let find = |name: &str| which(&bin, name);
    vec![
        Found {
            name: "shakedown",
            peer: shakedown.is_file().then(|| Box::new(Shakedown(shakedown.to_path_buf())) as Box<dyn Peer>),
            hint: "cargo build --release",
        },
        Found { name: "floor", peer: Some(Box::new(floor::Floor(own.to_path_buf()))), hint: "" },
        Found { name: "wrk", peer: find("wrk").map(|p| Box::new(wrk::Wrk(p)) as Box<dyn Peer>), hint: "apt-get install wrk" },
        Found {
            name: "h2load",
            peer: find("h2load").map(|p| Box::new(h2load::H2load(p)) as Box<dyn Peer>),
            hint: "apt-get install nghttp2-client",
        },
        Found { name: "oha", peer: find("oha").map(|p| Box::new(oha::Oha(p)) as Box<dyn Peer>), hint: "--install" },
        Found { name: "k6", peer: find("k6").map(|p| Box::new(k6::K6(p)) as Box<dyn Peer>), hint: "--install" },
        Found { name: "vegeta", peer: find("vegeta").map(|p| Box::new(vegeta::Vegeta(p)) as Box<dyn Peer>), hint: "--install" },
    ]
}

/// A program in `first` or on the PATH.
pub fn which(first: &Path, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = PathBuf::from("/usr/sbin");
    let dirs = std::iter::once(first.to_path_buf()).chain(std::env::split_paths(&path)).chain([sbin]);
    dirs.map(|d| d.join(name)).find(|p| p.is_file())
}

/// Arguments from text and numbers.
fn arguments(list: &[&dyn fmt::Display]) -> Vec<OsString> {
    list.iter().map(|a| a.to_string().into()).collect()
}
