//! The first forty minutes of a rollout that takes three days: the journal stays small, memory constant, and judging it again
//! gives the same. The whole of it: `cargo run --release -p shakedown-engine --example days`.

mod common;
#[path = "common/virtual_days.rs"]
mod virtual_days;

/// What an hour may leave so that three days leave at most 200 MB.
const PER_HOUR: u64 = 200_000_000 / 72;

#[test]
fn a_run_of_days_leaves_little_and_keeps_little() {
    let plan = virtual_days::plan(72 * 3600);
    let size = |seconds: u64| {
        let dir = tempfile::tempdir().unwrap();
        virtual_days::run(&plan, dir.path(), seconds, 300);
        virtual_days::judge(&plan, dir.path());
        virtual_days::bytes(dir.path())
    };
    let short = size(1200);
    let kept = virtual_days::peak_kib();
    // A third of an hour more, all of it in one stage.
    let long = size(2400);
    assert!(long - short < PER_HOUR / 3, "an hour leaves {} bytes (at most {PER_HOUR})", (long - short) * 3);
    let grown = virtual_days::peak_kib() - kept;
    assert!(grown < 2048, "a third of an hour more needs {grown} KiB more");
}
