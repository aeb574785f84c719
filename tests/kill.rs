//! `kill -9` of the harness in the middle of every shipped scenario: after at most a second nothing is alive, stopped or changed.

#![allow(clippy::print_stdout, reason = "how long it took is a figure worth seeing")]

mod common;

use common::{Scratch, alone, carrying, root, spawn, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

/// How long a scenario may take to get to the middle of its load.
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// How long anything may stay after the kill.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// Runs a scenario until its journal holds `word`.
fn started(s: &Scratch, scenario: &Path, word: &str) -> Child {
    let out = s.path("out");
    let command = s.command(&["run", scenario.to_str().expect("a path"), "--out", out.to_str().expect("a path"), "--ui", "none"]);
    let child = spawn(command);
    let journal = out.join("journal.jsonl");
    until(STARTED_WITHIN, word, || std::fs::read_to_string(&journal).is_ok_and(|text| text.contains(word)));
    child
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

#[allow(clippy::disallowed_methods, reason = "a test is not the harness")]
fn code(child: &mut Child) -> Option<i32> {
    child.wait().expect("it ended").code()
}

fn killed(name: &str, word: &str) {
    let _alone = alone();
    let s = Scratch::new();
    let mut child = started(&s, &root().join("scenarios").join(name), word);
    let marker = format!("SHAKEDOWN_STATE={}", s.path("state").display());
    assert!(carrying(&marker).len() > 1, "services run");
    kill(pid(&child), Signal::SIGKILL).expect("it runs");
    let took = until(GONE_WITHIN, "nothing is left", || carrying(&marker).iter().all(|(p, _)| *p == child.id()));
    println!("{name}: all gone {took:?} after SIGKILL");
    code(&mut child);
    let recover = s.run(&["recover"]);
    assert_eq!(recover.code, 0, "{} {}", recover.out, recover.err);
    assert!(s.run(&["recover"]).out.contains("Nothing was left behind"));
}

#[test]
fn quickstart() {
    killed("quickstart.yaml", "fault_applied");
}

#[test]
fn bad_canary() {
    killed("bad-canary.yaml", "stage_started");
}

#[test]
fn broken_rollback() {
    killed("broken-rollback.yaml", "stage_started");
}

#[test]
fn stall() {
    killed("stall.yaml", "fault_applied");
}

#[test]
fn replay() {
    killed("replay-access-log.yaml", "\"epoch\"");
}

#[test]
fn interrupted_once_everything_is_undone_and_exit_130() {
    let _alone = alone();
    let s = Scratch::new();
    let mut child = started(&s, &root().join("scenarios/quickstart.yaml"), "stage_started");
    kill(pid(&child), Signal::SIGINT).expect("it runs");
    assert_eq!(code(&mut child), Some(130));
    let d = s.decision();
    assert_eq!(d["exit"], 130);
    assert_ne!(d["verdict"], "promote");
    let marker = format!("SHAKEDOWN_STATE={}", s.path("state").display());
    assert_eq!(carrying(&marker), Vec::new());
}

#[test]
fn interrupted_twice_it_hurries_and_still_undoes() {
    let _alone = alone();
    let s = Scratch::new();
    let mut child = started(&s, &root().join("scenarios/quickstart.yaml"), "fault_applied");
    kill(pid(&child), Signal::SIGINT).expect("it runs");
    kill(pid(&child), Signal::SIGINT).expect("it runs");
    assert_eq!(code(&mut child), Some(130));
    let marker = format!("SHAKEDOWN_STATE={}", s.path("state").display());
    assert_eq!(carrying(&marker), Vec::new());
}

#[test]
fn terminated_is_exit_143() {
    let _alone = alone();
    let s = Scratch::new();
    let mut child = started(&s, &root().join("scenarios/quickstart.yaml"), "\"epoch\"");
    kill(pid(&child), Signal::SIGTERM).expect("it runs");
    assert_eq!(code(&mut child), Some(143));
}
