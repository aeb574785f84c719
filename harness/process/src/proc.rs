//! A started process: its pidfd, its end, its signals. Children are watched by `waitid(WEXITED)` on the pidfd, which a
//! ptrace stop does not wake (`try_wait` reports a paused child as exited).

use crate::keeper::Hold;
use crate::tree;
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use shakedown_core::Fail;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Stack of a thread that only waits for one process.
const WAITER_STACK: usize = 128 * 1024;
/// Most rounds of killing a tree without a namespace, where each round may meet newly forked processes.
const KILL_ROUNDS: usize = 100;
/// Between two such rounds.
const KILL_PAUSE: Duration = Duration::from_millis(2);

/// How a program is tied to the harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Under a shim with a PID namespace of its own (death signals and a subreaper where the kernel refuses one).
    Shim,
    /// Under a shim that does not try to make a namespace.
    ShimWithoutNamespace,
    /// Not tied at all and not killed when its [`Proc`] is dropped: for the guard, which outlives the harness.
    Free,
}

/// A program to start. Descriptors of the harness are close-on-exec: it gets its three standard streams and no other.
#[derive(Debug)]
pub struct Spawn {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The first of `argv` is an argument and the program is the harness's own binary.
    pub own_binary: bool,
    /// Added to the harness's environment.
    pub env: Vec<(String, String)>,
    /// Where it runs; the harness's directory when `None`.
    pub cwd: Option<PathBuf>,
    /// Standard input.
    pub stdin: Stdio,
    /// Standard output.
    pub stdout: Stdio,
    /// Standard error.
    pub stderr: Stdio,
    /// How it is tied to the harness.
    pub isolation: Isolation,
}

impl Spawn {
    /// A program under a shim, its streams closed.
    #[must_use]
    pub fn new<A: Into<OsString>>(argv: impl IntoIterator<Item = A>) -> Spawn {
        Spawn {
            argv: argv.into_iter().map(Into::into).collect(),
            own_binary: false,
            env: Vec::new(),
            cwd: None,
            stdin: Stdio::null(),
            stdout: Stdio::null(),
            stderr: Stdio::null(),
            isolation: Isolation::Shim,
        }
    }
}

/// A started process (its shim, when it has one). Killed when dropped, unless it is [`Isolation::Free`].
#[derive(Debug)]
pub struct Proc {
    pid: i32,
    pidfd: Arc<OwnedFd>,
    ended: watch::Receiver<Option<i32>>,
    free: bool,
}

impl Proc {
    /// Process ID (of the shim).
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Exit code or −signal, once it has ended.
    #[must_use]
    pub fn status(&self) -> Option<i32> {
        *self.ended.borrow()
    }

    /// Waits for its end; gives exit code or −signal. Under a shim with a namespace everything it started is gone then.
    /// Cancel-safe; unbounded: the caller bounds it.
    pub async fn wait(&self) -> i32 {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(status) => status.expect("waited for"),
            // The waiter cannot end without telling; if it did, nobody knows the status and nothing waits for ever.
            Err(_) => -libc::SIGKILL,
        }
    }

    /// Sends a signal; the shim forwards it to the program. Fine when it has already ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> Result<(), Fail> {
        let signal = Signal::from_named_raw(signal as i32).ok_or_else(|| Fail::new(format!("{signal} cannot be sent")))?;
        match pidfd_send_signal(&*self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(why) => Err(Fail::new(format!("cannot send {signal:?} to process {}: {why}", self.pid))),
        }
    }

    /// Kills the shim; the kernel then kills everything below.
    fn kill_now(&self) {
        let _ = pidfd_send_signal(&*self.pidfd, Signal::KILL);
    }

    /// Kills everything below the shim with SIGKILL, so that the shim's own end says that all of it is gone. Gives the
    /// number of the program's processes that were alive. Await [`Proc::wait`] afterwards (bounded).
    pub async fn kill_tree(&self) -> u64 {
        let hit = tree::of_service(self.pid).len() as u64;
        for _ in 0..KILL_ROUNDS {
            if self.status().is_some() {
                break;
            }
            let below = tree::namespace_init(self.pid).map_or_else(|| tree::descendants(self.pid), |init| vec![init]);
            if below.is_empty() {
                self.kill_now();
            }
            for pid in below {
                kill_descendant(pid);
            }
            let _ = tokio::time::timeout(KILL_PAUSE, self.wait()).await;
        }
        hit
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        if !self.free && self.status().is_none() {
            self.kill_now();
        }
    }
}

/// Through a pidfd, so that a number reused since it was read is at worst a process that has just been started.
fn kill_descendant(pid: i32) {
    let fd = rustix::process::Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let Some(fd) = fd {
        let _ = pidfd_send_signal(fd, Signal::KILL);
    }
}

/// On the keeper thread only.
pub(crate) fn start(hold: &Hold, spawn: Spawn) -> Result<Proc, Fail> {
    let name = spawn.argv.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let fail = |why: &dyn std::fmt::Display| Fail::new(format!("cannot start `{name}`: {why}"));
    let free = spawn.isolation == Isolation::Free;
    let mut command = command(hold, spawn).ok_or_else(|| fail(&"there is no program to start"))?;
    #[expect(clippy::disallowed_methods, reason = "this is the keeper thread, which never ends")]
    let child = command.spawn().map_err(|e| fail(&e))?;
    // Our ends of the pipes given to it close here.
    drop(command);
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Arc::new(fd),
        Err(why) => return Err(abandon(child, fail(&why))),
    };
    let (tell, ended) = watch::channel(None);
    let watched = pidfd.clone();
    let waiter = std::thread::Builder::new().name("waiter".into()).stack_size(WAITER_STACK);
    match waiter.spawn(move || tell.send_replace(Some(await_end(&watched)))) {
        Ok(_) => Ok(Proc { pid: pid.as_raw_nonzero().get(), pidfd, ended, free }),
        Err(why) => Err(abandon(child, fail(&why))),
    }
}

/// A child that cannot be watched is not kept.
fn abandon(mut child: std::process::Child, why: Fail) -> Fail {
    let _ = child.kill();
    let _ = child.wait();
    why
}

fn command(hold: &Hold, spawn: Spawn) -> Option<Command> {
    let mut argv = spawn.argv.into_iter();
    let mut command = match spawn.isolation {
        Isolation::Free if spawn.own_binary => Command::new(&hold.exe),
        Isolation::Free => Command::new(argv.next()?),
        shim => {
            let mut command = Command::new(&hold.exe);
            // What `ps` shows.
            command.arg0("shakedown").arg("shim").arg("--parent").arg(std::process::id().to_string());
            if shim == Isolation::ShimWithoutNamespace {
                command.arg("--no-namespace");
            }
            command.arg("--");
            if spawn.own_binary {
                command.arg(&hold.exe);
            }
            // A process group of its own: ctrl-C at the terminal is the harness's to handle.
            command.process_group(0);
            command
        }
    };
    command.args(argv).envs(spawn.env).stdin(spawn.stdin).stdout(spawn.stdout).stderr(spawn.stderr);
    if let Some(cwd) = spawn.cwd {
        command.current_dir(cwd);
    }
    Some(command)
}

fn await_end(pidfd: &OwnedFd) -> i32 {
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                return status.exit_status().or_else(|| status.terminating_signal().map(|s| -s)).unwrap_or(-libc::SIGKILL);
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return -libc::SIGKILL,
        }
    }
}
