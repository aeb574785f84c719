//! One arrival under way, as plain data: where it stands, what it waits for, what is known of its newest attempt. Must not
//! act.

use crate::cookies::Jar;
use crate::links::{Linked, Links};
use crate::seeds::Seed;
use shakedown_core::Arm;
use shakedown_core::snapshot::Failure;
use shakedown_net::TaskId;
use shakedown_protocols::Progress;
use std::rc::Rc;

/// Arrivals of the probe are counted from here, apart from those of the shape.
pub const PROBE: u64 = 1 << 40;
/// Not yet, as a time.
pub const NEVER: i64 = i64::MIN;
/// The list of attempts by when they time out.
pub const TIMEOUTS: usize = 0;
/// The list of those who wait for a connection.
pub const WAITING: usize = 1;

/// Names a trip; a later one in the same place has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TripId {
    /// Place in the slab.
    pub index: u32,
    /// Which of those that were there.
    pub life: u32,
}

/// Who started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The pacer.
    Paced,
    /// A closed-model user, by its place.
    User(u32),
    /// The probe.
    Probe,
}

/// What it waits for.
#[derive(Debug)]
pub enum State {
    /// Nothing: it is being moved along.
    Moving,
    /// The end of a pause.
    Thinking,
    /// The rate that closed users keep to.
    Gated,
    /// The end of a backoff.
    BackingOff,
    /// A connection.
    Waiting,
    /// A connection of its own being made.
    Connecting(TaskId),
    /// An answer over this connection.
    Exchanging(u32),
    /// A task of another protocol.
    Asking(TaskId, Rc<Progress>),
}

/// How its last request ended.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    /// Who answered.
    pub arm: Arm,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When.
    pub done: i64,
    /// When the last attempt was due.
    pub due: i64,
}

/// What only some journeys need.
#[derive(Debug, Default)]
pub struct Extra {
    /// Captured values by slot.
    pub captures: Vec<Option<String>>,
    /// Cookies.
    pub jar: Jar,
}

/// One arrival. Times are ns after the epoch.
#[derive(Debug)]
pub struct Trip {
    /// See [`TripId`].
    pub life: u32,
    /// Index of its stream in the worker.
    pub lane: u32,
    /// Who started it.
    pub owner: Owner,
    /// Index of its journey; `None` for a replay.
    pub journey: Option<u32>,
    /// Index of its step.
    pub step: u32,
    /// Its number.
    pub k: u64,
    /// When it was due.
    pub start: i64,
    /// When its request was due.
    pub asked: i64,
    /// When its newest attempt was due.
    pub due: i64,
    /// The slice its request is counted in, while that is open.
    pub slice: Option<u32>,
    /// The slice the whole journey is counted in.
    pub whole: u32,
    /// Number of the newest attempt, from 1.
    pub attempt: u32,
    /// How often the attempt was moved from a closed connection to another.
    pub moves: u8,
    /// It counts as in flight.
    pub flying: bool,
    /// When the newest attempt was taken up.
    pub dispatched: i64,
    /// When it was first written.
    pub sent: i64,
    /// When its answer began.
    pub first_byte: i64,
    /// The seed of its step.
    pub own: Seed,
    /// How its last request ended.
    pub last: Option<Last>,
    /// What it waits for.
    pub state: State,
    /// Neighbours in both lists.
    pub links: [Links; 2],
    /// Captures and cookies, where there are any.
    pub extra: Option<Box<Extra>>,
}

impl Trip {
    /// Whether the probe started it.
    #[must_use]
    pub fn probes(&self) -> bool {
        self.owner == Owner::Probe
    }

    /// Its cookies.
    #[must_use]
    pub fn jar(&self) -> Option<&Jar> {
        self.extra.as_ref().map(|e| &e.jar)
    }

    /// Its captured values.
    #[must_use]
    pub fn captures(&self) -> &[Option<String>] {
        self.extra.as_ref().map_or(&[], |e| &e.captures)
    }
}

impl Linked<TIMEOUTS> for Trip {
    fn links(&mut self) -> &mut Links {
        &mut self.links[TIMEOUTS]
    }
}

impl Linked<WAITING> for Trip {
    fn links(&mut self) -> &mut Links {
        &mut self.links[WAITING]
    }
}
