//! The keeper: one thread that never ends and does every fork and every ptrace. A parent-death signal fires when the
//! *thread* that forked ends, and a pause is lost when the tracer thread ends; so neither may be done anywhere else.

use crate::pause::Paused;
use crate::proc::{self, Proc, Spawn};
use shakedown_core::Fail;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Most requests that wait for the keeper; one more waits with its sender.
const QUEUE: usize = 64;
/// While something is paused: how often tracees that were killed meanwhile are reaped (their parent cannot before).
const REAP_EVERY: Duration = Duration::from_millis(20);
/// Reads as this program's own file even when that was replaced on disk meanwhile.
const OWN_EXE: &str = "/proc/self/exe";

type Job = Box<dyn FnOnce(&mut Hold) + Send>;

/// What only the keeper thread may touch.
pub(crate) struct Hold {
    pub(crate) exe: PathBuf,
    pub(crate) paused: BTreeMap<String, Paused>,
}

/// Handle to the process's one keeper thread.
#[derive(Clone, Debug)]
pub struct Keeper(SyncSender<Job>);

static KEEPER: OnceLock<Keeper> = OnceLock::new();

impl Keeper {
    /// Starts the keeper, or gives the one that already runs. Call it in `main`, before the async runtime: its thread
    /// must live as long as the process.
    #[must_use]
    pub fn start() -> Keeper {
        Keeper::start_with_exe(OWN_EXE.into())
    }

    /// As [`Keeper::start`] with another program that has the hidden subcommand `shim`, by its absolute path (the first call decides).
    #[must_use]
    pub fn start_with_exe(exe: PathBuf) -> Keeper {
        let begin = || {
            let (jobs, inbox) = sync_channel(QUEUE);
            let run = move || serve(&inbox, Hold { exe, paused: BTreeMap::new() });
            std::thread::Builder::new().name("keeper".into()).spawn(run).expect("a process that cannot start its first thread cannot run");
            Keeper(jobs)
        };
        KEEPER.get_or_init(begin).clone()
    }

    /// Starts a program. Waits (a few milliseconds) for the keeper; takes no runtime.
    ///
    /// # Errors
    /// When the kernel refuses. A program that does not exist is told by its exit status 127 when it runs under a shim.
    pub fn spawn(&self, spawn: Spawn) -> Result<Proc, Fail> {
        let (tell, told) = sync_channel(1);
        self.send(Box::new(move |hold| drop(tell.send(proc::start(hold, spawn)))))?;
        told.recv().map_err(|_| broken())?
    }

    /// As [`Keeper::spawn`], without holding up the runtime while a pause is being made.
    ///
    /// # Errors
    /// As [`Keeper::spawn`].
    pub async fn spawn_async(&self, spawn: Spawn) -> Result<Proc, Fail> {
        self.ask(move |hold| proc::start(hold, spawn)).await?
    }

    /// Does something on the keeper thread. An answer nobody waits for any more is dropped there.
    pub(crate) async fn ask<T: Send + 'static>(&self, f: impl FnOnce(&mut Hold) -> T + Send + 'static) -> Result<T, Fail> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.send(Box::new(move |hold| drop(tell.send(f(hold)))))?;
        told.await.map_err(|_| broken())
    }

    fn send(&self, job: Job) -> Result<(), Fail> {
        self.0.send(job).map_err(|_| broken())
    }
}

fn broken() -> Fail {
    Fail::new("internal error: the keeper thread could not answer; please report this with the log")
}

fn serve(inbox: &Receiver<Job>, mut hold: Hold) {
    loop {
        let next =
            if hold.paused.is_empty() { inbox.recv().map_err(|_| RecvTimeoutError::Disconnected) } else { inbox.recv_timeout(REAP_EVERY) };
        match next {
            // A panic must not end this thread: every service would die with it.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(|| job(&mut hold)))),
            Err(RecvTimeoutError::Timeout) => hold.paused.values_mut().for_each(Paused::reap),
            // A handle is kept for ever, so this does not happen; if it did, ending would kill every service.
            Err(RecvTimeoutError::Disconnected) => std::thread::park(),
        }
    }
}
