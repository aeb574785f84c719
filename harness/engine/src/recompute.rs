//! The decision again, from a run directory. Must not trust what the run itself made of its evidence.

use crate::journal;
use shakedown_core::decision::{Decision, Exit, Reason, Verdict};
use shakedown_core::event::{Assessment, Event, Fact, Input};
use shakedown_core::seams::{Assessor, Fail};
use std::path::Path;

/// Reads the journal, judges its primary events anew, and compares with the assessments the run acted on.
///
/// # Errors
/// When the journal cannot be read or is damaged, or when the judge now says something else than during the run.
pub fn decide_from(dir: &Path, assessor: &mut dyn Assessor) -> Result<Decision, Fail> {
    let mut replay = Replay { assessor, owed: false };
    let mut last = None;
    for event in journal::read(dir)? {
        let event = event?;
        replay.take(&event)?;
        last = Some(event.what);
    }
    if last != Some(Input::Fact(Fact::Ended)) {
        tracing::warn!("the journal has no end: the run was killed; what is missing counts against it");
        replay.settle();
        return Ok(unfinished(replay.assessor.decide()));
    }
    replay.settle();
    Ok(replay.assessor.decide())
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
    /// The run assessed after every snapshot and tick and the facts that followed at once.
    owed: bool,
}

impl Replay<'_> {
    fn settle(&mut self) -> Option<Assessment> {
        std::mem::take(&mut self.owed).then(|| self.assessor.assess())
    }

    fn take(&mut self, event: &Event) -> Result<(), Fail> {
        match &event.what {
            Input::Fact(_) => {}
            Input::Assessed(then) => {
                let now = self.settle();
                if now.as_ref().map(acted_on) != Some(acted_on(then)) {
                    let what = "internal error: the judge now says something else than during the run";
                    return Err(Fail::new(format!("{what}, at event {} (offset {:.3} s)", event.seq, event.at.seconds())));
                }
                return Ok(());
            }
            _ => {
                self.settle();
            }
        }
        self.assessor.push(event);
        self.owed |= matches!(event.what, Input::Snapshot(_) | Input::Tick);
        Ok(())
    }
}

/// The parts of an assessment that steps act on; the live view's numbers are not compared.
pub(crate) fn acted_on(a: &Assessment) -> Assessment {
    Assessment { objectives: Vec::new(), ..a.clone() }
}
