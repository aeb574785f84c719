//! The worker: one thread with a runtime of its own. Prepares, starts streams, sends snapshots, drains. Must not know
//! why it is told to do so.

use crate::alarm::Alarm;
use crate::client::Pool;
use crate::compile::Stream;
use crate::generator::{Control, Shared};
use crate::priority;
use crate::record::Recorder;
use crate::samples::{Redactor, Samples};
use crate::seeds::Seed;
use crate::stream;
use crate::target::Dest;
use crate::world::{Caps, DEFAULT_IN_FLIGHT, Lane, World};
use http::HeaderValue;
use rustix::time::{ClockId, clock_gettime};
use shakedown_core::event::HaltBy;
use shakedown_core::plan::When;
use shakedown_core::{Fail, Input, Offset, Span};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

/// A snapshot is sent this often, also when idle.
pub const SNAPSHOT_EVERY: Span = Span::millis(100);
/// How long past the longest timeout open requests are waited for at the end.
const DRAIN_MARGIN: Duration = Duration::from_secs(2);
/// How often draining looks whether all is in.
const DRAIN_LOOK: Duration = Duration::from_millis(2);
/// Above this part of a processor, real-time priority is given up: it would starve whoever is measured.
const GREEDY: f64 = 0.7;

/// What preparing leaves behind.
struct Prepared {
    pools: Vec<(Pool, u64)>,
    targets: BTreeMap<String, String>,
    alarm: Rc<Alarm>,
}

/// The whole life of the worker thread.
pub fn run(shared: &Arc<Shared>, control: watch::Receiver<Control>, ready: oneshot::Sender<Result<(), Fail>>) -> Result<(), Fail> {
    let priority = priority::raise();
    tracing::info!(?priority, "load thread starts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Fail::new(format!("load cannot start its runtime: {e}")))?;
    let local = LocalSet::new();
    let prepared = match local.block_on(&runtime, prepare(shared)) {
        Ok(prepared) => prepared,
        Err(fail) => {
            ready.send(Err(fail.clone())).ok();
            return Err(fail);
        }
    };
    ready.send(Ok(())).ok();
    let Some(world) = local.block_on(&runtime, live(shared, control, prepared))? else { return Ok(()) };
    let _context = runtime.enter();
    // Whatever is still open counts itself as unanswered when its task is dropped.
    drop(local);
    world.emit(0);
    world.sink.send(Input::Samples(world.samples.borrow_mut().take()));
    Ok(())
}

async fn prepare(shared: &Shared) -> Result<Prepared, Fail> {
    let w = &shared.wiring;
    let alarm = Alarm::new().map_err(|e| Fail::new(format!("load has no timer: {e}")))?;
    let used: BTreeSet<&String> = shared.streams.iter().map(|s| &s.plan.target).collect();
    let mut dests = BTreeMap::new();
    for name in used {
        let target = w.plan.environment.targets.get(name).ok_or_else(|| Fail::new(format!("there is no target `{name}`")))?;
        let dest = Dest::resolve(target, &w.endpoints, &w.allow, &w.secrets).await?;
        dests.insert(name.clone(), Rc::new(dest));
    }
    let mut pools = Vec::new();
    for s in shared.streams.iter() {
        let pool = Pool::new(Rc::clone(&dests[&s.plan.target]), &s.plan.connections);
        let opened = Cell::new(0);
        let warmed = pool.prewarm(s.plan.connections.prewarm, &|_| opened.set(opened.get() + 1)).await;
        warmed.map_err(|(_, why)| Fail::new(format!("target `{}`: connections cannot be opened: {why}", s.plan.target)))?;
        pools.push((pool, opened.get()));
    }
    let mut targets: BTreeMap<String, String> = dests.iter().map(|(name, dest)| (name.clone(), dest.url.clone())).collect();
    for (name, target) in &w.plan.environment.targets {
        let url = match w.endpoints.get(&target.at) {
            Some(addr) => format!("http://{addr}"),
            None => target.at.trim_end_matches('/').to_owned(),
        };
        targets.entry(name.clone()).or_insert(url);
    }
    Ok(Prepared { pools, targets, alarm })
}

/// From start to stop; `None` when it was never started.
async fn live(shared: &Arc<Shared>, mut control: watch::Receiver<Control>, prepared: Prepared) -> Result<Option<Rc<World>>, Fail> {
    let gone = |_| Fail::new("load lost its owner");
    let first = control.wait_for(|c| c.clock.is_some() || c.stop).await.map_err(gone)?.clone();
    let Some((epoch, sink)) = first.clock else { return Ok(None) };
    let plan = &shared.wiring.plan;
    let mut recorder = Recorder::new(plan.slice.0, plan.max_cells);
    let mut lanes = Vec::new();
    for (i, (pool, opened)) in prepared.pools.into_iter().enumerate() {
        recorder.totals(shared.streams[i].index).connections += opened;
        lanes.push(Lane::new(&shared.streams, i, pool, &mut recorder));
    }
    let samples = Samples::new(Seed::of(plan.seed).and("samples"));
    let redactor = Redactor::new(&shared.wiring.secrets, &plan.secrets);
    let limits = &plan.environment.limits;
    let caps = Caps { in_flight: limits.in_flight.unwrap_or(DEFAULT_IN_FLIGHT), requests: limits.requests.unwrap_or(u64::MAX) };
    let run = shared.wiring.run.clone();
    let header = HeaderValue::try_from(run.as_str()).map_err(|_| Fail::new("the run ID is no header value"))?;
    let alarm = prepared.alarm;
    let world = Rc::new(World::new(lanes, run, header, prepared.targets, recorder, (samples, redactor), alarm, (epoch, sink), caps));
    let driver = Rc::clone(&world);
    spawn_local(async move {
        if let Err(e) = driver.alarm.drive().await {
            driver.sink.send(Input::Halt(HaltBy::Internal(format!("the load timer failed: {e}"))));
        }
    });
    if !world.lanes.is_empty() {
        spawn_local(stream::probe(Rc::clone(&world)));
    }
    let snapshots = spawn_local(snapshots(Rc::clone(&world)));
    follow(&world, &shared.streams, &mut control).await?;
    drain(&world, plan.longest_timeout().duration() + DRAIN_MARGIN).await;
    snapshots.abort();
    Ok(Some(world))
}

/// Does what it is told until it is told to stop.
async fn follow(world: &Rc<World>, streams: &[Stream], control: &mut watch::Receiver<Control>) -> Result<(), Fail> {
    let mut running = vec![false; streams.len()];
    loop {
        let told = control.borrow_and_update().clone();
        if told.mode != world.mode() {
            world.set_mode(told.mode, world.now());
        }
        for (i, s) in streams.iter().enumerate().filter(|(i, _)| !running.get(*i).copied().unwrap_or(true)).collect::<Vec<_>>() {
            let at = match &s.plan.at {
                When::At(span) => Some(Offset::ZERO.plus(*span)),
                When::Stage { .. } | When::After { .. } => told.streams.get(&s.plan.name).copied(),
            };
            if let Some(at) = at {
                running[i] = true;
                spawn_local(stream::run(Rc::clone(world), i, at));
            }
        }
        if told.stop {
            world.stop();
            return Ok(());
        }
        control.changed().await.map_err(|_| Fail::new("load lost its owner"))?;
    }
}

/// Waits until every open request has ended, each at most its timeout.
async fn drain(world: &World, bound: Duration) {
    let ended = async {
        while world.in_flight() > 0 {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    if tokio::time::timeout(bound, ended).await.is_err() {
        tracing::warn!(open = world.in_flight(), "requests were still open when load gave up waiting");
    }
}

/// A snapshot every 100 ms on the epoch's own beat.
async fn snapshots(world: Rc<World>) {
    let (mut spent, mut last, mut relaxed) = (processor_time(), world.now(), false);
    loop {
        let beat = world.now().0.max(0) as u64 / SNAPSHOT_EVERY.0 + 1;
        let at = Offset::ZERO.plus(Span(beat * SNAPSHOT_EVERY.0));
        world.alarm.until(world.instant(at)).await;
        let now = processor_time();
        let used = now.saturating_sub(spent);
        world.emit(used);
        let at = world.now();
        if !relaxed && used as f64 > GREEDY * at.since(last).0 as f64 {
            relaxed = true;
            let priority = priority::relax();
            tracing::warn!(?priority, "load needs most of a processor; it is scheduled like everybody else from here on");
        }
        (spent, last) = (now, at);
    }
}

/// Processor time of this thread, ns.
fn processor_time() -> u64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
}
