//! What a proxy counts of all that passes, toxic or not: the source of dependency indicators. Must not judge.

use shakedown_core::Sparse;
use shakedown_wire::Report;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Totals of one proxy since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyStats {
    /// Client connections accepted.
    pub connections: u64,
    /// Of them open now.
    pub open: u64,
    /// Requests whose head was read (HTTP).
    pub requests: u64,
    /// Requests forwarded (HTTP) or connections ended (TCP): what the fields below are about.
    pub forwarded: u64,
    /// Of them those in which the upstream was unreachable, vanished or spoke no HTTP.
    pub errors: u64,
    /// Upstream answers by status (HTTP).
    pub statuses: BTreeMap<u16, u64>,
    /// Time from forwarding to the answer's head in ns (HTTP).
    pub latency: Sparse,
    /// Bytes to the upstream.
    pub up: u64,
    /// Bytes to clients.
    pub down: u64,
    /// Clients that sent no HTTP (HTTP).
    pub malformed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    connections: AtomicU64,
    open: AtomicU64,
    requests: AtomicU64,
    totals: Mutex<ProxyStats>,
}

/// Counts a connection as open until dropped.
pub(super) struct Open<'a>(&'a Counters);

impl Counters {
    pub(super) fn connection(&self) -> Open<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    /// Counts a request and gives its number on this proxy.
    pub(super) fn request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn malformed(&self) {
        self.totals().malformed += 1;
    }

    pub(super) fn ended(&self, report: &Report) {
        let mut totals = self.totals();
        totals.forwarded += 1;
        totals.errors += u64::from(report.failure.is_some());
        if let Some(status) = report.status {
            *totals.statuses.entry(status).or_default() += 1;
        }
        if let Some(latency) = report.upstream_latency {
            totals.latency.record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
        totals.up += report.up;
        totals.down += report.down;
    }

    pub(super) fn snapshot(&self) -> ProxyStats {
        ProxyStats {
            connections: self.connections.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            ..self.totals().clone()
        }
    }

    fn totals(&self) -> MutexGuard<'_, ProxyStats> {
        self.totals.lock().expect("no holder panics")
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
