//! One pass over the events: series, moments worth a mark, weights, how evidence grew, samples. Must not keep more than
//! its bounds, however long the run was.

use crate::charts::Bins;
use crate::style::clean;
use crate::units::{clock_exact, percent};
use shakedown_core::event::{Event, Fact, HaltBy, Input, Progress, StageEnd};
use shakedown_core::plan::GuardAction;
use shakedown_core::snapshot::Sample;
use shakedown_core::units::{Offset, Ppm, Span};
use std::collections::BTreeMap;

/// Most moments kept.
const MARKS: usize = 500;
/// Most points of one objective's evidence; thinned by halves.
const PROOF_POINTS: usize = 400;
/// Most samples kept for the page.
pub(crate) const SAMPLES: usize = 100;

/// A moment worth a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub at: Offset,
    /// `decision` marks are drawn on the charts; `note` ones are listed only.
    pub decision: bool,
    pub text: String,
}

/// What the page needs beside the decision.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub bins: Bins,
    pub marks: Vec<Mark>,
    /// Marks that did not fit.
    pub marks_cut: u64,
    /// Weights as found and as asked, in order; bounded by the plan's stages and guards.
    pub weights: Vec<(Offset, Ppm)>,
    /// Per objective: when, share of the proof.
    pub proofs: BTreeMap<String, Vec<(Offset, f64)>>,
    pub samples: Vec<Sample>,
    pub samples_all: usize,
    pub end: Offset,
    pub cpu: u64,
    pub scaled: bool,
    last_why: String,
}

impl Gathered {
    pub(crate) fn from(slice: Span, events: &mut dyn Iterator<Item = Event>) -> Gathered {
        let mut all = Gathered {
            bins: Bins::new(slice),
            marks: Vec::new(),
            marks_cut: 0,
            weights: Vec::new(),
            proofs: BTreeMap::new(),
            samples: Vec::new(),
            samples_all: 0,
            end: Offset::ZERO,
            cpu: 0,
            scaled: false,
            last_why: String::new(),
        };
        for event in events {
            all.push(event);
        }
        all
    }

    fn push(&mut self, event: Event) {
        self.end = self.end.max(event.at);
        match event.what {
            Input::Snapshot(snapshot) => {
                self.cpu += snapshot.cpu;
                self.bins.push(&snapshot);
            }
            Input::Assessed(assessment) => self.proof(event.at, &assessment.objectives),
            Input::Fact(fact) => self.fact(event.at, &fact),
            Input::Samples(samples) => self.keep(samples),
            Input::ServiceExited { service, status } => {
                self.mark(event.at, true, format!("service {} ended by itself (status {status})", clean(&service)));
            }
            Input::Halt(_) | Input::Tick | Input::Done { .. } | Input::Attested { .. } => {}
        }
    }

    fn proof(&mut self, at: Offset, objectives: &[Progress]) {
        for progress in objectives.iter().filter(|_| at >= Offset::ZERO) {
            let points = self.proofs.entry(progress.objective.clone()).or_default();
            points.push((at, progress.proof));
            if points.len() > PROOF_POINTS {
                let mut keep = false;
                points.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
        }
    }

    fn keep(&mut self, samples: Vec<Sample>) {
        self.samples_all += samples.len();
        self.samples.extend(samples);
        self.samples.sort_by_key(|s| (s.failure.is_none(), std::cmp::Reverse(s.latency), s.at));
        self.samples.truncate(SAMPLES);
    }

    fn fact(&mut self, at: Offset, fact: &Fact) {
        match fact {
            Fact::Started { scaled, .. } => self.scaled = *scaled,
            Fact::WeightFound(w) | Fact::WeightAsked(w) => self.weights.push((at, *w)),
            _ => {}
        }
        if let Some((decision, text)) = tell_after(&mut self.last_why, fact) {
            self.mark(at, decision, text);
        }
    }

    fn mark(&mut self, at: Offset, decision: bool, text: String) {
        if self.marks.len() < MARKS {
            self.marks.push(Mark { at, decision, text });
        } else {
            self.marks_cut += 1;
        }
    }
}

/// A fact in words, as [`tell`]; a rollback that only repeats why its stage ended does not say it again.
pub(crate) fn tell_after(last_why: &mut String, fact: &Fact) -> Option<(bool, String)> {
    match fact {
        Fact::StageEnded { why, .. } => last_why.clone_from(why),
        Fact::RollbackStarted { rehearsal, stage, why, from } if !last_why.is_empty() && why.contains(last_why.as_str()) => {
            return Some((true, clean(&format!("{} from {stage} at {}", rollback(*rehearsal), percent(from.fraction())))));
        }
        _ => {}
    }
    tell(fact)
}

fn rollback(rehearsal: bool) -> &'static str {
    if rehearsal { "rollback rehearsal" } else { "ROLLBACK" }
}

/// A fact in words; `true` when somebody decided something. `None` for what is only bookkeeping.
fn tell(fact: &Fact) -> Option<(bool, String)> {
    let told = match fact {
        Fact::Started { .. } | Fact::WeightAsked(_) | Fact::Ended => return None,
        Fact::NotReady { what, why } => (true, format!("not ready: {what}: {why}")),
        Fact::Epoch { wall } => (false, format!("load begins ({wall})")),
        Fact::WeightFound(w) => (false, format!("the router was found at {} canary", percent(w.fraction()))),
        Fact::PreflightMissed { objective, why } => (true, format!("preflight missed: {objective}: {why}")),
        Fact::StreamStarted(s) => (false, format!("stream {s} starts")),
        Fact::StreamEnded(s) => (false, format!("stream {s} ended")),
        Fact::WeightRead(w) => (false, format!("canary weight {} read back", percent(w.fraction()))),
        Fact::WeightFailed(why) => (true, format!("the weight could not be set: {why}")),
        Fact::StageStarted(s) => (false, format!("stage {s} starts")),
        Fact::StageEnded { stage, end, why } => (true, format!("stage {stage} {}: {why}", stage_end(*end))),
        Fact::FaultApplied(f) => (false, format!("fault {f} in place")),
        Fact::FaultFailed { fault, why } => (true, format!("fault {fault} FAILED: {why}")),
        Fact::FaultReverted(f) => (false, format!("fault {f} gone")),
        Fact::RevertFailed { fault, why } => (true, format!("fault {fault} COULD NOT BE TAKEN BACK: {why}")),
        Fact::RollbackStarted { rehearsal, stage, why, .. } => (true, format!("{} from {stage}: {why}", rollback(*rehearsal))),
        Fact::RollbackEnded { restored: Some(at) } => (false, format!("service restored at {}", clock_exact(*at))),
        Fact::RollbackEnded { restored: None } => (true, "service NOT RESTORED within its bound".to_owned()),
        Fact::RollbackFailed(why) => (true, format!("the way back FAILED: {why}")),
        Fact::GuardFired { guard, action, why } => (true, format!("guard {guard} ({}): {why}", guard_action(action))),
        Fact::Halted(by) => (true, format!("halted by {}", halted(by))),
        Fact::TrafficEnded => (false, "load is out".to_owned()),
        Fact::UndoFailed { what, why } => (true, format!("{what} COULD NOT BE UNDONE: {why}")),
    };
    Some((told.0, clean(&told.1)))
}

fn stage_end(end: StageEnd) -> &'static str {
    match end {
        StageEnd::Passed => "passed",
        StageEnd::Harm => "HARM",
        StageEnd::Undecided => "ended undecided",
        StageEnd::Cut => "was cut",
    }
}

fn guard_action(action: &GuardAction) -> String {
    match action {
        GuardAction::Abort => "abort".to_owned(),
        GuardAction::Rollback => "rollback".to_owned(),
        GuardAction::Reduce(to) => format!("reduce to {}", percent(to.fraction())),
        GuardAction::Pause => "pause".to_owned(),
        GuardAction::Warn => "warn".to_owned(),
    }
}

fn halted(by: &HaltBy) -> String {
    match by {
        HaltBy::Signal(n) => format!("signal {n}"),
        HaltBy::TimeBox => "the time box".to_owned(),
        HaltBy::Guard(name) => format!("guard {name}"),
        HaltBy::Limit(what) if what.starts_with("service ") => what.clone(),
        HaltBy::Limit(name) => format!("the limit of {name}"),
        HaltBy::Internal(why) => format!("an internal error: {why}"),
    }
}
