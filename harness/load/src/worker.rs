//! The worker: one thread with one loop. Prepares, follows what it is told, sends snapshots, drains. Must not know why it
//! is told to do so.

use crate::control::{Clock, Told};
use crate::format::Base;
use crate::generator::Shared;
use crate::lane::Lane;
use crate::link::{Completions, Link, Purpose};
use crate::priority;
use crate::record::Recorder;
use crate::render::{Place, Values};
use crate::samples::{Redactor, Samples};
use crate::seeds::{Label, Seed};
use crate::vitals::{Watch, processor_time};
use crate::world::{Part, Parts, World};
use crate::{ceilings::Segment, compile, expect};
use shakedown_core::plan::{Connections, When};
use shakedown_core::{Fail, Input, Offset, Span};
use shakedown_net::{Connected, Connector, Reactor, Ready};
use shakedown_protocols::NewConnection;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Preparing may take this long: checks, descriptions of services, connections opened in advance.
const PREPARE_WITHIN: Duration = Duration::from_secs(60);
/// How long past the longest timeout open requests are waited for at the end.
const DRAIN_MARGIN: Span = Span::secs(2);
/// Above this part of a processor, real-time priority is given up: it would starve whoever is measured. Less where the
/// workers together would take more than all processors but one.
const GREEDY: f64 = 0.7;

/// A worker's place.
pub struct Seat<'a> {
    /// What all workers share.
    pub shared: &'a Arc<Shared>,
    /// Its number in this process.
    pub worker: usize,
    /// Hears when it is ready.
    pub ready: oneshot::Sender<Result<(), Fail>>,
}

/// What preparing leaves behind for one stream.
struct Prepared {
    base: Base,
    link: Link,
    connections: u32,
    direct: Vec<Connected>,
    opened: Vec<NewConnection>,
}

/// When the worker reports.
struct Beats {
    every: i64,
    next: i64,
    spent: u64,
    last: i64,
    /// Part of a processor above which real time is given up; `None` once it is.
    greedy: Option<f64>,
    watch: Watch,
}

/// Part of a processor that each of `workers` may take in real time on a machine with so many.
fn greedy(workers: u16, cores: usize) -> f64 {
    let free = cores.saturating_sub(1).max(1) as f64;
    GREEDY * (free / f64::from(workers.max(1))).min(1.0)
}

/// The whole life of a worker thread.
pub fn run(seat: Seat<'_>) -> Result<(), Fail> {
    let priority = priority::raise();
    tracing::info!(?priority, worker = seat.worker, "load thread starts");
    let broken = |e: io::Error| Fail::new(format!("the loop of load failed: {e}"));
    let ended = |ready: oneshot::Sender<_>, fail: Fail| {
        // Nobody waits any more when the generator was dropped.
        ready.send(Err(fail.clone())).ok();
        Err(fail)
    };
    let mut reactor = match Reactor::new() {
        Ok(reactor) => reactor,
        Err(e) => return ended(seat.ready, broken(e)),
    };
    seat.shared.control.listen(reactor.handle().notifier());
    let preparing = prepare(Arc::clone(seat.shared), seat.worker, reactor.handle().clone());
    let prepared = match reactor.run(Instant::now() + PREPARE_WITHIN, preparing) {
        Ok(Some(Ok(prepared))) => prepared,
        Ok(Some(Err(fail))) => return ended(seat.ready, fail),
        Ok(None) => return ended(seat.ready, Fail::new(format!("the targets were not ready within {PREPARE_WITHIN:?}"))),
        Err(e) => return ended(seat.ready, broken(e)),
    };
    seat.ready.send(Ok(())).ok();
    let (mut seen, mut ready) = (0, Vec::new());
    let clock = loop {
        if let Some(told) = seat.shared.control.news(&mut seen) {
            if let Some(clock) = told.clock {
                break clock;
            }
            if told.stop {
                return Ok(());
            }
        }
        reactor.turn(None, Duration::ZERO, &mut ready).map_err(broken)?;
    };
    live(seat.shared, seat.worker, &mut reactor, prepared, clock).map_err(broken)
}

async fn prepare(shared: Arc<Shared>, worker: usize, handle: shakedown_net::Handle) -> Result<Vec<Prepared>, Fail> {
    let w = &shared.wiring;
    let mut targets = BTreeMap::new();
    for (name, target) in &w.plan.environment.targets {
        let url = match (shared.routes.get(name), w.endpoints.get(&target.at)) {
            (Some(route), _) => route.url().to_owned(),
            (None, Some(addr)) => format!("http://{addr}"),
            (None, None) => target.at.trim_end_matches('/').to_owned(),
        };
        targets.insert(name.clone(), url);
    }
    if worker == 0 {
        for route in shared.routes.values() {
            Connector::new(&handle, route).check().await?;
        }
    }
    let mut all = Vec::new();
    for stream in &shared.streams {
        let target = &w.plan.environment.targets[&stream.plan.target];
        let connector = Connector::new(&handle, &shared.routes[&stream.plan.target]);
        let policy = part(&stream.plan.connections, &shared, worker);
        let base = base(&shared, target, connector.route(), &policy, targets.clone())?;
        let purpose = Purpose { target, stream, all: &shared.streams, policy: &policy, targets: &targets };
        let link = Link::open(connector, purpose, &shared.schemas[&stream.plan.target]).await?;
        let no = |why: String| Fail::new(format!("target `{}`: connections cannot be opened: {why}", stream.plan.target));
        let (mut direct, mut opened) = (Vec::new(), Vec::new());
        if policy.reuse {
            let count = policy.prewarm.min(policy.max);
            if stream.log.is_some() || stream.requests().any(|r| link.is_direct(&r.talk)) {
                for _ in 0..count {
                    let made = link.connector().connect().await.map_err(|e| no(e.why))?;
                    opened.push(NewConnection { connect: made.connect, tls: made.tls, resumed: made.resumed });
                    direct.push(made);
                }
            }
            opened.extend(link.prewarm(count).await.map_err(|e| no(e.1))?);
        }
        all.push(Prepared { base, link, connections: policy.max, direct, opened });
    }
    Ok(all)
}

/// A worker's part of a stream's connections: of its segment's, what is left after an even division, first workers first.
fn part(policy: &Connections, shared: &Shared, worker: usize) -> Connections {
    let among = Segment { index: u32::try_from(worker).unwrap_or(0), of: u32::from(shared.force.workers) };
    let part = |n: u32| u32::try_from(among.part(shared.segment.part(u64::from(n)))).unwrap_or(n);
    Connections { max: part(policy.max).max(1), prewarm: part(policy.prewarm), ..policy.clone() }
}

/// What every request to a target has in common.
fn base(
    shared: &Shared,
    target: &shakedown_core::plan::Target,
    route: &shakedown_net::Route,
    policy: &Connections,
    targets: BTreeMap<String, String>,
) -> Result<Base, Fail> {
    let place = format!("target `{}`", target.name);
    let scope = crate::render::Scope { feeds: &[], captures: &[], secrets: &shared.wiring.secrets, place: &place };
    let mut headers = Vec::new();
    for (name, value) in &target.headers {
        let (name, text) = compile::header(name, value, &scope)?;
        let mut filled = String::new();
        let rendered = text.render(Place::Header, &Values::none(), &targets, &mut filled);
        rendered.and_then(|()| crate::format::sendable(&name, &filled)).map_err(|why| Fail::new(format!("{place}: {why}")))?;
        headers.push((expect::header_name(name.as_str(), &place)?, filled));
    }
    let origin = if route.absolute_form() { format!("http://{}", route.authority()) } else { String::new() };
    let (host, path, run) = (route.authority().to_owned(), route.base().to_owned(), shared.wiring.run.clone());
    Ok(Base { host, path, origin, headers, keep: policy.reuse, run, targets })
}

/// From start to stop.
fn live(shared: &Arc<Shared>, worker: usize, reactor: &mut Reactor, prepared: Vec<Prepared>, clock: Clock) -> io::Result<()> {
    let plan = &shared.wiring.plan;
    let (workers, segment) = (u32::from(shared.force.workers), shared.segment);
    let part = Part { index: segment.index + segment.of * worker as u32, of: segment.of * workers };
    let mut recorder = Recorder::sharing(plan.slice.0, &shared.cells);
    let (mut lanes, mut kept) = (Vec::new(), Vec::new());
    for (stream, p) in shared.streams.iter().zip(prepared) {
        lanes.push(Lane::new(stream, p.base, p.link, p.connections, &mut recorder));
        kept.push((p.direct, p.opened));
    }
    let mut world = World::new(Parts {
        lanes,
        recorder,
        samples: (Samples::new(Seed::of(plan.seed).and("samples")), Redactor::new(&shared.wiring.secrets, &plan.secrets)),
        run: Label::new(&shared.wiring.run),
        clock: (clock.epoch, Arc::clone(&clock.sink)),
        ceilings: Arc::clone(&shared.ceilings),
        force: shared.force,
        part,
        handle: reactor.handle().clone(),
        completions: Rc::new(Completions::default()),
    });
    for (lane, (direct, opened)) in kept.into_iter().enumerate() {
        opened.iter().for_each(|new| world.count_connection(None, lane as u32, new));
        for made in direct {
            world.adopt(lane as u32, made);
        }
    }
    let every = i64::try_from(plan.snapshot_every().0).unwrap_or(i64::MAX);
    let watch = Watch::new(worker == 0, shared.force.workers, shared.force.quantum, shared.force.spin);
    let greedy = greedy(shared.force.workers, std::thread::available_parallelism().map_or(1, usize::from));
    let mut beats = Beats { every, next: 0, spent: processor_time(), last: world.now, greedy: Some(greedy), watch };
    beats.next = (world.now.max(0) / every + 1) * every;
    follow(shared, worker, reactor, &mut world, &mut beats, &clock)?;
    world.abandon();
    let vitals = beats.watch.look(Offset(world.now));
    world.recorder.vitals().merge(&vitals);
    let used = processor_time().saturating_sub(beats.spent);
    clock.collector.last(worker, world.take(used));
    if let Some(samples) = shared.finale.leave(&mut world.samples) {
        clock.sink.send(Input::Samples(samples));
    }
    Ok(())
}

/// The loop: does what it is told until it is told to stop, and then until every open request has ended, each at most its
/// timeout.
fn follow(
    shared: &Arc<Shared>,
    worker: usize,
    reactor: &mut Reactor,
    world: &mut World<'_>,
    beats: &mut Beats,
    clock: &Clock,
) -> io::Result<()> {
    let (mut seen, mut running, mut ready) = (0, BTreeSet::new(), Vec::<Ready>::new());
    let mut drained = i64::MAX;
    loop {
        world.tick();
        if let Some(told) = shared.control.news(&mut seen) {
            hear(shared, world, &mut running, &told);
            if told.stop && !world.stopped() {
                world.stop();
                drained = World::plus(World::plus(world.now, shared.wiring.plan.longest_timeout()), DRAIN_MARGIN);
            }
        }
        world.pass();
        if world.stopped() && (world.in_flight == 0 || world.now >= drained) {
            if world.in_flight > 0 {
                tracing::warn!(open = world.in_flight, "requests were still open when load gave up waiting");
            }
            return Ok(());
        }
        if world.now >= beats.next {
            beats.report(worker, world, clock);
        }
        let (deadline, spin) = world.deadline(beats.next.min(drained));
        reactor.turn(Some(world.instant(deadline)), spin, &mut ready)?;
        world.looked = world.tick();
        for &one in &ready {
            world.ready(one);
            world.take_turns();
        }
        world.take_completions();
    }
}

/// Follows what is told: mode and streams that may start.
fn hear(shared: &Arc<Shared>, world: &mut World<'_>, running: &mut BTreeSet<usize>, told: &Told) {
    if told.mode != world.mode() {
        world.set_mode(told.mode);
    }
    for (i, s) in shared.streams.iter().enumerate() {
        let at = match &s.plan.at {
            When::At(span) => Some(Offset::ZERO.plus(*span)),
            When::Stage { .. } | When::After { .. } => told.streams.get(&s.plan.name).copied(),
        };
        if let Some(at) = at
            && running.insert(i)
        {
            world.start_stream(i as u32, at);
        }
    }
}

impl World<'_> {
    /// Does everything that is due now.
    fn pass(&mut self) {
        self.release_due();
        self.fire();
        self.probe_due();
        self.open_gate();
        self.take_turns();
        self.give_up_late();
        self.take_completions();
    }

    /// When there is something to do again, and how long before that the clock is watched. `latest` bounds it.
    fn deadline(&mut self, latest: i64) -> (i64, Duration) {
        if !self.turns.is_empty() {
            return (self.now, Duration::ZERO);
        }
        let gate = (!self.gated.is_empty()).then_some(self.gate);
        let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
        let probe = self.probe.filter(|_| self.may_send(true));
        let exact = [self.next_arrival(), wake, gate, probe].into_iter().flatten().min();
        let lazy = self.next_timeout().map_or(latest, |at| self.force.wake(at).min(latest));
        match exact {
            Some(at) if at <= lazy => (at, self.force.spin.duration()),
            _ => (lazy, Duration::ZERO),
        }
    }
}

impl Beats {
    /// Hands over everything observed up to now.
    fn report(&mut self, worker: usize, world: &mut World<'_>, clock: &Clock) {
        let now = processor_time();
        let used = now.saturating_sub(self.spent);
        let vitals = self.watch.look(Offset(world.now));
        world.recorder.vitals().merge(&vitals);
        world.close_old();
        let snapshot = world.take(used);
        let at = world.now;
        clock.collector.add(worker, (at / self.every).unsigned_abs(), snapshot);
        if self.greedy.is_some_and(|most| used as f64 > most * World::since(at, self.last) as f64) {
            self.greedy = None;
            let priority = priority::relax();
            tracing::warn!(?priority, "load needs most of a processor; it is scheduled like everybody else from here on");
        }
        (self.spent, self.last) = (now, at);
        self.next = (at / self.every + 1) * self.every;
    }
}
