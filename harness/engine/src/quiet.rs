//! Whether a stretch of a run is quiet: nobody waits for what its next seconds bring, so its evidence may be folded. Must
//! not change anything.

use crate::effect::{ACTION, GRACE};
use crate::state::{Life, Phase, Ramp, State};
use crate::step::recovering;
use shakedown_core::snapshot::Snapshot;
use shakedown_core::units::Span;

impl State {
    /// Nothing in this snapshot ends a stream or reaches a limit, no gate, fault or recovery is about to be looked at, and
    /// nothing is under way. `block` is how long evidence may be held back.
    pub(crate) fn quiet(&self, snapshot: &Snapshot, block: Span) -> bool {
        let ends = |i: &u16| self.streams.get(usize::from(*i)).is_some_and(|s| s.ended.is_none());
        let ending = snapshot.streams.iter().any(|(i, totals)| totals.ended && ends(i));
        self.phase == Phase::Running
            && self.halted.is_none()
            && self.pending.is_empty()
            && !ending
            // How much was sent while snapshots are held is not known here.
            && self.plan.environment.limits.requests.is_none()
            && self.held.since.is_none()
            && self.faults.iter().all(|f| !matches!(f.life, Life::Applying(_) | Life::Reverting))
            && !recovering(self)
            && self.unhurried(block)
    }

    /// The ramp stands, and its gate is not asked before evidence held back from now on has come in.
    fn unhurried(&self, block: Span) -> bool {
        match &self.ramp {
            Ramp::None | Ramp::Done => self.preflight_ok,
            Ramp::Hold(stage) => {
                let margin = block.plus(block).plus(self.plan.longest_timeout()).plus(ACTION).plus(GRACE);
                let elapsed = self.clocks[*stage].map_or(Span::ZERO, |since| self.now.since(since));
                elapsed.plus(margin) < self.stage(*stage).hold
            }
            Ramp::Baseline | Ramp::Enter(_) | Ramp::Next(_) | Ramp::Back(_) => false,
        }
    }
}
