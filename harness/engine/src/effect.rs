//! What the step function may ask of the world, and how long each may take. Must not do any of it.

use serde::{Deserialize, Serialize};
use shakedown_core::event::{EffectId, Fact};
use shakedown_core::seams::LoadMode;
use shakedown_core::units::{Offset, Ppm, Span};

/// One thing for the dispatcher to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// State a fact: journaled and judged at once, with the offset of the event that led to it.
    Announce(Fact),
    /// Start a call; exactly one `Done` with this number follows, at the latest at the deadline.
    Run {
        /// Its number.
        id: EffectId,
        /// What to do.
        call: Call,
        /// At most this long.
        deadline: Span,
    },
    /// Abort a running call; its `Done` still comes.
    Cancel(EffectId),
    /// Running calls end at the latest this long from now.
    Hurry(Span),
    /// Fix the epoch and start load; `Fact::Epoch` follows.
    StartLoad,
    /// Start a stream that waited for a stage or fault.
    StartStream {
        /// Stream name.
        stream: String,
        /// When.
        at: Offset,
    },
    /// Change the amount of load.
    Mode(LoadMode),
    /// Ask a fault what it hit; `Attested` follows.
    Attest(usize),
}

/// A call that takes time. Numbers are indices into the plan's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Start a service and await its readiness.
    StartService(usize),
    /// Reach the targets and open connections.
    PrepareLoad,
    /// Write the undo records of teardown.
    RegisterTeardown,
    /// Run a setup action.
    Setup(usize),
    /// Connect the driver and read what it finds; answers the canary's weight in ppm.
    Connect,
    /// Prepare a fault (reads only).
    PrepareFault(usize),
    /// Apply a fault, its undo record first.
    ApplyFault(usize),
    /// Take a fault back, by its undo record when it cannot itself.
    RevertFault(usize),
    /// Set the canary's weight; before the first, the undo record.
    SetWeight(Ppm),
    /// Read the canary's weight back; answers ppm.
    ReadWeight,
    /// Run a `rollback.before` action.
    Before(usize),
    /// Stop and drain load.
    StopLoad,
    /// Ask the judge how it would decide now; answers the verdict.
    Judge,
    /// Put back what the driver found, and close its undo record.
    RestoreWeight,
    /// The weight as it is now is meant to stay: close the driver's undo record.
    KeepWeight,
    /// Run a teardown action through its undo record.
    Teardown(usize),
    /// Stop every service.
    StopServices,
}

impl Call {
    /// Whether it changes the world: the journal is flushed first.
    #[must_use]
    pub fn changes(self) -> bool {
        !matches!(self, Call::Connect | Call::PrepareFault(_) | Call::ReadWeight | Call::Judge | Call::StopLoad)
    }
}

/// A service that names no bound of its own gets this long to start.
pub(crate) const START: Span = Span::secs(60);
/// Added to a service's own bound, so that its own message comes first.
pub(crate) const GRACE: Span = Span::secs(5);
/// Reaching targets and opening connections.
pub(crate) const TARGETS: Span = Span::secs(30);
/// One setup or teardown action.
pub(crate) const ACTION: Span = Span::secs(60);
/// One `rollback.before` action: the way back must not wait long.
pub(crate) const BEFORE: Span = Span::secs(10);
/// Connecting a driver, preparing a fault.
pub(crate) const READ: Span = Span::secs(15);
/// Applying or reverting a fault.
pub(crate) const FAULT: Span = Span::secs(10);
/// Setting or reading a weight.
pub(crate) const WEIGHT: Span = Span::secs(5);
/// Setting or reading a weight on the way back, where a hung router must not eat the retries.
pub(crate) const WEIGHT_BACK: Span = Span::secs(2);
/// Tries on the way back.
pub(crate) const BACK_TRIES: u32 = 5;
/// No new try on the way back after this.
pub(crate) const BACK_RETRY_WITHIN: Span = Span::secs(5);
/// Wait between two tries.
pub(crate) const RETRY_WAIT: Span = Span::millis(200);
/// Tries to revert a fault.
pub(crate) const REVERT_TRIES: u32 = 3;
/// Tries to put the final weight in place.
pub(crate) const FINAL_TRIES: u32 = 3;
/// Tries, each time, after a second interrupt.
pub(crate) const HURRIED_TRIES: u32 = 2;
/// Every deadline after a second interrupt.
pub(crate) const HURRIED: Span = Span::secs(2);
/// Longest wait for a restored service after an interrupt.
pub(crate) const INTERRUPTED_WAIT: Span = Span::secs(5);
/// Between two looks at what an active fault hit.
pub(crate) const ATTEST_EVERY: Span = Span::millis(500);
/// The same in a run of days.
pub(crate) const ATTEST_SELDOM: Span = Span::secs(60);
/// Longest wait for recovery after a fault without a fixed limit.
pub(crate) const RECOVERY: Span = Span::secs(60);
/// A run without a time box and without a known end stops here.
pub(crate) const LONGEST: Span = Span::secs(24 * 3600);
