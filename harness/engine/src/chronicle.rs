//! What happens, in one order: each event gets its number here, is written down, shown, judged and stepped. Must not wait
//! for anything and must not do what steps ask for.
//!
//! A tick that nothing follows from is not written down: the judge does not look at ticks, and a step that gives nothing
//! gives nothing again. In long runs snapshots of quiet stretches are folded first.

use crate::effect::Effect;
use crate::fold::Fold;
use crate::inbox::BEFORE_EPOCH;
use crate::journal::Writer;
use crate::state::State;
use shakedown_core::Plan;
use shakedown_core::decision::{Decision, Exit, Reason, Verdict};
use shakedown_core::event::{Assessment, Event, Fact, Input};
use shakedown_core::seams::{Assessor, Fail};
use shakedown_core::snapshot::{Sample, Snapshot};
use shakedown_core::units::Offset;
use std::path::Path;
use std::sync::Arc;

/// What a chronicle is made of.
pub struct Parts<'a> {
    /// The plan that is run.
    pub plan: Arc<Plan>,
    /// Run directory; exists.
    pub dir: &'a Path,
    /// The judge.
    pub assessor: Box<dyn Assessor>,
    /// Sees every event right after it was written down, and held snapshots when they come.
    pub observer: Box<dyn FnMut(&Event) + Send>,
    /// One of several segments: nothing is folded, and the load goes on until it is told.
    pub worker: bool,
    /// One generator makes all of the load.
    pub whole: bool,
}

/// The events of a run and what follows from them.
pub struct Chronicle {
    state: State,
    fold: Fold,
    journal: Option<Writer>,
    /// Why the journal is no longer written.
    broken: Option<String>,
    /// It broke since the last look.
    broke: bool,
    assessor: Box<dyn Assessor>,
    observer: Box<dyn FnMut(&Event) + Send>,
    seq: u64,
    last: Offset,
    assessed: Option<(Offset, Assessment)>,
}

impl Chronicle {
    /// Begins the journal. Should it not be possible, that is the first thing [`Chronicle::broke`] tells.
    #[must_use]
    pub fn new(parts: Parts<'_>) -> Chronicle {
        let plan = parts.plan;
        let streams = plan.streams.iter().map(|s| s.name.clone()).collect();
        let mut chronicle = Chronicle {
            fold: Fold::new(&plan, parts.whole),
            journal: None,
            broken: None,
            broke: false,
            assessor: parts.assessor,
            observer: parts.observer,
            seq: 0,
            last: BEFORE_EPOCH,
            assessed: None,
            state: State::new(plan.clone(), plan.teardown.len()),
        };
        if parts.worker {
            chronicle.state.until_told();
        }
        match Writer::create(parts.dir, plan.slice, streams) {
            Ok(writer) => chronicle.journal = Some(writer),
            Err(Fail(why)) => chronicle.break_journal(why),
        }
        chronicle
    }

    /// The run is over.
    #[must_use]
    pub fn over(&self) -> bool {
        self.state.over()
    }

    /// Why the journal broke, once.
    pub fn broke(&mut self) -> Option<String> {
        std::mem::take(&mut self.broke).then(|| self.broken.clone()).flatten()
    }

    /// Time has come to this offset; it never goes back.
    pub fn at(&mut self, at: Offset) {
        self.last = self.last.max(at);
    }

    /// Offset 0 is fixed: what came before counted from elsewhere.
    pub fn epoch(&mut self) {
        self.last = Offset::ZERO;
    }

    /// Takes an input in.
    pub fn take(&mut self, what: Input) -> Vec<Effect> {
        match what {
            Input::Tick => self.tick(),
            Input::Snapshot(snapshot) => self.snapshot(snapshot),
            // Totals: it does not matter which counts they stand beside.
            Input::Attested { .. } => self.event(what),
            other => {
                let mut effects = self.release();
                effects.extend(self.event(other));
                effects
            }
        }
    }

    /// States a fact that followed from an event.
    pub fn state_fact(&mut self, fact: Fact) {
        self.fold.fact(self.last);
        self.record(Input::Fact(fact));
    }

    /// What the judge makes of everything so far, when that is worth an event: when something in it changed that steps act
    /// on, and once in a while.
    pub fn assess(&mut self) -> Vec<Effect> {
        if self.state.over() {
            return Vec::new();
        }
        let now = self.assessor.assess();
        let every = self.fold.assessed_every();
        let due = self.assessed.as_ref().is_none_or(|(at, then)| self.last.since(*at) >= every || significant(then) != significant(&now));
        if !due {
            return Vec::new();
        }
        self.assessed = Some((self.last, now.clone()));
        self.event(Input::Assessed(Box::new(now)))
    }

    /// How the judge would decide now.
    pub fn decide(&mut self) -> Decision {
        self.assessor.decide()
    }

    /// Hands what was written to the system.
    pub fn flush(&mut self) {
        self.write(Writer::flush);
    }

    /// Keeps requests, each redacted.
    pub fn samples(&mut self, samples: &[Sample], redact: &dyn Fn(&str) -> String) {
        self.write(|journal| journal.samples(samples, redact));
    }

    /// The end: everything is on disk, and the decision is made.
    #[must_use]
    pub fn finish(mut self) -> Decision {
        self.write(Writer::sync);
        let mut decision = self.assessor.decide();
        if let Some(why) = self.broken {
            decision.exit = Exit::Internal;
            decision.verdict = Verdict::Halted;
            decision.headline = format!("The run was stopped and undone: {why}.");
            decision.reasons.insert(0, Reason { code: "journal-lost".to_owned(), text: why });
        }
        decision
    }

    /// Time alone: it is an event when something follows from it.
    fn tick(&mut self) -> Vec<Effect> {
        let event = Event { seq: self.seq, at: self.last, what: Input::Tick };
        let mut effects = crate::step(&mut self.state, &event);
        if !effects.is_empty() {
            let what = self.release();
            // The release may have moved the numbers on; what it led to comes first.
            self.record(Input::Tick);
            effects.splice(0..0, what);
        }
        effects
    }

    fn snapshot(&mut self, snapshot: Snapshot) -> Vec<Effect> {
        let quiet = self.fold.calm(self.last) && self.state.quiet(&snapshot, self.fold.assessed_every());
        if !quiet {
            let mut effects = self.release();
            effects.extend(self.event(Input::Snapshot(snapshot)));
            return effects;
        }
        // Shown as it comes; judged and written down later.
        let event = Event { seq: self.seq, at: self.last, what: Input::Snapshot(snapshot) };
        (self.observer)(&event);
        let Input::Snapshot(snapshot) = event.what else { return Vec::new() };
        let whole = self.fold.hold(self.last, snapshot);
        if self.fold.young().is_some_and(|held| self.assessor.alarmed(held)) {
            // From here on every second is looked at as it comes.
            self.fold.fact(self.last);
            return self.release();
        }
        let block = if whole { self.fold.take_block() } else { None };
        block.map_or_else(Vec::new, |block| self.shown(block))
    }

    fn release(&mut self) -> Vec<Effect> {
        let held = self.fold.release();
        held.into_iter().flatten().flat_map(|snapshot| self.shown(snapshot)).collect()
    }

    /// A snapshot that was shown when it came.
    fn shown(&mut self, snapshot: Snapshot) -> Vec<Effect> {
        let event = self.write_down(Input::Snapshot(snapshot));
        crate::step(&mut self.state, &event)
    }

    fn event(&mut self, what: Input) -> Vec<Effect> {
        if matches!(what, Input::Fact(_)) {
            self.fold.fact(self.last);
        }
        let event = self.record(what);
        crate::step(&mut self.state, &event)
    }

    fn record(&mut self, what: Input) -> Event {
        let event = self.write_down(what);
        (self.observer)(&event);
        event
    }

    fn write_down(&mut self, what: Input) -> Event {
        let event = Event { seq: self.seq, at: self.last, what };
        self.seq += 1;
        self.write(|journal| journal.append(&event));
        self.assessor.push(&event);
        event
    }

    fn write(&mut self, f: impl FnOnce(&mut Writer) -> Result<(), Fail>) {
        let Some(journal) = &mut self.journal else { return };
        if let Err(Fail(why)) = f(journal) {
            self.break_journal(why);
        }
    }

    /// The journal cannot be written: the run is undone, and its exit is 70. Nothing more is written to it.
    fn break_journal(&mut self, why: String) {
        tracing::error!("{why}");
        self.journal = None;
        self.broken = Some(why);
        self.broke = true;
    }
}

/// What steps act on, without the words: numbers in them change with every snapshot.
fn significant(a: &Assessment) -> Assessment {
    let mut a = crate::recompute::acted_on(a);
    if let Some(gate) = &mut a.gate {
        gate.why.clear();
    }
    a.preflight.iter_mut().flatten().for_each(|check| check.why.clear());
    a.guards.iter_mut().for_each(|guard| guard.why.clear());
    a
}
