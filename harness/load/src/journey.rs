//! One arrival from its first step to its last: think times, steps in order, how a whole journey is counted. Must not
//! decide when it starts.

use crate::arrive::{UNASKED, between};
use crate::compile::Step;
use crate::outcome::{Outcome, ungrouped};
use crate::record::Rows;
use crate::trip::{Last, NEVER, Owner, State};
use crate::world::{Wake, World};
use shakedown_core::snapshot::{Failure, Sample};
use shakedown_core::{Arm, Offset};

impl World<'_> {
    /// Counts a whole journey as due.
    pub fn open_whole(&mut self, trip: u32) {
        self.count_whole(trip, |t| t.due(1));
    }

    /// Changes where a whole journey is counted, if anywhere.
    fn count_whole(&mut self, trip: u32, change: impl Fn(&mut crate::tally::Tally)) {
        let trip = &self.trips[trip as usize];
        let Some(journey) = trip.journey else { return };
        for rows in &self.lanes[trip.lane as usize].routes[journey as usize].rows {
            change(self.recorder.at(trip.whole, rows.of(Arm::All)));
        }
    }

    /// Moves a whole journey to the slice of `due`.
    fn move_whole(&mut self, trip: u32, due: i64) {
        let slice = self.recorder.slice(Offset(due));
        if self.trips[trip as usize].whole != slice {
            self.count_whole(trip, |t| t.due(-1));
            self.trips[trip as usize].whole = slice;
            self.count_whole(trip, |t| t.due(1));
        }
    }

    /// Takes a journey back: cut short by the generator itself, it says nothing about who was asked.
    pub fn retract(&mut self, trip: u32) {
        self.count_whole(trip, |t| t.due(-1));
        let now = self.now;
        self.end(trip, now);
    }

    /// Goes to where the trip's step says.
    pub fn advance(&mut self, index: u32) {
        let trip = &mut self.trips[index as usize];
        let lane = &self.lanes[trip.lane as usize];
        let Some(journey) = trip.journey else {
            if trip.last.is_none() {
                self.call(index)
            } else {
                self.finish(index)
            }
            return;
        };
        let Some(step) = lane.spec.journeys[journey as usize].steps.get(trip.step as usize) else {
            self.finish(index);
            return;
        };
        trip.own = lane.seeds.step.at(trip.k).at(u64::from(trip.step));
        match step {
            Step::Think(from, to) => {
                trip.due = World::plus(trip.due, between(*from, *to, trip.own));
                trip.state = State::Thinking;
                let due = trip.due;
                self.land(index);
                let id = self.id(index);
                self.wake_at(due, Wake::Trip(id));
            }
            Step::Request(_) => self.call(index),
        }
    }

    /// The end of a pause or a backoff.
    pub fn woken(&mut self, index: u32) {
        let trip = &mut self.trips[index as usize];
        match trip.state {
            State::Thinking => {
                trip.state = State::Moving;
                trip.step += 1;
                self.advance(index);
            }
            State::BackingOff => self.attempt(index),
            _ => tracing::error!("a trip was woken that does not sleep"),
        }
    }

    /// One logical request is due: closed users keep to the rate first.
    fn call(&mut self, index: u32) {
        let trip = &self.trips[index as usize];
        let (due, user) = (trip.due, matches!(trip.owner, Owner::User(_)));
        if trip.last.is_some() && !self.may_send(trip.probes()) {
            self.retract(index);
            return;
        }
        self.move_whole(index, due);
        self.fly(index);
        if user && self.ceilings.paced() {
            let wait = if self.gated.is_empty() { self.ceilings.pass() } else { Ok(()) };
            if let Err(wait) = wait {
                self.gate = self.now.saturating_add(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX));
            }
            if wait.is_err() || !self.gated.is_empty() {
                self.trips[index as usize].state = State::Gated;
                let id = self.id(index);
                self.gated.push_back(id);
                return;
            }
        }
        self.ask(index);
    }

    /// What comes after a request that has ended.
    pub fn go_on(&mut self, index: u32, last: Last) {
        self.move_whole(index, last.due);
        let trip = &mut self.trips[index as usize];
        (trip.last, trip.due) = (Some(last), last.done);
        if last.failure.is_some() {
            self.finish(index);
        } else {
            trip.step += 1;
            self.advance(index);
        }
    }

    /// Counts a whole journey. Its arm is that of its last answer: the one that decided how it came out.
    fn finish(&mut self, index: u32) {
        let trip = &self.trips[index as usize];
        let (Some(last), start) = (trip.last, trip.start) else {
            self.retract(index);
            return;
        };
        let rows: &[Rows] = trip.journey.map_or(&[], |j| &self.lanes[trip.lane as usize].routes[j as usize].rows);
        if !rows.is_empty() {
            let Last { arm, failure, done, due } = last;
            let (dispatched, sent, first_byte) = (NEVER, NEVER, NEVER);
            let outcome = Outcome { arm, failure, status: None, bytes: 0, empty: false, done, dispatched, sent, first_byte };
            let slice = self.recorder.slice(Offset(due));
            for rows in rows {
                outcome.count(self.recorder.at(trip.whole, rows.of(Arm::All)), start, false);
                outcome.count(self.recorder.at(slice, rows.of(arm)), start, false);
            }
        }
        self.end(index, last.done);
    }

    /// A request that could not be filled in (a feed ran out, a value that no header may hold) failed without being sent.
    pub fn unmade(&mut self, index: u32, why: &str) {
        let trip = &self.trips[index as usize];
        let (lane, due) = (&self.lanes[trip.lane as usize], trip.due);
        let slice = self.recorder.slice(Offset(due));
        for rows in lane.rows_of(trip) {
            let tally = self.recorder.at(slice, rows.of(Arm::All));
            tally.due(1);
            tally.failed(Failure::Capture);
        }
        ungrouped(&mut self.recorder, lane.groups_of(trip), lane.spec.index, slice, Failure::Capture, 1);
        self.samples.failed(|| Sample {
            at: Offset(due),
            stream: lane.spec.plan.name.clone(),
            step: lane.label(trip),
            trace: String::new(),
            arm: Arm::Unknown,
            status: None,
            failure: Some(Failure::Capture),
            detail: self.redactor.clean(why),
            latency: 0,
            dispatch: 0,
            service: 0,
            request: String::new(),
            answer: String::new(),
        });
        self.move_whole(index, due);
        self.count_whole(index, |t| t.failed(Failure::Capture));
        let now = self.now;
        self.end(index, now);
    }

    /// The trip is over; its user thinks.
    fn end(&mut self, index: u32, done: i64) {
        self.land(index);
        let trip = self.trips.remove(index as usize);
        if self.drafted == Some(index) {
            self.drafted = None;
        }
        if let Owner::User(user) = trip.owner {
            let done = if trip.last.is_some() { done } else { World::plus(done, UNASKED) };
            self.turn_over(user, trip.k, trip.start, done, trip.extra.map(|e| e.jar));
        }
    }

    /// Whatever is still open at the end was never answered; journeys that wait for nobody but the harness are taken back.
    pub fn abandon(&mut self) {
        // Those who wait for a connection first, so that they do not get what another gives back.
        let waits = |state: &State| matches!(state, State::Waiting);
        let (first, then): (Vec<_>, Vec<_>) = self.trips.iter().partition(|(_, t)| waits(&t.state));
        let open: Vec<u32> = first.into_iter().chain(then).map(|(index, _)| index as u32).collect();
        for index in open {
            match self.trips[index as usize].state {
                State::Waiting | State::Connecting(_) | State::Exchanging(_) | State::Asking(..) => {
                    self.give_up(index, (Failure::Unanswered, "still open when load ended".to_owned()));
                }
                State::BackingOff => {
                    self.unanswered(index);
                    self.count_whole(index, |t| t.failed(Failure::Unanswered));
                    let now = self.now;
                    self.end(index, now);
                }
                State::Moving | State::Thinking | State::Gated => self.retract(index),
            }
        }
    }
}
