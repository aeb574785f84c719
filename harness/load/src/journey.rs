//! One arrival from its first step to its last: think times, captured values, cookies. Must not decide when it starts.

use crate::compile::{Request, Step};
use crate::cookies::Jar;
use crate::draft::Draft;
use crate::expect::Checks;
use crate::outcome::{Open, Outcome};
use crate::record::WHOLE;
use crate::render::Values;
use crate::request::{self, Call, Ended};
use crate::world::{Flight, World};
use http::Method;
use shakedown_core::plan::Model;
use shakedown_core::snapshot::{Failure, Sample};
use shakedown_core::{Arm, Cell, Offset, Span};
use std::rc::Rc;

/// Arrivals of the probe are counted from here, apart from those of the shape.
pub const PROBE: u64 = 1 << 40;

/// One arrival.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Index of its stream.
    pub lane: usize,
    /// Index of its journey; `None` for a replay.
    pub journey: Option<usize>,
    /// Its number.
    pub k: u64,
    /// When it is due.
    pub due: Offset,
}

/// Runs it to its end; gives the offset of its last answer.
pub async fn run(world: &Rc<World>, start: Start, flight: Flight, jar: &mut Jar) -> Offset {
    match start.journey {
        Some(journey) => steps(world, start, journey, flight, jar).await,
        None => replayed(world, start, flight, jar).await,
    }
}

async fn steps(world: &Rc<World>, start: Start, index: usize, flight: Flight, jar: &mut Jar) -> Offset {
    let lane = &world.lanes[start.lane];
    let journey = &lane.spec().journeys[index];
    let probe = start.k >= PROBE;
    let seed = lane.spec().seed;
    let rows = lane.spec().feeds.iter().map(|(_, rows)| rows.row(seed.and("feed"), start.k, probe)).collect();
    let mut values = Values { rows, captures: vec![None; journey.slots], uuid: String::new() };
    let mut whole = Open::new(world, lane.spec().index, &lane.journeys[index], start.due);
    let (mut due, mut flight) = (start.due, Some(flight));
    let mut last: Option<Ended> = None;
    for (number, step) in journey.steps.iter().enumerate() {
        let own = seed.and("step").at(start.k).at(number as u64);
        match step {
            Step::Think(from, to) => {
                flight = None;
                due = due.plus(between(*from, *to, own));
                whole.idle(true);
                world.alarm.until(world.instant(due)).await;
                whole.idle(false);
            }
            Step::Request(request) => {
                values.uuid = own.and("uuid").uuid();
                let here = Call {
                    lane: start.lane,
                    label: format!("{}/{}", journey.name, request.name),
                    draft: &match Draft::new(world, lane, request, &values, jar) {
                        Ok(draft) => draft,
                        Err(why) => {
                            let label = format!("{}/{}", journey.name, request.name);
                            unmade(world, start.lane, &lane.steps[index][number], due, (label, &why));
                            whole.move_to(due);
                            whole.settle(|c| *c.failed.entry(Failure::Capture).or_default() += 1);
                            return world.now();
                        }
                    },
                    checks: &request.checks,
                    takers: &request.takers,
                    keep: request.keep,
                    dims: &lane.steps[index][number],
                    groups: groups(world, start.lane, &journey.name, request),
                    seed: own,
                    probe,
                };
                if last.is_some() && !world.may_send(probe) {
                    whole.retract();
                    return world.now();
                }
                whole.move_to(due);
                let _held = flight.take().unwrap_or_else(|| world.fly(start.lane));
                let Some(ended) = request::call(world, &here, due, jar).await else {
                    whole.retract();
                    return world.now();
                };
                whole.move_to(ended.due);
                due = ended.outcome.done;
                for (slot, value) in &ended.captured {
                    values.captures[*slot] = Some(value.clone());
                }
                let failed = ended.outcome.failure.is_some();
                last = Some(ended);
                if failed {
                    break;
                }
            }
        }
    }
    finish(world, start, whole, &lane.journeys[index], last)
}

/// Counts a whole journey. Its arm is that of its last answer: the one that decided how it came out.
fn finish(world: &Rc<World>, start: Start, whole: Open, dims: &[u32], last: Option<Ended>) -> Offset {
    let Some(Ended { outcome, due, .. }) = last else {
        whole.retract();
        return world.now();
    };
    let count = |c: &mut Cell| Outcome { status: None, bytes: 0, empty: false, ..outcome.clone() }.count(c, start.due, false);
    whole.settle(count);
    if outcome.arm != Arm::All {
        let mut recorder = world.recorder.borrow_mut();
        let slice = recorder.slice(due);
        for &dim in dims {
            recorder.cell(slice, world.lanes[start.lane].spec().index, outcome.arm, dim, count);
        }
    }
    outcome.done
}

/// A request that could not be filled in (a feed ran out, a value that no header may hold) failed without being sent.
fn unmade(world: &Rc<World>, lane: usize, dims: &[u32], due: Offset, (step, why): (String, &str)) {
    let spec = world.lanes[lane].spec();
    let open = Open::new(world, spec.index, dims, due);
    open.settle(|c| *c.failed.entry(Failure::Capture).or_default() += 1);
    world.samples.borrow_mut().failed(|| Sample {
        at: due,
        stream: spec.plan.name.clone(),
        step,
        trace: String::new(),
        arm: Arm::Unknown,
        status: None,
        failure: Some(Failure::Capture),
        detail: world.redactor.clean(why),
        latency: 0,
        dispatch: 0,
        service: 0,
        request: String::new(),
        answer: String::new(),
    });
}

async fn replayed(world: &Rc<World>, start: Start, flight: Flight, jar: &mut Jar) -> Offset {
    let _held = flight;
    let lane = &world.lanes[start.lane];
    let (Some(log), Model::Replay(replay)) = (&lane.spec().log, &lane.spec().plan.model) else { return world.now() };
    let index = (start.k % PROBE) as usize % log.entries.len();
    let entry = &log.entries[index];
    let method = Method::from_bytes(log.method(entry).as_bytes()).unwrap_or(Method::GET);
    let draft = match Draft::bare(world, lane, &method, log.path(entry)) {
        Ok(draft) => draft,
        Err(why) => {
            unmade(world, start.lane, &[WHOLE], start.due, ("replay".to_owned(), &why));
            return world.now();
        }
    };
    let checks = Checks::status(accepted(replay.expect_recorded.then_some(entry.status)));
    let call = Call {
        lane: start.lane,
        label: "replay".to_owned(),
        draft: &draft,
        checks: &checks,
        takers: &[],
        keep: lane.spec().identifier.needs_body(),
        dims: &[WHOLE],
        groups: lane.spec().groups.iter().filter(|g| g.wants("", "")).collect(),
        seed: lane.spec().seed.and("step").at(start.k),
        probe: start.k >= PROBE,
    };
    let ended = request::call(world, &call, start.due, jar).await;
    ended.map_or_else(|| world.now(), |e| e.outcome.done)
}

/// Below 500, or the recorded class. A recorded 304 may come back as 2xx: a log holds no conditional headers.
fn accepted(recorded: Option<u16>) -> Vec<(u16, u16)> {
    match recorded {
        None => vec![(100, 499)],
        Some(304) => vec![(200, 399)],
        Some(status) => vec![(status / 100 * 100, status / 100 * 100 + 99)],
    }
}

fn groups<'a>(world: &'a World, lane: usize, journey: &str, request: &Request) -> Vec<&'a crate::compile::Group> {
    world.lanes[lane].spec().groups.iter().filter(|g| g.wants(journey, &request.name)).collect()
}

/// Uniform between two spans.
#[must_use]
pub fn between(from: Span, to: Span, seed: crate::seeds::Seed) -> Span {
    Span(from.0 + seed.and("think").below(to.0.saturating_sub(from.0).saturating_add(1)))
}
