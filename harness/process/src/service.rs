//! The services of a run: start in order, restart, pause, kill, stop in reverse order. Implements core's `Services`.
//! Must not know why any of it is asked for.

use crate::keeper::Keeper;
use crate::launch::{self, Running};
use crate::pause::Scope;
use crate::{ready, tree};
use nix::sys::signal::Signal;
use shakedown_core::plan::Ready;
use shakedown_core::seams::{Boxed, Endpoints, Services};
use shakedown_core::{Fail, Span};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Most restarts of one service in a run.
const RESTARTS: u32 = 10;
/// Before the first restart; doubled for each further one.
const BACKOFF: Duration = Duration::from_millis(100);
/// Longest wait before a restart.
const BACKOFF_MOST: Duration = Duration::from_secs(2);

/// What a service is and how it is started, resolved.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    /// Name in the scenario.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the harness's environment.
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// When it is ready; `None` for builtins, which report themselves, and means "still runs" for others.
    pub ready: Option<Ready>,
    /// `TERM`, `SIGTERM`, `QUIT`, …
    pub stop_signal: String,
    /// Killed when not stopped within this.
    pub stop_within: Span,
    /// Started again when it ends on its own or was killed by a fault.
    pub restart: bool,
    /// Speaks `SHAKEDOWN-ENDPOINT` and `SHAKEDOWN-READY`.
    pub builtin: bool,
    /// Already there, found by this pid file; never started or stopped.
    pub attach_pid_file: Option<PathBuf>,
    /// Its output, capped.
    pub log: PathBuf,
}

/// Told when a service ended that nobody stopped: name, exit code or −signal.
pub type OnExit = Arc<dyn Fn(&str, i32) + Send + Sync>;

/// The services of a run.
pub struct ServiceSet {
    me: Weak<ServiceSet>,
    keeper: Keeper,
    endpoints: Endpoints,
    slots: Vec<Slot>,
    /// Indices in the order in which they were first started.
    order: Mutex<Vec<usize>>,
    closing: watch::Sender<bool>,
    on_exit: OnExit,
}

struct Slot {
    spec: ServiceSpec,
    running: tokio::sync::Mutex<Option<Arc<Running>>>,
    restarts: AtomicU32,
}

impl ServiceSet {
    /// Services that can be started, in this order.
    #[must_use]
    pub fn new(keeper: Keeper, specs: Vec<ServiceSpec>, endpoints: Endpoints, on_exit: OnExit) -> Arc<ServiceSet> {
        let slot = |spec| Slot { spec, running: tokio::sync::Mutex::default(), restarts: AtomicU32::new(0) };
        let slots = specs.into_iter().map(slot).collect();
        let closing = watch::Sender::new(false);
        Arc::new_cyclic(|me| ServiceSet { me: me.clone(), keeper, endpoints, slots, order: Mutex::default(), closing, on_exit })
    }

    /// Sends a signal to a service's program (inside its namespace, where its pid file's number means nothing outside).
    ///
    /// # Errors
    /// When there is no such service or signal, or it is not running.
    pub async fn signal(&self, name: &str, signal: &str) -> Result<(), Fail> {
        let (_, slot) = self.slot(name)?;
        let signal = parse_signal(signal)?;
        if slot.spec.attach_pid_file.is_some() {
            let pid = attached(&slot.spec)?;
            return nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)
                .map_err(|e| Fail::new(format!("service {name}: cannot send {signal}: {}", e.desc())));
        }
        let running = slot.running.lock().await;
        running.as_ref().filter(|r| r.proc.status().is_none()).ok_or_else(|| not_running(name))?.proc.signal(signal)
    }

    fn slot(&self, name: &str) -> Result<(usize, &Slot), Fail> {
        let found = self.slots.iter().enumerate().find(|(_, s)| s.spec.name == name);
        found.ok_or_else(|| Fail::new(format!("there is no service {name}")))
    }

    /// Ends when everything is being stopped.
    async fn closed(&self) {
        // The sender is a field of self: it cannot go while this waits.
        let _ = self.closing.subscribe().wait_for(|c| *c).await;
    }

    async fn start_one(&self, name: &str) -> Result<(), Fail> {
        let (index, slot) = self.slot(name)?;
        if slot.spec.attach_pid_file.is_some() {
            attached(&slot.spec)?;
            return match &slot.spec.ready {
                Some(ready) => await_attached(name, ready).await,
                None => Ok(()),
            };
        }
        parse_signal(&slot.spec.stop_signal)?;
        // A restart that is under way holds this lock until the service is ready again.
        let mut running = slot.running.lock().await;
        if let Some(up) = running.as_ref().filter(|r| r.proc.status().is_none()) {
            return up.await_ready(&slot.spec).await;
        }
        self.launch(index, slot, &mut running).await
    }

    async fn launch(&self, index: usize, slot: &Slot, running: &mut Option<Arc<Running>>) -> Result<(), Fail> {
        {
            let mut order = self.order.lock().expect("no holder panics");
            if !order.contains(&index) {
                order.push(index);
            }
        }
        let up = Arc::new(launch::spawn(&self.keeper, &slot.spec, &self.endpoints).await?);
        // Known before it is ready, so that whoever stops everything meanwhile finds it.
        *running = Some(up.clone());
        if let Err(why) = up.await_ready(&slot.spec).await {
            return match up.kill().await {
                Ok(_) => Err(why),
                Err(worse) => Err(Fail::new(format!("{why}; then {worse}"))),
            };
        }
        let me = self.me.upgrade().expect("self is borrowed from it");
        tokio::spawn(me.watched(index, up));
        Ok(())
    }

    /// Boxed, because a launch starts the watch that may launch again.
    fn watched(self: Arc<Self>, index: usize, up: Arc<Running>) -> Boxed<'static, ()> {
        Box::pin(async move { self.watch(index, up).await })
    }

    /// Follows one started process to its end.
    async fn watch(&self, index: usize, up: Arc<Running>) {
        let slot = &self.slots[index];
        let status = up.proc.wait().await;
        let killed = up.killed.load(Ordering::SeqCst);
        if *self.closing.borrow() {
            return;
        }
        if !slot.spec.restart {
            if !killed {
                (self.on_exit)(&slot.spec.name, status);
            }
            return;
        }
        let done = slot.restarts.fetch_add(1, Ordering::SeqCst);
        if done >= RESTARTS {
            tracing::warn!("service {} ended {RESTARTS} times; it is not restarted again", slot.spec.name);
            return (self.on_exit)(&slot.spec.name, status);
        }
        let pause = BACKOFF.saturating_mul(1 << done.min(8)).min(BACKOFF_MOST);
        tokio::select! {
            () = self.closed() => return,
            () = sleep(pause) => {}
        }
        let again = async {
            let mut running = slot.running.lock().await;
            // Somebody may have started it already.
            if running.as_ref().is_some_and(|r| !Arc::ptr_eq(r, &up)) { Ok(()) } else { self.launch(index, slot, &mut running).await }
        };
        let restarted = tokio::select! {
            () = self.closed() => return,
            restarted = again => restarted,
        };
        if let Err(why) = restarted {
            tracing::warn!("restart: {why}");
            (self.on_exit)(&slot.spec.name, status);
        }
    }

    async fn scope(&self, slot: &Slot) -> Result<Scope, Fail> {
        if slot.spec.attach_pid_file.is_some() {
            return Ok(Scope::Attached(attached(&slot.spec)?));
        }
        let running = slot.running.lock().await;
        let up = running.as_ref().filter(|r| r.proc.status().is_none()).ok_or_else(|| not_running(&slot.spec.name))?;
        Ok(Scope::Service(up.proc.pid()))
    }

    async fn kill_one(&self, name: &str) -> Result<u64, Fail> {
        let (_, slot) = self.slot(name)?;
        if let Scope::Attached(pid) = self.scope(slot).await? {
            let all: Vec<i32> = tree::descendants(pid).into_iter().chain([pid]).collect();
            for pid in &all {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGKILL)
                    .or_else(|e| if e == nix::errno::Errno::ESRCH { Ok(()) } else { Err(e) })
                    .map_err(|e| Fail::new(format!("service {name}: cannot kill process {pid}: {}", e.desc())))?;
            }
            self.keeper.resume(name).await?;
            return Ok(all.len() as u64);
        }
        let running = slot.running.lock().await;
        let up = running.as_ref().ok_or_else(|| not_running(name))?;
        up.killed.store(true, Ordering::SeqCst);
        // A paused one dies at once, but its parent learns of it only from the tracer, which reaps it meanwhile.
        let hit = up.kill().await?;
        self.keeper.resume(name).await?;
        Ok(hit)
    }

    async fn stop_one(&self, slot: &Slot) -> Result<(), Fail> {
        let name = &slot.spec.name;
        let resumed = self.keeper.resume(name).await;
        let running = slot.running.lock().await.take();
        let Some(up) = running.filter(|r| r.proc.status().is_none()) else { return resumed };
        let signal = parse_signal(&slot.spec.stop_signal)?;
        up.proc.signal(signal)?;
        if timeout(slot.spec.stop_within.duration(), up.proc.wait()).await.is_err() {
            tracing::warn!("service {name} did not end within {} of {signal}; it is killed", slot.spec.stop_within);
            up.kill().await.map_err(|f| Fail::new(format!("service {name}: {f}")))?;
        }
        resumed
    }

    async fn stop_everything(&self) -> Result<(), Fail> {
        self.closing.send_replace(true);
        let order: Vec<usize> = self.order.lock().expect("no holder panics").clone();
        let mut failed = Vec::new();
        for index in order.into_iter().rev() {
            if let Err(why) = self.stop_one(&self.slots[index]).await {
                failed.push(why.0);
            }
        }
        for slot in self.slots.iter().filter(|s| s.spec.attach_pid_file.is_some()) {
            if let Err(why) = self.keeper.resume(&slot.spec.name).await {
                failed.push(why.0);
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(Fail::new(failed.join("; "))) }
    }
}

impl Services for ServiceSet {
    fn start<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.closed() => Err(Fail::new(format!("service {name} is not started: the run is being stopped"))),
                started = self.start_one(name) => started,
            }
        })
    }

    fn stop_all<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(self.stop_everything())
    }

    fn pause<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<u64, Fail>> {
        Box::pin(async move {
            let scope = self.scope(self.slot(name)?.1).await?;
            self.keeper.pause(name, scope).await.map_err(|f| Fail::new(format!("service {name}: {f}")))
        })
    }

    fn resume<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move {
            self.slot(name)?;
            self.keeper.resume(name).await
        })
    }

    fn kill<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<u64, Fail>> {
        Box::pin(self.kill_one(name))
    }
}

fn not_running(name: &str) -> Fail {
    Fail::new(format!("service {name} is not running"))
}

/// The process an attached service's pid file names, alive.
fn attached(spec: &ServiceSpec) -> Result<i32, Fail> {
    let file = spec.attach_pid_file.as_ref().ok_or_else(|| not_running(&spec.name))?;
    let fail = |why: String| Fail::new(format!("service {}: {why}; is it running?", spec.name));
    let text = std::fs::read_to_string(file).map_err(|e| fail(format!("cannot read its pid file {}: {e}", file.display())))?;
    let pid: i32 = text.trim().parse().map_err(|_| fail(format!("its pid file {} holds no process number", file.display())))?;
    let alive = pid > 1 && tree::stat(pid).is_some_and(tree::Stat::lives);
    if alive { Ok(pid) } else { Err(fail(format!("process {pid} of its pid file {} is not there", file.display()))) }
}

async fn await_attached(name: &str, ready: &Ready) -> Result<(), Fail> {
    let look = async {
        while ready::look(&ready.probe).await.is_err() {
            sleep(BACKOFF).await;
        }
    };
    let late = || Fail::new(format!("service {name} is running but was not ready within {}", ready.within));
    timeout(ready.within.duration(), look).await.map_err(|_| late())
}

fn parse_signal(text: &str) -> Result<Signal, Fail> {
    let name = text.trim().to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    name.parse().map_err(|_| Fail::new(format!("`{text}` is not a signal; write TERM, INT or QUIT")))
}
