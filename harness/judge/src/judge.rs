//! The judge: takes events in, keeps evidence, answers. It streams: what it keeps does not grow with requests.
//! Must not read a clock, a file or a socket; must not use any event but snapshots, attestations and facts.

use crate::attribution::Attribution;
use crate::evidence::StratumKey;
use crate::generator::Generator;
use crate::guards::GuardState;
use crate::restore::{Recovery, Restore};
use crate::slices::Slices;
use crate::stats::sample_ratio::Split;
use crate::timeline::Timeline;
use crate::track::{Closed, Track};
use crate::{decide, gate, windows};
use shakedown_core::decision::Decision;
use shakedown_core::event::{Assessment, Check, Event, Progress};
use shakedown_core::plan::{Indicator, Plan, WindowRef};
use shakedown_core::seams::Assessor;
use shakedown_core::{Arm, Fact, Input, Offset};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The judge of one run.
#[derive(Debug)]
pub struct Judge {
    pub(crate) plan: Arc<Plan>,
    pub(crate) slices: Slices,
    pub(crate) generator: Generator,
    pub(crate) line: Timeline,
    pub(crate) attribution: Attribution,
    pub(crate) tracks: Vec<Track>,
    pub(crate) splits: BTreeMap<StratumKey, Split>,
    pub(crate) errors: BTreeMap<StratumKey, Vec<f64>>,
    pub(crate) recoveries: Vec<Recovery>,
    guards: Vec<GuardState>,
    restore: Restore,
    preflight: Option<Vec<Check>>,
}

impl Judge {
    /// For a plan.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Judge {
        let rivals = plan.objectives.len();
        let recovery = |o: &shakedown_core::plan::Objective| match &o.indicator {
            Indicator::TimeToRecover { of, after } => Some(Recovery::new(&o.name, of, after)),
            _ => None,
        };
        Judge {
            slices: Slices::new(&plan),
            generator: Generator::default(),
            line: Timeline::default(),
            attribution: Attribution::default(),
            tracks: plan.objectives.iter().map(|o| Track::new(&plan, o, rivals)).collect(),
            splits: BTreeMap::new(),
            errors: BTreeMap::new(),
            recoveries: plan.objectives.iter().filter_map(recovery).collect(),
            guards: plan.guards.iter().map(|g| GuardState::new(&plan, g)).collect(),
            restore: Restore::default(),
            preflight: None,
            plan,
        }
    }

    /// The track of an objective.
    pub(crate) fn track(&self, name: &str) -> Option<&Track> {
        self.tracks.iter().find(|t| t.objective.name == name)
    }

    fn snapshot(&mut self, snapshot: &shakedown_core::Snapshot) {
        self.generator.push(snapshot, |slice| self.slices.start(slice));
        self.slices.push(snapshot);
        for answer in [&snapshot.first_answer, &snapshot.last_answer] {
            if let Some(at) = answer.get(&Arm::Canary) {
                self.line.canary_answered(*at);
            }
        }
        self.advance();
        for guard in &mut self.guards {
            guard.update(&self.plan, &self.slices, &self.line, &self.attribution);
        }
    }

    fn advance(&mut self) {
        self.check_preflight();
        let mut closed = false;
        while let Some(unit) = self.slices.next_closed() {
            self.close(unit);
            closed = true;
        }
        if closed {
            let line = &self.line;
            self.slices.forget(|from, to| line.counts_for_a_way_back(from, to));
        }
        let names = self.plan.rollout.as_ref().map(|r| r.rollback.restored_when.as_slice()).unwrap_or_default();
        let tracks: Vec<&Track> = self.tracks.iter().filter(|t| names.contains(&t.objective.name)).collect();
        self.restore.advance(&self.slices, &self.line, &tracks);
    }

    fn close(&mut self, unit: (u32, u32)) {
        let range = self.slices.unit_range(unit);
        let last = u64::try_from(range.1.0).unwrap_or(0).saturating_sub(1) / crate::slices::UNIT.0;
        self.generator.close(u32::try_from(last).unwrap_or(u32::MAX));
        let cells = self.slices.unit_cells(unit);
        let stage = self.line.stage_of(range.0, range.1);
        let baseline = windows::holds(&self.plan, &self.line, &WindowRef::Baseline, range.0, range.1);
        let key = stage.map(|(index, weight)| (index, weight.0));
        let whole = |arm| crate::attribution::whole(&cells, arm);
        let (control, canary, unknown) = (whole(Arm::Control), whole(Arm::Canary), whole(Arm::Unknown));
        if let Some((index, weight)) = key {
            let split = self.splits.entry((index, weight)).or_default();
            split.asked = f64::from(weight) / 1e6;
            split.control += (control.0 + control.1) as f64;
            split.canary += (canary.0 + canary.1) as f64;
            split.unknown += unknown.1 as f64;
        }
        let (ok, failed) = if self.plan.rollout.is_some() { control } else { whole(Arm::All) };
        if ok + failed > 0 && (key.is_some() || baseline || self.plan.rollout.is_none()) {
            let series = self.errors.entry(key.unwrap_or(crate::evidence::SINGLE)).or_default();
            series.push(failed as f64 / (ok + failed) as f64);
            coarsen(series, |a, b| (a + b) / 2.0);
        }
        let plan = Arc::clone(&self.plan);
        let views = self.attribution.views(cells, baseline, &|s| plan.streams[usize::from(s)].timeout);
        let closed = Closed { range, views: &views, stage, baseline };
        for track in &mut self.tracks {
            track.close(&plan, &self.line, &closed);
        }
        self.recover(range.0, &views.harm);
    }

    fn recover(&mut self, from: Offset, cells: &crate::slices::Cells) {
        for recovery in &mut self.recoveries {
            let reverted = self.line.faults.get(&recovery.fault).and_then(|f| f.reverted);
            let track = self.tracks.iter().find(|t| t.objective.name == recovery.of);
            if let (Some(reverted), Some(track)) = (reverted, track) {
                let held = track.holds_on(cells, track.arm, &|_| true).or_else(|| track.holds_on(cells, Arm::All, &|_| true));
                recovery.push(reverted, from, held.map(|h| h.0));
            }
        }
    }

    /// The baseline is looked at once, as soon as every slice of it is known.
    fn check_preflight(&mut self) {
        let plan = &self.plan;
        let end = Offset::ZERO.plus(plan.first_stage());
        let begin = Offset::ZERO.plus(if plan.rollout.is_some() { plan.longest_warmup() } else { shakedown_core::Span::ZERO });
        let (first, last) = (self.slices.slice_from(begin), self.slices.slice_of(end));
        if self.preflight.is_some() || self.slices.as_of < end || !(first..last).all(|s| self.slices.settled(s)) {
            return;
        }
        let cells = self.slices.cells(first, last);
        let check = |name: &String| {
            let Some(track) = self.track(name) else {
                return Check { objective: name.clone(), ok: false, why: format!("{name} is not an objective of this plan") };
            };
            let o = &track.objective;
            let held = track.holds_on(&cells, Arm::All, &|_| true);
            let unit = crate::indicators::unit(&o.indicator);
            let (ok, why) = match held {
                None => (false, format!("{name}: no traffic in the baseline to judge it by")),
                Some((_, value, limit)) if limit.is_nan() => {
                    (false, format!("{name}: {} has nothing to be compared with", crate::words::amount(unit, value)))
                }
                Some((ok, value, _)) => {
                    (ok, format!("{name} {} on the baseline (limit {})", crate::words::amount(unit, value), crate::words::limit(o)))
                }
            };
            Check { objective: name.clone(), ok, why }
        };
        self.preflight = Some(plan.preflight.iter().map(check).collect());
        self.slices.baseline_seen();
    }
}

impl Assessor for Judge {
    fn push(&mut self, event: &Event) {
        match &event.what {
            Input::Snapshot(snapshot) => self.snapshot(snapshot),
            Input::Attested { fault, hits } => self.line.faults.entry(fault.clone()).or_default().hits = hits.clone(),
            Input::Fact(fact) => {
                self.line.push(&self.plan, event.at, fact);
                match fact {
                    Fact::RollbackStarted { .. } => self.restore.start(event.at),
                    Fact::TrafficEnded => {
                        self.slices.finished = true;
                        self.advance();
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn alarmed(&self, held: &shakedown_core::Snapshot) -> bool {
        let Some(over) = self.plan.guards.iter().map(|g| g.over).max() else { return false };
        let slices = self.slices.with(held, over, self.guards.iter().any(GuardState::latency));
        self.guards.iter().any(|g| g.crossed(&self.plan, &slices, &self.line, &self.attribution).is_some())
    }

    fn assess(&mut self) -> Assessment {
        let reverted = |r: &&Recovery| self.line.faults.get(&r.fault).is_some_and(|f| f.reverted.is_some());
        Assessment {
            gate: gate::gate(self),
            preflight: self.preflight.clone(),
            guards: self.guards.iter().filter_map(GuardState::tripped).collect(),
            restored: self.restore.found,
            recovered: self.recoveries.iter().filter(reverted).map(|r| (r.fault.clone(), r.found)).collect(),
            objectives: self.tracks.iter().map(progress).collect(),
        }
    }

    fn decide(&mut self) -> Decision {
        decide::decide(self)
    }
}

/// Most entries a series over units keeps.
pub(crate) const LONGEST_SERIES: usize = 2048;

/// Puts neighbours together once a series is full, so that a run of days keeps no more than one of an hour.
pub(crate) fn coarsen<T: Copy>(series: &mut Vec<T>, both: impl Fn(T, T) -> T) {
    if series.len() >= LONGEST_SERIES {
        *series = series.chunks(2).map(|two| two.get(1).map_or(two[0], |second| both(two[0], *second))).collect();
    }
}

fn progress(track: &Track) -> Progress {
    let worst = track.worst().map(|w| w.1);
    // The live view shows the newest stage: that is what the gate looks at.
    let now = worst.and_then(|e| e.strata.values().next_back());
    Progress {
        objective: track.objective.name.clone(),
        control: now.and_then(|s| track.selector.value(&s.reference)),
        value: now.and_then(|s| track.selector.value(&s.pass)),
        meets: now.and_then(|s| crate::limits::meets(&track.spec, &track.selector, s, true)),
        proof: worst.map_or(0.0, |e| e.progress(&track.spec)),
    }
}
