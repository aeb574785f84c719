//! One logical request: attempts, retries, checks, captures, records. Must not know what comes before or after it.

use crate::client::{Notice, Progress};
use crate::compile::Group;
use crate::cookies::Jar;
use crate::draft::Draft;
use crate::expect::{Checks, Taker};
use crate::outcome::{Open, Outcome};
use crate::record::DimId;
use crate::samples::BODY;
use crate::seeds::Seed;
use crate::world::{Lane, World};
use http::{Method, StatusCode};
use shakedown_core::plan::{Cookies, RetryOn};
use shakedown_core::snapshot::{Failure, Sample};
use shakedown_core::{Arm, Cell, Offset, Span};
use std::rc::Rc;
use std::time::Duration;

/// Longest group value kept, bytes.
const MAX_GROUP: usize = 100;
/// Group of attempts that no answer names one for.
const NO_GROUP: &str = "(none)";

/// One logical request.
pub struct Call<'a> {
    /// Index of its stream.
    pub lane: usize,
    /// Journey and step, for samples.
    pub label: String,
    /// Filled in.
    pub draft: &'a Draft,
    /// What counts as success.
    pub checks: &'a Checks,
    /// What later steps need.
    pub takers: &'a [Taker],
    /// The whole body must be kept.
    pub keep: bool,
    /// Dimensions.
    pub dims: &'a [DimId],
    /// Grouping objectives that judge it.
    pub groups: Vec<&'a Group>,
    /// From (stream, arrival, step).
    pub seed: Seed,
    /// Sent by the probe.
    pub probe: bool,
}

/// How a logical request ended.
pub struct Ended {
    /// The last attempt's outcome.
    pub outcome: Outcome,
    /// When the last attempt was due.
    pub due: Offset,
    /// Captured values by slot.
    pub captured: Vec<(usize, String)>,
}

/// Sends it and counts it; `None` when the generator may not send (nothing was counted but an unanswered request).
pub async fn call(world: &Rc<World>, call: &Call<'_>, due: Offset, jar: &mut Jar) -> Option<Ended> {
    let lane = &world.lanes[call.lane];
    let stream = lane.spec().index;
    let retry = lane.spec().plan.retry.as_ref();
    let mut open = Open::new(world, stream, call.dims, due);
    let lag = world.now().since(due);
    open.each(|c| c.lag.record(lag.0));
    let (mut attempt_due, mut attempt) = (due, 1u32);
    loop {
        if !world.may_send(call.probe) || !world.take_attempt() {
            return None;
        }
        let (outcome, captured, progress) = one(world, lane, call, attempt_due, attempt, jar, &open).await;
        attempted(world, lane, call, &outcome, attempt_due, &progress);
        let again = retry.filter(|r| attempt < r.attempts && wants(&r.on, &outcome) && world.may_send(call.probe));
        let Some(retry) = again else {
            open.settle(|c| outcome.count(c, due, true));
            grouped(world, stream, call, Arm::All, &outcome, due, attempt_due, &progress);
            sample(world, lane, call, &outcome, due, &progress);
            return Some(Ended { outcome, due: attempt_due, captured });
        };
        attempt_due = outcome.done.plus(backoff(retry.backoff, attempt, call.seed));
        attempt += 1;
        open.move_to(attempt_due);
        open.each(|c| c.retries += 1);
        world.alarm.until(world.instant(attempt_due)).await;
    }
}

/// One attempt, from sending to the last check.
async fn one(
    world: &World,
    lane: &Lane,
    call: &Call<'_>,
    due: Offset,
    attempt: u32,
    jar: &mut Jar,
    open: &Open,
) -> (Outcome, Vec<(usize, String)>, Progress) {
    let timeout = lane.spec().plan.timeout;
    let dispatched = world.now();
    let mut progress = Progress::default();
    let notice = Notice {
        sent: &|| world.recorder.borrow_mut().totals(lane.spec().index).sent += 1,
        connected: &|took: Duration| {
            world.recorder.borrow_mut().totals(lane.spec().index).connections += 1;
            open.each(|c| c.connect.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)));
        },
    };
    let late = || (Failure::Timeout, format!("no complete answer within {timeout}"));
    let mut failure = if dispatched.since(due) >= timeout {
        Some(late())
    } else {
        let request = call.draft.attempt(&trace(world, call), &call_seed(world, call).at(u64::from(attempt)).hex16());
        let deadline = tokio::time::Instant::from_std(world.instant(due.plus(timeout)));
        let exchange = lane.pool.exchange(request, call.keep, &mut progress, &notice);
        tokio::time::timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(late())).err()
    };
    let mut done = world.now();
    if done.since(due) > timeout {
        failure = Some(late());
        done = due.plus(timeout);
    }
    let mut captured = Vec::new();
    if let (None, Some(answer)) = (&failure, &progress.answer) {
        failure = call.checks.check(answer).err();
        if failure.is_none() {
            match call.takers.iter().map(|t| Ok((t.slot, t.take(answer)?))).collect() {
                Ok(values) => captured = values,
                Err(why) => failure = Some((Failure::Capture, why)),
            }
        }
    }
    let answer = progress.answer.as_ref();
    let arm = lane.spec().identifier.arm(answer, jar);
    if let (Some(answer), false) = (answer, lane.spec().plan.cookies == Cookies::None) {
        jar.take(&answer.headers);
    }
    let outcome = Outcome {
        arm,
        status: answer.map(|a| a.status.as_u16()),
        bytes: answer.map_or(0, |a| a.head_size() + a.length),
        empty: failure.is_none() && answer.is_some_and(|a| a.length == 0 && has_body(&call.draft.method, a.status)),
        failure,
        done,
        dispatched,
        sent: progress.sent.map(|at| world.epoch.offset(at)),
    };
    (outcome, captured, progress)
}

/// Counts an attempt for its arm.
fn attempted(world: &World, lane: &Lane, call: &Call<'_>, outcome: &Outcome, due: Offset, progress: &Progress) {
    let stream = lane.spec().index;
    {
        let mut recorder = world.recorder.borrow_mut();
        let slice = recorder.slice(due);
        for &dim in call.dims {
            recorder.cell(slice, stream, outcome.arm, dim, |c: &mut Cell| outcome.count(c, due, false));
        }
        if progress.answer.is_some() {
            recorder.answered(outcome.arm, outcome.done);
        }
    }
    grouped(world, stream, call, outcome.arm, outcome, due, due, progress);
}

/// Counts into the groups that objectives ask for. A logical request is due and done at once there, since only its
/// answer says which group it is in; whoever gave no answer is in a group of its own, never left out.
#[allow(clippy::too_many_arguments, reason = "all of one outcome; a struct would only rename them")]
fn grouped(world: &World, stream: u16, call: &Call<'_>, arm: Arm, outcome: &Outcome, from: Offset, due: Offset, progress: &Progress) {
    for group in &call.groups {
        let header = progress.answer.as_ref().and_then(|a| a.headers.get(&group.header));
        let value = header.map_or(NO_GROUP.into(), |v| String::from_utf8_lossy(v.as_bytes()));
        let value: String = value.chars().take(MAX_GROUP).collect();
        let mut recorder = world.recorder.borrow_mut();
        let slice = recorder.slice(due);
        let dim = recorder.group(&group.objective, &value);
        recorder.cell(slice, stream, arm, dim, |c: &mut Cell| {
            c.due += i64::from(arm == Arm::All);
            outcome.count(c, from, arm == Arm::All);
        });
    }
}

/// Whether an answer to this method with this status has a body at all.
fn has_body(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD && status.is_success() && status != StatusCode::NO_CONTENT && status != StatusCode::RESET_CONTENT
}

fn wants(on: &[RetryOn], outcome: &Outcome) -> bool {
    let Some((kind, _)) = &outcome.failure else { return false };
    on.iter().any(|condition| match condition {
        RetryOn::Connect => matches!(kind, Failure::Refused | Failure::Connect),
        RetryOn::Reset => *kind == Failure::Reset,
        RetryOn::Timeout => *kind == Failure::Timeout,
        RetryOn::Status(status) => outcome.status == Some(*status),
    })
}

/// Doubles with every attempt; between half and one and a half of it by the seed.
fn backoff(base: Span, attempt: u32, seed: Seed) -> Span {
    let doubled = u128::from(base.0) << attempt.saturating_sub(1).min(16);
    let jittered = doubled / 2 + ((doubled * u128::from(seed.and("backoff").at(u64::from(attempt)).bits())) >> 64);
    Span(u64::try_from(jittered).unwrap_or(u64::MAX))
}

fn call_seed(world: &World, call: &Call<'_>) -> Seed {
    call.seed.and(&world.run_id)
}

fn trace(world: &World, call: &Call<'_>) -> String {
    call_seed(world, call).hex32()
}

/// Offers the request as a sample.
fn sample(world: &World, lane: &Lane, call: &Call<'_>, outcome: &Outcome, due: Offset, progress: &Progress) {
    let latency = outcome.done.since(due).0;
    let make = || {
        let (failure, detail) = outcome.failure.clone().map_or((None, String::new()), |(f, d)| (Some(f), d));
        let detail: String = detail.chars().take(BODY).collect();
        Sample {
            at: due,
            stream: lane.spec().plan.name.clone(),
            step: call.label.clone(),
            trace: trace(world, call),
            arm: outcome.arm,
            status: outcome.status,
            failure,
            detail: world.redactor.clean(&detail),
            latency,
            dispatch: outcome.done.since(outcome.dispatched).0,
            service: outcome.sent.map_or(0, |sent| outcome.done.since(sent).0),
            request: world.redactor.clean(&format!("{} {}", call.draft.method, call.draft.uri)),
            answer: progress.answer.as_ref().map_or(String::new(), |a| world.redactor.answer(a)),
        }
    };
    let mut samples = world.samples.borrow_mut();
    if outcome.failure.is_some() { samples.failed(make) } else { samples.slow(latency, make) }
}
