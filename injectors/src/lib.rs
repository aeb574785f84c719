//! Faults, one kind a file, and the proxy in which the network ones live. A kind parses its parameters, says who takes
//! it back when the harness dies, and prepares a fault; it knows neither the engine nor other implementations.

mod abort;
mod bandwidth;
mod blackhole;
mod kill;
mod latency;
mod later;
mod params;
mod pause;
pub mod proxy;
mod reset;
mod rolls;
mod sampler;
mod toxic;

pub use proxy::{ProxySet, ProxyStats};
pub use sampler::{Distribution, Sampler};

use shakedown_core::seams::{Injector, Undo};

/// Every fault kind of the language.
pub const KINDS: &[&dyn Injector] = &[
    &latency::Latency,
    &abort::Abort,
    &reset::Reset,
    &blackhole::Blackhole,
    &bandwidth::Bandwidth,
    &pause::Pause,
    &kill::Kill,
    &later::SLOW_CONNECT,
    &later::FLAPPING,
    &later::SLOW_CLOSE,
    &later::SLICER,
    &later::LIMIT_DATA,
    &later::TRUNCATE,
    &later::MALFORMED,
    &later::CORRUPT,
    &later::DRIBBLE,
    &later::HEADERS,
    &later::RATE_LIMIT,
    &later::EXPIRED_CREDENTIALS,
    &later::DNS,
    &later::UDP,
    &later::CPU,
    &later::MEMORY,
    &later::DISK_FULL,
    &later::DESCRIPTORS,
    &later::IO,
    &later::CLOCK,
    &later::LOSS,
    &later::PARTITION,
    &later::NETWORK_BANDWIDTH,
    &later::CONTAINER,
    &later::COMMAND,
    &later::WEBHOOK,
];

/// What the guard and `recover` can undo for this crate. Empty: every kind here is taken back by the kernel when the
/// harness ends (the proxies are in its process, a pause ends with its tracer), or by nobody (a kill).
pub const UNDO: &[&dyn Undo] = &[];
