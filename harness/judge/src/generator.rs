//! The generator's self-check, folded as it streams in: send error, who was sent in time second by second, what kept the
//! workers, connections and descriptors. Must not decide: `validity` does. Keeps one count a second until the second has
//! closed and nothing that grows with the run's length.

use shakedown_core::decision::{BadSeconds, GeneratorCheck, SecondsCheck, SendError};
use shakedown_core::snapshot::Vitals;
use shakedown_core::sparse::bucket_top;
use shakedown_core::{Arm, Dim, Offset, Snapshot, Sparse};
use std::collections::BTreeMap;

/// A second in ns.
const SECOND: u64 = 1_000_000_000;
/// A request taken up later than this after it was due is not counted as sent in time: what the run as a whole allows its
/// hundredth.
pub const IN_TIME: u64 = 50_000_000;
/// Below this share in time a second is short, below the other it is bad.
const SHORT: f64 = 0.99;
const BAD: f64 = 0.95;
/// Fewer late requests than this are no sign of anything: one hiccup of a thread may hit as many in a quiet second.
const LEAST_LATE: u64 = 5;
/// Above this share of requests that waited for a connection a second is crowded.
const CROWDED: f64 = 0.01;
/// Less than a whole request is what is left of laying a report over its seconds.
const LEAST_WAITED: f64 = 0.5;
/// What explains a bad second: the share of it that the workers waited for a processor, and the share of one processor
/// that the host took. Neither makes a second bad by itself: a machine may be busy and the sends exact.
const RUN_QUEUE: f64 = 0.10;
const STEAL: f64 = 0.05;
/// Most ranges of bad seconds kept.
const RANGES: usize = 20;
/// Longest report whose costs are laid over its seconds.
const MOST_SPREAD: u64 = 3600;
/// Steps of the send error's histogram, ns.
const EDGES: [u64; 22] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    u64::MAX,
];

/// One second while it is open.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Seconds it stands for: folded reports say several at once.
    span: u64,
    taken: u64,
    late: u64,
    sent: f64,
    waited: f64,
    /// Worker time covered by reports, of it waiting for a processor, and taken by the host, ns.
    watched: f64,
    run_queue: f64,
    steal: f64,
}

/// The fold.
#[derive(Clone, Debug, Default)]
pub struct Generator {
    send: Sparse,
    highest: u64,
    open: BTreeMap<u64, Second>,
    next: u64,
    seconds: SecondsCheck,
    as_of: Offset,
    watched: u64,
    cpu: u64,
    vitals: Vitals,
    in_flight: BTreeMap<u16, u64>,
    counts: GeneratorCheck,
}

impl Generator {
    /// Takes a report in. `start` gives the begin of a slice, `length` of one.
    pub fn push(&mut self, snapshot: &Snapshot, start: impl Fn(u32) -> Offset) {
        for (key, cell) in snapshot.cells.iter().filter(|(k, _)| k.arm == Arm::All && k.dim == Dim::Whole) {
            let at = u64::try_from(start(key.slice).0).unwrap_or(0);
            let end = u64::try_from(start(key.slice.saturating_add(snapshot.folded.max(1))).0).unwrap_or(at);
            let second = self.open.entry((at / SECOND).max(self.next)).or_default();
            second.span = second.span.max((end - at.min(end)).div_ceil(SECOND));
            let taken = cell.lag.count();
            second.taken += taken;
            second.late += taken - cell.lag.count_at_most(IN_TIME).min(taken);
            self.send.merge(&cell.send);
            self.highest = self.highest.max(cell.send.buckets.last().map_or(0, bucket_top));
        }
        let (mut sent, mut waited) = (0, 0);
        for (index, totals) in &snapshot.streams {
            sent += totals.sent;
            waited += totals.waited;
            self.counts.connections += totals.connections;
            self.counts.reused += totals.reused;
            self.counts.handshakes += totals.handshakes;
            self.counts.resumed += totals.resumed;
            self.in_flight.insert(*index, totals.in_flight);
        }
        self.counts.waited += waited;
        self.counts.in_flight = self.counts.in_flight.max(self.in_flight.values().sum());
        self.vitals.merge(&snapshot.vitals);
        self.cpu += snapshot.cpu;
        self.spread(snapshot, sent, waited);
    }

    /// Lays what a report says of its interval over the seconds of it.
    fn spread(&mut self, snapshot: &Snapshot, sent: u64, waited: u64) {
        let from = u64::try_from(self.as_of.0).unwrap_or(0);
        let to = u64::try_from(snapshot.as_of.0).unwrap_or(0);
        self.as_of = self.as_of.max(snapshot.as_of);
        if to <= from {
            return;
        }
        self.watched += to - from;
        let (first, last) = ((from / SECOND).max(self.next), (to - 1) / SECOND);
        if last - first.min(last) > MOST_SPREAD {
            return;
        }
        let workers = f64::from(self.vitals.workers.max(1));
        for number in first..=last {
            let overlap = to.min((number + 1) * SECOND).saturating_sub(from.max(number * SECOND));
            let share = overlap as f64 / (to - from) as f64;
            let second = self.open.entry(number).or_default();
            second.sent += sent as f64 * share;
            second.waited += waited as f64 * share;
            second.watched += overlap as f64;
            second.run_queue += snapshot.vitals.run_queue as f64 / workers * share;
            second.steal += snapshot.vitals.steal as f64 * share;
        }
    }

    /// A second has closed.
    pub fn close(&mut self, second: u32) {
        self.next = self.next.max(u64::from(second) + 1);
        let later = self.open.split_off(&self.next);
        for (number, second) in std::mem::replace(&mut self.open, later) {
            self.seconds.fold(number, &second);
        }
    }

    /// The record, with what is still open as far as it is known.
    #[must_use]
    pub fn record(&self) -> GeneratorCheck {
        let mut seconds = self.seconds.clone();
        self.open.iter().for_each(|(number, second)| seconds.fold(*number, second));
        let v = &self.vitals;
        let length = self.watched.max(1) as f64;
        GeneratorCheck {
            send: self.send_error(),
            seconds,
            workers: v.workers,
            quantum: v.quantum,
            spin: v.spin,
            cpu: self.cpu as f64 / length,
            run_queue: v.run_queue as f64 / length / f64::from(v.workers.max(1)),
            steal: v.steal as f64 / length,
            descriptors: v.descriptors,
            descriptors_max: v.descriptors_max,
            no_descriptor: v.no_descriptor,
            no_port: v.no_port,
            ..self.counts.clone()
        }
    }

    fn send_error(&self) -> SendError {
        let of = |q| self.send.quantile(q).unwrap_or(0);
        let mut below = 0;
        let mut spread = Vec::new();
        for edge in EDGES {
            let up_to = self.send.count_at_most(edge);
            if up_to > below {
                spread.push((edge, up_to - below));
            }
            below = up_to;
        }
        let quantiles = [of(0.5), of(0.9), of(0.99), of(0.999), of(0.9999), self.highest];
        SendError { count: self.send.count(), quantiles, spread }
    }
}

/// Folding one closed second into the record.
trait Fold {
    fn fold(&mut self, number: u64, second: &Second);
}

impl Fold for SecondsCheck {
    fn fold(&mut self, number: u64, second: &Second) {
        let span = second.span.max(1);
        if second.taken == 0 {
            return;
        }
        self.seen += span;
        if second.waited > CROWDED * second.sent && second.waited >= LEAST_WAITED {
            self.crowded += span;
        }
        let share = (second.taken - second.late) as f64 / second.taken as f64;
        self.least = Some(self.least.map_or(share, |least| least.min(share)));
        if second.late < LEAST_LATE || share >= SHORT {
            return;
        }
        self.short += span;
        if share >= BAD {
            return;
        }
        self.bad += span;
        let of = |part: f64| part / second.watched.max(1.0);
        let cause = match () {
            () if of(second.steal) > STEAL => "steal",
            () if of(second.run_queue) > RUN_QUEUE => "run-queue",
            () => "unexplained",
        };
        let full = self.ranges.len() >= RANGES;
        let last = self.ranges.last_mut().filter(|l| l.to == number && l.cause == cause && self.more == 0);
        match last {
            Some(last) => {
                last.to += span;
                last.share = last.share.min(share);
            }
            None if full => self.more += span,
            None => self.ranges.push(BadSeconds { from: number, to: number + span, share, cause: cause.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shakedown_core::snapshot::StreamTotals;
    use shakedown_core::{Cell, CellKey};

    fn start(slice: u32) -> Offset {
        Offset(i64::from(slice) * SECOND.cast_signed())
    }

    /// A report at the end of a second: requests taken up in time and late, and how long after they were due they were sent.
    fn second(number: u32, in_time: u64, late: u64, send: u64) -> Snapshot {
        let mut cell = Cell::default();
        (0..in_time).for_each(|_| cell.lag.record(1_000));
        (0..late).for_each(|_| cell.lag.record(2 * IN_TIME));
        (0..in_time).for_each(|_| cell.send.record(send));
        let key = CellKey { slice: number, stream: 0, arm: Arm::All, dim: Dim::Whole };
        Snapshot { as_of: start(number + 1), cells: vec![(key, cell)], ..Snapshot::default() }
    }

    fn folded(reports: impl IntoIterator<Item = Snapshot>) -> GeneratorCheck {
        let mut generator = Generator::default();
        for (i, report) in reports.into_iter().enumerate() {
            generator.push(&report, start);
            generator.close(u32::try_from(i).expect("few").saturating_sub(2));
        }
        generator.record()
    }

    #[test]
    fn bad_seconds_are_named_with_what_explains_them() {
        let mut reports: Vec<Snapshot> = (0..20).map(|i| second(i, 100, 0, 5_000)).collect();
        for i in [3, 4, 8] {
            reports[i as usize] = second(i, 50, 50, 5_000);
        }
        reports[12] = second(12, 97, 3, 5_000);
        reports[13] = second(13, 480, 20, 5_000);
        for i in [3, 4] {
            reports[i].vitals = Vitals { workers: 2, run_queue: SECOND, ..Vitals::default() };
        }
        reports[8].vitals = Vitals { workers: 2, run_queue: SECOND, steal: SECOND / 5, ..Vitals::default() };
        reports[10].vitals = Vitals { workers: 2, run_queue: SECOND, ..Vitals::default() };
        let check = folded(reports);
        let s = &check.seconds;
        assert_eq!((s.seen, s.short, s.bad, s.more), (20, 4, 3, 0), "three late of a hundred are too few to say anything");
        let range = |from, to, cause: &str| BadSeconds { from, to, share: 0.5, cause: cause.to_owned() };
        assert_eq!(s.ranges, [range(3, 5, "run-queue"), range(8, 9, "steal")], "a busy second with exact sends is none");
        assert_eq!(s.least, Some(0.5));
    }

    #[test]
    fn the_send_error_keeps_quantiles_and_a_bounded_spread() {
        let check = folded([second(0, 90, 0, 4_000), second(1, 9, 0, 90_000), second(2, 1, 0, 7_000_000)]);
        let send = &check.send;
        assert_eq!(send.count, 100);
        assert_eq!(send.spread, [(5_000, 90), (100_000, 9), (10_000_000, 1)]);
        let near = |value: u64, truth: u64| value >= truth && value - truth <= truth / 500;
        assert!(near(send.quantiles[0], 4_000) && near(send.quantiles[2], 90_000) && near(send.quantiles[5], 7_000_000), "{send:?}");
    }

    #[test]
    fn costs_are_shares_of_the_time_and_gauges_their_highest() {
        let totals = |in_flight| StreamTotals { sent: 10, waited: 1, connections: 2, in_flight, ..StreamTotals::default() };
        let report = |i: u32, in_flight| Snapshot {
            streams: [(0, totals(in_flight)), (1, totals(1))].into(),
            cpu: SECOND / 2,
            vitals: Vitals { workers: 2, run_queue: SECOND / 5, descriptors: u64::from(i), ..Vitals::default() },
            ..second(i, 10, 0, 1)
        };
        let check = folded([report(0, 5), report(1, 9), report(2, 0)]);
        assert_eq!((check.in_flight, check.connections, check.waited, check.descriptors), (10, 12, 6, 2));
        assert!((check.cpu - 0.5).abs() < 1e-9 && (check.run_queue - 0.1).abs() < 1e-9, "{check:?}");
        assert_eq!(check.seconds.crowded, 3, "one in ten waited");
    }

    #[test]
    fn days_of_bad_seconds_take_no_more_room_than_a_minute() {
        let mut generator = Generator::default();
        for i in 0..200_000 {
            generator.push(&second(i, 5, if i.is_multiple_of(2) { 5 } else { 0 }, 1_000), start);
            generator.close(i.saturating_sub(5));
            assert!(generator.open.len() < 8);
        }
        let s = generator.record().seconds;
        assert_eq!((s.seen, s.bad, s.ranges.len(), s.more), (200_000, 100_000, RANGES, 100_000 - RANGES as u64));
    }

    #[test]
    fn folded_reports_stand_for_all_their_seconds() {
        let mut report = second(0, 50, 50, 1_000);
        (report.folded, report.as_of) = (10, start(10));
        let check = folded([report, second(10, 10, 0, 1)]);
        assert_eq!((check.seconds.seen, check.seconds.bad), (11, 10));
        assert_eq!((check.seconds.ranges[0].from, check.seconds.ranges[0].to), (0, 10));
    }

    #[test]
    fn reports_before_the_epoch_and_out_of_order_do_no_harm() {
        let early = Snapshot { as_of: Offset(-5), ..second(0, 1, 0, 1) };
        let check = folded([early, Snapshot { as_of: start(9), ..Snapshot::default() }, second(2, 1, 0, 1), Snapshot::default()]);
        assert_eq!((check.seconds.seen, check.seconds.bad), (2, 0));
    }
}
