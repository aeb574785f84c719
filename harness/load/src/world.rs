//! Everything one worker works with, as plain data of its loop: streams, trips, connections, timers, records, mode.
//! Decides whether something may be sent; sends nothing itself.

use crate::ceilings::Ceilings;
use crate::conn::Conn;
use crate::cookies::Jar;
use crate::format::Scratch;
use crate::lane::Lane;
use crate::link::Completions;
use crate::outcome::ungrouped;
use crate::precision::InForce;
use crate::record::Recorder;
use crate::samples::{Redactor, Samples};
use crate::seeds::Label;
use crate::trip::{NEVER, Trip, TripId};
use shakedown_core::event::HaltBy;
use shakedown_core::seams::{LoadMode, Sink};
use shakedown_core::snapshot::Failure;
use shakedown_core::{Arm, Epoch, Input, Offset, Span};
use shakedown_net::Handle;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most journeys under way in one worker, thinking ones too; more arrivals are dropped.
pub const MAX_JOURNEYS: usize = 1_000_000;

/// Who is woken by a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A trip that thinks or backs off.
    Trip(TripId),
    /// A closed-model user.
    User(u32),
}

/// A closed-model user.
#[derive(Debug)]
pub struct User {
    /// Its stream.
    pub lane: u32,
    /// Its number in the stream.
    pub number: u64,
    /// Arrivals it has made.
    pub turn: u64,
    /// When its next one is due.
    pub due: i64,
    /// When its stream ends.
    pub end: i64,
    /// Its cookies between arrivals.
    pub jar: Option<Jar>,
}

/// Which of the run's arrivals are this worker's.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its number among all workers of all segments.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

/// A worker's world.
pub struct World<'a> {
    /// Streams.
    pub lanes: Vec<Lane<'a>>,
    /// Arrivals under way.
    pub trips: Slab<Trip>,
    /// Connections of the direct path.
    pub conns: Slab<Conn>,
    /// Closed-model users.
    pub users: Vec<User>,
    /// Users who may not send now.
    pub parked: Vec<u32>,
    /// Users whose turn it is.
    pub turns: VecDeque<u32>,
    /// Trips of users that wait for the rate.
    pub gated: VecDeque<TripId>,
    /// When the first of them may be looked at.
    pub gate: i64,
    /// Timers.
    pub wakes: BinaryHeap<Reverse<(i64, Wake)>>,
    /// Counts.
    pub recorder: Recorder,
    /// Samples.
    pub samples: Samples,
    /// Takes secrets out of samples.
    pub redactor: Redactor,
    /// The run ID, which makes trace IDs differ between runs of one seed.
    pub run: Label,
    /// Offset 0.
    pub epoch: Epoch,
    /// The time as it was last looked at, ns after the epoch.
    pub now: i64,
    /// When the kernel was last asked what is ready.
    pub looked: i64,
    /// What others learn.
    pub sink: Arc<dyn Sink>,
    /// Shared limits.
    pub ceilings: Arc<Ceilings>,
    /// What is in force.
    pub force: InForce,
    /// Which arrivals are its own.
    pub part: Part,
    /// The loop.
    pub handle: Handle,
    /// What tasks have to say.
    pub completions: Rc<Completions>,
    /// Buffers.
    pub scratch: Scratch,
    /// What is read.
    pub buffer: Vec<u8>,
    /// The trip whose request lies in the scratch buffer.
    pub drafted: Option<u32>,
    /// Logical requests in flight.
    pub in_flight: u64,
    /// When the probe asks next.
    pub probe: Option<i64>,
    /// How often it has asked.
    pub probed: u64,
    mode: LoadMode,
    stopped: bool,
    lives: u32,
}

/// What a world is made of.
pub struct Parts<'a> {
    /// Streams.
    pub lanes: Vec<Lane<'a>>,
    /// Counts.
    pub recorder: Recorder,
    /// Samples and what cleans them.
    pub samples: (Samples, Redactor),
    /// The run ID.
    pub run: Label,
    /// Epoch and sink.
    pub clock: (Epoch, Arc<dyn Sink>),
    /// Limits.
    pub ceilings: Arc<Ceilings>,
    /// Precision.
    pub force: InForce,
    /// Which arrivals.
    pub part: Part,
    /// The loop.
    pub handle: Handle,
    /// What tasks have to say.
    pub completions: Rc<Completions>,
}

impl<'a> World<'a> {
    /// A world in mode `Full`.
    #[must_use]
    pub fn new(parts: Parts<'a>) -> World<'a> {
        World {
            lanes: parts.lanes,
            trips: Slab::new(),
            conns: Slab::new(),
            users: Vec::new(),
            parked: Vec::new(),
            turns: VecDeque::new(),
            gated: VecDeque::new(),
            gate: NEVER,
            wakes: BinaryHeap::new(),
            recorder: parts.recorder,
            samples: parts.samples.0,
            redactor: parts.samples.1,
            run: parts.run,
            epoch: parts.clock.0,
            now: parts.clock.0.offset(Instant::now()).0,
            looked: NEVER,
            sink: parts.clock.1,
            ceilings: parts.ceilings,
            force: parts.force,
            part: parts.part,
            handle: parts.handle,
            completions: parts.completions,
            scratch: Scratch::default(),
            buffer: vec![0; crate::conn::READ],
            drafted: None,
            in_flight: 0,
            probe: None,
            probed: 0,
            mode: LoadMode::Full,
            stopped: false,
            lives: 0,
        }
    }

    /// Looks at the clock.
    #[inline]
    pub fn tick(&mut self) -> i64 {
        self.now = self.epoch.offset(Instant::now()).0;
        self.now
    }

    /// The moment of an offset.
    #[must_use]
    pub fn instant(&self, at: i64) -> Instant {
        let span = Duration::from_nanos(at.unsigned_abs());
        if at >= 0 { self.epoch.0 + span } else { self.epoch.0.checked_sub(span).unwrap_or(self.epoch.0) }
    }

    /// The mode now.
    #[must_use]
    pub fn mode(&self) -> LoadMode {
        self.mode
    }

    /// Streams send (and arrivals count as asked).
    #[inline]
    #[must_use]
    pub fn flowing(&self) -> bool {
        matches!(self.mode, LoadMode::Full | LoadMode::Finish) && !self.stopped
    }

    /// Whether another request of a journey (or of the probe) may be sent.
    #[inline]
    #[must_use]
    pub fn may_send(&self, probe: bool) -> bool {
        !self.stopped && !self.ceilings.halted() && if probe { self.mode == LoadMode::Probe } else { self.flowing() }
    }

    /// Changes the mode: what was due under the old one is released first.
    pub fn set_mode(&mut self, mode: LoadMode) {
        let now = self.tick();
        self.release(now);
        self.mode = mode;
        for lane in &mut self.lanes {
            if let Some(source) = &mut lane.source {
                source.go_on(mode == LoadMode::Full);
            }
        }
        self.probe = None;
        self.unpark();
    }

    /// Users who could not send look again.
    fn unpark(&mut self) {
        let now = self.now;
        for user in std::mem::take(&mut self.parked) {
            let due = &mut self.users[user as usize].due;
            *due = now.max(*due);
            self.turns.push_back(user);
        }
    }

    /// Releases what is due; nothing is sent after that.
    pub fn stop(&mut self) {
        let now = self.tick();
        self.release(now);
        self.stopped = true;
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// A number that no living entry of the same place has.
    pub fn life(&mut self) -> u32 {
        self.lives = self.lives.wrapping_add(1) & 0x3fff_ffff;
        self.lives
    }

    /// The trip of that name, if it is still under way.
    #[must_use]
    pub fn alive(&self, id: TripId) -> bool {
        self.trips.get(id.index as usize).is_some_and(|t| t.life == id.life)
    }

    /// Wakes someone at `due`, on the grid.
    pub fn wake_at(&mut self, due: i64, whom: Wake) {
        self.wakes.push(Reverse((self.force.wake(due), whom)));
    }

    /// Takes one attempt from `limits.requests`; the first refusal halts the run.
    #[inline]
    #[must_use]
    pub fn take_attempt(&self) -> bool {
        match self.ceilings.take_attempt() {
            Ok(()) => true,
            Err(first) => {
                if first {
                    self.sink.send(Input::Halt(HaltBy::Limit("requests".to_owned())));
                }
                false
            }
        }
    }

    /// Room for one more logical request of a new arrival.
    #[inline]
    #[must_use]
    pub fn admit(&mut self, lane: u32) -> bool {
        if self.trips.len() >= MAX_JOURNEYS || !self.ceilings.admit() {
            return false;
        }
        self.in_flight += 1;
        self.lanes[lane as usize].in_flight += 1;
        true
    }

    /// Counts a trip as in flight again.
    pub fn fly(&mut self, trip: u32) {
        let trip = &mut self.trips[trip as usize];
        if !std::mem::replace(&mut trip.flying, true) {
            self.ceilings.fly();
            self.in_flight += 1;
            self.lanes[trip.lane as usize].in_flight += 1;
        }
    }

    /// Counts a trip as in flight no more.
    pub fn land(&mut self, trip: u32) {
        let trip = &mut self.trips[trip as usize];
        if std::mem::replace(&mut trip.flying, false) {
            self.ceilings.land();
            self.in_flight -= 1;
            self.lanes[trip.lane as usize].in_flight -= 1;
        }
    }

    /// `n` arrivals of a slice that were not admitted: their first requests, and their journeys, failed without being sent.
    pub fn drop_arrivals(&mut self, lane: u32, journey: Option<u32>, slice: u32, n: u64) {
        let lane = &self.lanes[lane as usize];
        self.recorder.totals(lane.spec.index).dropped += n;
        let route = journey.map(|j| &lane.routes[j as usize]);
        let first = route.and_then(|r| r.steps.iter().flatten().next());
        let (rows, groups) = first.map_or((&lane.rows, &lane.groups), |ready| (&ready.rows, &ready.groups));
        for rows in rows.iter().chain(route.iter().flat_map(|r| &r.rows)) {
            let tally = self.recorder.at(slice, rows.of(Arm::All));
            tally.due(i64::try_from(n).unwrap_or(i64::MAX));
            tally.all_failed(Failure::Dropped, n);
        }
        ungrouped(&mut self.recorder, groups, lane.spec.index, slice, Failure::Dropped, n);
    }

    /// Everything observed since the last call. `cpu` is the worker's processor time since then.
    pub fn take(&mut self, cpu: u64) -> shakedown_core::Snapshot {
        let now = self.tick();
        self.release(now);
        for lane in self.lanes.iter().filter(|l| l.started.is_some()) {
            let totals = self.recorder.totals(lane.spec.index);
            totals.in_flight = lane.in_flight;
            totals.ended = lane.ended;
        }
        for lane in &self.lanes {
            let short = lane.link.connector().take_shortage();
            let vitals = self.recorder.vitals();
            vitals.no_descriptor += short.descriptors;
            vitals.no_port += short.ports;
        }
        let now = Offset(self.tick());
        self.recorder.take(now, cpu)
    }

    /// The span from `earlier` to `later`, zero when it is the other way round.
    #[inline]
    #[must_use]
    pub fn since(later: i64, earlier: i64) -> u64 {
        Offset(later).since(Offset(earlier)).0
    }

    /// `due` plus a span.
    #[must_use]
    pub fn plus(due: i64, span: Span) -> i64 {
        Offset(due).plus(span).0
    }
}
