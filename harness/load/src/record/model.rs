//! The recorder against a plain model of it: core's cells in a map. Both are driven with the same random operations.

use super::*;
use crate::seeds::Seed;
use shakedown_core::snapshot::Failure;
use std::collections::{BTreeMap, BTreeSet};

/// The recorder as it would be if it could take its time.
#[derive(Default)]
struct Model {
    max: usize,
    seen: BTreeSet<(u16, Arm, Dim)>,
    groups: BTreeSet<Dim>,
    cells: BTreeMap<CellKey, Cell>,
    streams: BTreeMap<u16, StreamTotals>,
    first: BTreeMap<Arm, Offset>,
    last: BTreeMap<Arm, Offset>,
    cut: u64,
}

impl Model {
    fn group(&mut self, value: &str) -> Dim {
        let dim = |value: &str| Dim::Group { objective: "o".into(), value: value.into() };
        if self.groups.contains(&dim(value)) || self.seen.len() + 4 < self.max {
            self.groups.insert(dim(value));
            return dim(value);
        }
        self.cut += 1;
        dim("other")
    }

    fn cell(&mut self, key: CellKey) -> Option<&mut Cell> {
        let name = (key.stream, key.arm, key.dim.clone());
        let always = key.dim == Dim::Whole || matches!(&key.dim, Dim::Group { value, .. } if value == "other");
        if !self.seen.contains(&name) {
            if !always && self.seen.len() >= self.max {
                self.cut += 1;
                return None;
            }
            self.seen.insert(name);
        }
        Some(self.cells.entry(key).or_default())
    }

    fn take(&mut self, as_of: Offset) -> Snapshot {
        Snapshot {
            as_of,
            cells: std::mem::take(&mut self.cells).into_iter().collect(),
            streams: std::mem::take(&mut self.streams),
            first_answer: std::mem::take(&mut self.first),
            last_answer: std::mem::take(&mut self.last),
            cpu: 11,
            cut: std::mem::take(&mut self.cut),
            ..Snapshot::default()
        }
    }
}

/// Counts the same in both.
fn count(roll: Seed, tally: &mut Tally, cell: &mut Cell) {
    let value = roll.and("value").bits() >> roll.and("bits").below(64);
    let kind = [Failure::Refused, Failure::Timeout, Failure::Status, Failure::Unanswered][roll.and("kind").below(4) as usize];
    let status = [200, 200, 200, 404, 500, 301, 503, 999][roll.and("status").below(8) as usize];
    match roll.and("what").below(9) {
        0 => {
            tally.due(1);
            cell.due += 1;
        }
        1 => {
            tally.due(-1);
            cell.due -= 1;
        }
        2 => {
            tally.failed(kind);
            *cell.failed.entry(kind).or_default() += 1;
        }
        3 => {
            tally.empty();
            tally.retries(2);
            (cell.empty, cell.retries) = (cell.empty + 1, cell.retries + 2);
        }
        4 => {
            tally.connect(value);
            tally.tls(value / 2);
            cell.connect.record(value);
            cell.tls.record(value / 2);
        }
        5 => {
            tally.lag(value);
            tally.send(value / 3);
            cell.lag.record(value);
            cell.send.record(value / 3);
        }
        _ => {
            tally.ok();
            tally.status(status);
            tally.bytes(value >> 32);
            tally.latency(value);
            tally.dispatch(value / 2);
            tally.service(value / 3);
            tally.first_byte(value / 5);
            cell.ok += 1;
            *cell.status.entry(status).or_default() += 1;
            cell.bytes += value >> 32;
            cell.latency.record(value);
            cell.dispatch.record(value / 2);
            cell.service.record(value / 3);
            cell.first_byte.record(value / 5);
        }
    }
}

fn both(seed: u64, max: u32, steps: u64) {
    let mut recorder = Recorder::new(1_000, max);
    let mut model = Model { max: max as usize, ..Model::default() };
    for n in 0..steps {
        let roll = Seed::of(seed).at(n);
        let (stream, arm) = (roll.and("stream").below(3) as u16, ARMS[roll.and("arm").below(4) as usize]);
        let due = Offset((n * 7).cast_signed() - roll.and("late").below(40_000).cast_signed());
        let slice = recorder.slice(due);
        let part = roll.and("part").below(9).to_string();
        let (id, dim) = match roll.and("dim").below(5) {
            0 => {
                let dim = Dim::Step { journey: "j".into(), step: part };
                (recorder.dim(dim.clone()), dim)
            }
            1 => (recorder.group("o", &part), model.group(&part)),
            _ => (WHOLE, Dim::Whole),
        };
        let row = recorder.row(stream, arm, id);
        let mut ignored = Cell::default();
        let cell = model.cell(CellKey { slice, stream, arm, dim }).unwrap_or(&mut ignored);
        if roll.and("slow").below(10) == 0 {
            recorder.cell(slice, stream, arm, id, |c| count(roll, &mut Tally::default(), c));
            count(roll, &mut Tally::default(), cell);
        } else {
            count(roll, recorder.at(slice, row), cell);
        }
        recorder.answered(arm, due);
        for arm in [arm, Arm::All] {
            let first = model.first.entry(arm).or_insert(due);
            *first = due.min(*first);
            let last = model.last.entry(arm).or_insert(due);
            *last = due.max(*last);
        }
        recorder.totals(stream).sent += 1;
        model.streams.entry(stream).or_default().sent += 1;
        if roll.and("take").below(500) == 0 || n + 1 == steps {
            let (fast, slow) = (recorder.take(Offset(n.cast_signed()), 11), model.take(Offset(n.cast_signed())));
            assert_eq!(fast, slow, "seed {seed}, step {n}");
            let bytes = |s: &Snapshot| serde_json::to_vec(s).unwrap();
            assert_eq!(bytes(&fast), bytes(&slow));
        }
    }
}

#[test]
fn a_recorder_counts_what_its_model_counts() {
    for seed in 0..12 {
        both(seed, [1_000, 30, 9, 1][seed as usize % 4], 6_000);
    }
}
