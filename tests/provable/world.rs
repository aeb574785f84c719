//! The world of a shipped scenario in virtual time: its traffic, a weighted router, two releases, its faults. Counts as
//! load counts, a snapshot every 100 ms. Must not know what the engine or the judge decides.

use crate::releases::{Harm, Release, Releases, SIGMA, touches};
use crate::virtual_time::{Fate, Truth};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use shakedown_core::event::Attestation;
use shakedown_core::plan::{Form, Model, Plan, RequestPlan, Segment, Step, Stream};
use shakedown_core::seams::LoadMode;
use shakedown_core::snapshot::{Failure, StreamTotals};
use shakedown_core::{Arm, Cell, CellKey, Dim, Offset, Ppm, Rate, Snapshot, Span};
use shakedown_engine::Call;
use shakedown_load::Forecast;
use shakedown_load::pacer::Pacer;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

const MS: f64 = 1e6;
const SECOND: i64 = 1_000_000_000;

/// One stream's traffic.
struct Lane {
    pacer: Pacer,
    started: Option<Offset>,
    done: bool,
    /// Per journey: its weight, and per request whether each fault touches it.
    journeys: Vec<(u32, Vec<Vec<bool>>)>,
    totals: StreamTotals,
}

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    done: Offset,
    due: Offset,
    stream: usize,
    journey: usize,
    step: usize,
    canary: bool,
    failed: Option<Failure>,
}

/// The truth.
pub struct World {
    plan: Arc<Plan>,
    releases: Releases,
    rng: ChaCha8Rng,
    lanes: Vec<Lane>,
    load: LoadMode,
    /// Everything up to here has happened.
    now: Offset,
    /// Canary weights since an offset, in order.
    weights: Vec<(Offset, Ppm)>,
    faults: Vec<Option<(Offset, Offset)>>,
    hits: Vec<Attestation>,
    flights: BinaryHeap<Reverse<Flight>>,
    cells: BTreeMap<(u32, u16, Arm), Cell>,
    answered: BTreeMap<Arm, (Offset, Offset)>,
}

impl World {
    /// Before anything has happened.
    pub fn new(plan: &Arc<Plan>, forecasts: &[Forecast], releases: Releases, seed: u64) -> World {
        World {
            lanes: plan.streams.iter().zip(forecasts).map(|(s, f)| Lane::new(plan, s, f)).collect(),
            plan: plan.clone(),
            releases,
            rng: ChaCha8Rng::seed_from_u64(seed),
            load: LoadMode::Off,
            now: Offset::ZERO,
            weights: Vec::new(),
            faults: vec![None; plan.faults.len()],
            hits: vec![Attestation::default(); plan.faults.len()],
            flights: BinaryHeap::new(),
            cells: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    fn weight(&self, at: Offset) -> Ppm {
        self.weights.iter().rev().find(|w| w.0 <= at).map_or(Ppm::ZERO, |w| w.1)
    }

    /// Lets everything happen up to an offset.
    fn advance(&mut self, to: Offset) {
        for i in 0..self.lanes.len() {
            while let Some(due) = self.lanes[i].next(self.load, to) {
                self.lanes[i].totals.asked += 1;
                let journey = self.journey(i);
                self.send(i, journey, 0, due);
            }
        }
        if self.load == LoadMode::Probe {
            let (from, until) = (self.now.0.div_euclid(SECOND), to.0.div_euclid(SECOND));
            (from..until).for_each(|second| self.send(0, 0, 0, Offset((second + 1) * SECOND)));
        }
        self.now = self.now.max(to);
        while self.flights.peek().is_some_and(|f| f.0.done <= to) {
            let Some(Reverse(flight)) = self.flights.pop() else { break };
            self.land(flight);
        }
    }

    fn journey(&mut self, lane: usize) -> usize {
        let weights: u32 = self.lanes[lane].journeys.iter().map(|j| j.0).sum();
        let place = self.rng.random_range(0..weights.max(1));
        let mut up_to = 0;
        let reached = |j: &(u32, Vec<Vec<bool>>)| {
            up_to += j.0;
            place < up_to
        };
        self.lanes[lane].journeys.iter().position(reached).unwrap_or(0)
    }

    fn send(&mut self, stream: usize, journey: usize, step: usize, due: Offset) {
        let weight = self.weight(due).fraction();
        let canary = self.plan.rollout.is_some() && self.rng.random::<f64>() < weight;
        let release = if canary { self.releases.canary } else { self.releases.control };
        let mut took = self.service_time(release);
        let mut from = due;
        for fault in 0..self.faults.len() {
            let Some((since, until)) = self.faults[fault] else { continue };
            if self.lanes[stream].journeys[journey].1[step][fault] && since <= due && due < until {
                self.hits[fault].seen += 1;
                match Harm::of(&self.plan.faults[fault]) {
                    Harm::Pause => from = from.max(until),
                    Harm::Latency { share, delay, jitter } if self.rng.random::<f64>() < share => {
                        self.hits[fault].hits += 1;
                        took += (delay + jitter * self.normal()).max(0.0);
                    }
                    Harm::Latency { .. } => {}
                }
            }
        }
        let fails = self.rng.random::<f64>() < release.errors;
        // Rounded up to whole milliseconds.
        let done = from.plus(Span((took / MS).ceil() as u64 * 1_000_000));
        let late = due.plus(self.plan.streams[stream].timeout);
        let (done, failed) = if done > late { (late, Some(Failure::Timeout)) } else { (done, fails.then_some(Failure::Status)) };
        self.lanes[stream].totals.sent += 1;
        let all = self.cells.entry((self.slice(due), stream as u16, Arm::All)).or_default();
        all.due += 1;
        // Between 20 and 80 µs late.
        all.lag.record(20_000 * (1 + due.0 as u64 / 1000 % 4));
        self.flights.push(Reverse(Flight { done, due, stream, journey, step, canary, failed }));
    }

    fn service_time(&mut self, release: Release) -> f64 {
        let tail = release.tail > 0.0 && self.rng.random::<f64>() < release.tail;
        let more = if tail { self.rng.random_range(60.0..150.0) } else { 0.0 };
        (release.median * (SIGMA * self.normal()).exp() + more) * MS
    }

    /// A standard normal number (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.rng.random::<f64>(), self.rng.random::<f64>());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn slice(&self, due: Offset) -> u32 {
        (due.0.max(0) as u64 / self.plan.slice.0) as u32
    }

    /// A request comes back; the next of its journey follows.
    fn land(&mut self, flight: Flight) {
        let arm = match (self.plan.rollout.is_some(), flight.failed, flight.canary) {
            (false, ..) => Arm::All,
            (true, Some(Failure::Timeout), _) => Arm::Unknown,
            (true, _, true) => Arm::Canary,
            (true, _, false) => Arm::Control,
        };
        let slice = self.slice(flight.due);
        for of in if arm == Arm::All { vec![Arm::All] } else { vec![Arm::All, arm] } {
            let cell = self.cells.entry((slice, flight.stream as u16, of)).or_default();
            match flight.failed {
                None => cell.ok += 1,
                Some(kind) => *cell.failed.entry(kind).or_default() += 1,
            }
            if flight.failed != Some(Failure::Status) {
                cell.latency.record(flight.done.since(flight.due).0);
            }
            let seen = self.answered.entry(of).or_insert((flight.done, flight.done));
            *seen = (seen.0.min(flight.done), seen.1.max(flight.done));
        }
        let more = flight.step + 1 < self.lanes[flight.stream].journeys[flight.journey].1.len();
        if flight.failed.is_none() && more && self.load != LoadMode::Off {
            self.send(flight.stream, flight.journey, flight.step + 1, flight.done);
        }
    }

    /// Sets the canary's weight, unless the router refuses to lower it.
    fn weigh(&mut self, to: Ppm, at: Offset) -> Result<Value, String> {
        if self.releases.refuses && to < self.weight(at) {
            return Err("the router answered 409".to_owned());
        }
        self.weights.push((at, to));
        Ok(Value::Null)
    }
}

impl Lane {
    fn new(plan: &Plan, stream: &Stream, forecast: &Forecast) -> Lane {
        let mean = Rate::from_per_second(forecast.requests / forecast.length.seconds().max(1e-9));
        let pacer = match &stream.model {
            Model::Open { shape, poisson } => Pacer::new(shape, poisson.then(|| shakedown_load::seeds::Seed::of(plan.seed))),
            Model::Closed { .. } | Model::Replay(_) => Pacer::new(&[Segment { length: forecast.length, form: Form::Hold(mean) }], None),
        };
        let touched =
            |request: Option<&RequestPlan>| plan.faults.iter().map(|f| touches(plan, f, &stream.target, request)).collect::<Vec<bool>>();
        let journey = |j: &shakedown_core::plan::Journey| {
            let requests = j.steps.iter().filter_map(|s| match s {
                Step::Request(r) => Some(touched(Some(r))),
                Step::Think(..) => None,
            });
            (j.weight, requests.collect())
        };
        let mut journeys: Vec<_> = stream.journeys.iter().map(journey).collect();
        if journeys.is_empty() {
            journeys.push((1, vec![touched(None)]));
        }
        Lane { pacer, started: None, done: false, journeys, totals: StreamTotals::default() }
    }

    /// The next arrival up to an offset.
    fn next(&mut self, mode: LoadMode, to: Offset) -> Option<Offset> {
        if !matches!(mode, LoadMode::Full | LoadMode::Finish) {
            return None;
        }
        let start = self.started?;
        self.pacer.go_on(mode == LoadMode::Full);
        let Some(arrival) = self.pacer.peek() else {
            self.totals.ended = !std::mem::replace(&mut self.done, true);
            return None;
        };
        let due = start.plus(arrival.due);
        (due <= to).then(|| self.pacer.next()).flatten().map(|_| due)
    }
}

impl Truth for World {
    const SNAPSHOT: u64 = 100_000_000;

    fn begin(&mut self, call: Call, deadline: Span, _: u64, at: Offset) -> Fate {
        self.advance(at);
        let mut after = self.rng.random_range(500_000..6_000_000).min(deadline.0);
        let outcome = match call {
            Call::Connect => Ok(Value::from(0)),
            Call::ReadWeight => Ok(Value::from(self.weight(at).0)),
            Call::SetWeight(to) => self.weigh(to, at),
            Call::RestoreWeight => self.weigh(Ppm::ZERO, at),
            Call::ApplyFault(i) => {
                // Until it is taken back after its length, or earlier.
                self.faults[i] = Some((at, at.plus(self.plan.faults[i].length)));
                if Harm::of(&self.plan.faults[i]) == Harm::Pause {
                    self.hits[i] = Attestation { hits: 1, seen: 1, bytes: 0 };
                }
                Ok(Value::Null)
            }
            Call::RevertFault(i) => {
                if let Some((_, until)) = &mut self.faults[i] {
                    *until = (*until).min(at);
                }
                Ok(Value::Null)
            }
            Call::StopLoad => {
                self.load = LoadMode::Off;
                let last = self.flights.iter().map(|f| f.0.done).max().unwrap_or(at);
                // One more snapshot comes after the last answer.
                after = last.since(at).0 + 2 * Self::SNAPSHOT;
                assert!(after <= deadline.0, "answers come within their timeout");
                Ok(Value::Null)
            }
            _ => Ok(Value::Null),
        };
        Fate { after, outcome }
    }

    fn start_load(&mut self) {
        self.load = LoadMode::Full;
    }

    fn start_stream(&mut self, stream: u16, at: Offset) {
        self.lanes[usize::from(stream)].started = Some(at);
    }

    fn mode(&mut self, mode: LoadMode, at: Offset) {
        self.advance(at);
        self.load = mode;
    }

    fn attest(&self, fault: usize) -> Attestation {
        self.hits[fault].clone()
    }

    fn snapshot(&mut self, _: u64, at: Offset) -> Option<Snapshot> {
        self.advance(at);
        let named = |((slice, stream, arm), cell)| (CellKey { slice, stream, arm, dim: Dim::Whole }, cell);
        let cells = std::mem::take(&mut self.cells).into_iter().map(named).collect();
        let answered = std::mem::take(&mut self.answered);
        let streams = self.lanes.iter_mut().enumerate().map(|(i, lane)| (i as u16, std::mem::take(&mut lane.totals)));
        Some(Snapshot {
            as_of: at,
            cells,
            streams: streams.collect(),
            first_answer: answered.iter().map(|(arm, seen)| (*arm, seen.0)).collect(),
            last_answer: answered.iter().map(|(arm, seen)| (*arm, seen.1)).collect(),
            ..Snapshot::default()
        })
    }
}
