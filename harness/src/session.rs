//! One run from a checked plan to an exit code: the only place that wires every room. Every way out undoes what was done.

use crate::actions::{self, Steps};
use crate::source::Loaded;
use crate::{registry, services};
use anyhow::Context;
use shakedown_core::decision::{Decision, Exit};
use shakedown_core::event::{Event, HaltBy};
use shakedown_core::seams::{Cx, Endpoints, Fail, Injector, Services, UndoLog};
use shakedown_core::{AllowList, Plan, Secrets};
use shakedown_process::Keeper;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long after the longest possible run the guard undoes everything even if the harness still lives.
const GUARD_GRACE_SECS: u64 = 600;
/// Longest run the guard waits for when the scenario has no time box.
const UNBOXED_SECS: u64 = 7 * 24 * 3600;

/// What a run needs beside its scenario.
pub struct Wiring {
    /// Does every fork.
    pub keeper: Keeper,
    /// Where files go; exists and is empty.
    pub dir: PathBuf,
    /// Sees every event.
    pub observer: Box<dyn FnMut(&Event) + Send>,
    /// Says when to stop.
    pub halts: tokio::sync::mpsc::Receiver<HaltBy>,
}

/// How a run ended.
pub enum Outcome {
    /// With a decision.
    Decided(Box<Decision>),
    /// Before offset 0 and before anything was changed: exit 3 and why.
    NotReady(String),
}

/// Runs a plan to its end.
///
/// # Errors
/// When the run directory cannot be written: an internal error (exit 70).
pub async fn run(loaded: &Loaded, wiring: Wiring) -> anyhow::Result<Outcome> {
    let plan = Arc::new(loaded.checked.plan.clone());
    let sha256 = crate::source::sha256(&plan);
    write_inputs(&wiring.dir, loaded, &plan)?;
    let run = format!("{:032x}", rand::random::<u128>());
    match prepare(loaded, &plan, &run, &wiring).await {
        Ok(ready) => Ok(Outcome::Decided(Box::new(ready.go(plan, run, sha256, wiring).await?))),
        Err(why) => Ok(Outcome::NotReady(loaded.checked.secrets.redact(&why.0))),
    }
}

fn write_inputs(dir: &Path, loaded: &Loaded, plan: &Plan) -> anyhow::Result<()> {
    let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).with_context(|| format!("cannot write {}", dir.join(name).display()));
    put("scenario.yaml", &loaded.checked.secrets.redact(&loaded.text))?;
    put("plan.json", &serde_json::to_string_pretty(plan)?)
}

/// Everything that is up before the engine starts. Dropping it lets go of lock and proxies.
struct Ready {
    lock: shakedown_undo::EnvLock,
    undo: Arc<shakedown_undo::UndoJournal>,
    guard: shakedown_undo::Guard,
    proxies: Arc<shakedown_injectors::ProxySet>,
    services: Arc<dyn Services>,
    inbox: shakedown_engine::Inbox,
    load: Arc<dyn shakedown_core::seams::Load>,
    steps: Arc<Steps>,
    teardown: Vec<(String, String, serde_json::Value)>,
    cx: Cx,
    secrets: Arc<Secrets>,
}

async fn prepare(loaded: &Loaded, plan: &Arc<Plan>, run: &str, wiring: &Wiring) -> Result<Ready, Fail> {
    let allow = AllowList::parse(&plan.environment.allow).map_err(Fail)?;
    let owner = shakedown_undo::owner(run)?;
    let lock = shakedown_undo::EnvLock::acquire(&plan.environment.name, &owner)?;
    let secrets = Arc::new(loaded.checked.secrets.clone());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| Fail::new(format!("the clock is before 1970: {e}")))?.as_secs();
    let deadline = now + plan.time_box.map_or(UNBOXED_SECS, |b| b.duration().as_secs()) + GUARD_GRACE_SECS;
    let guard = shakedown_undo::Guard::arm(&wiring.keeper, &wiring.dir, deadline).await?;
    let undo = shakedown_undo::UndoJournal::create(&wiring.dir, owner.clone(), registry::undos(), deadline, Some(&guard))?;
    let endpoints = Endpoints::default();
    let proxies = shakedown_injectors::ProxySet::start(&plan.environment.proxies, endpoints.clone(), allow.clone(), plan.seed).await?;
    let (inbox, sink) = shakedown_engine::inbox();
    let env = vec![("SHAKEDOWN_RUN".to_owned(), run.to_owned())];
    let specs = services::specs(plan, &loaded.base, &wiring.dir, &secrets, &endpoints, &env)?;
    let services: Arc<dyn Services> = shakedown_process::ServiceSet::new(wiring.keeper.clone(), specs, endpoints.clone(), services::on_exit(sink));
    let steps = Arc::new(Steps {
        keeper: wiring.keeper.clone(),
        base: loaded.base.clone(),
        endpoints: endpoints.clone(),
        allow: allow.clone(),
        secrets: secrets.clone(),
        plan: plan.clone(),
        env,
    });
    let load = shakedown_load::generator(shakedown_load::Wiring {
        plan: plan.clone(),
        endpoints: endpoints.clone(),
        allow: allow.clone(),
        secrets: secrets.clone(),
        run: run.to_owned(),
    })?;
    let cx = Cx { endpoints, allow, services: services.clone(), proxies: proxies.clone(), seed: plan.seed, owner };
    let teardown = plan.teardown.iter().map(|a| actions::teardown_record(&steps, a)).collect::<Result<_, _>>()?;
    Ok(Ready { lock, undo, guard, proxies, services, inbox, load, steps, teardown, cx, secrets })
}

impl Ready {
    async fn go(self, plan: Arc<Plan>, run: String, plan_sha256: String, wiring: Wiring) -> anyhow::Result<Decision> {
        let injectors: BTreeMap<String, &'static dyn Injector> = registry::INJECTORS.iter().map(|i| (i.name().to_owned(), *i)).collect();
        let driver = plan.rollout.as_ref().and_then(|r| registry::DRIVERS.iter().find(|d| d.name() == r.driver)).copied();
        let secrets = self.secrets.clone();
        let outcome = shakedown_engine::run(
            plan.clone(),
            shakedown_engine::Wiring {
                load: self.load,
                services: self.services,
                injectors,
                driver,
                actions: self.steps,
                undo: self.undo.clone() as Arc<dyn UndoLog>,
                teardown: self.teardown,
                cx: self.cx,
                assessor: Box::new(shakedown_judge::Judge::new(plan.clone())),
                observer: wiring.observer,
                dir: wiring.dir.clone(),
                run,
                plan_sha256,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                wall: crate::wall::now,
                inbox: self.inbox,
                scaled: false,
                redact: Arc::new(move |text: &str| secrets.redact(text)),
            },
            wiring.halts,
        )
        .await;
        self.proxies.stop().await;
        let mut decision = outcome.decision;
        if let Err(why) = self.guard.disarm(&self.undo).await {
            decision.exit = decision.exit.max(Exit::RollbackFailed);
            tracing::error!("the guard did not end cleanly: {why}");
        }
        drop(self.lock);
        let file = wiring.dir.join("decision.json");
        std::fs::write(&file, decision_json(&decision)?).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(decision)
    }
}

/// The decision record as it is written: the same bytes from `run` and from `judge RUN`.
///
/// # Errors
/// Never for a decision the judge made; kept as an error so that nothing panics on the way out.
pub fn decision_json(decision: &Decision) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(decision).context("a decision is plain data")?;
    text.push('\n');
    Ok(text)
}
