//! Round trips, damage, and agreement with the `hdrhistogram` crate.

use super::*;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use rand::{RngExt, SeedableRng};
use shakedown_core::event::{Event, Fact};
use shakedown_core::snapshot::{Arm, CellKey, Dim, Failure, Sample, Snapshot};
use shakedown_core::sparse::{HIGHEST, bucket};
use shakedown_core::units::Span;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn random(seed: u64, n: usize) -> Sparse {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut sparse = Sparse::default();
    for _ in 0..n {
        let bits = rng.random_range(0..43_u32);
        sparse.record(rng.random_range(0..=(1_u64 << bits)));
    }
    sparse
}

fn dense(sparse: &Sparse) -> Histogram<u64> {
    let mut h = Histogram::new_with_bounds(1, HIGHEST, 3).unwrap();
    for (value, count) in sparse.buckets.iter() {
        h.record_n(value, count).unwrap();
    }
    h
}

#[test]
fn buckets_are_those_of_hdrhistogram() {
    let h = Histogram::<u64>::new_with_bounds(1, HIGHEST, 3).unwrap();
    for value in random(1, 2000).buckets.iter().map(|(b, _)| b).chain([0, 1, 2047, 2048, 2049, 4095, 4096, HIGHEST]) {
        assert_eq!(bucket(value), h.lowest_equivalent(value), "{value}");
        assert_eq!(shakedown_core::sparse::bucket_top(value), h.highest_equivalent(value), "{value}");
    }
}

#[test]
fn encoding_is_that_of_hdrhistogram_in_both_directions() {
    for seed in 0..50 {
        let sparse = random(seed, 1 + seed as usize * 7);
        let mut line = String::new();
        hlog::line(&mut line, "a", Offset::ZERO, 1_000_000_000, &sparse);
        assert_eq!(hlog::parse(&line).unwrap().buckets, sparse.buckets);
        let payload = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, line.rsplit(',').next().unwrap()).unwrap();
        let theirs: Histogram<u64> = Deserializer::new().deserialize(&mut payload.as_slice()).unwrap();
        assert_eq!(theirs, dense(&sparse), "seed {seed}");
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&dense(&sparse), &mut bytes).unwrap();
        let back = format!("x,{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes));
        assert_eq!(hlog::parse(&back).unwrap().buckets, sparse.buckets, "seed {seed}");
    }
}

fn events() -> Vec<Event> {
    let key = |slice, dim| CellKey { slice, stream: 0, arm: Arm::Canary, dim };
    let mut cell =
        Cell { due: -1, ok: 3, failed: BTreeMap::from([(Failure::Timeout, 2)]), status: BTreeMap::from([(200, 3)]), ..Cell::default() };
    cell.latency = random(3, 100);
    cell.latency.record(HIGHEST + 5);
    cell.lag = random(4, 10);
    cell.tls = random(5, 10);
    cell.first_byte = random(6, 3);
    cell.send = random(7, 1);
    let group = Dim::Group { objective: "a".into(), value: "b, c\n".into() };
    let snapshot = Snapshot {
        as_of: Offset(7),
        cells: vec![(key(0, Dim::Whole), cell.clone()), (key(2, group), cell), (key(3, Dim::Whole), Cell::default())],
        streams: BTreeMap::from([(0, shakedown_core::snapshot::StreamTotals { sent: 4, ..Default::default() })]),
        first_answer: BTreeMap::from([(Arm::Control, Offset(5))]),
        ..Snapshot::default()
    };
    let whats = [
        Input::Tick,
        Input::Snapshot(snapshot.clone()),
        Input::Done { effect: 3, outcome: Err("no".into()) },
        Input::Done { effect: 4, outcome: Ok(serde_json::Value::Null) },
        Input::Snapshot(snapshot),
        Input::Fact(Fact::Ended),
    ];
    whats.into_iter().enumerate().map(|(i, what)| Event { seq: i as u64, at: Offset(i as i64), what }).collect()
}

fn write(dir: &Path) -> Vec<Event> {
    let mut writer = Writer::create(dir, Span::secs(1), vec!["shoppers".into()]).unwrap();
    let events = events();
    for event in &events {
        writer.append(event).unwrap();
    }
    writer.sync().unwrap();
    events
}

#[test]
fn what_is_written_is_read_back_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let events = write(dir.path());
    let mut reader = read(dir.path()).unwrap();
    let back: Vec<Event> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(back, events);
    assert!(!reader.truncated());
}

#[test]
fn a_cut_last_line_is_left_out_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let events = write(dir.path());
    let path = dir.path().join(JOURNAL);
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 4]).unwrap();
    let mut reader = read(dir.path()).unwrap();
    let back: Vec<Event> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(back, events[..events.len() - 1]);
    assert!(reader.truncated());
}

#[test]
fn damage_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let histograms = dir.path().join(HISTOGRAMS);
    let mut bytes = fs::read(&histograms).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&histograms, &bytes).unwrap();
    assert!(read(dir.path()).unwrap().any(|e| e.is_err_and(|Fail(why)| why.contains("checksum"))));

    write(dir.path());
    let journal = dir.path().join(JOURNAL);
    let text = fs::read_to_string(&journal).unwrap();
    let without: String = text.lines().enumerate().filter(|(i, _)| *i != 2).map(|(_, l)| format!("{l}\n")).collect();
    fs::write(&journal, without).unwrap();
    assert!(read(dir.path()).unwrap().any(|e| e.is_err_and(|Fail(why)| why.contains("missing"))));
}

#[test]
fn samples_are_redacted() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), Span::secs(1), Vec::new()).unwrap();
    let sample = Sample {
        at: Offset(1),
        stream: "s".into(),
        step: "p".into(),
        trace: "t".into(),
        arm: Arm::All,
        status: Some(500),
        failure: Some(Failure::Status),
        detail: "hunter2".into(),
        latency: 1,
        dispatch: 1,
        service: 1,
        request: "GET /?k=hunter2".into(),
        answer: "hunter2".into(),
    };
    writer.samples(&[sample], &|t| t.replace("hunter2", "***")).unwrap();
    writer.flush().unwrap();
    let text = fs::read_to_string(dir.path().join(SAMPLES)).unwrap();
    assert!(!text.contains("hunter2") && text.contains("GET /?k=***"), "{text}");
}

use shakedown_core::seams::Fail;
