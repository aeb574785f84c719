//! What one row counts between two snapshots, made for the hot path: plain counters and histograms that keep their
//! room. Must not know slices, streams or arms, and gives exactly what core's [`Cell`] would have counted.

use crate::histogram::Histogram;
use shakedown_core::Cell;
use shakedown_core::snapshot::Failure;
use std::collections::BTreeMap;

/// Statuses counted in place; further ones go to a map.
const COMMON: usize = 4;
/// Every kind of failure, by its number.
const FAILURES: [Failure; 12] = [
    Failure::Refused,
    Failure::Connect,
    Failure::Resolve,
    Failure::Reset,
    Failure::Tls,
    Failure::Timeout,
    Failure::Protocol,
    Failure::Status,
    Failure::Expectation,
    Failure::Capture,
    Failure::Dropped,
    Failure::Unanswered,
];

/// Counts of one row. A changed row is given on even when its counts cancel out, as a [`Cell`] would be.
#[derive(Debug, Default)]
pub struct Tally {
    /// Asked for since the last snapshot.
    pub(crate) touched: bool,
    due: i64,
    ok: u64,
    retries: u64,
    bytes: u64,
    empty: u64,
    common: [(u16, u64); COMMON],
    latency: Histogram,
    dispatch: Histogram,
    service: Histogram,
    lag: Histogram,
    connect: Histogram,
    tls: Histogram,
    first_byte: Histogram,
    send: Histogram,
    failed: [u64; FAILURES.len()],
    others: BTreeMap<u16, u64>,
}

impl Tally {
    /// Requests due; negative takes back.
    #[inline]
    pub fn due(&mut self, n: i64) {
        self.due += n;
    }

    /// A request that met every expectation.
    #[inline]
    pub fn ok(&mut self) {
        self.ok += 1;
    }

    /// A request that did not.
    #[inline]
    pub fn failed(&mut self, kind: Failure) {
        self.failed[kind as usize] += 1;
    }

    /// So many requests that did not.
    pub fn all_failed(&mut self, kind: Failure, n: u64) {
        self.failed[kind as usize] += n;
    }

    /// Attempts beyond the first.
    #[inline]
    pub fn retries(&mut self, n: u64) {
        self.retries += n;
    }

    /// An answer's status.
    #[inline]
    pub fn status(&mut self, status: u16) {
        self.statuses(status, 1);
    }

    /// Bytes of an answer.
    #[inline]
    pub fn bytes(&mut self, n: u64) {
        self.bytes += n;
    }

    /// An answer that was successful but empty.
    #[inline]
    pub fn empty(&mut self) {
        self.empty += 1;
    }

    /// Intended send to last byte, ns.
    #[inline]
    pub fn latency(&mut self, ns: u64) {
        self.latency.record(ns);
    }

    /// Dispatch to last byte, ns.
    #[inline]
    pub fn dispatch(&mut self, ns: u64) {
        self.dispatch.record(ns);
    }

    /// First byte on the wire to last byte, ns.
    #[inline]
    pub fn service(&mut self, ns: u64) {
        self.service.record(ns);
    }

    /// Intended send to dispatch, ns.
    #[inline]
    pub fn lag(&mut self, ns: u64) {
        self.lag.record(ns);
    }

    /// Time to connect, ns.
    #[inline]
    pub fn connect(&mut self, ns: u64) {
        self.connect.record(ns);
    }

    /// Time for the TLS handshake, ns.
    #[inline]
    pub fn tls(&mut self, ns: u64) {
        self.tls.record(ns);
    }

    /// First byte on the wire to first byte of the answer, ns.
    #[inline]
    pub fn first_byte(&mut self, ns: u64) {
        self.first_byte.record(ns);
    }

    /// Intended send to first byte on the wire, ns.
    #[inline]
    pub fn send(&mut self, ns: u64) {
        self.send.record(ns);
    }

    /// Adds what was counted in core's form; slow.
    #[cfg(test)]
    pub fn add(&mut self, cell: &Cell) {
        self.due += cell.due;
        self.ok += cell.ok;
        self.retries += cell.retries;
        self.bytes += cell.bytes;
        self.empty += cell.empty;
        cell.failed.iter().for_each(|(&kind, n)| self.failed[kind as usize] += n);
        cell.status.iter().for_each(|(&status, &n)| self.statuses(status, n));
        let theirs = [&cell.latency, &cell.dispatch, &cell.service, &cell.lag, &cell.connect, &cell.tls, &cell.first_byte, &cell.send];
        for (own, other) in self.histograms().into_iter().zip(theirs) {
            own.add(other);
        }
    }

    /// Everything counted, in core's form; the counts begin anew and the room is kept.
    pub(crate) fn drain(&mut self) -> Cell {
        self.touched = false;
        let failed = FAILURES.iter().zip(&mut self.failed).filter(|(_, n)| **n > 0);
        let mut status = std::mem::take(&mut self.others);
        for (code, n) in self.common.iter_mut().filter(|(_, n)| *n > 0) {
            status.insert(*code, std::mem::take(n));
        }
        Cell {
            due: std::mem::take(&mut self.due),
            ok: std::mem::take(&mut self.ok),
            failed: failed.map(|(kind, n)| (*kind, std::mem::take(n))).collect(),
            retries: std::mem::take(&mut self.retries),
            status,
            bytes: std::mem::take(&mut self.bytes),
            empty: std::mem::take(&mut self.empty),
            latency: self.latency.drain(),
            dispatch: self.dispatch.drain(),
            service: self.service.drain(),
            lag: self.lag.drain(),
            connect: self.connect.drain(),
            tls: self.tls.drain(),
            first_byte: self.first_byte.drain(),
            send: self.send.drain(),
        }
    }

    /// Bytes of room its histograms hold.
    #[cfg(test)]
    pub(crate) fn room(&mut self) -> usize {
        self.histograms().iter().map(|h| h.room()).sum()
    }

    #[inline]
    fn statuses(&mut self, status: u16, n: u64) {
        for (code, count) in &mut self.common {
            if *count == 0 || *code == status {
                *code = status;
                *count += n;
                return;
            }
        }
        *self.others.entry(status).or_default() += n;
    }

    #[cfg(test)]
    fn histograms(&mut self) -> [&mut Histogram; 8] {
        [
            &mut self.latency,
            &mut self.dispatch,
            &mut self.service,
            &mut self.lag,
            &mut self.connect,
            &mut self.tls,
            &mut self.first_byte,
            &mut self.send,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_their_own_number() {
        assert!(FAILURES.iter().enumerate().all(|(i, kind)| *kind as usize == i));
    }

    #[test]
    fn any_status_is_counted() {
        let mut tally = Tally::default();
        for status in [200, 500, 200, 404, 301, 999, 7, 999] {
            tally.status(status);
        }
        let expected = BTreeMap::from([(7, 1), (200, 2), (301, 1), (404, 1), (500, 1), (999, 2)]);
        assert_eq!(tally.drain().status, expected);
    }
}
