//! Every way out of a run with changes made.

use crate::tools::{BOUND, Harness, Test, in_secs, kinds, lives, remembered, run, send, until};
use nix::sys::signal::Signal;
use shakedown_core::seams::{UndoLog, UndoState};
use shakedown_process::Keeper;
use shakedown_undo::{Guard, UndoJournal, owner, recover, recover_dir};
use std::fs;
use std::path::Path;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("the_guard_undoes_after_sigkill", the_guard_undoes_after_sigkill),
    ("polite_signals_do_not_end_the_guard", polite_signals_do_not_end_the_guard),
    ("a_stuck_undo_does_not_hold_up_the_others", a_stuck_undo_does_not_hold_up_the_others),
    ("recover_undoes_when_the_guard_was_killed_too", recover_undoes_when_the_guard_was_killed_too),
    ("recover_leaves_living_runs_alone", recover_leaves_living_runs_alone),
    ("what_belongs_to_others_is_left_alone", what_belongs_to_others_is_left_alone),
    ("the_deadline_undoes_under_a_living_harness", the_deadline_undoes_under_a_living_harness),
    ("without_a_guard_no_change_is_made", without_a_guard_no_change_is_made),
    ("a_clean_end_leaves_no_trace", a_clean_end_leaves_no_trace),
    ("what_the_harness_left_is_the_guards", what_the_harness_left_is_the_guards),
    ("a_full_disk_stops_changes_and_no_undo", a_full_disk_stops_changes_and_no_undo),
    ("a_kind_nobody_can_undo_is_refused", a_kind_nobody_can_undo_is_refused),
];

fn left(dir: &Path) -> Vec<&'static str> {
    ["a", "b", "c"].into_iter().filter(|n| dir.join(n).exists()).collect()
}

fn the_guard_undoes_after_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut harness = Harness::start("plain", dir.path());
    assert_eq!(left(dir.path()), ["a", "b", "c"]);
    harness.kill();
    let took = until("all is undone", Duration::from_secs(1), || left(dir.path()).is_empty());
    println!("kill to undone: {took:?} for 3 changes, one of them only about to be made");
    until("the guard has ended", BOUND, || !lives(harness.guard));
    assert_eq!(fs::read_to_string(dir.path().join("order")).unwrap(), "cba", "newest first");
    assert_eq!(remembered(), 0);
    assert_eq!(run(recover_dir(dir.path(), &kinds(), false)).unwrap(), [], "nothing is left to undo");
}

fn polite_signals_do_not_end_the_guard() {
    let dir = tempfile::tempdir().unwrap();
    let mut harness = Harness::start("plain", dir.path());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        send(harness.guard, signal);
    }
    harness.kill();
    until("all is undone", Duration::from_secs(1), || left(dir.path()).is_empty());
    until("the guard has ended", BOUND, || !lives(harness.guard));
}

fn a_stuck_undo_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let stuck = dir.path().join("b.stuck");
    fs::write(&stuck, "").unwrap();
    let mut harness = Harness::start("plain", dir.path());
    harness.kill();
    until("the others are undone", Duration::from_secs(1), || left(dir.path()) == ["b"]);
    fs::remove_file(stuck).unwrap();
    until("it is undone in a later round", BOUND, || left(dir.path()).is_empty());
    until("the guard has ended", BOUND, || !lives(harness.guard));
    assert_eq!(remembered(), 0);
}

fn recover_undoes_when_the_guard_was_killed_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut harness = Harness::start("plain", dir.path());
    send(harness.guard, Signal::SIGKILL);
    until("the guard is gone", BOUND, || !lives(harness.guard));
    harness.kill();
    assert_eq!((left(dir.path()).len(), remembered()), (3, 1));
    let done = run(recover(&kinds(), false)).unwrap();
    let states: Vec<_> = done.iter().map(|r| (r.what.as_str(), r.state.clone())).collect();
    let gone = Ok(UndoState::Undone);
    assert_eq!(states, [("c", gone.clone()), ("b", gone.clone()), ("a", gone)]);
    assert_eq!((left(dir.path()).len(), remembered()), (0, 0));
    // Again, and with the records taken as open: no harm.
    assert_eq!(run(recover(&kinds(), false)).unwrap(), []);
    let journal = dir.path().join("undo.jsonl");
    let lines = fs::read_to_string(&journal).unwrap();
    let open: String = lines.lines().filter(|l| !l.contains("undone")).map(|l| format!("{l}\n")).collect();
    fs::write(&journal, open).unwrap();
    let again = run(recover_dir(dir.path(), &kinds(), false)).unwrap();
    assert!(again.len() == 3 && again.iter().all(|r| r.state == Ok(UndoState::Already)), "{again:?}");
}

fn recover_leaves_living_runs_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut harness = Harness::start("plain", dir.path());
    assert_eq!(run(recover(&kinds(), false)).unwrap(), []);
    let why = run(recover_dir(dir.path(), &kinds(), false)).unwrap_err().0;
    assert!(why.contains("still goes on"), "{why}");
    assert_eq!((left(dir.path()).len(), remembered()), (3, 1));
    harness.kill();
    until("the guard has ended", BOUND, || !lives(harness.guard));
}

fn what_belongs_to_others_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut harness = Harness::start("plain", dir.path());
    fs::write(dir.path().join("b"), "another run").unwrap();
    harness.kill();
    until("the guard has ended", BOUND, || !lives(harness.guard));
    assert_eq!(left(dir.path()), ["b"]);
}

fn the_deadline_undoes_under_a_living_harness() {
    let dir = tempfile::tempdir().unwrap();
    let harness = Harness::start("deadline", dir.path());
    until("all is undone", BOUND, || left(dir.path()).is_empty());
    until("the guard has ended", BOUND, || !lives(harness.guard));
}

fn without_a_guard_no_change_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut harness = Harness::start("guard-dies", dir.path());
    send(harness.guard, Signal::SIGKILL);
    assert_eq!(harness.code(), Some(42));
    assert_eq!(run(recover(&kinds(), false)).unwrap().len(), 3);
}

fn a_clean_end_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let mut harness = Harness::start("clean", dir.path());
    assert_eq!(harness.code(), Some(42));
    assert!(!lives(harness.guard) && left(dir.path()).is_empty());
    assert_eq!((remembered(), fs::read_to_string(dir.path().join("guard.log")).unwrap()), (0, String::new()));
}

fn what_the_harness_left_is_the_guards() {
    let dir = tempfile::tempdir().unwrap();
    let mut harness = Harness::start("unclean", dir.path());
    assert_eq!(harness.code(), Some(42));
    assert_eq!((left(dir.path()).len(), remembered()), (0, 0));
}

fn a_full_disk_stops_changes_and_no_undo() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let flags = nix::mount::MsFlags::empty();
    if nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), flags, Some("size=64k")).is_err() {
        assert!(std::env::var_os("CI").is_none(), "a small file system is needed here");
        return;
    }
    let undone = std::panic::catch_unwind(|| {
        let mut harness = Harness::start("full-disk", dir.path());
        assert!(!dir.path().join("d").exists());
        harness.kill();
        until("all is undone", Duration::from_secs(1), || left(dir.path()).is_empty());
        until("the guard has ended", BOUND, || !lives(harness.guard));
    });
    nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert!(undone.is_ok());
}

fn a_kind_nobody_can_undo_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let guard = Guard::arm(&Keeper::start(), dir.path(), in_secs(60)).await.unwrap();
        let journal = UndoJournal::create(dir.path(), owner("refused").unwrap(), kinds(), in_secs(60), Some(&guard)).unwrap();
        assert!(journal.about_to("magic", "m", serde_json::Value::Null).unwrap_err().0.contains("`magic`"));
        assert!(UndoJournal::create(dir.path(), owner("refused").unwrap(), kinds(), in_secs(60), None).is_err(), "one journal a run");
        guard.disarm(&journal).await.unwrap();
    });
    assert_eq!(remembered(), 0);
}
