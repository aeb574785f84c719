//! A machine that has run out, and limits that are reached: descriptors, ports, requests in flight, connections, users.

use crate::common::{Scratch, alone};
use crate::run::{run, scenario};
use crate::server::{Manner, Rude};
use std::process::{Command, Stdio};
use std::time::Duration;

const STUB: &str = "  services: {backend: {builtin: stub, answers: answers.yaml}}\n";

#[test]
fn out_of_descriptors_is_counted_and_said() {
    let _alone = alone();
    let (s, server) = (Scratch::new(), Rude::always(Manner::Never));
    let target = format!("t: \"http://{}\"", server.address);
    let line = "s: {target: t, timeout: 1s, shape: [{hold: 1s, rate: 200/s}], connections: {max: 400}, requests: [{get: /}]}";
    let run = run(&s, &scenario(&target, line, ""), Duration::from_secs(20), &["prlimit", "--nofile=40:40"]);
    println!("40 descriptors: {:?}, {:?}, {:?}", run.took, run.reasons(), run.streams.get("s"));
    assert_eq!(run.code, 4, "{run:#?}");
    run.all_failed("s", 200, &["connect", "timeout"]);
    assert!(run.streams["s"].failed["connect"] > 0);
    assert!(run.decision["validity"]["generator"]["no_descriptor"].as_u64() > Some(0), "{:#}", run.decision["validity"]);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test is not the harness: its children need no keeper")]
fn out_of_ports_is_counted_and_said() {
    let _alone = alone();
    let s = Scratch::new();
    let inside = "ip link set lo up && echo '40000 40010' > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    let mut can = Command::new("unshare");
    can.args(["-n", "sh", "-c", inside, "sh", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !can.status().is_ok_and(|s| s.success()) {
        println!("skipped: a network namespace of one's own needs root, `unshare` and `ip`");
        return;
    }
    s.write("answers.yaml", "- {path: \"*\", status: 200, delay: 900ms, body: ok}\n");
    let line = "s: {target: t, timeout: 2s, shape: [{hold: 1s, rate: 200/s}], connections: {max: 400}, requests: [{get: /}]}";
    let text = scenario("t: backend.http", line, STUB);
    let run = run(&s, &text, Duration::from_secs(20), &["unshare", "-n", "sh", "-c", inside, "sh"]);
    println!("11 ports: {:?}, {:?}, {:?}", run.took, run.reasons(), run.streams.get("s"));
    assert_eq!(run.code, 4, "{run:#?}");
    assert!(run.streams["s"].failed.get("connect").is_some_and(|n| *n > 0), "{run:#?}");
    assert!(run.decision["validity"]["generator"]["no_port"].as_u64() > Some(0), "{:#}", run.decision["validity"]);
}

#[test]
fn twenty_thousand_users_fit_into_one_process() {
    let _alone = alone();
    let s = Scratch::new();
    s.write("answers.yaml", "- {path: \"*\", status: 200, body: ok}\n");
    let line = "s: {target: t, timeout: 4s, users: {count: 20000, think: 1s..2s, for: 3s}, requests: [{get: /}]}";
    let run = run(&s, &scenario("t: backend.http", line, STUB), Duration::from_secs(60), &[]);
    println!("20,000 users: exit {} {:?}, {:?}, {} KiB, {:?}", run.code, run.reasons(), run.took, run.peak, run.streams["s"]);
    let sum = &run.streams["s"];
    assert_eq!(sum.due as u64, sum.ok + sum.failed.values().sum::<u64>(), "{sum:?}");
    assert!(sum.due >= 20_000, "{sum:?}");
    // A debug build on a busy machine may say that it could not keep up; never that all is well when it is not.
    assert!([0, 4, 10, 12].contains(&run.code), "{run:#?}");
    assert!(run.peak < 256 * 1024, "{} KiB", run.peak);
}

#[test]
fn a_limit_on_requests_in_flight_drops_and_says_so() {
    let _alone = alone();
    let (s, server) = (Scratch::new(), Rude::always(Manner::Never));
    let target = format!("t: \"http://{}\"", server.address);
    let line = "s: {target: t, timeout: 500ms, shape: [{hold: 1s, rate: 100/s}], requests: [{get: /}]}";
    let run = run(&s, &scenario(&target, line, "  limits: {in_flight: 10}\n"), Duration::from_secs(15), &[]);
    assert_eq!(run.code, 4, "{run:#?}");
    run.all_failed("s", 100, &["dropped", "timeout"]);
    let sum = &run.streams["s"];
    assert!(sum.dropped > 50 && sum.failed["dropped"] == sum.dropped, "{sum:?}");
}

#[test]
fn a_limit_on_connections_makes_requests_wait_and_time_out() {
    let _alone = alone();
    let (s, server) = (Scratch::new(), Rude::always(Manner::Never));
    let target = format!("t: \"http://{}\"", server.address);
    let line = "s: {target: t, timeout: 500ms, shape: [{hold: 1s, rate: 100/s}], connections: {max: 2}, requests: [{get: /}]}";
    let run = run(&s, &scenario(&target, line, ""), Duration::from_secs(15), &[]);
    assert_ne!(run.code, 0, "{run:#?}");
    run.all_failed("s", 100, &["timeout"]);
    assert!(run.streams["s"].waited >= 90, "{:?}", run.streams["s"]);
    println!("2 connections: exit {} {:?}", run.code, run.reasons());
}
