//! The decision again, from a run directory. Must not trust what the run itself made of its evidence.

use crate::journal;
use crate::segment::Joined;
use shakedown_core::decision::{Decision, Exit, Reason, Verdict};
use shakedown_core::event::{Assessment, Event, Fact, Input};
use shakedown_core::seams::{Assessor, Fail};
use std::path::Path;

/// Reads the journal, judges its primary events anew, and compares with the assessments the run acted on.
///
/// # Errors
/// When the journal cannot be read or is damaged, or when the judge now says something else than during the run.
pub fn decide_from(dir: &Path, assessor: &mut dyn Assessor) -> Result<Decision, Fail> {
    let mut replay = Replay { assessor };
    let mut last = None;
    for event in journal::read(dir)? {
        let event = event?;
        replay.take(&event)?;
        last = Some(event.what);
    }
    let ended = last == Some(Input::Fact(Fact::Ended));
    if !ended {
        tracing::warn!("the journal has no end: the run was killed; what is missing counts against it");
    }
    Ok(concluded(replay.assessor.decide(), ended, Joined::read(dir)?.as_ref()))
}

/// The decision once it is known whether the evidence is whole.
pub(crate) fn concluded(decision: Decision, ended: bool, joined: Option<&Joined>) -> Decision {
    let decision = if ended { decision } else { unfinished(decision) };
    match joined {
        Some(joined) if !joined.doubts.is_empty() => partial(decision, &joined.doubts),
        _ => decision,
    }
}

/// A merged run without a part of its evidence says nothing about the whole; what had to be undone and what stopped the
/// run stays.
fn partial(mut decision: Decision, doubts: &[String]) -> Decision {
    let reasons = doubts.iter().map(|text| Reason { code: "segment-incomplete".to_owned(), text: text.clone() });
    if matches!(decision.exit, Exit::Promote | Exit::Conditions | Exit::Inconclusive | Exit::Rollback | Exit::Invalid) {
        decision.verdict = Verdict::Invalid;
        decision.exit = Exit::Invalid;
        decision.headline = format!("A part of the evidence is missing: {}.", doubts.join("; "));
        decision.reasons.splice(0..0, reasons);
    } else {
        decision.reasons.extend(reasons);
    }
    decision
}

/// A run that was killed is never promoted, whatever it had gathered.
fn unfinished(mut decision: Decision) -> Decision {
    if matches!(decision.exit, Exit::Promote | Exit::Conditions) {
        decision.verdict = Verdict::Invalid;
        decision.exit = Exit::Invalid;
        decision.headline = "The run was killed before it ended, so its evidence is incomplete.".to_owned();
        let text = "the journal has no end".to_owned();
        decision.reasons.insert(0, Reason { code: "journal-unfinished".to_owned(), text });
    }
    decision
}

struct Replay<'a> {
    assessor: &'a mut dyn Assessor,
}

impl Replay<'_> {
    fn take(&mut self, event: &Event) -> Result<(), Fail> {
        let Input::Assessed(then) = &event.what else {
            self.assessor.push(event);
            return Ok(());
        };
        if acted_on(&self.assessor.assess()) != acted_on(then) {
            let what = "internal error: the judge now says something else than during the run";
            return Err(Fail::new(format!("{what}, at event {} (offset {:.3} s)", event.seq, event.at.seconds())));
        }
        Ok(())
    }
}

/// The parts of an assessment that steps act on; the live view's numbers are not compared.
pub(crate) fn acted_on(a: &Assessment) -> Assessment {
    Assessment { objectives: Vec::new(), ..a.clone() }
}
