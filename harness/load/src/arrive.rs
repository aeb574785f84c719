//! Who starts arrivals: open shapes and replays, closed-model users, the probe; and when timers are due. Must not send or
//! record by itself.

use crate::compile::Journey;
use crate::cookies::Jar;
use crate::pacer::{Pacer, Share};
use crate::source::Source;
use crate::trip::{NEVER, Owner, PROBE, State, Trip, TripId};
use crate::world::{User, Wake, World};
use shakedown_core::plan::{Cookies, Model};
use shakedown_core::seams::LoadMode;
use shakedown_core::{Offset, Span};
use std::cmp::Reverse;

/// The probe asks once a second.
const PROBE_EVERY: Span = Span::secs(1);
/// Most arrivals of one stream released before answers are looked at again.
const AT_ONCE: u32 = 256;
/// Most arrivals of one stream released before a report; what is due beyond is dropped without being looked at.
const AT_A_BEAT: u32 = 1 << 18;
/// A user whose arrival came to no request waits at least this long: never in a circle without time passing.
pub const UNASKED: Span = Span::millis(1);

/// One arrival that is due.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Index of its stream.
    pub lane: u32,
    /// Index of its journey; `None` for a replay.
    pub journey: Option<u32>,
    /// Its number.
    pub k: u64,
    /// When it is due.
    pub due: i64,
    /// Who started it.
    pub owner: Owner,
}

impl World<'_> {
    /// Starts stream `lane` with `start` as the origin of its shape.
    pub fn start_stream(&mut self, index: u32, start: Offset) {
        let share = Share { index: self.part.index, of: self.part.of };
        let goes_on = self.mode() == LoadMode::Full;
        let lane = &mut self.lanes[index as usize];
        lane.started = Some(start.0);
        let stream = &lane.spec.plan;
        tracing::debug!(stream = stream.name, "stream starts");
        match &stream.model {
            Model::Open { poisson, shape } => {
                let seed = poisson.then(|| lane.spec.seed.and("arrivals"));
                let mut source = Source::paced(Pacer::shared(shape, seed, share));
                source.go_on(goes_on);
                lane.source = Some(source);
            }
            Model::Replay(_) => lane.source = Some(Source::logged(share)),
            Model::Closed { users, think, length } => {
                let (end, first) = (start.plus(*length).0, lane.spec.seed.and("first"));
                // The first arrivals are spread over one think time.
                let due = |u: u64| start.plus(Span(first.at(u).below(think.1.0.max(1)))).0;
                let own = (0..u64::from(*users)).filter(|u| u % u64::from(share.of) == u64::from(share.index));
                let from = self.users.len() as u32;
                self.users.extend(own.map(|number| User { lane: index, number, turn: 0, due: due(number), end, jar: None }));
                lane.users = self.users.len() as u32 - from;
                lane.ended = lane.users == 0;
                for user in from..self.users.len() as u32 {
                    self.wake_at(self.users[user as usize].due, Wake::User(user));
                }
            }
        }
    }

    /// Releases every arrival due up to `limit`, or drops those that are too many to be taken up one by one.
    pub fn release(&mut self, limit: i64) {
        for lane in 0..self.lanes.len() as u32 {
            if self.release_some(lane, limit, AT_A_BEAT) {
                self.skip(lane, limit);
            }
        }
    }

    /// Drops what is due up to `limit`, slice by slice: as due, never sent. Which journeys they would have been is only
    /// known on average.
    fn skip(&mut self, index: u32, limit: i64) {
        loop {
            let flowing = self.flowing();
            let lane = &mut self.lanes[index as usize];
            let (Some(start), Some(source)) = (lane.started, &mut lane.source) else { return };
            let (spec, log) = (lane.spec, lane.spec.log.as_ref());
            let due = source.peek(log).map(|next| World::plus(start, next.due));
            let Some(due) = due.filter(|due| *due <= limit) else { return };
            let slice = self.recorder.slice(Offset(due));
            let until = limit.min(self.recorder.end(slice).saturating_sub(1)).max(due);
            // At least the one that is due, so this ends.
            let n = source.skip_until(Offset(until).since(Offset(start)), log);
            if flowing {
                self.recorder.totals(spec.index).asked += n;
                for (journey, n) in spec.share(n) {
                    self.drop_arrivals(index, journey.map(|j| j as u32), slice, n);
                }
            }
        }
    }

    /// Releases the arrivals of this pass: those due on the grid, not too many at once.
    pub fn release_due(&mut self) {
        let limit = self.force.due_by(self.now);
        for lane in 0..self.lanes.len() as u32 {
            self.release_some(lane, limit, AT_ONCE);
        }
    }

    /// Whether it stopped at `most`.
    fn release_some(&mut self, index: u32, limit: i64, most: u32) -> bool {
        for _ in 0..most {
            let flowing = self.flowing();
            let full = self.mode() == LoadMode::Full;
            let lane = &mut self.lanes[index as usize];
            let (Some(start), Some(source)) = (lane.started, &mut lane.source) else { return false };
            let (spec, log) = (lane.spec, lane.spec.log.as_ref());
            let Some(next) = source.peek(log) else {
                let open_end = full && matches!(source, Source::Paced(_));
                if !open_end && limit >= World::plus(start, source.end(log)) {
                    (lane.source, lane.ended) = (None, true);
                }
                return false;
            };
            let due = World::plus(start, next.due);
            if due > limit {
                return false;
            }
            source.next(log);
            if flowing {
                self.recorder.totals(spec.index).asked += 1;
                let journey = (!spec.journeys.is_empty()).then(|| spec.pick(next.k) as u32);
                self.begin(Arrival { lane: index, journey, k: next.k, due, owner: Owner::Paced });
            }
        }
        true
    }

    /// When the next arrival of any stream has to be released.
    #[must_use]
    pub fn next_arrival(&mut self) -> Option<i64> {
        let force = self.force;
        let full = self.mode() == LoadMode::Full;
        let next = |lane: &mut crate::lane::Lane<'_>| {
            let (start, source) = (lane.started?, lane.source.as_mut()?);
            let log = lane.spec.log.as_ref();
            match source.peek(log) {
                Some(next) => Some(force.wake(World::plus(start, next.due))),
                None if full && matches!(source, Source::Paced(_)) => None,
                None => Some(force.wake(World::plus(start, source.end(log)))),
            }
        };
        self.lanes.iter_mut().filter_map(next).min()
    }

    /// Starts an arrival, or drops it at the in-flight limit. Whether it is under way (or was, and has ended).
    pub fn begin(&mut self, a: Arrival) -> bool {
        if !self.may_send(a.owner == Owner::Probe) {
            // Over `limits.requests`: the run is being halted.
            return false;
        }
        if !self.admit(a.lane) {
            let slice = self.recorder.slice(Offset(a.due));
            self.drop_arrivals(a.lane, a.journey, slice, 1);
            return false;
        }
        let (life, slice) = (self.life(), self.recorder.slice(Offset(a.due)));
        let lane = &self.lanes[a.lane as usize];
        let own = lane.seeds.step.at(a.k);
        let trip = Trip {
            life,
            lane: a.lane,
            owner: a.owner,
            journey: a.journey,
            step: 0,
            k: a.k,
            start: a.due,
            asked: a.due,
            due: a.due,
            slice: None,
            whole: slice,
            attempt: 0,
            moves: 0,
            flying: true,
            dispatched: NEVER,
            sent: NEVER,
            first_byte: NEVER,
            own,
            last: None,
            state: State::Moving,
            links: Default::default(),
            extra: None,
        };
        let index = self.trips.insert(trip) as u32;
        if let Owner::User(user) = a.owner
            && let Some(jar) = self.users[user as usize].jar.take()
        {
            self.trips[index as usize].extra.get_or_insert_default().jar = jar;
        }
        self.open_whole(index);
        self.advance(index);
        true
    }

    /// The turn of a closed-model user: asks, unless its stream has ended or nothing may be sent.
    fn turn(&mut self, index: u32) {
        let may = self.may_send(false);
        let user = &mut self.users[index as usize];
        let lane = &mut self.lanes[user.lane as usize];
        if user.due >= user.end {
            lane.users -= 1;
            lane.ended = lane.users == 0;
            return;
        }
        if !may {
            self.parked.push(index);
            return;
        }
        let spec = lane.spec;
        let Model::Closed { users, .. } = spec.plan.model else { return };
        let k = user.turn * u64::from(users) + user.number;
        user.turn += 1;
        let a = Arrival { lane: user.lane, journey: Some(spec.pick(k) as u32), k, due: user.due, owner: Owner::User(index) };
        if !self.begin(a) {
            self.recorder.totals(spec.index).asked += 1;
            let (later, jar) = (World::plus(self.now, UNASKED), self.users[index as usize].jar.take());
            self.turn_over(index, k, a.due, later, jar);
        }
    }

    /// A user's arrival `k`, due at `due`, ended at `done`: it thinks, then asks again.
    pub fn turn_over(&mut self, index: u32, k: u64, due: i64, done: i64, jar: Option<Jar>) {
        let user = &mut self.users[index as usize];
        let spec = self.lanes[user.lane as usize].spec;
        let Model::Closed { think, .. } = spec.plan.model else { return };
        user.jar = jar.filter(|_| spec.plan.cookies == Cookies::User);
        user.due = World::plus(done, between(think.0, think.1, spec.seed.at(k)));
        if user.due <= due {
            user.due = World::plus(due, UNASKED);
        }
        let due = user.due;
        if due <= self.now {
            self.turns.push_back(index);
        } else {
            self.wake_at(due, Wake::User(index));
        }
    }

    /// Gives their turn to those whose turn it was when this was called.
    #[inline]
    pub fn take_turns(&mut self) {
        for _ in 0..self.turns.len() {
            if let Some(user) = self.turns.pop_front() {
                self.turn(user);
            }
        }
    }

    /// Fires the timers that are due.
    pub fn fire(&mut self) {
        while let Some(&Reverse((at, whom))) = self.wakes.peek() {
            if at > self.now {
                return;
            }
            self.wakes.pop();
            match whom {
                Wake::User(user) => self.turn(user),
                Wake::Trip(id) if self.alive(id) => self.woken(id.index),
                Wake::Trip(_) => {}
            }
        }
    }

    /// Lets trips through that the rate held back.
    pub fn open_gate(&mut self) {
        let may = self.may_send(false);
        while (self.gate <= self.now || !may)
            && let Some(&id) = self.gated.front()
        {
            let alive = self.alive(id);
            // One whose stream has ended is not let through any more.
            let open = alive && may && !self.is_over(id.index);
            if open && let Err(wait) = self.ceilings.pass() {
                self.gate = self.now.saturating_add(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)).saturating_add(1);
                return;
            }
            self.gated.pop_front();
            if alive && !open {
                // It was not due yet.
                self.retract(id.index);
            } else if alive {
                let (now, trip) = (self.now, &mut self.trips[id.index as usize]);
                trip.due = now.max(trip.due);
                self.ask(id.index);
            }
        }
    }

    /// Whether a trip that has asked nothing yet is of a user whose stream has ended.
    fn is_over(&self, trip: u32) -> bool {
        let trip = &self.trips[trip as usize];
        matches!(trip.owner, Owner::User(user) if trip.last.is_none() && self.users[user as usize].end <= self.now)
    }

    /// The probe: one request a second from the first stream while the mode is `Probe`, by the run's first worker.
    pub fn probe_due(&mut self) {
        if self.part.index != 0 || self.lanes.is_empty() || !self.may_send(true) {
            return;
        }
        let due = *self.probe.get_or_insert(self.now);
        if due > self.now {
            return;
        }
        let lane = &mut self.lanes[0];
        lane.started = lane.started.or(Some(due));
        self.recorder.totals(lane.spec.index).asked += 1;
        // A journey that begins with a GET, if there is one; else any.
        let journeys = &lane.spec.journeys;
        let journey = (!journeys.is_empty()).then(|| journeys.iter().position(Journey::begins_with_get).unwrap_or(0) as u32);
        self.begin(Arrival { lane: 0, journey, k: PROBE + self.probed, due, owner: Owner::Probe });
        self.probed += 1;
        self.probe = Some(World::plus(due, PROBE_EVERY));
    }

    /// The name of a trip.
    #[must_use]
    pub fn id(&self, trip: u32) -> TripId {
        TripId { index: trip, life: self.trips[trip as usize].life }
    }
}

/// Uniform between two spans.
#[must_use]
pub fn between(from: Span, to: Span, seed: crate::seeds::Seed) -> Span {
    Span(from.0 + seed.and("think").below(to.0.saturating_sub(from.0).saturating_add(1)))
}
