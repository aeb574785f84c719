//! How one attempt came out and how that is counted: attempts by arm, logical requests and journeys as `All`.
//! Must not send.

use crate::record::DimId;
use crate::world::World;
use shakedown_core::snapshot::Failure;
use shakedown_core::{Arm, Cell, Offset};
use std::rc::Rc;

/// One attempt's outcome.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Who answered.
    pub arm: Arm,
    /// Why it failed, and in words.
    pub failure: Option<(Failure, String)>,
    /// HTTP status, when a head came.
    pub status: Option<u16>,
    /// Bytes of the answer.
    pub bytes: u64,
    /// Successful but empty, where an answer has a body.
    pub empty: bool,
    /// When it ended; a timeout ends at its timeout.
    pub done: Offset,
    /// When the generator took it up.
    pub dispatched: Offset,
    /// When it was given to its connection.
    pub sent: Option<Offset>,
}

impl Outcome {
    /// Counts into a cell; latencies count from `due`.
    pub fn count(&self, cell: &mut Cell, due: Offset, whole: bool) {
        match &self.failure {
            None => cell.ok += 1,
            Some((kind, _)) => *cell.failed.entry(*kind).or_default() += 1,
        }
        if let Some(status) = self.status {
            *cell.status.entry(status).or_default() += 1;
        }
        cell.bytes += self.bytes;
        cell.empty += u64::from(self.empty);
        if self.failure.as_ref().is_none_or(|(kind, _)| *kind == Failure::Timeout) {
            cell.latency.record(self.done.since(due).0);
            if whole {
                cell.dispatch.record(self.done.since(self.dispatched).0);
                if let Some(sent) = self.sent {
                    cell.service.record(self.done.since(sent).0);
                }
            }
        }
    }
}

/// A logical request or a journey that is due and not settled yet. Left unsettled it counts as unanswered.
pub struct Open {
    world: Rc<World>,
    stream: u16,
    dims: Vec<DimId>,
    slice: u32,
    settled: bool,
    idle: bool,
}

impl Open {
    /// Counts it as due in the slice of `due`.
    #[must_use]
    pub fn new(world: &Rc<World>, stream: u16, dims: &[DimId], due: Offset) -> Open {
        let slice = world.recorder.borrow().slice(due);
        let open = Open { world: Rc::clone(world), stream, dims: dims.to_vec(), slice, settled: false, idle: false };
        open.each(|c| c.due += 1);
        open
    }

    /// Moves it to the slice of its newest attempt.
    pub fn move_to(&mut self, due: Offset) {
        let slice = self.world.recorder.borrow().slice(due);
        if slice != self.slice {
            self.each(|c| c.due -= 1);
            self.slice = slice;
            self.each(|c| c.due += 1);
        }
    }

    /// Says that nothing of it is being asked just now (a journey that thinks): dropped then, it is taken back.
    pub fn idle(&mut self, idle: bool) {
        self.idle = idle;
    }

    /// Changes its cells without settling it.
    pub fn each(&self, change: impl Fn(&mut Cell)) {
        let mut recorder = self.world.recorder.borrow_mut();
        for &dim in &self.dims {
            recorder.cell(self.slice, self.stream, Arm::All, dim, &change);
        }
    }

    /// Counts its outcome.
    pub fn settle(mut self, change: impl Fn(&mut Cell)) {
        self.settled = true;
        self.each(change);
    }

    /// Takes it back: cut short by the generator itself, it says nothing about who was asked.
    pub fn retract(mut self) {
        self.settled = true;
        self.each(|c| c.due -= 1);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.idle && !self.settled {
            self.each(|c| c.due -= 1);
        } else if !self.settled {
            self.each(|c| *c.failed.entry(Failure::Unanswered).or_default() += 1);
        }
    }
}
