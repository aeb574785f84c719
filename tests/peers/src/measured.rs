//! A small process between runner and generator: pins, starts, waits, and reports what the kernel charged the generator and
//! everything it left behind. It is small so that its own memory does not show in the generator's peak.
//! Must not know which generator it is.

use crate::truth::now;
use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long what the generator left behind may take to end.
const ORPHANS: Duration = Duration::from_secs(3);

/// What one run of a generator cost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Just before it was started, in nanoseconds of `CLOCK_MONOTONIC`.
    pub started: u64,
    /// User and system time of all its threads and helper processes, in seconds.
    pub cpu: f64,
    /// User time alone.
    pub user: f64,
    /// Peak resident memory of its largest process, in KiB.
    pub peak: u64,
    /// Exit status; negative when a signal ended it.
    pub status: i32,
}

/// Settings of the wrapper.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Processor to run on.
    #[arg(long)]
    pub core: Option<usize>,
    /// File for the usage, as JSON.
    #[arg(long)]
    pub report: PathBuf,
    /// Killed after this many seconds.
    #[arg(long, default_value_t = 120)]
    pub limit: i64,
    /// Program and arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// Runs the command and writes its usage.
#[expect(clippy::disallowed_methods, reason = "nothing here outlives its parent, and nobody traces: the keeper is the harness's")]
pub fn run(settings: &Settings) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    if let Some(core) = settings.core {
        crate::truth::pin(core)?;
    }
    let (program, arguments) = settings.command.split_first().context("a program is required")?;
    let started = now();
    let mut child = Command::new(program).args(arguments).spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let pid = Pid::from_child(&child);
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec { tv_sec: settings.limit, tv_nsec: 0 };
    let in_time = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&limit))? > 0;
    if !in_time {
        kill_process(pid, Signal::KILL)?;
    }
    let status = child.wait()?;
    reap();
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let user = seconds(used.user_time());
    let status = status.code().unwrap_or_else(|| -std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(1));
    let usage = Usage { started, cpu: user + seconds(used.system_time()), user, peak: u64::try_from(used.max_rss()).unwrap_or(0), status };
    std::fs::write(&settings.report, serde_json::to_vec(&usage)?)?;
    if !in_time {
        bail!("{} did not end within {} s and was killed", program.display(), settings.limit);
    }
    Ok(())
}

/// Waits for processes the generator left behind, so that their time is counted too.
fn reap() {
    let end = Instant::now() + ORPHANS;
    while Instant::now() < end {
        match waitpid(None, WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => return, // no children are left
        }
    }
}
