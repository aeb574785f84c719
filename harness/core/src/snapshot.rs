//! What load reports: additive deltas of counts and histograms by slice of intended send. Must not aggregate or judge.

use crate::sparse::Sparse;
use crate::units::Offset;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who gave an answer. Comparisons use attempts of `Control` and `Canary`; `All` counts logical requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// Logical requests, whoever answered.
    All,
    /// Attempts answered by the control.
    Control,
    /// Attempts answered by the canary.
    Canary,
    /// Attempts nobody could be identified for (no answer, or an answer without identification).
    Unknown,
}

/// A finer dimension; exists only where an objective asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dim {
    /// Every request of the stream.
    Whole,
    /// Whole journeys (all steps of one arrival): `ok` is every step met, latency is intended start to last answer.
    Journey(String),
    /// Requests of one step of one journey.
    Step {
        /// Journey name.
        journey: String,
        /// Step name.
        step: String,
    },
    /// Requests by the value of a grouping header; bounded by `max_cells`, the rest is `other`.
    Group {
        /// Objective that asked.
        objective: String,
        /// Value seen.
        value: String,
    },
}

/// Where a count belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellKey {
    /// Slice number: intended send divided by the plan's slice length.
    pub slice: u32,
    /// Index into `plan.streams`.
    pub stream: u16,
    /// Who answered, or `All`.
    pub arm: Arm,
    /// Finer dimension.
    pub dim: Dim,
}

/// Why an attempt failed. Each failed attempt or request has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Connection refused.
    Refused,
    /// Connect failed otherwise (unreachable, no descriptors, no ports).
    Connect,
    /// The target's name could not be resolved.
    Resolve,
    /// Reset or closed before the answer was complete.
    Reset,
    /// TLS handshake failed.
    Tls,
    /// No complete answer within `timeout` of the intended send.
    Timeout,
    /// The answer was no HTTP.
    Protocol,
    /// Answered, but the status was not the expected one.
    Status,
    /// Answered, but another expectation (body, JSON, header, not empty) was not met.
    Expectation,
    /// A capture the next step needs was not in the answer.
    Capture,
    /// Never sent: the in-flight limit was reached. Counts as failed and makes the run's validity doubtful.
    Dropped,
    /// Still unanswered when the run ended.
    Unanswered,
}

/// Additive counts of one cell. `due − ok − failed` are still open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cell {
    /// Requests due (`All` only; signed, since a retry moves a logical request to the slice of its last attempt).
    #[serde(skip_serializing_if = "is_zero")]
    pub due: i64,
    /// Requests that met every expectation.
    #[serde(skip_serializing_if = "is_none")]
    pub ok: u64,
    /// Requests that did not, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<Failure, u64>,
    /// Retries sent (`All`): attempts beyond the first.
    #[serde(skip_serializing_if = "is_none")]
    pub retries: u64,
    /// Answers by HTTP status.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status: BTreeMap<u16, u64>,
    /// Bytes of answers (heads and bodies).
    #[serde(skip_serializing_if = "is_none")]
    pub bytes: u64,
    /// Answers that were successful but empty.
    #[serde(skip_serializing_if = "is_none")]
    pub empty: u64,
    /// Intended send to last byte, ns: successes, and timeouts at `timeout`; other failures are not in it.
    #[serde(skip)]
    pub latency: Sparse,
    /// Dispatch (the generator took it up) to last byte, ns; `All` only.
    #[serde(skip)]
    pub dispatch: Sparse,
    /// First byte on the wire to last byte, ns; `All` only.
    #[serde(skip)]
    pub service: Sparse,
    /// Intended send to dispatch, ns: how late the generator was; `All` only.
    #[serde(skip)]
    pub lag: Sparse,
    /// Time to connect of new connections, handshake not included, ns; `All` only.
    #[serde(skip)]
    pub connect: Sparse,
    /// Time for the TLS handshake of new connections, ns; `All` only.
    #[serde(skip)]
    pub tls: Sparse,
    /// First byte on the wire to first byte of the answer, ns; `All` only.
    #[serde(skip)]
    pub first_byte: Sparse,
    /// Send error: intended send to first byte on the wire, ns, of the first attempt of a paced arrival; `All` only.
    #[serde(skip)]
    pub send: Sparse,
}

/// Counts of one stream that belong to the generator, not to answers. Additive deltas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamTotals {
    /// Arrivals due so far by the pacer's closed form, delta.
    pub asked: u64,
    /// Attempts put on the wire, delta.
    pub sent: u64,
    /// Arrivals dropped at the in-flight limit, delta.
    pub dropped: u64,
    /// New connections, delta.
    pub connections: u64,
    /// Requests on a connection that had carried one before, delta.
    #[serde(default, skip_serializing_if = "is_none")]
    pub reused: u64,
    /// TLS handshakes, delta.
    #[serde(default, skip_serializing_if = "is_none")]
    pub handshakes: u64,
    /// TLS handshakes that resumed a session, delta.
    #[serde(default, skip_serializing_if = "is_none")]
    pub resumed: u64,
    /// Requests that had to wait because every connection was taken, delta.
    #[serde(default, skip_serializing_if = "is_none")]
    pub waited: u64,
    /// Logical requests in flight now (not a delta).
    pub in_flight: u64,
    /// All arrivals of this stream have been dispatched (shape ended, not continued).
    pub ended: bool,
}

/// A delta of everything since the last snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Every outcome observed up to here is in this or an earlier snapshot.
    pub as_of: Offset,
    /// Changed cells.
    pub cells: Vec<(CellKey, Cell)>,
    /// Per stream index.
    pub streams: BTreeMap<u16, StreamTotals>,
    /// Earliest answer per arm within this delta.
    pub first_answer: BTreeMap<Arm, Offset>,
    /// Latest answer per arm within this delta.
    pub last_answer: BTreeMap<Arm, Offset>,
    /// The generator's own processor time since the last snapshot, ns.
    pub cpu: u64,
    /// Cells cut by `max_cells` since the last snapshot.
    pub cut: u64,
    /// What the generator found out about itself.
    #[serde(default)]
    pub vitals: Vitals,
    /// In quiet stretches of a run of days the engine folds slices before it writes them down: each cell then holds the
    /// counts of this many slices from its own on. 0: of its own slice alone.
    #[serde(default, skip_serializing_if = "is_none32")]
    pub folded: u32,
}

/// The generator's self-check: deltas since the last snapshot unless it says otherwise. Merged by adding, gauges by their
/// maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vitals {
    /// Worker threads (gauge).
    pub workers: u16,
    /// Time the workers were ready to run and waited for a processor, ns (`/proc/thread-self/schedstat`).
    #[serde(skip_serializing_if = "is_none")]
    pub run_queue: u64,
    /// Processor time of the machine taken by its host, ns over all processors (`steal` of `/proc/stat`).
    #[serde(skip_serializing_if = "is_none")]
    pub steal: u64,
    /// Open descriptors of the process (gauge).
    #[serde(skip_serializing_if = "is_none")]
    pub descriptors: u64,
    /// Descriptors it may have (gauge).
    #[serde(skip_serializing_if = "is_none")]
    pub descriptors_max: u64,
    /// Connects that failed for want of a descriptor (EMFILE, ENFILE).
    #[serde(skip_serializing_if = "is_none")]
    pub no_descriptor: u64,
    /// Connects that failed for want of a local port (EADDRNOTAVAIL).
    #[serde(skip_serializing_if = "is_none")]
    pub no_port: u64,
    /// Quantum in force, ns (gauge).
    #[serde(skip_serializing_if = "is_none")]
    pub quantum: u64,
    /// Spin in force, ns (gauge).
    #[serde(skip_serializing_if = "is_none")]
    pub spin: u64,
}

impl Vitals {
    /// Adds another worker's or another interval's.
    pub fn merge(&mut self, o: &Vitals) {
        self.workers = self.workers.max(o.workers);
        self.run_queue += o.run_queue;
        self.steal += o.steal;
        self.descriptors = self.descriptors.max(o.descriptors);
        self.descriptors_max = self.descriptors_max.max(o.descriptors_max);
        self.no_descriptor += o.no_descriptor;
        self.no_port += o.no_port;
        self.quantum = self.quantum.max(o.quantum);
        self.spin = self.spin.max(o.spin);
    }
}

impl StreamTotals {
    /// Adds the deltas of another's.
    fn add(&mut self, o: &StreamTotals) {
        self.asked += o.asked;
        self.sent += o.sent;
        self.dropped += o.dropped;
        self.connections += o.connections;
        self.reused += o.reused;
        self.handshakes += o.handshakes;
        self.resumed += o.resumed;
        self.waited += o.waited;
    }
}

impl Snapshot {
    /// Adds what the same generator reported later.
    pub fn then(&mut self, later: Snapshot) {
        for (index, totals) in &later.streams {
            let sum = self.streams.entry(*index).or_default();
            sum.add(totals);
            (sum.in_flight, sum.ended) = (totals.in_flight, sum.ended || totals.ended);
        }
        self.as_of = self.as_of.max(later.as_of);
        self.add(later);
    }

    /// Adds what another worker reported of the same interval. Exact in any order. A stream has ended where it has ended
    /// with all who report it; what is known is what the slowest knows.
    pub fn beside(&mut self, other: Snapshot) {
        for (index, totals) in &other.streams {
            match self.streams.entry(*index) {
                std::collections::btree_map::Entry::Vacant(new) => {
                    new.insert(totals.clone());
                }
                std::collections::btree_map::Entry::Occupied(mut old) => {
                    let sum = old.get_mut();
                    sum.add(totals);
                    sum.in_flight += totals.in_flight;
                    sum.ended &= totals.ended;
                }
            }
        }
        self.as_of = self.as_of.min(other.as_of);
        self.add(other);
    }

    /// What is added whatever the order: cells (kept in key order), first and last answers, costs.
    fn add(&mut self, other: Snapshot) {
        if self.cells.is_empty() {
            self.cells = other.cells;
        } else if !other.cells.is_empty() {
            let mut cells: BTreeMap<CellKey, Cell> = std::mem::take(&mut self.cells).into_iter().collect();
            for (key, cell) in other.cells {
                cells.entry(key).or_default().merge(&cell);
            }
            self.cells = cells.into_iter().collect();
        }
        for (arm, at) in other.first_answer {
            let first = self.first_answer.entry(arm).or_insert(at);
            *first = at.min(*first);
        }
        for (arm, at) in other.last_answer {
            let last = self.last_answer.entry(arm).or_insert(at);
            *last = at.max(*last);
        }
        self.cpu += other.cpu;
        self.cut += other.cut;
        self.vitals.merge(&other.vitals);
    }
}

/// One kept request: failed or among the slowest. Bounded and seeded; secrets already redacted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Intended send.
    pub at: Offset,
    /// Stream name.
    pub stream: String,
    /// Journey and step.
    pub step: String,
    /// Trace ID (32 hex digits).
    pub trace: String,
    /// Who answered.
    pub arm: Arm,
    /// HTTP status, when answered.
    pub status: Option<u16>,
    /// Why it failed; `None` for a slow success.
    pub failure: Option<Failure>,
    /// What went wrong in words, e.g. which expectation.
    pub detail: String,
    /// Intended latency, ns.
    pub latency: u64,
    /// Dispatch latency, ns.
    pub dispatch: u64,
    /// Service latency, ns.
    pub service: u64,
    /// Method and path as sent.
    pub request: String,
    /// Redacted head and first 2 KiB of the answer.
    pub answer: String,
}

fn is_none32(v: &u32) -> bool {
    *v == 0
}
fn is_zero(v: &i64) -> bool {
    *v == 0
}
fn is_none(v: &u64) -> bool {
    *v == 0
}

impl Cell {
    /// All failures.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Answered or given up: `ok` and all failures.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.ok + self.failures()
    }

    /// Adds the other's counts to these; exact in any order.
    pub fn merge(&mut self, o: &Cell) {
        self.due += o.due;
        self.ok += o.ok;
        self.retries += o.retries;
        self.bytes += o.bytes;
        self.empty += o.empty;
        for (k, n) in &o.failed {
            *self.failed.entry(*k).or_default() += n;
        }
        for (k, n) in &o.status {
            *self.status.entry(*k).or_default() += n;
        }
        self.latency.merge(&o.latency);
        self.dispatch.merge(&o.dispatch);
        self.service.merge(&o.service);
        self.lag.merge(&o.lag);
        self.connect.merge(&o.connect);
        self.tls.merge(&o.tls);
        self.first_byte.merge(&o.first_byte);
        self.send.merge(&o.send);
    }
}
