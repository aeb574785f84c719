//! How one attempt came out and how that is counted: attempts by arm, logical requests and journeys as `All`. Must not
//! send.

use crate::answer::Answer;
use crate::compile::Group;
use crate::record::{Recorder, Rows};
use crate::tally::Tally;
use crate::trip::NEVER;
use crate::world::World;
use http::Method;
use shakedown_core::snapshot::Failure;
use shakedown_core::{Arm, Offset};

/// Longest group value kept, bytes.
const MAX_GROUP: usize = 100;
/// Group of attempts that no answer names one for.
const NO_GROUP: &str = "(none)";

/// One attempt's outcome. Times are ns after the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Who answered.
    pub arm: Arm,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Status, when a head came.
    pub status: Option<u16>,
    /// Bytes of the answer.
    pub bytes: u64,
    /// Successful but empty, where an answer has a body.
    pub empty: bool,
    /// When it ended; a timeout ends at its timeout.
    pub done: i64,
    /// When the generator took it up.
    pub dispatched: i64,
    /// When it was given to its connection.
    pub sent: i64,
    /// When its answer began.
    pub first_byte: i64,
}

impl Outcome {
    /// Counts it; latencies count from `due`. `whole`: a logical request, with its inner times.
    #[inline]
    pub fn count(&self, tally: &mut Tally, due: i64, whole: bool) {
        match self.failure {
            None => tally.ok(),
            Some(kind) => tally.failed(kind),
        }
        if let Some(status) = self.status {
            tally.status(status);
        }
        if self.bytes > 0 {
            tally.bytes(self.bytes);
        }
        if self.empty {
            tally.empty();
        }
        if matches!(self.failure, None | Some(Failure::Timeout)) {
            tally.latency(World::since(self.done, due));
            if whole {
                tally.dispatch(World::since(self.done, self.dispatched));
                if self.sent != NEVER {
                    tally.service(World::since(self.done, self.sent));
                }
            }
        }
        if whole && self.first_byte != NEVER && self.sent != NEVER {
            tally.first_byte(World::since(self.first_byte, self.sent));
        }
    }

    /// Counts it for its arm, in the slice of its attempt.
    #[inline]
    pub fn attempted(&self, recorder: &mut Recorder, rows: &[Rows], due: i64) {
        let slice = recorder.slice(Offset(due));
        for rows in rows {
            self.count(recorder.at(slice, rows.of(self.arm)), due, false);
        }
    }

    /// Counts it into the groups that objectives ask for. A logical request is due and done at once there, since only its
    /// answer says which group it is in; whoever gave no answer is in a group of its own, never left out.
    pub fn grouped(&self, recorder: &mut Recorder, at: &Grouped<'_, '_>, arm: Arm, from: i64) {
        for group in at.groups {
            let value = at.answer.and_then(|a| a.header(&group.header));
            let value = value.map_or(NO_GROUP.into(), String::from_utf8_lossy);
            let end = value.char_indices().nth(MAX_GROUP).map_or(value.len(), |(i, _)| i);
            let dim = recorder.group(&group.objective, &value[..end]);
            let (slice, row) = (recorder.slice(Offset(at.due)), recorder.row(at.stream, arm, dim));
            let tally = recorder.at(slice, row);
            if arm == Arm::All {
                tally.due(1);
            }
            self.count(tally, from, arm == Arm::All);
        }
    }
}

/// Counts `n` logical requests of a slice that nobody answered into the groups: as due, and failed for the same reason.
pub fn ungrouped(recorder: &mut Recorder, groups: &[&Group], stream: u16, slice: u32, kind: Failure, n: u64) {
    for group in groups {
        let dim = recorder.group(&group.objective, NO_GROUP);
        let row = recorder.row(stream, Arm::All, dim);
        let tally = recorder.at(slice, row);
        tally.due(i64::try_from(n).unwrap_or(i64::MAX));
        tally.all_failed(kind, n);
    }
}

/// Which groups, and of what.
#[derive(Clone, Copy, Debug)]
pub struct Grouped<'g, 'a> {
    /// The objectives that group.
    pub groups: &'g [&'g Group],
    /// What says the group.
    pub answer: Option<&'g Answer<'a>>,
    /// Index of the stream.
    pub stream: u16,
    /// When the attempt was due.
    pub due: i64,
}

/// Whether an answer to this method with this status has a body at all.
#[must_use]
pub fn has_body(method: &Method, status: u16) -> bool {
    method != Method::HEAD && (200..300).contains(&status) && status != 204 && status != 205
}
