//! What the generator found out about itself, as the record keeps it. Plain data, of bounded size whatever the run's
//! length.

use serde::{Deserialize, Serialize};

/// The generator's self-check over the whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GeneratorCheck {
    /// Intended send to first byte on the wire.
    pub send: SendError,
    /// Second by second.
    pub seconds: SecondsCheck,
    /// Most logical requests in flight at once.
    pub in_flight: u64,
    /// Connections made.
    pub connections: u64,
    /// Requests on a connection that had carried one before.
    pub reused: u64,
    /// TLS handshakes.
    pub handshakes: u64,
    /// TLS handshakes that resumed a session.
    pub resumed: u64,
    /// Requests that had to wait because every connection was taken.
    pub waited: u64,
    /// Worker threads; 0 where nothing was said.
    pub workers: u16,
    /// Quantum in force, ns.
    pub quantum: u64,
    /// Spin in force, ns.
    pub spin: u64,
    /// Processors used: the generator's processor time over the run's length.
    pub cpu: f64,
    /// Share of the time the workers waited for a processor.
    pub run_queue: f64,
    /// Processors taken by the machine's host.
    pub steal: f64,
    /// Most open descriptors.
    pub descriptors: u64,
    /// Descriptors allowed.
    pub descriptors_max: u64,
    /// Connects that failed for want of a descriptor.
    pub no_descriptor: u64,
    /// Connects that failed for want of a local port.
    pub no_port: u64,
}

/// How far sends were from their intended time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendError {
    /// Paced arrivals measured.
    pub count: u64,
    /// In ns: p50, p90, p99, p99.9, p99.99, highest.
    pub quantiles: [u64; 6],
    /// Counts by upper edge (ns) of fixed steps 1-2-5; the last edge, `u64::MAX`, holds the rest. Empty steps are left out.
    pub spread: Vec<(u64, u64)>,
}

/// Seconds in which the generator did not do what was asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecondsCheck {
    /// Seconds in which requests were due.
    pub seen: u64,
    /// Of them, with fewer than 99 % of the requests taken up in time.
    pub short: u64,
    /// Of them, with fewer than 95 % taken up in time.
    pub bad: u64,
    /// The lowest share of any second.
    pub least: Option<f64>,
    /// Seconds in which more than 1 % of the requests waited for a connection.
    pub crowded: u64,
    /// The first bad seconds, neighbours with one cause together.
    pub ranges: Vec<BadSeconds>,
    /// Bad seconds that are in no range: the list is bounded.
    pub more: u64,
}

/// Bad seconds in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BadSeconds {
    /// First second from the load epoch.
    pub from: u64,
    /// The second after the last.
    pub to: u64,
    /// The lowest share of requests taken up in time.
    pub share: f64,
    /// `run-queue`: the workers waited for a processor; `steal`: the machine's host took it; `unexplained`.
    pub cause: String,
}
