//! What the collector hands on is everything, once, in order, and never claimed to be more than it is.

use super::*;
use crate::seeds::Seed;
use shakedown_core::snapshot::StreamTotals;
use shakedown_core::{Arm, Cell, CellKey, Dim};

#[derive(Default)]
struct Kept(Mutex<Vec<Snapshot>>);

impl Sink for Kept {
    fn send(&self, input: Input) {
        let Input::Snapshot(snapshot) = input else { panic!("only snapshots are sent") };
        self.0.lock().unwrap().push(snapshot);
    }
}

impl Kept {
    fn all(&self) -> Vec<Snapshot> {
        self.0.lock().unwrap().clone()
    }
}

/// A worker's report of one request that it knows of at `at`.
fn report(worker: usize, at: u64, ended: bool) -> Snapshot {
    let key = CellKey { slice: u32::try_from(at).unwrap(), stream: worker as u16, arm: Arm::All, dim: Dim::Whole };
    let totals = StreamTotals { sent: 1, in_flight: 1, ended, ..StreamTotals::default() };
    Snapshot {
        as_of: Offset(at.cast_signed()),
        cells: vec![(key, Cell { ok: 1, ..Cell::default() })],
        streams: [(0, totals)].into(),
        cpu: 1,
        ..Snapshot::default()
    }
}

fn collector(workers: usize) -> (Arc<Collector>, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    (Collector::new(Arc::clone(&kept) as Arc<dyn Sink>, workers), kept)
}

#[test]
fn one_worker_goes_straight_through() {
    let (collector, kept) = collector(1);
    collector.add(0, 1, report(0, 1, false));
    collector.last(0, report(0, 2, true));
    collector.leave(0);
    assert_eq!(kept.all(), [report(0, 1, false), report(0, 2, true)]);
}

#[test]
fn a_beat_is_sent_when_all_have_reported_it() {
    let (collector, kept) = collector(2);
    collector.add(0, 1, report(0, 1, true));
    assert!(kept.all().is_empty());
    collector.add(1, 1, report(1, 1, false));
    let one = &kept.all()[0];
    assert_eq!((one.cells.len(), one.streams[&0].sent, one.streams[&0].in_flight, one.streams[&0].ended), (2, 2, 2, false));
    // The second is late and leaves a beat out: the first's two reports are one worker's, one after the other.
    collector.add(0, 2, report(0, 2, true));
    collector.add(1, 3, report(1, 3, true));
    assert_eq!(kept.all().len(), 1);
    collector.add(0, 3, report(0, 3, true));
    let two = &kept.all()[1];
    assert_eq!((two.streams[&0].sent, two.streams[&0].in_flight, two.streams[&0].ended, two.as_of), (3, 2, true, Offset(3)));
}

#[test]
fn the_last_waits_for_all() {
    let (collector, kept) = collector(3);
    (0..3).for_each(|w| collector.add(w, 1, report(w, 1, false)));
    collector.last(1, report(1, 2, true));
    collector.add(0, 2, report(0, 5, false));
    collector.add(2, 2, report(2, 6, false));
    assert_eq!(kept.all()[1].as_of, Offset(5), "of who has left everything is known");
    collector.last(0, report(0, 7, true));
    collector.last(0, report(0, 8, true));
    assert_eq!(kept.all().len(), 2);
    collector.leave(2);
    let all = kept.all();
    assert_eq!((all.len(), all[2].cells.len(), all[2].as_of), (3, 2, Offset(8)));
}

#[test]
fn a_silent_worker_holds_the_others_back_within_bounds() {
    let (collector, kept) = collector(2);
    for beat in 1..=1_000 {
        collector.add(0, beat, report(0, beat, false));
    }
    assert!(kept.all().is_empty());
    assert_eq!(collector.lock().workers[0].pending.len(), MAX_PENDING);
    collector.leave(1);
    let all = kept.all();
    assert_eq!(all.iter().map(|s| s.cells.len()).sum::<usize>(), 1_000);
    assert!(all.windows(2).all(|w| w[0].as_of < w[1].as_of));
}

#[test]
fn nothing_is_lost_doubled_or_claimed_too_early() {
    for seed in 0..80 {
        let workers = 2 + Seed::of(seed).below(4) as usize;
        let (collector, kept) = collector(workers);
        let mut at = vec![0u64; workers];
        let mut given = Vec::new();
        for n in 0..200u64 {
            let roll = Seed::of(seed).at(n);
            let w = roll.and("who").below(workers as u64) as usize;
            at[w] += 1 + roll.and("skip").below(8) / 7;
            let moment = at[w] * 100 + w as u64;
            collector.add(w, at[w], report(w, moment, false));
            given.push((moment, w as u16));
            let seen: Vec<_> = kept.all().into_iter().flat_map(|s| s.cells).map(|(k, _)| (u64::from(k.slice), k.stream)).collect();
            let known = kept.all().last().map_or(0, |s| s.as_of.0.cast_unsigned());
            assert!(given.iter().filter(|g| g.0 <= known).all(|g| seen.contains(g)), "seed {seed}, step {n}");
        }
        for (w, last) in at.iter().enumerate() {
            let moment = (last + 1) * 100 + w as u64;
            collector.last(w, report(w, moment, true));
            given.push((moment, w as u16));
        }
        let mut seen: Vec<_> = kept.all().into_iter().flat_map(|s| s.cells).map(|(k, c)| (u64::from(k.slice), k.stream, c.ok)).collect();
        seen.sort_unstable();
        given.sort_unstable();
        assert_eq!(seen, given.iter().map(|g| (g.0, g.1, 1)).collect::<Vec<_>>(), "seed {seed}");
        assert!(kept.all().windows(2).all(|w| w[0].as_of <= w[1].as_of), "seed {seed}");
    }
}

#[test]
fn threads_do_not_disturb_the_order() {
    let (collector, kept) = collector(4);
    std::thread::scope(|scope| {
        for w in 0..4 {
            let collector = Arc::clone(&collector);
            scope.spawn(move || {
                (1..=300).for_each(|beat| collector.add(w, beat, report(w, beat, false)));
                collector.last(w, report(w, 301, true));
            });
        }
    });
    let all = kept.all();
    assert!(all.len() <= 304 && all.windows(2).all(|w| w[0].as_of <= w[1].as_of));
    assert_eq!(all.iter().map(|s| s.cpu).sum::<u64>(), 4 * 301);
    assert!(all.last().unwrap().streams[&0].ended);
}
