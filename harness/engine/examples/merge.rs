//! Eight segments of ten million requests each, put together by the code of `shakedown merge`: how long that takes, how much
//! memory it needs, and whether the sum is the one run. `cargo run --release -p shakedown-engine --example merge -- SECONDS RATE`
//! (334 seconds at 30000 requests a second in each segment when absent).

#[path = "../tests/common/mod.rs"]
mod common;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use shakedown_core::Plan;
use shakedown_core::decision::Decision;
use shakedown_core::event::{Event, Fact, Input};
use shakedown_core::snapshot::Snapshot;
use shakedown_core::units::{Offset, Span};
use shakedown_engine::journal::{self, Writer};
use shakedown_engine::{Segment, complete, decide_from, merge};
use shakedown_judge::Judge;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SEGMENTS: u32 = 8;
const ROUNDS: usize = 5;
const KEPT: (usize, usize) = (100, 100);
/// Different seconds that are told again and again, by each segment in another order.
const PATTERNS: usize = 16;

fn main() {
    let mut args = std::env::args().skip(1);
    let seconds: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(334);
    let rate: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(30_000);
    let root = tempfile::tempdir().expect("a temporary directory");
    let plan = Arc::new(common::plan(seconds));
    let (dirs, whole) = written(root.path(), seconds, rate);
    // The peak that counts is the merge's, not the making's.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    let mut took = Vec::new();
    let mut merged = None;
    for round in 0..ROUNDS {
        let out = root.path().join(format!("out-{round}"));
        std::fs::create_dir(&out).expect("a new directory");
        let begun = Instant::now();
        let decision = together(&plan, &dirs, &out);
        took.push(begun.elapsed());
        merged = Some((out, decision));
    }
    let peak = peak_kib();
    let (out, decision) = merged.expect("at least one round");
    let one = decide_from(&whole, &mut Judge::new(plan.clone())).expect("the one run is whole");
    assert_eq!(text(&decision), text(&one), "the decision of the one run");
    let (sum, want) = (sum(&out), sum(&whole));
    assert!(sum == want, "every count and every bucket of the one run");
    took.sort();
    let sent: u64 = sum.streams.values().map(|s| s.sent).sum();
    assert_eq!(sent, u64::from(SEGMENTS) * seconds * rate, "all that was asked");
    let line = format!(
        "merge {:.3}\n{SEGMENTS} segments, {sent} requests over {seconds} s, {:.1} MB read, {:.1} MB written, peak {peak} KiB, {} to {}: {}\n",
        seconds_of(took[ROUNDS / 2]),
        dirs.iter().map(|dir| bytes(dir)).sum::<u64>() as f64 / 1e6,
        bytes(&out) as f64 / 1e6,
        seconds_of(took[0]),
        seconds_of(took[ROUNDS - 1]),
        decision.headline
    );
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).expect("standard output is open");
}

/// What `shakedown merge` does.
fn together(plan: &Arc<Plan>, dirs: &[PathBuf], out: &Path) -> Decision {
    let segments: Vec<Segment> = dirs.iter().map(|dir| Segment::read(dir).expect("written before")).collect();
    let order = complete(&segments).expect("all are there");
    let parts: Vec<_> = order.into_iter().map(|i| (dirs[i].clone(), segments[i].clone())).collect();
    merge(plan, &parts, out, &mut Judge::new(plan.clone()), KEPT).expect("whole journals")
}

/// The run directories of the segments, last first, and the one of the run that they are the parts of.
fn written(root: &Path, seconds: u64, rate: u64) -> (Vec<PathBuf>, PathBuf) {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let patterns: Vec<Snapshot> = (0..PATTERNS).map(|_| common::report(&mut rng, 0, rate)).collect();
    let dirs: Vec<PathBuf> = (1..=SEGMENTS).rev().map(|i| root.join(format!("segment-{i}"))).collect();
    for dir in &dirs {
        std::fs::create_dir(dir).expect("a new directory");
    }
    let whole = root.join("whole");
    std::fs::create_dir(&whole).expect("a new directory");
    for (dir, index) in dirs.iter().zip((1..=SEGMENTS).rev()) {
        let (of, version) = (SEGMENTS, "v".to_owned());
        let own = Segment { index, of, epoch: "e".to_owned(), plan_sha256: "p".to_owned(), seed: 1, version };
        own.write(dir).expect("writable");
        run(dir, seconds, |second| report(&patterns, second, index, seconds));
    }
    run(&whole, seconds, |second| {
        let all = (1..=SEGMENTS).map(|index| report(&patterns, second, index, seconds));
        all.reduce(|mut sum, other| {
            sum.beside(other);
            sum
        })
        .expect("eight of them")
    });
    (dirs, whole)
}

fn report(patterns: &[Snapshot], second: u64, index: u32, seconds: u64) -> Snapshot {
    let mut snapshot = patterns[(second as usize * 5 + index as usize) % patterns.len()].clone();
    snapshot.as_of = Offset::ZERO.plus(Span::secs(second + 1));
    snapshot.cells.iter_mut().for_each(|(key, _)| key.slice = second as u32);
    snapshot.streams.values_mut().for_each(|s| s.ended = second + 1 == seconds);
    snapshot
}

fn run(dir: &Path, seconds: u64, report: impl Fn(u64) -> Snapshot) {
    let mut writer = Writer::create(dir, Span::secs(1), vec!["shoppers".into()]).expect("writable");
    let mut seq = 0;
    let mut append = |at: Offset, what: Input| {
        writer.append(&Event { seq, at, what }).expect("writable");
        seq += 1;
    };
    append(Offset(-1), common::started());
    append(Offset::ZERO, Input::Fact(Fact::Epoch { wall: "w".into() }));
    for second in 0..seconds {
        let snapshot = report(second);
        append(snapshot.as_of, Input::Snapshot(snapshot));
    }
    let end = Offset::ZERO.plus(Span::secs(seconds)).plus(Span::millis(1500));
    append(end, Input::Snapshot(Snapshot { as_of: end, ..Snapshot::default() }));
    append(end, Input::Fact(Fact::TrafficEnded));
    append(end, Input::Fact(Fact::Ended));
    writer.sync().expect("writable");
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

fn text(decision: &Decision) -> String {
    serde_json::to_string_pretty(decision).expect("a decision is plain data")
}

fn seconds_of(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}

fn bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("it exists").map(|e| e.expect("readable").metadata().expect("readable").len());
    files.sum()
}

fn peak_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
