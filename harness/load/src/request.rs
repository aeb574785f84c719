//! One logical request: attempts, retries, checks, captures, records. Must not know what comes before or after it.

use crate::answer::Answer;
use crate::compile::Talk;
use crate::format::Ids;
use crate::lane::Lane;
use crate::outcome::{Grouped, Outcome, has_body, ungrouped};
use crate::samples::BODY;
use crate::seeds::{Label, Seed};
use crate::trip::{Last, NEVER, Owner, State, Trip};
use crate::world::{Wake, World};
use shakedown_core::plan::{Cookies, RetryOn};
use shakedown_core::snapshot::{Failure, Sample};
use shakedown_core::{Arm, Offset, Span};
use shakedown_protocols::Broken;

impl World<'_> {
    /// Sends a logical request and counts it as due.
    pub fn ask(&mut self, index: u32) {
        let trip = &self.trips[index as usize];
        if trip.last.is_none() && matches!(trip.owner, Owner::User(_)) {
            let stream = self.lanes[trip.lane as usize].spec.index;
            self.recorder.totals(stream).asked += 1;
        }
        if let Err(why) = self.draft(index) {
            self.unmade(index, &why);
            return;
        }
        let (now, trip) = (self.now, &mut self.trips[index as usize]);
        let slice = self.recorder.slice(Offset(trip.due));
        (trip.slice, trip.asked, trip.attempt) = (Some(slice), trip.due, 0);
        let lane = &self.lanes[trip.lane as usize];
        for rows in lane.rows_of(trip) {
            let tally = self.recorder.at(slice, rows.of(Arm::All));
            tally.due(1);
            tally.lag(World::since(now, trip.due));
        }
        self.attempt(index);
    }

    /// Fills a request in where it has holes, to see whether it can be; what is written is sent when a connection is there.
    fn draft(&mut self, index: u32) -> Result<(), String> {
        let trip = &self.trips[index as usize];
        let lane = &mut self.lanes[trip.lane as usize];
        if let (Some(journey), Some(ready)) = (trip.journey, lane.ready(trip)) {
            if ready.wire.fits(trip.jar())? {
                return Ok(());
            }
            if !ready.direct {
                // Filled in by its own protocol, once: there it cannot wait for a connection unfilled.
                return ready.wire.ask(&lane.base, &lane.values(trip), trip.jar(), &ids(self.run, trip, 1)).map(|_| ());
            }
            let (values, run) = (lane.values(trip), self.run);
            let ready = lane.routes[journey as usize].steps[trip.step as usize].as_mut().expect("looked up above");
            ready.wire.render(&lane.base, &values, trip.jar(), &ids(run, trip, 1), &mut self.scratch)?;
        } else {
            let (method, path, _) = lane.logged(trip.k);
            lane.replayed.bare(&lane.base, method, path, &ids(self.run, trip, 1), &mut self.scratch.out)?;
        }
        self.drafted = Some(index);
        Ok(())
    }

    /// Begins the next attempt.
    pub fn attempt(&mut self, index: u32) {
        let probe = self.trips[index as usize].probes();
        if !self.may_send(probe) || !self.take_attempt() {
            self.unanswered(index);
            self.retract(index);
            return;
        }
        let (now, trip) = (self.now, &mut self.trips[index as usize]);
        trip.attempt += 1;
        (trip.moves, trip.dispatched, trip.sent, trip.first_byte) = (0, now, NEVER, NEVER);
        trip.state = State::Moving;
        let lane = &mut self.lanes[trip.lane as usize];
        let timeout = lane.spec.plan.timeout;
        if World::since(now, trip.due) >= timeout.0 {
            self.attempt_over(index, Some(late(timeout)), None);
            return;
        }
        if trip.attempt > 1
            && let Some(slice) = trip.slice
        {
            lane.rows_of(trip).iter().for_each(|rows| self.recorder.at(slice, rows.of(Arm::All)).retries(1));
        }
        let direct = lane.ready(trip).map_or(lane.replays_directly, |r| r.direct);
        lane.timeouts.insert_sorted(&mut self.trips, index, |t: &Trip| t.due);
        if direct { self.acquire(index) } else { self.exchange(index) }
    }

    /// Closes a logical request of which no further attempt is made: nobody answered it.
    pub fn unanswered(&mut self, index: u32) {
        let trip = &self.trips[index as usize];
        let lane = &self.lanes[trip.lane as usize];
        if let Some(slice) = trip.slice {
            ungrouped(&mut self.recorder, lane.groups_of(trip), lane.spec.index, slice, Failure::Unanswered, 1);
        }
        self.close_call(index, |t| t.failed(Failure::Unanswered));
    }

    /// Changes where the logical request is counted and closes it.
    fn close_call(&mut self, index: u32, change: impl Fn(&mut crate::tally::Tally)) {
        let trip = &mut self.trips[index as usize];
        let Some(slice) = trip.slice.take() else { return };
        let lane = &self.lanes[trip.lane as usize];
        for rows in lane.rows_of(trip) {
            change(self.recorder.at(slice, rows.of(Arm::All)));
        }
    }

    /// An attempt has ended just now: with an answer, or for a reason (with what came of the answer).
    pub fn attempt_over(&mut self, index: u32, failure: Option<Broken>, answer: Option<&Answer<'_>>) {
        let trip = &mut self.trips[index as usize];
        trip.state = State::Moving;
        let lane_index = trip.lane as usize;
        let lane = &mut self.lanes[lane_index];
        lane.timeouts.remove(&mut self.trips, index);
        let (lane, trip) = (&self.lanes[lane_index], &self.trips[index as usize]);
        let timeout = lane.spec.plan.timeout;
        let (mut failure, mut done) = (failure, self.now);
        if World::since(done, trip.due) > timeout.0 {
            (failure, done) = (Some(late(timeout)), World::plus(trip.due, timeout));
        }
        let captured = match (&failure, answer) {
            (None, Some(answer)) => check(lane, trip, answer).unwrap_or_else(|broken| {
                failure = Some(broken);
                Vec::new()
            }),
            _ => Vec::new(),
        };
        let outcome = outcome(lane, trip, failure.as_ref().map(|f| f.0), answer, done);
        let (stream, due, asked, attempt) = (lane.spec.index, trip.due, trip.asked, trip.attempt);
        let (rows, groups) = (lane.rows_of(trip), lane.groups_of(trip));
        outcome.attempted(&mut self.recorder, rows, due);
        if answer.is_some() {
            self.recorder.answered(outcome.arm, Offset(outcome.done));
        }
        let grouped = Grouped { groups, answer, stream, due };
        if !groups.is_empty() {
            outcome.grouped(&mut self.recorder, &grouped, outcome.arm, due);
        }
        let retry = lane.spec.plan.retry.as_ref();
        let again = retry.filter(|r| attempt < r.attempts && wants(&r.on, &outcome) && self.may_send(trip.probes()));
        if let Some(retry) = again {
            let due = World::plus(done, backoff(retry.backoff, attempt, trip.own));
            self.keep_cookies(index, answer);
            self.again(index, due);
            return;
        }
        if !groups.is_empty() {
            outcome.grouped(&mut self.recorder, &grouped, Arm::All, asked);
        }
        if failure.is_some() || self.samples.wants(World::since(done, asked)) {
            self.sample(index, &outcome, failure, answer);
        }
        self.close_call(index, |t| outcome.count(t, asked, true));
        self.keep_cookies(index, answer);
        if !captured.is_empty() {
            self.keep_captures(index, captured);
        }
        self.go_on(index, Last { arm: outcome.arm, failure: outcome.failure, done, due });
    }

    /// Another attempt, due at `due`.
    fn again(&mut self, index: u32, due: i64) {
        let slice = self.recorder.slice(Offset(due));
        let trip = &mut self.trips[index as usize];
        (trip.due, trip.state) = (due, State::BackingOff);
        let before = trip.slice.replace(slice).unwrap_or(slice);
        let lane = &self.lanes[trip.lane as usize];
        for rows in lane.rows_of(trip).iter().filter(|_| before != slice) {
            self.recorder.at(before, rows.of(Arm::All)).due(-1);
            self.recorder.at(slice, rows.of(Arm::All)).due(1);
        }
        let id = self.id(index);
        self.wake_at(due, Wake::Trip(id));
    }

    /// Takes over what an answer sets, where a later request could send it.
    fn keep_cookies(&mut self, index: u32, answer: Option<&Answer<'_>>) {
        let trip = &mut self.trips[index as usize];
        let spec = self.lanes[trip.lane as usize].spec;
        let (Some(answer), Some(journey)) = (answer, trip.journey) else { return };
        let later = trip.step as usize + 1 < spec.journeys[journey as usize].steps.len();
        let kept = match spec.plan.cookies {
            Cookies::None => false,
            Cookies::User => later || matches!(trip.owner, Owner::User(_)),
            Cookies::Journey => later,
        };
        if kept && answer.header(&http::header::SET_COOKIE).is_some() {
            trip.extra.get_or_insert_default().jar.take(answer);
        }
    }

    fn keep_captures(&mut self, index: u32, captured: Vec<(usize, String)>) {
        let trip = &mut self.trips[index as usize];
        let captures = &mut trip.extra.get_or_insert_default().captures;
        for (slot, value) in captured {
            if captures.len() <= slot {
                captures.resize(slot + 1, None);
            }
            captures[slot] = Some(value);
        }
    }

    /// Offers the request as a sample.
    #[cold]
    fn sample(&mut self, index: u32, outcome: &Outcome, failure: Option<Broken>, answer: Option<&Answer<'_>>) {
        let trip = &self.trips[index as usize];
        let (lane, redactor, run) = (&self.lanes[trip.lane as usize], &self.redactor, self.run);
        let latency = World::since(outcome.done, trip.asked);
        let make = || {
            let detail: String = failure.iter().flat_map(|(_, why)| why.chars()).take(BODY).collect();
            let request = match lane.ready(trip) {
                Some(ready) => ready.wire.shown(&lane.base, &lane.values(trip)),
                None => {
                    let (method, path, _) = lane.logged(trip.k);
                    format!("{method} {}{path}", lane.base.path)
                }
            };
            Sample {
                at: Offset(trip.asked),
                stream: lane.spec.plan.name.clone(),
                step: lane.label(trip),
                trace: String::from_utf8_lossy(&ids(run, trip, trip.attempt).trace).into_owned(),
                arm: outcome.arm,
                status: outcome.status,
                failure: outcome.failure,
                detail: redactor.clean(&detail),
                latency,
                dispatch: World::since(outcome.done, outcome.dispatched),
                service: if outcome.sent == NEVER { 0 } else { World::since(outcome.done, outcome.sent) },
                request: redactor.clean(&request),
                answer: answer.map_or(String::new(), |a| redactor.answer(a)),
            }
        };
        if outcome.failure.is_some() { self.samples.failed(make) } else { self.samples.slow(latency, make) }
    }

    /// Gives up the attempts whose time is over.
    pub fn give_up_late(&mut self) {
        for index in 0..self.lanes.len() {
            let timeout = self.lanes[index].spec.plan.timeout;
            while let Some(first) = self.lanes[index].timeouts.first() {
                if World::plus(self.trips[first as usize].due, timeout) > self.now {
                    break;
                }
                self.give_up(first, late(timeout));
            }
        }
    }

    /// When the next attempt has to be given up.
    #[must_use]
    pub fn next_timeout(&self) -> Option<i64> {
        let first = |l: &Lane<'_>| Some(World::plus(self.trips[l.timeouts.first()? as usize].due, l.spec.plan.timeout));
        self.lanes.iter().filter_map(first).min()
    }
}

/// Holds an answer against what is expected and takes what later steps need.
fn check(lane: &Lane<'_>, trip: &Trip, answer: &Answer<'_>) -> Result<Vec<(usize, String)>, Broken> {
    let Some(ready) = lane.ready(trip) else {
        return lane.replay_checks(lane.logged(trip.k).2).check(answer).map(|()| Vec::new());
    };
    ready.request.checks.check(answer)?;
    let take = |t: &crate::expect::Taker| Ok((t.slot, t.take(answer).map_err(|why| (Failure::Capture, why))?));
    ready.request.takers.iter().map(take).collect()
}

fn outcome(lane: &Lane<'_>, trip: &Trip, failure: Option<Failure>, answer: Option<&Answer<'_>>, done: i64) -> Outcome {
    let ready = lane.ready(trip);
    let bodied = |status: u16| match ready {
        Some(r) => matches!(r.request.talk, Talk::Http) && has_body(&r.request.method, status),
        None => lane.logged(trip.k).0 != "HEAD" && has_body(&http::Method::GET, status),
    };
    let status = answer.and_then(|a| a.status);
    Outcome {
        arm: lane.spec.identifier.arm(answer, trip.jar()),
        failure,
        status,
        bytes: answer.map_or(0, |a| a.head_size + a.length),
        empty: failure.is_none() && answer.is_some_and(|a| a.length == 0) && status.is_some_and(bodied),
        done,
        dispatched: trip.dispatched,
        sent: trip.sent,
        first_byte: trip.first_byte,
    }
}

#[cold]
fn late(timeout: Span) -> Broken {
    (Failure::Timeout, format!("no complete answer within {timeout}"))
}

fn wants(on: &[RetryOn], outcome: &Outcome) -> bool {
    let Some(kind) = outcome.failure else { return false };
    on.iter().any(|condition| match condition {
        RetryOn::Connect => matches!(kind, Failure::Refused | Failure::Connect | Failure::Resolve),
        RetryOn::Reset => kind == Failure::Reset,
        RetryOn::Timeout => kind == Failure::Timeout,
        RetryOn::Status(status) => outcome.status == Some(*status),
    })
}

/// Doubles with every attempt; between half and one and a half of it by the seed.
fn backoff(base: Span, attempt: u32, seed: Seed) -> Span {
    let doubled = u128::from(base.0) << attempt.saturating_sub(1).min(16);
    let jittered = doubled / 2 + ((doubled * u128::from(seed.and("backoff").at(u64::from(attempt)).bits())) >> 64);
    Span(u64::try_from(jittered).unwrap_or(u64::MAX))
}

/// The IDs of an attempt: of the plan's seed, and of no other run.
#[inline]
#[must_use]
pub fn ids(run: Label, trip: &Trip, attempt: u32) -> Ids {
    let seed = trip.own.with(run);
    Ids { trace: seed.hex32(), span: seed.at(u64::from(attempt)).hex16() }
}
