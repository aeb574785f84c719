//! Stops every thread of a process tree by `PTRACE_SEIZE` and `PTRACE_INTERRUPT`, without a signal to the program. The
//! kernel lets all of them go on when the tracer (the keeper thread) ends, SIGKILL included; `PTRACE_O_EXITKILL` is
//! therefore never set. Everything here runs on the keeper thread.

use crate::keeper::Keeper;
use crate::sys::{self, EVENT_STOP, Seen};
use crate::tree;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::unistd::{Pid, gettid};
use shakedown_core::Fail;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Most passes over the tree until one finds no new thread; each pass starts with all known threads stopped.
const PASSES: usize = 100;
/// Longest wait for the threads of one pass to stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// A thread still on its way after this long and in an uninterruptible sleep is taken as stopped.
const ASLEEP_AFTER: Duration = Duration::from_millis(50);
/// Longest wait for the threads to be let go.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks at threads that have not stopped yet.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// Which processes are paused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// All of a service, by its shim.
    Service(i32),
    /// This process and all below it.
    Attached(i32),
}

/// A thread that was seized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Was told to stop; it is in the kernel and stops before it runs any of the program.
    Stopping,
    /// Stopped; the signal it was about to get is delivered when it goes on (0 is none).
    Stopped(i32),
}

/// Threads and processes that are stopped.
#[derive(Debug, Default)]
pub(crate) struct Paused {
    threads: BTreeMap<i32, Held>,
    processes: BTreeSet<i32>,
}

impl Keeper {
    /// Pauses all of `scope` under the name `key`; gives the number of processes stopped.
    pub(crate) async fn pause(&self, key: &str, scope: Scope) -> Result<u64, Fail> {
        let key = key.to_owned();
        self.ask(move |hold| {
            if hold.paused.contains_key(&key) {
                return Err(Fail::new(format!("service {key} is paused already")));
            }
            let mut paused = Paused::default();
            match paused.stop_all(scope) {
                Ok(()) => {
                    let count = paused.processes.len() as u64;
                    hold.paused.insert(key, paused);
                    Ok(count)
                }
                Err(why) => match paused.release() {
                    Ok(()) => Err(why),
                    Err(worse) => Err(Fail::new(format!("{why}; then {worse}"))),
                },
            }
        })
        .await?
    }

    /// Lets `key` go on; fine when it is not paused.
    pub(crate) async fn resume(&self, key: &str) -> Result<(), Fail> {
        let key = key.to_owned();
        self.ask(move |hold| {
            let Some(paused) = hold.paused.get_mut(&key) else { return Ok(()) };
            // Kept on failure, so that it can be tried again.
            paused.release()?;
            hold.paused.remove(&key);
            Ok(())
        })
        .await?
    }
}

impl Paused {
    fn stop_all(&mut self, scope: Scope) -> Result<(), Fail> {
        let me = i32::try_from(std::process::id()).expect("a pid fits an i32");
        for _ in 0..PASSES {
            let members = match scope {
                Scope::Service(shim) => tree::of_service(shim),
                Scope::Attached(pid) => tree::descendants(pid).into_iter().chain([pid]).collect(),
            };
            if members.contains(&me) {
                return Err(Fail::new("the service's processes include the harness itself; it would stop with them"));
            }
            let mut news = false;
            for pid in members {
                self.processes.insert(pid);
                for tid in tree::threads(pid) {
                    news |= !self.threads.contains_key(&tid) && self.seize(tid)?;
                }
            }
            self.await_stops()?;
            if !news {
                self.processes.retain(|pid| tree::threads(*pid).iter().any(|tid| self.threads.contains_key(tid)));
                return if self.threads.is_empty() { Err(Fail::new("there is no process to pause")) } else { Ok(()) };
            }
        }
        Err(Fail::new(format!("its processes start new threads faster than {PASSES} passes could stop them")))
    }

    /// `true` when the thread is held now; `false` when it has ended meanwhile.
    fn seize(&mut self, tid: i32) -> Result<bool, Fail> {
        let pid = Pid::from_raw(tid);
        let follow = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
        match ptrace::seize(pid, follow) {
            Ok(()) => {
                // Fails only when it has ended, which `await_stops` then sees.
                let _ = ptrace::interrupt(pid);
            }
            Err(Errno::ESRCH) => return Ok(false),
            Err(Errno::EPERM) if tree::stat(tid).is_none_or(|s| !s.lives()) => return Ok(false),
            // Started by a thread we hold: it is held from birth and stops by itself.
            Err(Errno::EPERM) if tree::tracer(tid) == Some(gettid().as_raw()) => {}
            Err(why) => {
                let whose = tree::tracer(tid).map_or_else(
                    || "run as root, or set kernel.yama.ptrace_scope to 0".to_owned(),
                    |other| format!("process {other} is tracing it; end that first"),
                );
                return Err(Fail::new(format!("cannot pause thread {tid}: {}; {whose}", why.desc())));
            }
        }
        self.threads.insert(tid, Held::Stopping);
        Ok(true)
    }

    /// Waits until every held thread is stopped. One that sleeps in the kernel uninterruptibly (waiting for its vforked
    /// child, say) runs nothing either and counts.
    fn await_stops(&mut self) -> Result<(), Fail> {
        let began = Instant::now();
        loop {
            let open: Vec<i32> = self.threads.iter().filter(|(_, h)| **h == Held::Stopping).map(|(t, _)| *t).collect();
            for tid in &open {
                self.look(*tid);
            }
            let asleep = |tid: &i32| tree::stat(*tid).is_none_or(|s| s.state == 'D');
            let open: Vec<i32> = self.threads.iter().filter(|(_, h)| **h == Held::Stopping).map(|(t, _)| *t).collect();
            if open.is_empty() || (began.elapsed() >= ASLEEP_AFTER && open.iter().all(asleep)) {
                return Ok(());
            }
            if began.elapsed() >= STOP_WITHIN {
                return Err(Fail::new(format!("{} of its threads did not stop within {STOP_WITHIN:?}", open.len())));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn look(&mut self, tid: i32) {
        match sys::look(tid) {
            Seen::Nothing => {}
            Seen::Gone => drop(self.threads.remove(&tid)),
            Seen::Stopped { event, signal } => {
                if event != 0 && event != EVENT_STOP {
                    // A fork or clone: what it started is held as well.
                    let born = ptrace::getevent(Pid::from_raw(tid)).ok().and_then(|id| i32::try_from(id).ok());
                    if let Some(born) = born.filter(|id| *id > 0) {
                        self.threads.entry(born).or_insert(Held::Stopping);
                    }
                }
                self.threads.insert(tid, Held::Stopped(if event == 0 { signal } else { 0 }));
            }
        }
    }

    /// Takes the status of threads that were killed while stopped: their parent gets it only after the tracer.
    pub(crate) fn reap(&mut self) {
        let all: Vec<i32> = self.threads.keys().copied().collect();
        for tid in all {
            self.look(tid);
        }
    }

    /// Lets every thread go on, with the signal it was about to get.
    fn release(&mut self) -> Result<(), Fail> {
        let until = Instant::now() + RELEASE_WITHIN;
        loop {
            self.threads.retain(|tid, held| match held {
                Held::Stopped(signal) => sys::detach(*tid, *signal).is_err(),
                Held::Stopping => true,
            });
            if self.threads.is_empty() {
                return Ok(());
            }
            // What could not be let go was killed, or has not stopped yet.
            self.reap();
            if Instant::now() >= until {
                let left = self.threads.len();
                return Err(Fail::new(format!("{left} paused threads could not be let go; they go on when the harness ends")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
