//! Several segments put together are the one run they were split from: counts, histograms and decision, byte for byte, in
//! any order; and evidence that is missing never becomes a pass.

mod common;
#[path = "common/virtual_days.rs"]
mod virtual_days;

use common::{Recording, plan};
use shakedown_core::Event;
use shakedown_core::decision::Exit;
use shakedown_core::event::{Fact, Input};
use shakedown_core::snapshot::Snapshot;
use shakedown_engine::{Segment, complete, decide_from, journal, merge};
use shakedown_judge::Judge;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LONG: u64 = 40;

fn segment(index: u32, of: u32) -> Segment {
    Segment { index, of, epoch: "e".into(), plan_sha256: "p".into(), seed: 1, version: "v".into() }
}

fn split(root: &Path, n: u32, seed: u64) -> Vec<(PathBuf, Segment)> {
    let whole = Recording::new(LONG, 300.0, seed);
    (1..=n)
        .map(|index| {
            let dir = root.join(format!("part-{n}-{index}"));
            whole.share(index, n).write(&dir);
            (dir, segment(index, n))
        })
        .collect()
}

fn sum(dir: &Path) -> Snapshot {
    let mut all = Snapshot::default();
    for event in journal::read(dir).expect("a journal") {
        if let Input::Snapshot(s) = event.expect("whole").what {
            all.then(s);
        }
    }
    all
}

#[test]
fn a_split_run_put_together_is_the_run() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    Recording::new(LONG, 300.0, 7).write(&whole);
    let plan = Arc::new(plan(LONG));
    let want = decide_from(&whole, &mut Judge::new(plan.clone())).unwrap();
    assert_eq!(want.exit, Exit::Promote, "{}", want.headline);
    for n in [2, 3, 8] {
        let mut parts = split(root.path(), n, 7);
        parts.reverse();
        let order = complete(&parts.iter().map(|p| p.1.clone()).collect::<Vec<_>>()).unwrap();
        let parts: Vec<_> = order.into_iter().map(|i| parts[i].clone()).collect();
        let out = root.path().join(format!("out-{n}"));
        std::fs::create_dir(&out).unwrap();
        let got = merge(&plan, &parts, &out, &mut Judge::new(plan.clone()), (100, 100)).unwrap();
        let text = |d| serde_json::to_string_pretty(d).unwrap();
        assert_eq!(text(&got), text(&want), "{n} segments");
        let again = decide_from(&out, &mut Judge::new(plan.clone())).unwrap();
        assert_eq!(text(&again), text(&want), "{n} segments, judged again");
        assert_eq!(sum(&out), sum(&whole), "{n} segments");
    }
}

#[test]
fn a_segment_that_is_cut_off_or_ends_early_makes_the_run_invalid() {
    let root = tempfile::tempdir().unwrap();
    let plan = Arc::new(plan(LONG));
    let merged = |name: &str, parts: &[(PathBuf, Segment)]| {
        let out = root.path().join(name);
        std::fs::create_dir(&out).unwrap();
        let decision = merge(&plan, parts, &out, &mut Judge::new(plan.clone()), (100, 100)).unwrap();
        let again = decide_from(&out, &mut Judge::new(plan.clone())).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&decision).unwrap());
        decision
    };
    let parts = split(root.path(), 2, 9);
    let file = parts[1].0.join("journal.jsonl");
    let text = std::fs::read(&file).unwrap();
    std::fs::write(&file, &text[..text.len() - 5]).unwrap();
    let cut = merged("cut", &parts);
    assert_eq!(cut.exit, Exit::Invalid);
    assert!(cut.reasons[0].text.contains("segment 2 of 2 was cut off"), "{:?}", cut.reasons);

    let early = root.path().join("early");
    Recording::new(LONG, 300.0, 9).share(2, 2).until(LONG / 2).write(&early);
    let early = merged("early-out", &[parts[0].clone(), (early, segment(2, 2))]);
    assert_eq!(early.exit, Exit::Invalid);
    assert!(early.reasons[0].text.contains("ended early"), "{:?}", early.reasons);
}

#[test]
fn other_events_are_the_controllers_in_its_order() {
    let root = tempfile::tempdir().unwrap();
    let plan = Arc::new(plan(LONG));
    let parts = split(root.path(), 3, 3);
    let out = root.path().join("out");
    std::fs::create_dir(&out).unwrap();
    merge(&plan, &parts, &out, &mut Judge::new(plan.clone()), (100, 100)).unwrap();
    let facts = |dir: &Path| -> Vec<Fact> {
        let events: Vec<Event> = journal::read(dir).unwrap().map(Result::unwrap).collect();
        assert!(events.windows(2).all(|w| w[0].seq + 1 == w[1].seq && w[0].at <= w[1].at));
        events.into_iter().filter_map(|e| if let Input::Fact(f) = e.what { Some(f) } else { None }).collect()
    };
    assert_eq!(facts(&out), facts(&parts[0].0));
    let counted: BTreeMap<u16, u64> = sum(&out).streams.iter().map(|(i, t)| (*i, t.sent)).collect();
    assert!(counted[&0] > 10_000);
}

#[test]
fn what_a_worker_of_a_rollout_sends_after_the_end_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let plan = virtual_days::plan(3600);
    let (one, two, out) = (root.path().join("one"), root.path().join("two"), root.path().join("out"));
    Recording::new(LONG, 300.0, 5).write(&one);
    Recording::new(LONG + 20, 300.0, 6).write(&two);
    std::fs::create_dir(&out).unwrap();
    merge(&plan, &[(one, segment(1, 2)), (two, segment(2, 2))], &out, &mut Judge::new(plan.clone()), (100, 100)).unwrap();
    let all = sum(&out);
    // The controller's traffic ended in the middle of second 41: that second is the last.
    let seconds = LONG + 2;
    assert_eq!(all.cells.iter().map(|(key, _)| u64::from(key.slice)).max(), Some(seconds - 1));
    assert_eq!(all.cells.iter().map(|(_, cell)| cell.due).sum::<i64>(), (300 * (LONG + seconds)) as i64);
    assert_eq!(all.streams[&0].sent, 300 * (LONG + seconds));
    let histograms: u64 = all.cells.iter().map(|(_, cell)| cell.lag.count()).sum();
    assert_eq!(histograms, 300 * (LONG + seconds), "what is left out is left out with its histograms");
}
