//! One run from a checked plan to an exit code: the only place that wires every room. Every way out undoes what was done.

use crate::actions::{self, Steps};
use crate::part::Part;
use crate::source::Loaded;
use crate::{registry, services};
use anyhow::Context;
use shakedown_core::decision::{Decision, Exit, Reason, Verdict};
use shakedown_core::event::{Event, HaltBy};
use shakedown_core::seams::{Boxed, Cx, Endpoints, Fail, Injector, Owner, Services, UndoLog, UndoState};
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
    /// Run at another time scale: never promotes.
    pub scaled: bool,
    /// One of several generators.
    pub part: Option<Part>,
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
    let sha256 = crate::source::sha256(&loaded.checked.plan);
    write_inputs(&wiring.dir, loaded, &loaded.checked.plan)?;
    // From here on files are opened: their paths hold wherever the run was called from.
    let plan = Arc::new(crate::source::resolved(loaded));
    let run = format!("{:032x}", rand::random::<u128>());
    if let Some(part) = &wiring.part {
        write_segment(&wiring.dir, part, plan.seed, &sha256)?;
    }
    // What load makes is told by the whole plan; what happens beside it only the controller does.
    let own = wiring.part.as_ref().map_or_else(|| Arc::clone(&plan), |part| Arc::new(part.plan(&plan)));
    match prepare(loaded, &plan, &own, &run, &wiring).await {
        Ok(ready) => Ok(Outcome::Decided(Box::new(ready.go(plan, own, run, sha256, wiring).await?))),
        Err(why) => Ok(Outcome::NotReady(loaded.checked.secrets.redact(&why.0))),
    }
}

fn write_inputs(dir: &Path, loaded: &Loaded, plan: &Plan) -> anyhow::Result<()> {
    let put =
        |name: &str, text: &str| std::fs::write(dir.join(name), text).with_context(|| format!("cannot write {}", dir.join(name).display()));
    put("scenario.yaml", &loaded.checked.secrets.redact(&loaded.text))?;
    put("plan.json", &serde_json::to_string_pretty(plan)?)
}

fn write_segment(dir: &Path, part: &Part, seed: u64, sha256: &str) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let own =
        shakedown_engine::Segment { index: part.index, of: part.of, epoch: part.wall(), plan_sha256: sha256.to_owned(), seed, version };
    Ok(own.write(dir)?)
}

/// Everything that is up before the engine starts. Dropping it lets go of lock and proxies.
struct Ready {
    safety: Safety,
    proxies: Arc<shakedown_injectors::ProxySet>,
    wired: Wired,
}

/// The rooms, connected; nothing of it runs yet.
struct Wired {
    services: Arc<dyn Services>,
    inbox: shakedown_engine::Inbox,
    load: Arc<dyn shakedown_core::seams::Load>,
    steps: Arc<Steps>,
    teardown: shakedown_engine::TeardownRecords,
    cx: Cx,
    secrets: Arc<Secrets>,
}

/// What takes changes back whatever happens to this process.
struct Safety {
    owner: Owner,
    lock: Option<shakedown_undo::EnvLock>,
    guarded: Option<(Arc<shakedown_undo::UndoJournal>, shakedown_undo::Guard)>,
}

/// Of a run that changes nothing: nothing may be changed either.
struct NothingToUndo;

impl NothingToUndo {
    fn refused<T>() -> Result<T, Fail> {
        Err(Fail::new("internal error: a change was to be made by a run that has none, and whose undo journal is therefore missing"))
    }
}

impl UndoLog for NothingToUndo {
    fn about_to(&self, _: &str, _: &str, _: serde_json::Value) -> Result<u64, Fail> {
        NothingToUndo::refused()
    }
    fn active(&self, _: u64) -> Result<(), Fail> {
        NothingToUndo::refused()
    }
    fn undone(&self, _: u64) -> Result<(), Fail> {
        NothingToUndo::refused()
    }
    fn undo(&self, _: u64) -> Boxed<'_, Result<UndoState, Fail>> {
        Box::pin(async { NothingToUndo::refused() })
    }
}

/// Does the plan change anything beside sending requests?
fn changes(plan: &Plan) -> bool {
    let e = &plan.environment;
    let steps = plan.setup.len() + plan.teardown.len() + plan.faults.len();
    plan.rollout.is_some() || steps + e.services.len() + e.proxies.len() > 0
}

async fn prepare(loaded: &Loaded, whole: &Arc<Plan>, plan: &Arc<Plan>, run: &str, wiring: &Wiring) -> Result<Ready, Fail> {
    let safety = secure(plan, run, wiring).await?;
    let allow = AllowList::parse(&plan.environment.allow).map_err(Fail)?;
    let endpoints = Endpoints::default();
    let proxies = shakedown_injectors::ProxySet::start(&plan.environment.proxies, endpoints.clone(), allow.clone(), plan.seed).await;
    let proxies = match proxies {
        Ok(proxies) => proxies,
        Err(why) => return Err(stand_down(&safety, why).await),
    };
    match wire(loaded, whole, plan, run, wiring, &safety.owner, allow, endpoints, &proxies) {
        Ok(wired) => Ok(Ready { safety, proxies, wired }),
        Err(why) => {
            proxies.stop().await;
            Err(stand_down(&safety, why).await)
        }
    }
}

/// Takes the environment, undoes what an earlier run left in it, and arms the guard.
async fn secure(plan: &Plan, run: &str, wiring: &Wiring) -> Result<Safety, Fail> {
    let owner = shakedown_undo::owner(run)?;
    if wiring.part.as_ref().is_some_and(Part::worker) {
        return Ok(Safety { owner, lock: None, guarded: None });
    }
    let lock = Some(shakedown_undo::EnvLock::acquire(&plan.environment.name, &owner)?);
    recover_left().await?;
    if !changes(plan) {
        return Ok(Safety { owner, lock, guarded: None });
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| Fail::new(format!("the clock is before 1970: {e}")))?.as_secs();
    let deadline = now + plan.time_box.map_or(UNBOXED_SECS, |b| b.duration().as_secs()) + GUARD_GRACE_SECS;
    let guard = shakedown_undo::Guard::arm(&wiring.keeper, &wiring.dir, deadline).await?;
    // Should this fail, the guard is dropped: it sees the end of its line with nothing to undo, and ends.
    let undo = shakedown_undo::UndoJournal::create(&wiring.dir, owner.clone(), registry::undos(), deadline, Some(&guard))?;
    Ok(Safety { owner, lock, guarded: Some((undo, guard)) })
}

impl Safety {
    /// Lets the guard go, where there is one.
    async fn disarm(&self) -> Result<(), Fail> {
        match &self.guarded {
            Some((undo, guard)) => guard.disarm(undo).await,
            None => Ok(()),
        }
    }

    fn log(&self) -> Arc<dyn UndoLog> {
        match &self.guarded {
            Some((undo, _)) => undo.clone(),
            None => Arc::new(NothingToUndo),
        }
    }
}

/// Undoes what an earlier run was killed over, or waits for its guard to have done so.
async fn recover_left() -> Result<(), Fail> {
    let failed: Vec<String> = shakedown_undo::recover(&registry::undos(), false)
        .await?
        .into_iter()
        .filter_map(|r| r.state.err().map(|why| format!("run {} left {}: {why}", r.run, r.what)))
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(Fail::new(format!("{}; see `shakedown recover`", failed.join("; ")))) }
}

/// Lets the guard go when the run is not begun; nothing was changed.
async fn stand_down(safety: &Safety, why: Fail) -> Fail {
    match safety.disarm().await {
        Ok(()) => why,
        Err(also) => Fail::new(format!("{why}; and the guard did not end cleanly: {also}")),
    }
}

#[expect(clippy::too_many_arguments, reason = "one call, and each is a different thing")]
fn wire(
    loaded: &Loaded,
    whole: &Arc<Plan>,
    plan: &Arc<Plan>,
    run: &str,
    wiring: &Wiring,
    owner: &Owner,
    allow: AllowList,
    endpoints: Endpoints,
    proxies: &Arc<shakedown_injectors::ProxySet>,
) -> Result<Wired, Fail> {
    let secrets = Arc::new(loaded.checked.secrets.clone());
    let (inbox, sink) = shakedown_engine::inbox();
    let env = vec![("SHAKEDOWN_RUN".to_owned(), run.to_owned())];
    let specs = services::specs(plan, &loaded.base, &wiring.dir, &secrets, &endpoints, &env)?;
    let services: Arc<dyn Services> =
        shakedown_process::ServiceSet::new(wiring.keeper.clone(), specs, endpoints.clone(), services::on_exit(sink));
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
        plan: whole.clone(),
        endpoints: endpoints.clone(),
        allow: allow.clone(),
        secrets: secrets.clone(),
        run: run.to_owned(),
        segment: wiring.part.map_or((0, 1), |part| (part.index - 1, part.of)),
    })?;
    let cx = Cx { endpoints, allow, services: services.clone(), proxies: proxies.clone(), seed: plan.seed, owner: owner.clone() };
    let (teardown_plan, teardown_steps) = (plan.clone(), steps.clone());
    let teardown = Arc::new(move || teardown_plan.teardown.iter().map(|a| actions::teardown_record(&teardown_steps, a)).collect());
    Ok(Wired { services, inbox, load, steps, teardown, cx, secrets })
}

impl Ready {
    async fn go(self, whole: Arc<Plan>, plan: Arc<Plan>, run: String, plan_sha256: String, wiring: Wiring) -> anyhow::Result<Decision> {
        let injectors: BTreeMap<String, &'static dyn Injector> = registry::INJECTORS.iter().map(|i| (i.name().to_owned(), *i)).collect();
        let driver = plan.rollout.as_ref().and_then(|r| registry::DRIVERS.iter().find(|d| d.name() == r.driver)).copied();
        let Ready { safety, proxies, wired } = self;
        let secrets = wired.secrets.clone();
        let worker = wiring.part.as_ref().is_some_and(Part::worker);
        let (part, judged) = match &wiring.part {
            None => (shakedown_engine::Part::Whole, plan.clone()),
            Some(_) if worker && whole.rollout.is_some() => (shakedown_engine::Part::Worker, plan.clone()),
            // The whole plan is in the run directory: `judge` must come to the same with it.
            Some(_) => (shakedown_engine::Part::Controller, if worker { plan.clone() } else { whole }),
        };
        let epoch = wiring.part.as_ref().map(Part::instant).transpose()?;
        let outcome = shakedown_engine::run(
            plan.clone(),
            shakedown_engine::Wiring {
                load: wired.load,
                services: wired.services,
                injectors,
                driver,
                actions: wired.steps,
                undo: safety.log(),
                teardown: wired.teardown,
                cx: wired.cx,
                assessor: Box::new(shakedown_judge::Judge::new(judged)),
                observer: wiring.observer,
                dir: wiring.dir.clone(),
                run,
                plan_sha256,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                wall: crate::wall::now,
                inbox: wired.inbox,
                part,
                epoch,
                scaled: wiring.scaled,
                redact: Arc::new(move |text: &str| secrets.redact(text)),
            },
            wiring.halts,
        )
        .await;
        proxies.stop().await;
        let mut decision = outcome.decision;
        if let Err(why) = safety.disarm().await {
            tracing::error!("the guard did not end cleanly: {why}");
            not_undone(&mut decision, &why);
        }
        drop(safety.lock);
        if worker {
            return Ok(decision); // of no worth by itself: it is not kept
        }
        let file = wiring.dir.join("decision.json");
        std::fs::write(&file, decision_json(&decision)?).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(decision)
    }
}

/// Something of the run is still there: whatever else came out, that comes first (but for an internal error).
fn not_undone(decision: &mut Decision, why: &Fail) {
    if matches!(decision.exit, Exit::Internal | Exit::RollbackFailed) {
        return; // the journal has said as much: `judge` gives the same decision from it
    }
    decision.headline = format!("Something of this run was not undone: {why}.");
    (decision.exit, decision.verdict) = (Exit::RollbackFailed, Verdict::Rollback);
    decision.reasons.insert(0, Reason { code: "rollback-failed".to_owned(), text: why.0.clone() });
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
