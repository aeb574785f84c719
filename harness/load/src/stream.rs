//! Who starts arrivals: open shapes and replays, closed-model users, the probe. Must not send or record by itself.

use crate::compile::Journey;
use crate::cookies::Jar;
use crate::curve;
use crate::journey::{self, PROBE, Start};
use crate::pacer::Pacer;
use crate::source::Source;
use crate::world::World;
use shakedown_core::plan::{Cookies, Model};
use shakedown_core::seams::LoadMode;
use shakedown_core::{Offset, Span};
use std::rc::Rc;
use tokio::task::spawn_local;

/// One request a second in all.
const PROBE_EVERY: Span = Span::secs(1);
/// Why a change is always seen: the sender lives as long as the world, which the waiting task holds.
const ALIVE: &str = "the world outlives its tasks";

/// Runs stream `lane` from `start` to the end of its arrivals.
pub async fn run(world: Rc<World>, lane: usize, start: Offset) {
    let stream = &world.lanes[lane].spec().plan;
    world.lanes[lane].started.set(Some(start));
    match &stream.model {
        Model::Open { poisson, shape } => {
            let seed = poisson.then(|| world.lanes[lane].spec().seed.and("arrivals"));
            tracing::debug!(stream = stream.name, end = %curve::length(shape), "stream starts");
            paced(&world, lane, start, Source::Paced(Box::new(Pacer::new(shape, seed)))).await;
        }
        Model::Replay(_) => paced(&world, lane, start, Source::Logged(0)).await,
        Model::Closed { users, think, length } => {
            let end = start.plus(*length);
            let all: Vec<_> = (0..*users).map(|u| spawn_local(user(Rc::clone(&world), lane, u64::from(u), *think, start, end))).collect();
            for one in all {
                if let Err(e) = one.await {
                    tracing::error!(stream = stream.name, "a user ended: {e}");
                }
            }
        }
    }
    world.lanes[lane].ended.set(true);
}

async fn paced(world: &Rc<World>, index: usize, start: Offset, mut source: Source) {
    let lane = &world.lanes[index];
    let log = lane.spec().log.as_ref();
    source.go_on(world.mode() == LoadMode::Full);
    *lane.asked.borrow_mut() = Some(source.clone());
    let mut changes = world.changes.subscribe();
    loop {
        source.go_on(world.mode() == LoadMode::Full);
        let Some(next) = source.peek(log) else {
            let open_end = world.mode() == LoadMode::Full && matches!(source, Source::Paced(_));
            if open_end {
                // The last rate is zero: nothing comes until the mode changes.
                changes.changed().await.expect(ALIVE);
                continue;
            }
            let end = world.instant(start.plus(source.end(log)));
            tokio::select! {
                () = world.alarm.until(end) => return,
                changed = changes.changed() => changed.expect(ALIVE),
            }
            continue;
        };
        let due = start.plus(next.due);
        tokio::select! {
            biased;
            changed = changes.changed() => {
                changed.expect(ALIVE);
                continue;
            }
            () = world.alarm.until(world.instant(due)) => {}
        }
        source.next(log);
        if world.flowing() && due >= world.resumed() {
            let spec = lane.spec();
            let journey = (!spec.journeys.is_empty()).then(|| spec.pick(next.k));
            begin(world, index, journey, next.k, due);
        }
    }
}

/// Starts arrival `k`, or drops it at the in-flight limit.
fn begin(world: &Rc<World>, lane: usize, journey: Option<usize>, k: u64, due: Offset) {
    if !world.may_send(k >= PROBE) {
        // Over `limits.requests`: the run is being halted.
        return;
    }
    let Some((flight, trip)) = world.admit(lane) else {
        world.drop_arrival(lane, journey, due);
        return;
    };
    let world = Rc::clone(world);
    spawn_local(async move {
        journey::run(&world, Start { lane, journey, k, due }, flight, &mut Jar::default()).await;
        drop(trip);
    });
}

/// One closed-model user: asks, waits for the answer, thinks. The first arrivals are spread over one think time.
async fn user(world: Rc<World>, lane: usize, u: u64, think: (Span, Span), start: Offset, end: Offset) {
    let spec = world.lanes[lane].spec();
    let Model::Closed { users, .. } = spec.plan.model else { return };
    let (mut jar, mut turn) = (Jar::default(), 0u64);
    let mut changes = world.changes.subscribe();
    let mut due = start.plus(Span(spec.seed.and("first").at(u).below(think.1.0.max(1))));
    while due < end {
        tokio::select! {
            biased;
            changed = changes.changed() => {
                changed.expect(ALIVE);
                continue;
            }
            () = world.alarm.until(world.instant(due)) => {}
        }
        if !world.may_send(false) {
            changes.changed().await.expect(ALIVE);
            due = due.max(world.now());
            continue;
        }
        let k = turn * u64::from(users) + u;
        turn += 1;
        world.recorder.borrow_mut().totals(spec.index).asked += 1;
        let start = Start { lane, journey: Some(spec.pick(k)), k, due };
        let done = match world.admit(lane) {
            Some((flight, trip)) => {
                let done = journey::run(&world, start, flight, &mut jar).await;
                drop(trip);
                done
            }
            None => {
                world.drop_arrival(lane, start.journey, due);
                world.now()
            }
        };
        if spec.plan.cookies != Cookies::User {
            jar = Jar::default();
        }
        due = done.plus(journey::between(think.0, think.1, spec.seed.at(k)));
        if due <= start.due {
            // Never in a circle without time passing, even when nothing can be sent.
            due = start.due.plus(Span::millis(1));
        }
    }
}

/// The probe: one request a second from the first stream while the mode is `Probe`.
pub async fn probe(world: Rc<World>) {
    let mut changes = world.changes.subscribe();
    let (mut n, mut next) = (0u64, None);
    loop {
        if !world.may_send(true) {
            next = None;
            changes.changed().await.expect(ALIVE);
            continue;
        }
        let due = next.unwrap_or_else(|| world.now());
        tokio::select! {
            biased;
            changed = changes.changed() => {
                changed.expect(ALIVE);
                continue;
            }
            () = world.alarm.until(world.instant(due)) => {}
        }
        let lane = &world.lanes[0];
        lane.started.set(lane.started.get().or(Some(due)));
        world.recorder.borrow_mut().totals(lane.spec().index).asked += 1;
        // A journey that begins with a GET, if there is one; else any.
        let journeys = &lane.spec().journeys;
        let journey = (!journeys.is_empty()).then(|| journeys.iter().position(Journey::begins_with_get).unwrap_or(0));
        begin(&world, 0, journey, PROBE + n, due);
        n += 1;
        next = Some(due.plus(PROBE_EVERY));
    }
}
