//! One measurement: a fresh server on one processor, one generator on the other, and what both say afterwards.
//! Must not know what a figure is made of.

use crate::measured::Usage;
use crate::steps;
use crate::tools::{Job, Peer, Reported};
use crate::truth::log::{self, Entry};
use crate::truth::{Answer, Mode};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Seconds a generator may take beyond its own duration.
const PATIENCE: u32 = 40;
/// How long a generator runs before and while it is stepped through.
const BEFORE_STEPS: Duration = Duration::from_millis(1500);
const STEPS: Duration = Duration::from_secs(15);

/// Where things run and what they may use.
pub struct Bench {
    /// This program.
    pub own: PathBuf,
    /// Scratch, removed at the end.
    pub dir: tempfile::TempDir,
    /// Processor of the server; `None` does not pin.
    pub server: Option<usize>,
    /// Processor of the generator.
    pub generator: Option<usize>,
}

/// What the server should be like.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// How answers are made.
    pub mode: Mode,
    /// What they say.
    pub answer: Answer,
}

/// The usual server: two bytes at once.
pub const PLAIN: Server = Server { mode: Mode::Now, answer: Answer::Tiny };

/// What one run gave.
pub struct Sample {
    /// What the kernel charged.
    pub usage: Usage,
    /// What the tool says.
    pub reported: Reported,
    /// What the server saw, in order of arrival; cut when there were more requests than room.
    pub log: Vec<Entry>,
    /// Requests the server saw.
    pub seen: u64,
}

/// A server that runs; its end is waited for, whatever happens.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    port: u16,
    dump: PathBuf,
}

impl Bench {
    /// Runs one generator against a fresh server.
    pub fn sample(&self, peer: &dyn Peer, server: Server, job: &Job) -> Result<Sample> {
        self.run(peer, server, job).with_context(|| format!("{} ({job})", peer.name()))
    }

    fn run(&self, peer: &dyn Peer, server: Server, job: &Job) -> Result<Sample> {
        let dir = tempfile::tempdir_in(self.dir.path())?;
        let mut running = Running::start(self, server, dir.path())?;
        let job = Job { port: running.port, ..job.clone() };
        let usage = self.generate(peer, &job, dir.path())?;
        let (seen, log) = running.end()?;
        let mut sample = Sample::new(peer, &job, dir.path(), usage, seen)?;
        sample.log = log;
        Ok(sample)
    }

    /// User instructions per request, counted in the middle of a run that is thrown away.
    pub fn instructions(&self, peer: &dyn Peer, server: Server, job: &Job) -> Result<f64> {
        let dir = tempfile::tempdir_in(self.dir.path())?;
        let running = Running::start(self, server, dir.path())?;
        let job = Job { port: running.port, ..job.clone() };
        let mut wrapper = self.start(peer, &job, dir.path())?;
        std::thread::sleep(BEFORE_STEPS);
        // On the same processor, stopping and going on is a switch and not a wake-up of another.
        let before = rustix::thread::sched_getaffinity(None)?;
        if let Some(core) = self.generator {
            crate::truth::pin(core)?;
        }
        let batches = steps::busiest(wrapper.id()).and_then(|thread| steps::batches(thread, STEPS));
        rustix::thread::sched_setaffinity(None, &before)?;
        wrapper.wait()?;
        steps::per_request(&batches?, job.users() as usize)
    }

    /// Runs one generator to its end.
    pub fn generate(&self, peer: &dyn Peer, job: &Job, dir: &Path) -> Result<Usage> {
        let status = self.start(peer, job, dir)?.wait()?;
        let err = || tail(&std::fs::read_to_string(dir.join("err")).unwrap_or_default());
        ensure!(status.success(), "the run was not measured: {}", err());
        Ok(serde_json::from_slice(&std::fs::read(dir.join("usage.json"))?)?)
    }

    #[expect(clippy::disallowed_methods, reason = "the child carries a parent-death signal, and this program has one thread")]
    fn start(&self, peer: &dyn Peer, job: &Job, dir: &Path) -> Result<Child> {
        let (program, arguments) = peer.command(job, dir)?;
        let mut command = Command::new(&self.own);
        command.arg("measured").arg("--report").arg(dir.join("usage.json"));
        if let Some(core) = self.generator {
            command.arg("--core").arg(core.to_string());
        }
        command.arg("--limit").arg((job.seconds + PATIENCE).to_string()).arg("--");
        command.arg(program).args(arguments).current_dir(dir).env("K6_NO_USAGE_REPORT", "true");
        command.stdin(Stdio::null()).stdout(File::create(dir.join("out"))?).stderr(File::create(dir.join("err"))?);
        Ok(command.spawn()?)
    }
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "the child carries a parent-death signal, and this program has one thread")]
    fn start(bench: &Bench, server: Server, dir: &Path) -> Result<Self> {
        let dump = dir.join("log");
        let mut command = Command::new(&bench.own);
        command.arg("truth").arg("--dump").arg(&dump);
        command.arg("--mode").arg(clap_name(server.mode)).arg("--answer").arg(clap_name(server.answer));
        if let Some(core) = bench.server {
            command.arg("--core").arg(core.to_string());
        } else {
            command.arg("--block");
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let port = u16::try_from(number(&mut lines, "port ")?)?;
        Ok(Self { child, lines, port, dump })
    }

    /// Ends the server; how many requests it saw, and its log in order of arrival.
    fn end(&mut self) -> Result<(u64, Vec<Entry>)> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let seen = number(&mut self.lines, "seen ")?;
        self.child.wait()?;
        let mut log = log::read(&self.dump)?;
        log.sort_unstable_by_key(|e| e.arrived);
        Ok((seen, log))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already in the usual case; then there is nothing to end.
        if self.child.kill().is_ok() {
            let _ended = self.child.wait();
        }
    }
}

impl Sample {
    /// Reads a tool's report, and fails when it crashed or its count is not the server's.
    pub fn new(peer: &dyn Peer, job: &Job, dir: &Path, usage: Usage, seen: u64) -> Result<Self> {
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        let (out, err) = (read("out"), read("err"));
        ensure!(peer.accepts(usage.status), "exit {}: {}{}", usage.status, tail(&out), tail(&err));
        let reported = peer.read(job, dir, &out).with_context(|| format!("cannot read its output: {}", tail(&out)))?;
        let sample = Self { usage, reported, log: Vec::new(), seen };
        sample.consistent(job.slack(peer.drains()))?;
        Ok(sample)
    }

    /// Seconds of processor time for a million requests.
    pub fn cpu_per_million(&self) -> f64 {
        self.usage.cpu * 1e6 / self.seen.max(1) as f64
    }

    /// Requests a second between the first and the last arrival.
    pub fn rate(&self) -> f64 {
        match (self.log.first(), self.log.last()) {
            (Some(first), Some(last)) if last.arrived > first.arrived => {
                (self.log.len() - 1) as f64 * 1e9 / (last.arrived - first.arrived) as f64
            }
            _ => 0.0,
        }
    }

    /// What the tool says it sent must be what the server saw, but for `slack` requests cut off at the end and those it
    /// says failed: they may never have reached the server.
    fn consistent(&self, slack: u64) -> Result<()> {
        ensure!(self.seen > 0, "the server saw no request");
        let Some(said) = self.reported.requests else { return Ok(()) };
        let slack = slack + self.reported.failed;
        if said.abs_diff(self.seen) > slack {
            bail!("inconsistent: it says {said} requests, the server saw {} (allowed difference {slack})", self.seen);
        }
        Ok(())
    }
}

/// The number on the next line, after `key`.
fn number(lines: &mut impl BufRead, key: &str) -> Result<u64> {
    let mut line = String::new();
    lines.read_line(&mut line)?;
    line.trim().strip_prefix(key).and_then(|n| n.parse().ok()).with_context(|| format!("the server said {line:?} instead of its {key}"))
}

fn clap_name(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default()
}

/// The end of a tool's words, for an error text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(12).collect();
    lines.into_iter().rev().fold(String::new(), |all, line| all + line + "\n")
}
