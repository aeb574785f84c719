//! The traits between rooms. Implementations live elsewhere; whoever calls them sees only these.

pub use crate::fail::Fail;

use crate::allowed::AllowList;
use crate::decision::Decision;
use crate::event::{Assessment, Attestation, Event, Input};
use crate::plan::{FaultPlan, Match, Plan};
use crate::snapshot::Snapshot;
use crate::tree::{Node, Problems};
use crate::units::{Offset, Ppm};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A boxed future, so that seams stay dyn.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The moment of offset 0. Only dispatcher and load make offsets from clocks.
#[derive(Clone, Copy, Debug)]
pub struct Epoch(pub Instant);

impl Epoch {
    /// The offset of a moment.
    #[must_use]
    pub fn offset(self, at: Instant) -> Offset {
        if at >= self.0 {
            Offset(i64::try_from((at - self.0).as_nanos()).unwrap_or(i64::MAX))
        } else {
            Offset(-i64::try_from((self.0 - at).as_nanos()).unwrap_or(i64::MAX))
        }
    }
}

/// Endpoints by name (`pilot.router`, `proxy.payments`), filled in as services and proxies come up.
#[derive(Clone, Debug, Default)]
pub struct Endpoints(Arc<Mutex<BTreeMap<String, SocketAddr>>>);

impl Endpoints {
    /// Makes an endpoint known (or moves it).
    pub fn set(&self, name: &str, addr: SocketAddr) {
        self.0.lock().expect("no holder panics").insert(name.to_owned(), addr);
    }

    /// Where it is now.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<SocketAddr> {
        self.0.lock().expect("no holder panics").get(name).copied()
    }

    /// All endpoints.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, SocketAddr> {
        self.0.lock().expect("no holder panics").clone()
    }
}

/// Whether a kind works in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Available {
    /// Yes.
    Now,
    /// In the language, but not yet.
    Later,
}

/// A named implementation of a seam: drives parsing, the schema, `shakedown kinds` and the docs.
pub trait Kind: Sync {
    /// Name in scenarios.
    fn name(&self) -> &'static str;
    /// One line for `shakedown kinds`.
    fn about(&self) -> &'static str;
    /// JSON Schema of its parameters.
    fn schema(&self) -> Value;
    /// Decodes its parameters to canonical JSON; problems are added, never returned.
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value>;
    /// Works in this version?
    fn available(&self) -> Available {
        Available::Now
    }
    /// Missing on this machine (root, a kernel feature, a program), each with its fix; empty is fine.
    fn missing(&self, _params: &Value) -> Vec<String> {
        Vec::new()
    }
}

/// A kind that is in the language but comes with a later version.
#[derive(Debug)]
pub struct LaterKind(pub &'static str, pub &'static str);

impl Kind for LaterKind {
    fn name(&self) -> &'static str {
        self.0
    }
    fn about(&self) -> &'static str {
        self.1
    }
    fn schema(&self) -> Value {
        Value::Bool(true)
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        problems.later(&node.span, &format!("`{}`", self.0));
        None
    }
    fn available(&self) -> Available {
        Available::Later
    }
}

/// Who takes a fault back when the harness is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The kernel, when our descriptor or process ends.
    Kernel,
    /// The kernel, through the parent-death signal.
    Child,
    /// The guard process, from the undo journal.
    Guard,
    /// The other side, when our lease ends.
    Remote,
    /// Nobody; "reverted" is recovery verified.
    Irreversible,
}

/// Who made a change: so that undo never removes what someone else made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Run ID.
    pub run: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// Harness process ID.
    pub pid: u32,
    /// Its start time in clock ticks (`/proc/PID/stat` field 22).
    pub started: u64,
}

/// What it takes to undo one change. Written before the change is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UndoRecord {
    /// Unique in its journal.
    pub id: u64,
    /// Kind that can undo it.
    pub kind: String,
    /// In words, for messages.
    pub what: String,
    /// All that `undo` needs.
    pub data: Value,
    /// Who made it.
    pub owner: Owner,
    /// Undone by the guard at the latest this many seconds after 1970.
    pub deadline: u64,
}

/// How an undo went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoState {
    /// Undone now.
    Undone,
    /// There was nothing (left) to undo.
    Already,
    /// It is someone else's now; left alone.
    NotOurs,
}

/// Stateless, idempotent, looks at the owner tag first. The same for normal revert, guard and `recover`.
pub trait Undo: Sync + Send {
    /// Kind of the records it undoes.
    fn kind(&self) -> &'static str;
    /// Undoes one record.
    fn undo<'a>(&'a self, record: &'a UndoRecord) -> Boxed<'a, Result<UndoState, Fail>>;
}

/// What injectors and drivers work with.
#[derive(Clone)]
pub struct Cx {
    /// Endpoints by name.
    pub endpoints: Endpoints,
    /// Allow list.
    pub allow: AllowList,
    /// Services of the run.
    pub services: Arc<dyn Services>,
    /// Proxies of the run.
    pub proxies: Arc<dyn Proxies>,
    /// Seed of the run.
    pub seed: u64,
    /// Owner tag of the run.
    pub owner: Owner,
}

/// Services of a run, as faults and the engine see them.
pub trait Services: Send + Sync {
    /// Starts one and waits until it is ready, or fails within its bound (its last output lines in the message).
    fn start<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<(), Fail>>;
    /// Stops all, last started first; every one is gone when this returns.
    fn stop_all<'a>(&'a self) -> Boxed<'a, Result<(), Fail>>;
    /// Stops every thread of a service's processes until [`Services::resume`] (or the harness's end).
    fn pause<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<u64, Fail>>;
    /// Lets them go on.
    fn resume<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<(), Fail>>;
    /// Kills a service with SIGKILL, all its processes.
    fn kill<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<u64, Fail>>;
}

/// A fault on a proxy: what the proxy does to the traffic that matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Toxic {
    /// Unique on its proxy: the fault's name.
    pub name: String,
    /// Injector kind (`latency`, `abort`, …).
    pub kind: String,
    /// Its canonical parameters.
    pub params: Value,
    /// Share of requests (HTTP) or connections (TCP).
    pub share: Ppm,
    /// Only requests that match (HTTP).
    pub matches: Match,
    /// Seed of its rolls.
    pub seed: u64,
}

/// Proxies of a run, as faults see them.
pub trait Proxies: Send + Sync {
    /// Adds a toxic; live connections feel it.
    fn add<'a>(&'a self, proxy: &'a str, toxic: Toxic) -> Boxed<'a, Result<(), Fail>>;
    /// Takes it away; what it held back goes on; idempotent.
    fn remove<'a>(&'a self, proxy: &'a str, toxic: &'a str) -> Boxed<'a, Result<(), Fail>>;
    /// What it hit so far (kept after removal).
    fn attest(&self, proxy: &str, toxic: &str) -> Attestation;
}

/// A fault kind.
pub trait Injector: Kind {
    /// Who takes it back.
    fn class(&self, params: &Value) -> Class;
    /// Faults with the same answer on the same thing do not compose.
    fn conflicts(&self, params: &Value) -> &'static str;
    /// Can sit on: `proxy`, `http-proxy`, `service`.
    fn sits_on(&self) -> &'static [&'static str];
    /// Reads only; gives the fault and what it takes to undo it.
    fn prepare<'a>(&'a self, fault: &'a FaultPlan, cx: &'a Cx) -> Boxed<'a, Result<Prepared, Fail>>;
    /// As a plain kind (trait objects do not upcast inside slices).
    fn as_kind(&self) -> &dyn Kind;
}

/// A fault ready to be applied.
pub struct Prepared {
    /// The fault.
    pub fault: Box<dyn Fault>,
    /// Kind, words and data of its undo record; `None` for class K, C and R.
    pub undo: Option<(String, String, Value)>,
}

/// A prepared fault.
pub trait Fault: Send + Sync {
    /// Makes the change.
    fn apply<'a>(&'a self) -> Boxed<'a, Result<(), Fail>>;
    /// Takes it back; idempotent.
    fn revert<'a>(&'a self) -> Boxed<'a, Result<(), Fail>>;
    /// What it did so far.
    fn attest(&self) -> Attestation;
}

/// A rollout driver kind.
pub trait DriverKind: Kind {
    /// Connects (reads only).
    fn connect<'a>(&'a self, params: &'a Value, cx: &'a Cx) -> Boxed<'a, Result<Arc<dyn Driver>, Fail>>;
    /// As a plain kind.
    fn as_kind(&self) -> &dyn Kind;
}

/// A router whose canary weight can be set, read back and restored.
pub trait Driver: Send + Sync {
    /// What is there now; `canary` is in it.
    fn found(&self) -> Boxed<'_, Result<Found, Fail>>;
    /// Sets the canary's weight; the control gets the rest.
    fn set(&self, canary: Ppm) -> Boxed<'_, Result<(), Fail>>;
    /// Reads the canary's weight back from the router.
    fn read(&self) -> Boxed<'_, Result<Ppm, Fail>>;
    /// Puts back what was found.
    fn restore<'a>(&'a self, found: &'a Found) -> Boxed<'a, Result<(), Fail>>;
    /// Kind, words and data of the undo record that restores `found`.
    fn undo(&self, found: &Found) -> (String, String, Value);
}

/// What a driver found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Canary weight.
    pub canary: Ppm,
    /// All that restoring needs.
    pub data: Value,
}

/// Where inputs go: stamped on arrival, in one order. Never blocks; bounded by its owner.
pub trait Sink: Send + Sync {
    /// Hands an input over.
    fn send(&self, input: Input);
}

/// How much load there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadMode {
    /// As the shape says; past its end an open stream's last rate goes on.
    Full,
    /// Past its end a stream stops (the rollout is over).
    Finish,
    /// One request a second in all.
    Probe,
    /// Nothing.
    Off,
}

/// The load generator, as the engine sees it.
pub trait Load: Send + Sync {
    /// Opens prewarmed connections and compiles requests; sends no request. Targets must be up.
    fn prepare(&self) -> Boxed<'_, Result<(), Fail>>;
    /// Fixes the epoch; streams with `at: OFFSET` start by themselves from now on.
    fn start(&self, epoch: Epoch, sink: Arc<dyn Sink>);
    /// Starts a stream that waits for a stage or fault.
    fn start_stream(&self, stream: &str, at: Offset);
    /// Changes the amount of load.
    fn mode(&self, mode: LoadMode);
    /// Stops sending, waits for open requests (each at most its timeout), sends the last snapshot and the samples.
    fn stop(&self) -> Boxed<'_, Result<(), Fail>>;
}

/// The judge, streaming: constant memory, no clock.
pub trait Assessor: Send {
    /// Takes an event in (`Assessed` is ignored).
    fn push(&mut self, event: &Event);
    /// Would a guard be crossed if these counts, not handed over yet, were taken in? Changes nothing.
    fn alarmed(&self, _held: &Snapshot) -> bool {
        false
    }
    /// What it makes of everything so far. Cheap enough for every snapshot.
    fn assess(&mut self) -> Assessment;
    /// The decision. Total: whatever is missing makes it something other than promote.
    fn decide(&mut self) -> Decision;
}

/// A report format. Reads events and the decision; computes no verdict.
pub trait Reporter: Kind {
    /// File name in the run directory, e.g. `report.html`.
    fn file(&self) -> &'static str;
    /// Writes the report.
    ///
    /// # Errors
    /// When `out` cannot be written.
    fn finish(&self, plan: &Plan, events: &mut dyn Iterator<Item = Event>, decision: &Decision, out: &mut dyn io::Write) -> io::Result<()>;
    /// As a plain kind.
    fn as_kind(&self) -> &dyn Kind;
}

/// The undo journal of a run, as the engine sees it. Every call returns only after its line is on disk.
pub trait UndoLog: Send + Sync {
    /// A change is about to be made; gives its record's number.
    ///
    /// # Errors
    /// When the journal cannot be written: the change must not be made.
    fn about_to(&self, kind: &str, what: &str, data: Value) -> Result<u64, Fail>;
    /// The change is made.
    ///
    /// # Errors
    /// When the journal cannot be written; the record stays "about to" and is undone all the same.
    fn active(&self, id: u64) -> Result<(), Fail>;
    /// The change is undone.
    ///
    /// # Errors
    /// When the journal cannot be written; undoing twice does no harm.
    fn undone(&self, id: u64) -> Result<(), Fail>;
    /// Undoes one record now, by the same `undo` the guard would use.
    fn undo(&self, id: u64) -> Boxed<'_, Result<UndoState, Fail>>;
}

/// Setup, teardown and `rollback.before` steps.
pub trait Actions: Send + Sync {
    /// Runs one step to its end, bounded.
    fn run<'a>(&'a self, action: &'a crate::plan::Action) -> Boxed<'a, Result<(), Fail>>;
}
