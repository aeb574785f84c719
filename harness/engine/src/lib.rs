//! The run of a plan: a pure [`step`] function that decides, a dispatcher ([`run`]) that executes its effects with
//! deadlines, and the event [`journal`]. Knows traits only: must not import an implementation of load, faults,
//! drivers, services or the judge.
//!
//! The rules, in short. Everything that happens is an [`Event`](shakedown_core::Event) in one ordered queue
//! ([`inbox`]); it is appended to the journal before it is acted on. [`step`] is a function of the events alone, so the
//! same journal always gives the same facts. Every effect ends in exactly one `Done`, at the latest at its deadline.
//! Every way out goes through the same end: faults reverted, weight back, load stopped, teardown, services stopped.
//!
//! Offsets before the epoch count up from [`BEFORE_EPOCH`], because the epoch is not known yet: they order and measure
//! what happened before offset 0 among itself, and nothing else.

mod chronicle;
mod dispatch;
mod effect;
mod fold;
mod inbox;
pub mod journal;
mod merge;
mod quiet;
mod recompute;
mod runner;
mod segment;
mod state;
mod step;
mod world;

pub use chronicle::{Chronicle, Parts};
pub use dispatch::{Outcome, Part, TeardownRecords, Wiring, run};
pub use effect::{Call, Effect};
pub use fold::block as fold_block;
pub use inbox::{BEFORE_EPOCH, Inbox, inbox};
pub use merge::merge;
pub use recompute::decide_from;
pub use segment::{MERGED_FILE, SEGMENT_FILE, Segment, complete};
pub use state::State;
pub use step::step;
