//! Starts one service and waits until it is ready. Must not decide whether or when: that is [`crate::service`]'s.

use crate::capture::Capture;
use crate::command::quoted;
use crate::keeper::Keeper;
use crate::proc::{Proc, Spawn};
use crate::ready;
use crate::service::ServiceSpec;
use crate::shim::NO_NAMESPACE;
use shakedown_core::plan::{Probe, Ready};
use shakedown_core::seams::Endpoints;
use shakedown_core::{Fail, Span};
use std::process::Stdio;
use std::sync::Once;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Longest time until a builtin service reports itself ready.
const BUILTIN_WITHIN: Span = Span::secs(10);
/// A service without a probe counts as started when it still runs after this.
const STARTED_AFTER: Duration = Duration::from_millis(200);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for a killed process tree to be gone.
pub(crate) const GONE_WITHIN: Duration = Duration::from_secs(5);
const ENDPOINT: &str = "SHAKEDOWN-ENDPOINT ";
const READY: &str = "SHAKEDOWN-READY";

/// A service that has been started.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) proc: Proc,
    capture: Capture,
    /// The awaited line has been printed (a builtin's report, or the log probe's).
    said: watch::Receiver<bool>,
    since: Instant,
    /// Killed on purpose: its end is no surprise.
    pub(crate) killed: AtomicBool,
}

/// Starts it; not yet ready.
pub(crate) async fn spawn(keeper: &Keeper, spec: &ServiceSpec, endpoints: &Endpoints) -> Result<Running, Fail> {
    if let Some(ready) = &spec.ready
        && let Some(addr) = ready::address(&ready.probe)?
        && ready::listens(&addr).await
    {
        return Err(Fail::new(format!(
            "service {}: something else already listens on {addr}; end it (`ss -ltnp` shows it) or give the service another port",
            spec.name
        )));
    }
    let (tell, said) = watch::channel(false);
    let (capture, pipe) = Capture::start(Some(&spec.log), on_line(spec, endpoints, tell))?;
    let copy = pipe.try_clone().map_err(|e| Fail::new(format!("service {}: {e}", spec.name)))?;
    let mut spawn = Spawn::new(spec.argv.iter().cloned().chain(listens(spec, endpoints)));
    spawn.env = spec.env.clone();
    spawn.cwd = Some(spec.cwd.clone());
    spawn.stdout = Stdio::from(pipe);
    spawn.stderr = Stdio::from(copy);
    let proc = keeper.spawn_async(spawn).await.map_err(|f| Fail::new(format!("service {}: {f}", spec.name)))?;
    Ok(Running { proc, capture, said, since: Instant::now(), killed: AtomicBool::new(false) })
}

/// A builtin that was up before keeps its ports.
fn listens(spec: &ServiceSpec, endpoints: &Endpoints) -> Vec<String> {
    let prefix = format!("{}.", spec.name);
    let known = endpoints.all().into_iter().filter(|(name, _)| spec.builtin && name.starts_with(&prefix));
    known.flat_map(|(name, addr)| ["--listen".to_owned(), format!("{name}={addr}")]).collect()
}

fn on_line(spec: &ServiceSpec, endpoints: &Endpoints, tell: watch::Sender<bool>) -> crate::capture::OnLine {
    static WITHOUT: Once = Once::new();
    let awaited = match &spec.ready {
        Some(Ready { probe: Probe::Log(part), .. }) => Some(part.clone()),
        _ => None,
    };
    let (builtin, endpoints) = (spec.builtin, endpoints.clone());
    Box::new(move |line| {
        if let Some(why) = line.strip_prefix(NO_NAMESPACE) {
            WITHOUT.call_once(|| tracing::warn!("{}: if the harness is killed, daemonised processes may stay", why.trim()));
        }
        let mut words = line.strip_prefix(ENDPOINT).filter(|_| builtin).into_iter().flat_map(str::split_ascii_whitespace);
        if let (Some(name), Some(Ok(addr))) = (words.next(), words.next().map(str::parse)) {
            endpoints.set(name, addr);
        }
        let report = builtin && line.trim() == READY;
        if report || awaited.as_ref().is_some_and(|part| line.contains(part.as_str())) {
            tell.send_replace(true);
        }
    })
}

impl Running {
    /// Waits until it is ready; the message of a failure has its last output lines and what to do.
    pub(crate) async fn await_ready(&self, spec: &ServiceSpec) -> Result<(), Fail> {
        let (probe, within) = match &spec.ready {
            Some(ready) => (Some(&ready.probe), ready.within),
            None if spec.builtin => (None, BUILTIN_WITHIN),
            None => (Some(&Probe::Started), Span(u64::MAX)),
        };
        let until = Instant::now() + within.duration().min(Duration::from_secs(86_400));
        let mut seen = String::from("it said nothing yet");
        let ready = tokio::select! {
            status = self.proc.wait() => Err(ended(status)),
            ready = timeout_at(until, self.look_until_ready(probe, &mut seen)) => ready.map_err(|_| format!("was not ready within {within}")),
        };
        let Err(why) = ready else { return Ok(()) };
        let runs = self.proc.status().is_none();
        let seen = if runs { format!(" ({seen})") } else { String::new() };
        let hint = if runs { "" } else { "; it must stay in the foreground" };
        let output = if runs { self.capture.tail() } else { self.capture.last_words().await };
        let hint = if output.to_lowercase().contains("address already in use") || output.contains("EADDRINUSE") {
            "; its port is taken: end what listens there (`ss -ltnp` shows it) or give it another"
        } else {
            hint
        };
        Err(Fail::new(format!("service {} {why}{seen}{hint}; log: {}{}", spec.name, spec.log.display(), quoted(&output))))
    }

    async fn look_until_ready(&self, probe: Option<&Probe>, seen: &mut String) {
        match probe {
            Some(Probe::Started) => tokio::time::sleep_until(self.since + STARTED_AFTER).await,
            None | Some(Probe::Log(_)) => {
                *seen = probe.map_or("it did not report itself ready".into(), |_| "the awaited log line did not come".into());
                let mut said = self.said.clone();
                if said.wait_for(|s| *s).await.is_err() {
                    // Its output has ended, so the line never comes: the bound (or its end) decides.
                    std::future::pending::<()>().await;
                }
            }
            Some(probe) => {
                while let Err(why) = ready::look(probe).await {
                    *seen = why;
                    sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Kills all of it and waits until it is gone; gives the number of processes that were alive.
    pub(crate) async fn kill(&self) -> Result<u64, Fail> {
        let hit = self.proc.kill_tree().await;
        match timeout(GONE_WITHIN, self.proc.wait()).await {
            Ok(_) => Ok(hit),
            Err(_) => {
                Err(Fail::new(format!("process {} and what it started are still there {GONE_WITHIN:?} after SIGKILL", self.proc.pid())))
            }
        }
    }
}

fn ended(status: i32) -> String {
    match status {
        127 => "could not be started (status 127)".into(),
        s if s >= 0 => format!("ended with status {s} before it was ready"),
        s => format!("was ended by signal {} before it was ready", -s),
    }
}
