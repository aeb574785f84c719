//! The simulated world: what calls do to it, how they fail, hang and lie, and what load sees. Keeps the truth that the
//! checks compare the engine's facts with. Must not know what the engine decides.

use crate::virtual_time::{Fate, Truth};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use shakedown_core::Plan;
use shakedown_core::event::Attestation;
use shakedown_core::seams::LoadMode;
use shakedown_core::snapshot::{Arm, Cell, CellKey, Dim, Snapshot, StreamTotals};
use shakedown_core::units::{Offset, Ppm, Span};
use shakedown_engine::Call;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Requests of a stream in a snapshot.
const REQUESTS: u64 = 20;

/// How badly the world behaves: chances in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mood {
    /// A call fails.
    pub fail: u32,
    /// A call hangs until its deadline (it may have had its effect).
    pub hang: u32,
    /// A set is acknowledged and not made.
    pub lie_set: u32,
    /// A read answers what was asked for instead of what is.
    pub lie_read: u32,
    /// Bad behaviour begins only here (virtual time, ns).
    pub from: u64,
}

/// The truth.
pub struct World {
    plan: Arc<Plan>,
    rng: ChaCha8Rng,
    pub mood: Mood,
    pub weight: Ppm,
    pub found: Ppm,
    asked: Ppm,
    pub services: BTreeSet<usize>,
    pub in_place: BTreeSet<usize>,
    pub hits: BTreeMap<usize, u64>,
    pub teardowns: BTreeSet<usize>,
    pub setup_begun: bool,
    pub record_open: bool,
    pub lied_read: bool,
    pub load: Option<LoadMode>,
    /// Snapshots stop from here on (virtual time, ns).
    pub load_dies: Option<u64>,
    ended: BTreeSet<u16>,
    pub started: BTreeMap<u16, Offset>,
    last_as_of: Offset,
}

impl World {
    pub fn new(plan: Arc<Plan>, seed: u64, mood: Mood, found: Ppm) -> World {
        World {
            plan,
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x5eed),
            mood,
            weight: found,
            found,
            asked: found,
            services: BTreeSet::new(),
            in_place: BTreeSet::new(),
            hits: BTreeMap::new(),
            teardowns: BTreeSet::new(),
            setup_begun: false,
            record_open: false,
            lied_read: false,
            load: None,
            load_dies: None,
            ended: BTreeSet::new(),
            started: BTreeMap::new(),
            last_as_of: Offset::ZERO,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn act(&mut self, call: Call) {
        match call {
            Call::StartService(i) => {
                self.services.insert(i);
            }
            Call::Setup(_) => self.setup_begun = true,
            Call::ApplyFault(i) => {
                self.in_place.insert(i);
            }
            Call::RevertFault(i) => {
                self.in_place.remove(&i);
            }
            Call::SetWeight(to) => {
                self.record_open = true;
                self.asked = to;
                self.weight = to;
            }
            Call::RestoreWeight => {
                self.asked = self.found;
                self.weight = self.found;
            }
            Call::KeepWeight => self.record_open = false,
            Call::Teardown(i) => {
                self.teardowns.insert(i);
            }
            Call::StopServices => self.services.clear(),
            Call::StopLoad => self.load = None,
            _ => {}
        }
    }

    fn traffic(&mut self, stream: u16, at: Offset, s: &mut Snapshot) {
        for fault in &self.in_place {
            *self.hits.entry(*fault).or_default() += 1;
        }
        let canary = u64::from(self.weight.0) * REQUESTS / 1_000_000;
        let mut answer = |arm, ok: u64| {
            s.first_answer.insert(arm, self.last_as_of);
            s.last_answer.insert(arm, at);
            let key = CellKey { slice: (at.0.max(0) / 1_000_000_000) as u32, stream, arm, dim: Dim::Whole };
            s.cells.push((key, Cell { due: if arm == Arm::All { ok as i64 } else { 0 }, ok, ..Cell::default() }));
        };
        if self.weight > Ppm::ZERO {
            answer(Arm::Canary, canary.max(1));
        }
        if self.weight < Ppm::ONE {
            answer(Arm::Control, REQUESTS - canary);
        }
        answer(Arm::All, REQUESTS);
    }
}

impl Truth for World {
    const SNAPSHOT: u64 = 200_000_000;

    /// Its effect on the truth happens here.
    fn begin(&mut self, call: Call, deadline: Span, now: u64, _: Offset) -> Fate {
        let after = self.rng.random_range(100_000..80_000_000).min(deadline.0);
        let bad = now >= self.mood.from;
        if bad && self.chance(self.mood.hang) {
            if self.chance(50) {
                self.act(call);
            }
            return Fate { after: deadline.0, outcome: Err("no answer in time".into()) };
        }
        if bad && self.chance(self.mood.fail) {
            if self.chance(30) {
                self.act(call);
            }
            return Fate { after, outcome: Err("it failed".into()) };
        }
        if let Call::SetWeight(to) = call
            && bad
            && self.chance(self.mood.lie_set)
        {
            self.asked = to;
            self.record_open = true;
            return Fate { after, outcome: Ok(Value::Null) };
        }
        self.act(call);
        let outcome = match call {
            Call::Connect => Value::from(self.found.0),
            Call::ReadWeight if bad && self.chance(self.mood.lie_read) => {
                self.lied_read |= self.asked != self.weight;
                Value::from(self.asked.0)
            }
            Call::ReadWeight => Value::from(self.weight.0),
            _ => Value::Null,
        };
        Fate { after, outcome: Ok(outcome) }
    }

    fn start_load(&mut self) {
        self.load = Some(LoadMode::Full);
    }

    fn start_stream(&mut self, stream: u16, at: Offset) {
        self.started.insert(stream, at);
    }

    fn mode(&mut self, mode: LoadMode, _: Offset) {
        if let Some(load) = &mut self.load {
            *load = mode;
        }
    }

    fn attest(&self, fault: usize) -> Attestation {
        let hits = self.hits.get(&fault).copied().unwrap_or_default();
        Attestation { hits, seen: hits, bytes: 0 }
    }

    fn snapshot(&mut self, now: u64, at: Offset) -> Option<Snapshot> {
        let mode = self.load?;
        if self.load_dies.is_some_and(|dies| now >= dies) || mode == LoadMode::Off {
            return None;
        }
        let mut s = Snapshot { as_of: at, ..Snapshot::default() };
        for i in 0..self.plan.streams.len() {
            let index = i as u16;
            let Some(start) = self.started.get(&index).copied().filter(|start| *start <= at) else { continue };
            let over = at.since(start) >= Plan::stream_length(&self.plan.streams[i]);
            let ended = over && mode != LoadMode::Full;
            if ended && !self.ended.insert(index) {
                continue;
            }
            self.traffic(index, at, &mut s);
            s.streams.insert(index, StreamTotals { asked: REQUESTS, sent: REQUESTS, ended, ..StreamTotals::default() });
        }
        self.last_as_of = at;
        Some(s)
    }
}
