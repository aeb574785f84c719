//! SIGKILL of the harness, and the exit status that comes through the shim.

use crate::tools::{BOUND, Harness, Test, alive, below, me, run, states, until, write_pid};
use shakedown_process::{Isolation, Keeper, Spawn, tree};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    ("sigkill_leaves_nothing_alive", sigkill_leaves_nothing_alive),
    ("sigkill_leaves_nothing_alive_while_paused", sigkill_leaves_nothing_alive_while_paused),
    ("sigkill_leaves_nothing_alive_without_root", sigkill_leaves_nothing_alive_without_root),
    ("sigkill_leaves_nothing_alive_without_namespaces", sigkill_leaves_nothing_alive_without_namespaces),
    ("sigkill_lets_an_attached_process_go_on", sigkill_lets_an_attached_process_go_on),
    ("the_thread_that_asked_may_end", the_thread_that_asked_may_end),
    ("exit_status_and_signal_come_through", exit_status_and_signal_come_through),
    ("sigkill_while_services_start", sigkill_while_services_start),
];

fn sigkill_leaves_nothing_alive() {
    let mut harness = Harness::start("plain", |_, _| {});
    let all = below(harness.pid());
    assert!(all.len() >= 10, "{all:?}");
    println!("kill to gone: {:?} for {} processes", harness.kill_and_time(&all), all.len());
}

fn sigkill_leaves_nothing_alive_while_paused() {
    let mut harness = Harness::start("paused", |_, _| {});
    let all = below(harness.pid());
    println!("kill to gone while paused: {:?} for {} processes", harness.kill_and_time(&all), all.len());
}

fn sigkill_leaves_nothing_alive_without_root() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut harness = Harness::start("nobody", |command, dir| {
        // The build directory may be closed to others.
        let copy = dir.join("program");
        std::fs::copy(me(), &copy).unwrap();
        std::os::unix::fs::chown(dir, Some(65534), Some(65534)).unwrap();
        let mut other = Command::new(&copy);
        other.arg("role-harness").arg("nobody").arg(dir).stdout(std::process::Stdio::piped()).uid(65534).gid(65534);
        other.current_dir(dir);
        *command = other;
    });
    let all = below(harness.pid());
    let inits = all.iter().filter(|(pid, _)| tree::namespace_init(*pid).is_some()).count();
    assert!(inits == 2, "each shim has made a namespace: {inits}");
    println!("kill to gone without root: {:?} for {} processes", harness.kill_and_time(&all), all.len());
}

fn sigkill_leaves_nothing_alive_without_namespaces() {
    let mut harness = Harness::start("no-namespace", |_, _| {});
    until("the family is there", BOUND, || below(harness.pid()).len() >= 6);
    let all = below(harness.pid());
    assert!(all.iter().all(|(pid, _)| tree::namespace_init(*pid).is_none()));
    println!("kill to gone without namespaces: {:?} for {} processes", harness.kill_and_time(&all), all.len());
}

fn sigkill_lets_an_attached_process_go_on() {
    let mut target = Command::new(me()).arg("role-busy").arg("2").stdout(std::process::Stdio::null()).process_group(0).spawn().unwrap();
    let pid = i32::try_from(target.id()).unwrap();
    until("its child is there", BOUND, || tree::descendants(pid).iter().any(|p| tree::threads(*p).len() > 4));
    let file = tempfile::NamedTempFile::new().unwrap();
    write_pid(&file.path().to_owned(), target.id());
    let mut harness = Harness::start("paused-attached", |command, _| {
        command.env("ATTACH_PID_FILE", file.path());
    });
    let mut all = tree::descendants(pid);
    all.push(pid);
    assert!(states(&all).chars().all(|s| s == 't'), "{}", states(&all));
    let began = Instant::now();
    harness.child.kill().unwrap();
    until("no thread is stopped any more", Duration::from_secs(1), || !states(&all).contains(['t', 'T']));
    println!("kill to resumed: {:?}", began.elapsed());
    assert!(states(&all).len() > 4, "it goes on");
    for (child, _) in below(pid) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL);
    }
    target.kill().unwrap();
    target.wait().unwrap();
}

fn the_thread_that_asked_may_end() {
    let mut harness = Harness::start("ending-thread", |_, _| {});
    until("the program runs", BOUND, || below(harness.pid()).len() == 3);
    let all = below(harness.pid());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(alive(&all), 3);
    harness.kill_and_time(&all);
}

fn exit_status_and_signal_come_through() {
    let keeper = Keeper::start();
    for isolation in [Isolation::Shim, Isolation::ShimWithoutNamespace] {
        for (script, wanted) in [("exit 7", 7), ("kill -SEGV $$", -11), ("kill -KILL $$", -9), ("true", 0)] {
            let mut spawn = Spawn::new(["sh", "-c", script]);
            spawn.isolation = isolation;
            let proc = keeper.spawn(spawn).unwrap();
            assert_eq!(run(proc.wait()), wanted, "{script} under {isolation:?}");
        }
        let mut spawn = Spawn::new(["/no/such/program"]);
        spawn.isolation = isolation;
        assert_eq!(run(keeper.spawn(spawn).unwrap().wait()), 127);
    }
}

/// Killed at many moments of the start, races between fork and death signal included.
fn sigkill_while_services_start() {
    let began = Instant::now();
    for delay in (0..60).step_by(2) {
        let dir = tempfile::tempdir().unwrap();
        // A name that only this harness's processes carry in their environment.
        let tag = format!("SHAKEDOWN_TEST_TAG={}-{delay}", std::process::id());
        let mut child = Command::new(me())
            .args(["role-harness", "plain"])
            .arg(dir.path())
            .env("SHAKEDOWN_TEST_TAG", tag.split_once('=').unwrap().1)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        until("nothing with the tag is alive", Duration::from_secs(1), || !tagged(&tag));
    }
    println!("30 kills during the start in {:?}", began.elapsed());
}

fn tagged(tag: &str) -> bool {
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| e.split(|b| *b == 0).any(|v| v == tag.as_bytes()));
    all.filter(has).any(|pid| tree::stat(pid).is_some_and(tree::Stat::lives))
}
