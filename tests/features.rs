//! What the scenario language promises, run end to end one feature at a time: guards, preflight, setup and teardown, limits,
//! faults on services and proxies, the closed model, TLS, and everything being taken back whatever happens.

#![allow(clippy::print_stdout, reason = "how long taking back took is a figure worth seeing")]
#![allow(clippy::disallowed_methods, reason = "a test is not the harness: its children need no keeper")]

mod common;

use common::{Said, Scratch, alone, carrying, root, spawn, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may stay after a kill.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// Longest wait for a run to get somewhere.
const THERE_WITHIN: Duration = Duration::from_secs(30);

/// A stub behind an http proxy, without a rollout.
const STUB: &str = r#"version: 1
name: stub
seed: 5
time_box: 30s
environment:
  name: stub
  services:
    backend: {builtin: stub, answers: answers.yaml}
  targets: {site: proxy.front}
  proxies:
    front: {listen: 127.0.0.1:0, upstream: backend.http, protocol: http}
traffic:
  callers:
    target: site
    shape: [{hold: 4s, rate: 200/s}]
    timeout: 500ms
    requests: [{get: /items/1}]
slos:
  availability: {indicator: success_rate, min: 90%}
"#;

/// The embedded shop and a rollout of two stages.
const SHOP: &str = r#"version: 1
name: shop
seed: 5
time_box: 40s
environment:
  name: shop
  services:
    pilot: {builtin: shop, releases: {v1: [], v2: [V2]}, payments: proxy.payments}
  targets: {shop: pilot.router}
  proxies:
    payments: {listen: 127.0.0.1:0, upstream: pilot.payments, protocol: http}
traffic:
  shoppers:
    target: shop
    shape: [{hold: 8s, rate: 300/s}]
    warmup: 500ms
    timeout: 500ms
    requests:
      - {weight: 1, name: page, get: /products/p1}
      - {weight: 1, name: order, post: /orders, json: {id: "{{ uuid }}", cart: c1}, expect: {status: 201}}
rollout:
  driver: {builtin: pilot}
  control: v1
  canary: v2
  baseline: 1s
  stages:
    - {name: half, weight: 50%, hold: 3s, extend: 2s, min_samples: 100, gate: [availability]}
    - {name: full, weight: 100%, hold: 2s, extend: 3s, min_samples: 100, gate: [availability]}
  rollback: {restored_when: [availability], restored_within: 8s}
slos:
  availability: {indicator: success_rate, min: 70%}
"#;

fn scratch(text: &str) -> (Scratch, std::path::PathBuf) {
    let s = Scratch::new();
    s.write(
        "answers.yaml",
        "- {path: \"/items/*\", status: 200, body: a}\n- {path: \"/made\", status: 204}\n- {path: \"*\", status: 404}\n",
    );
    let path = s.write("scenario.yaml", text);
    (s, path)
}

fn run(text: &str) -> (Scratch, Said) {
    let (s, path) = scratch(text);
    let said = s.scenario(&path, &[]);
    assert!(!said.err.contains("panicked"), "{}", said.err);
    let marker = marker(&s);
    assert_eq!(carrying(&marker), Vec::new(), "something of the run is alive");
    let recover = s.run(&["recover"]);
    assert!(recover.out.contains("Nothing was left behind"), "{} {}", recover.out, recover.err);
    (s, said)
}

fn shop(flaw: &str) -> String {
    SHOP.replace("V2", flaw)
}

fn marker(s: &Scratch) -> String {
    format!("SHAKEDOWN_STATE={}", s.path("state").display())
}

fn journal(s: &Scratch) -> Vec<Value> {
    let text = std::fs::read_to_string(s.path("out/journal.jsonl")).unwrap_or_default();
    text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
}

/// The facts of the run in order, with their offsets in seconds.
fn facts(s: &Scratch) -> Vec<(f64, Value)> {
    let fact = |e: &Value| Some((e["at"].as_f64()? / 1e9, e["what"].get("fact")?.clone()));
    journal(s).iter().filter_map(fact).collect()
}

/// When a fact with these words was announced.
fn when(s: &Scratch, words: &str) -> Option<f64> {
    facts(s).into_iter().find(|(_, f)| f.to_string().contains(words)).map(|(at, _)| at)
}

fn say(said: &Said) -> String {
    format!("{}\n{}", said.out, said.err)
}

fn reasons(s: &Scratch) -> String {
    s.decision()["reasons"].to_string()
}

fn start(s: &Scratch, path: &Path) -> Child {
    let out = s.path("out");
    spawn(s.command(&["run", path.to_str().expect("a path"), "--out", out.to_str().expect("a path"), "--ui", "none"]))
}

fn await_fact(s: &Scratch, words: &str) {
    let journal = s.path("out/journal.jsonl");
    until(THERE_WITHIN, words, || std::fs::read_to_string(&journal).is_ok_and(|t| t.contains(words)));
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

// === guards ===

fn guarded(flaw: &str, then: &str) -> (Scratch, Said) {
    let guard = format!("guards:\n  failing: {{indicator: error_rate, over: 1s, min_samples: 40, max: 1%, then: {then}}}\n");
    run(&format!("{}{guard}", shop(flaw)))
}

#[test]
fn a_warn_guard_only_says_so() {
    let _alone = alone();
    let (s, said) = guarded("errors", "warn");
    assert_eq!(said.code, 0, "{}", say(&said));
    assert!(when(&s, "guard_fired").is_some());
}

#[test]
fn a_rollback_guard_rolls_back() {
    let _alone = alone();
    let (s, said) = guarded("errors", "rollback");
    assert_eq!(said.code, 10, "{}", say(&said));
    assert!(reasons(&s).contains("guard-rollback"), "{}", reasons(&s));
    assert!(when(&s, "guard_fired").expect("fired") <= when(&s, "rollback_started").expect("rolled back"));
    assert!(when(&s, "stage_started\":\"full").is_none());
}

#[test]
fn an_abort_guard_halts_and_rolls_back() {
    let _alone = alone();
    let (s, said) = guarded("errors", "abort");
    assert_eq!(said.code, 13, "{}", say(&said));
    assert!(reasons(&s).contains("guard-abort"), "{}", reasons(&s));
    let last = facts(&s).into_iter().rev().find_map(|(_, f)| f.get("weight_read").cloned());
    assert_eq!(last, Some(Value::from(0)), "the control is at full weight at the end");
}

#[test]
fn a_pause_guard_that_never_clears_rolls_back_after_extend() {
    let _alone = alone();
    let (s, said) = guarded("errors", "pause");
    assert_eq!(said.code, 10, "{}", say(&said));
    assert!(when(&s, "stage_started\":\"full").is_none(), "the ramp was held");
    let (fired, back) = (when(&s, "guard_fired").expect("fired"), when(&s, "rollback_started").expect("rolled back"));
    assert!((2.0..4.0).contains(&(back - fired)), "held for {} s, extend is 2 s", back - fired);
}

#[test]
fn a_reduce_guard_lowers_the_weight() {
    let _alone = alone();
    let (s, said) = guarded("errors", "{reduce: 20%}");
    let at = when(&s, "{\"weight_read\":200000}").expect("20 % was read back");
    assert!(when(&s, "guard_fired").expect("fired") <= at);
    assert!([0, 10].contains(&said.code), "{}", say(&said));
    assert!(said.code == 0 || reasons(&s).contains("guard-rollback"), "{}", reasons(&s));
}

#[test]
fn a_pause_guard_that_clears_lets_the_ramp_go_on() {
    let _alone = alone();
    let text = shop("").replace("extend: 2s", "extend: 9s");
    let fault = "faults:\n  refused: {at: {stage: half, plus: 500ms}, for: 2s, on: {proxy: payments}, share: 50%, abort: {status: 503}}\n";
    let guard = "guards:\n  failing: {indicator: error_rate, over: 1s, min_samples: 40, max: 5%, then: pause}\n";
    let (s, said) = run(&format!("{text}{fault}{guard}"));
    assert_eq!(said.code, 0, "{}", say(&said));
    assert!(when(&s, "guard_fired").is_some());
    assert!(s.decision()["faults"].to_string().contains("\"hits\":"), "{}", s.decision()["faults"]);
}

// === preflight, setup, teardown, limits ===

#[test]
fn a_missed_preflight_changes_nothing() {
    let _alone = alone();
    let fault = "faults:\n  slow: {at: 0s, for: 1s, on: {proxy: payments}, latency: {delay: 5ms}}\n";
    let text = shop("").replace("/products/p1", "/no/such/thing");
    let (s, said) = run(&format!("{text}{fault}preflight: [availability]\n"));
    assert_eq!(said.code, 3, "{}", say(&said));
    assert!(say(&said).contains("availability"), "{}", say(&said));
    for word in ["weight_asked", "fault_applied", "stage_started"] {
        assert!(when(&s, word).is_none(), "{word}");
    }
    assert!(when(&s, "preflight_missed").is_some());
}

/// Setup and teardown that leave traces in files.
fn traced(s: &Scratch, first: &str) -> String {
    let dir = s.0.path().display();
    format!(
        "setup:\n  - {{post: \"{{{{ targets.site }}}}/made\", expect: {{status: 204}}}}\n  - {{command: [sh, -c, '{first}']}}\n  - {{command: [touch, '{dir}/second']}}\n\
         teardown:\n  - {{command: [sh, -c, 'echo one >> {dir}/torn']}}\n  - {{command: [sh, -c, 'echo two >> {dir}/torn']}}\n  - {{delete: \"{{{{ targets.site }}}}/made\"}}\n"
    )
}

fn torn(s: &Scratch) -> String {
    std::fs::read_to_string(s.path("torn")).unwrap_or_default()
}

#[test]
fn setup_runs_before_load_and_teardown_after() {
    let _alone = alone();
    let (s, path) = scratch("");
    std::fs::write(&path, format!("{STUB}{}", traced(&s, "exit 0"))).expect("a file");
    let said = s.scenario(&path, &[]);
    assert_eq!(said.code, 0, "{}", say(&said));
    assert!(s.path("second").exists());
    assert_eq!(torn(&s), "one\ntwo\n");
}

#[test]
fn a_failing_setup_is_exit_3_and_teardown_still_runs() {
    let _alone = alone();
    let (s, path) = scratch("");
    std::fs::write(&path, format!("{STUB}{}", traced(&s, "echo no database >&2; exit 7"))).expect("a file");
    let said = s.scenario(&path, &[]);
    assert_eq!(said.code, 3, "{}", say(&said));
    assert!(say(&said).contains("no database"), "{}", say(&said));
    assert!(!s.path("second").exists());
    assert_eq!(torn(&s), "one\ntwo\n");
    assert!(when(&s, "epoch").is_none(), "no load was sent");
}

#[test]
fn teardown_runs_after_sigint_and_by_the_guard_after_sigkill() {
    let _alone = alone();
    for (signal, code) in [(Signal::SIGINT, Some(130)), (Signal::SIGKILL, None)] {
        let (s, path) = scratch("");
        std::fs::write(&path, format!("{STUB}{}", traced(&s, "exit 0"))).expect("a file");
        let mut child = start(&s, &path);
        await_fact(&s, "stream_started");
        kill(pid_of(&child), signal).expect("it runs");
        assert_eq!(child.wait().expect("it ended").code(), code);
        let took = until(GONE_WITHIN, "teardown and everything gone", || torn(&s) == "one\ntwo\n" && carrying(&marker(&s)).is_empty());
        println!("teardown done and all gone {took:?} after {signal}");
        let recover = s.run(&["recover"]);
        assert!(recover.out.contains("Nothing was left behind"), "{} {}", recover.out, recover.err);
        assert_eq!(torn(&s), "one\ntwo\n", "not a second time");
    }
}

#[test]
fn recover_undoes_what_a_killed_harness_and_guard_left() {
    let _alone = alone();
    let (s, path) = scratch("");
    std::fs::write(&path, format!("{STUB}{}", traced(&s, "exit 0"))).expect("a file");
    let mut child = start(&s, &path);
    await_fact(&s, "stream_started");
    let all = carrying(&marker(&s));
    let guard = all.iter().find(|(_, cmd)| cmd.contains(" guard ")).expect("a guard").0;
    kill(Pid::from_raw(i32::try_from(guard).expect("a pid")), Signal::SIGKILL).expect("the guard runs");
    kill(pid_of(&child), Signal::SIGKILL).expect("it runs");
    child.wait().expect("it ended");
    until(GONE_WITHIN, "services gone", || carrying(&marker(&s)).is_empty());
    assert_eq!(torn(&s), "");
    let recover = s.run(&["recover"]);
    assert_eq!(recover.code, 0, "{} {}", recover.out, recover.err);
    assert_eq!(torn(&s).lines().count(), 2, "{}", torn(&s));
    assert!(s.run(&["recover"]).out.contains("Nothing was left behind"));
}

#[test]
fn a_new_run_first_undoes_what_a_killed_one_left() {
    let _alone = alone();
    let (s, path) = scratch("");
    std::fs::write(&path, format!("{STUB}{}", traced(&s, "exit 0"))).expect("a file");
    let mut child = start(&s, &path);
    await_fact(&s, "stream_started");
    let guard = carrying(&marker(&s)).into_iter().find(|(_, cmd)| cmd.contains(" guard ")).expect("a guard").0;
    kill(Pid::from_raw(i32::try_from(guard).expect("a pid")), Signal::SIGKILL).expect("the guard runs");
    kill(pid_of(&child), Signal::SIGKILL).expect("it runs");
    child.wait().expect("it ended");
    let again = s.write("again.yaml", STUB);
    let second = s.path("second-run");
    let said = s.run(&["run", again.to_str().expect("a path"), "--out", second.to_str().expect("a path"), "--ui", "none"]);
    assert_eq!(said.code, 0, "{}", say(&said));
    assert_eq!(torn(&s).lines().count(), 2, "{}", torn(&s));
}

#[test]
fn a_run_that_could_not_be_prepared_leaves_nothing() {
    let _alone = alone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("an address").to_string();
    let (_s, said) = run(&STUB.replace("127.0.0.1:0", &addr));
    assert_eq!(said.code, 3, "{}", say(&said));
    assert!(said.err.contains(&addr) && said.err.contains("exit 3"), "{}", said.err);
}

#[test]
fn rollback_before_runs_before_the_weight_is_set_back() {
    let _alone = alone();
    let (s, path) = scratch("");
    let mark = s.path("before");
    let before = format!("rollback: {{before: {{command: [sh, -c, 'sleep 0.3; touch {}']}}, ", mark.display());
    let text = shop("").replace("rollback: {", &before).replace("  rollback:", "  rehearse: {rollback: every-stage}\n  rollback:");
    std::fs::write(&path, text).expect("a file");
    let said = s.scenario(&path, &[]);
    assert_eq!(said.code, 0, "{}", say(&said));
    assert!(mark.exists());
    let all = facts(&s);
    let starts: Vec<usize> = all.iter().enumerate().filter(|(_, (_, f))| f.get("rollback_started").is_some()).map(|(i, _)| i).collect();
    assert_eq!(starts.len(), 2, "a rehearsal in each stage");
    for i in starts {
        let (at, _) = all[i];
        let (asked, _) = all[i..].iter().find(|(_, f)| f.get("weight_asked") == Some(&Value::from(0))).expect("set back");
        assert!(asked - at >= 0.3, "set back {} s after it began", asked - at);
    }
}

#[test]
fn limits_end_the_run() {
    let _alone = alone();
    let (s, said) = run(&STUB.replace("  name: stub\n  services", "  name: stub\n  limits: {requests: 300}\n  services"));
    assert_eq!(said.code, 13, "{}", say(&said));
    assert!(reasons(&s).contains("requests"), "{}", reasons(&s));
    // The least length fits the box; a pause that never clears does not.
    let text = shop("errors").replace("extend: 2s", "extend: 20s").replace("time_box: 40s", "time_box: 10s");
    let guard = "guards:\n  failing: {indicator: error_rate, over: 1s, min_samples: 40, max: 1%, then: pause}\n";
    let (s, said) = run(&format!("{text}{guard}"));
    assert_eq!(said.code, 13, "{}", say(&said));
    assert!(reasons(&s).contains("time-box"), "{}", reasons(&s));
}

#[test]
fn the_in_flight_limit_puts_the_evidence_in_doubt() {
    let _alone = alone();
    let text = STUB.replace("  name: stub\n  services", "  name: stub\n  limits: {in_flight: 5}\n  services");
    let fault = "faults:\n  slow: {at: 500ms, for: 2s, on: {proxy: front}, latency: {delay: 200ms}}\n";
    let (s, said) = run(&format!("{text}{fault}"));
    assert_eq!(said.code, 4, "{}", say(&said));
    assert!(reasons(&s).contains("in-flight"), "{}", reasons(&s));
}

// === faults ===

#[test]
fn a_killed_service_with_restart_comes_back() {
    let _alone = alone();
    let text = STUB
        .replace("answers: answers.yaml}", "answers: answers.yaml, restart: always}")
        .replace("min: 90%", "min: 50%")
        .replace("hold: 4s", "hold: 6s");
    let tail = "  recovery: {indicator: time_to_recover, of: availability, after: crash, max: 4s}\nfaults:\n  crash: {at: 1s, for: 1s, on: {service: backend}, kill: {}}\n";
    let (s, said) = run(&format!("{text}{tail}"));
    assert_eq!(said.code, 0, "{}", say(&said));
    assert!(when(&s, "fault_applied").is_some() && when(&s, "fault_reverted").is_some());
    assert_eq!(s.decision()["objectives"]["recovery"]["status"], "pass", "{}", s.decision()["objectives"]);
}

#[test]
fn a_service_that_exits_in_mid_run_never_passes() {
    let _alone = alone();
    let (s, said) = run(&STUB.replace("  services:\n", "  services:\n    other: {command: [sh, -c, 'sleep 2; exit 9']}\n"));
    assert!([4, 13].contains(&said.code), "{}", say(&said));
    assert!(reasons(&s).contains("other") && reasons(&s).contains('9'), "{}", reasons(&s));
}

fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or(' ')
}

#[test]
fn an_attached_process_runs_again_after_sigkill_of_the_harness() {
    let _alone = alone();
    let (s, path) = scratch("");
    let mut attached = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep runs");
    s.write("other.pid", &format!("{}\n", attached.id()));
    let text = STUB.replace("  services:\n", "  services:\n    other: {attach: {pid_file: other.pid}}\n");
    std::fs::write(&path, format!("{text}faults:\n  stop: {{at: 500ms, for: 3s, on: {{service: other}}, pause: {{}}}}\n")).expect("a file");
    let mut child = start(&s, &path);
    await_fact(&s, "fault_applied");
    assert!(matches!(state(attached.id()), 't' | 'T'), "paused");
    kill(pid_of(&child), Signal::SIGKILL).expect("it runs");
    let took = until(GONE_WITHIN, "it runs again", || matches!(state(attached.id()), 'S' | 'R'));
    println!("attached process runs again {took:?} after SIGKILL");
    child.wait().expect("it ended");
    attached.kill().expect("it is still there");
    attached.wait().expect("it ended");
}

#[test]
fn proxy_faults_hit_and_are_taken_back() {
    let _alone = alone();
    let faults = "faults:
  refused: {at: 500ms, for: 600ms, on: {proxy: front}, share: 30%, abort: {status: 503}}
  cut: {at: {after: refused, plus: 200ms}, for: 600ms, on: {proxy: front}, share: 30%, reset: {}}
  lost: {at: {after: cut, plus: 200ms}, for: 600ms, on: {proxy: front}, share: 20%, blackhole: {}}
  narrow: {at: {after: lost, plus: 200ms}, for: 600ms, on: {proxy: front}, bandwidth: {rate: 64KiB/s}}
windows: {late: {from: 5s, to: 6s}}
";
    let text = STUB.replace("hold: 4s", "hold: 7s").replace("min: 90%", "min: 50%");
    let slo = "  afterwards: {indicator: success_rate, min: 90%, window: late}\n";
    let (s, said) = run(&format!("{text}{slo}{faults}"));
    assert_eq!(said.code, 0, "{}", say(&said));
    let d = s.decision();
    for name in ["refused", "cut", "lost", "narrow"] {
        let fault =
            d["faults"].as_array().and_then(|all| all.iter().find(|f| f["name"] == name)).unwrap_or_else(|| panic!("{}", d["faults"]));
        assert!(fault["hits"].as_u64().expect("hits") > 0, "{fault}");
        assert!(fault["reverted"].is_number() || fault["removed"].is_number(), "{fault}");
    }
    assert!(when(&s, "fault_applied\":\"cut").expect("applied") >= when(&s, "fault_reverted\":\"refused").expect("reverted") + 0.2);
}

#[test]
fn a_fault_during_rollback_stays_through_the_rehearsal() {
    let _alone = alone();
    let text = shop("").replace("  rollback:", "  rehearse: {rollback: last-stage}\n  rollback:");
    let fault = "faults:\n  slow: {at: {stage: full, plus: 500ms}, for: 3s, on: {proxy: payments}, during_rollback: true, latency: {delay: 10ms}}\n";
    let (s, said) = run(&format!("{text}{fault}"));
    assert_eq!(said.code, 0, "{}", say(&said));
    let (back, gone) = (when(&s, "rollback_started").expect("rehearsed"), when(&s, "fault_reverted").expect("reverted"));
    assert!(gone > back, "{gone} {back}");
    let (on, off) = (when(&s, "fault_applied").expect("applied"), gone);
    assert!((2.9..4.0).contains(&(off - on)), "it lasted {} s of 3 s", off - on);
}

// === load ===

#[test]
fn retries_are_counted_apart() {
    let _alone = alone();
    let text = STUB.replace("timeout: 500ms", "timeout: 500ms\n    retry: {attempts: 3, on: [503], backoff: 10ms}");
    let tail = "  retries: {indicator: retry_rate, max: 5%}\nverdict: {mandatory: [availability]}\nfaults:\n  refused: {at: 0s, for: 6s, on: {proxy: front}, share: 30%, abort: {status: 503}}\n";
    let (s, said) = run(&format!("{text}{tail}"));
    assert_eq!(said.code, 0, "retries save the logical requests: {}", say(&said));
    let d = s.decision();
    assert_eq!(d["objectives"]["retries"]["status"], "fail", "{}", d["objectives"]);
    let rate = d["objectives"]["retries"]["value"].as_f64().expect("a rate");
    assert!((0.2..0.6).contains(&rate), "{rate}");
}

#[test]
fn the_closed_model_with_journeys_beside_an_open_stream() {
    let _alone = alone();
    let text = shop("");
    let head = text.split("rollout:").next().expect("a head").to_owned();
    let clerks = "  clerks:
    target: shop
    users: {count: 5, think: 20ms..50ms, for: 4s}
    timeout: 500ms
    journeys:
      buy:
        steps:
          - {name: cart, post: /cart, json: {sku: p1}, capture: {cart: $.id}, expect: {status: 201}}
          - think: 10ms..20ms
          - {name: order, post: /orders, json: {id: \"{{ uuid }}\", cart: \"{{ cart }}\"}, expect: {status: 201}}
slos:
  availability: {indicator: success_rate, min: 95%}
  buying: {indicator: journey_success, stream: clerks, journey: buy, min: 95%}
  how-fast: {indicator: journey_duration, stream: clerks, journey: buy, quantile: p50, max: 1s}
";
    let (s, said) = run(&format!("{head}{clerks}").replace("hold: 8s", "hold: 4s"));
    assert_eq!(said.code, 0, "{}", say(&said));
    assert!(when(&s, "stream_ended\":\"clerks").is_some());
}

#[test]
fn unique_data_that_runs_out_never_passes() {
    let _alone = alone();
    let (s, path) = scratch("");
    let rows: String = (0..100).map(|i| format!("{i}\n")).collect();
    s.write("ids.csv", &format!("id\n{rows}"));
    let text = STUB.replace(
        "requests: [{get: /items/1}]",
        "data: {ids: {csv: ids.csv, pick: unique}}\n    requests: [{get: \"/items/{{ ids.id }}\"}]",
    );
    std::fs::write(&path, text).expect("a file");
    let said = s.scenario(&path, &[]);
    assert!([2, 4, 10].contains(&said.code), "{}", say(&said));
    let samples = std::fs::read_to_string(s.path("out/samples.jsonl")).unwrap_or_default();
    assert!(format!("{}{samples}", say(&said)).contains("ran out"), "{}", say(&said));
}

#[test]
fn tls_needs_the_ca() {
    let _alone = alone();
    let port = free_port();
    let (s, path) = scratch("");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("a certificate");
    s.write("cert.pem", &made.cert.pem());
    s.write("key.pem", &made.signing_key.serialize_pem());
    let conf = std::fs::read_to_string(root().join("scenarios/data/nginx.conf")).expect("a configuration");
    let dir = s.0.path().display().to_string();
    let listen = format!("listen 127.0.0.1:{port} ssl; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;");
    s.write("nginx.conf", &conf.replace("listen 127.0.0.1:18080;", &listen));
    let text = |tls: &str| {
        format!(
            "version: 1\nname: tls\nseed: 5\ntime_box: 30s\nenvironment:\n  name: tls\n  services:\n    nginx: {{command: [sh, -c, 'exec nginx -p \"$SHAKEDOWN_SCRATCH\" -c {dir}/nginx.conf'], ready: {{tcp: \"127.0.0.1:{port}\", within: 10s}}, stop: {{signal: QUIT, within: 5s}}}}\n  targets: {{site: {{url: \"https://127.0.0.1:{port}\"{tls}}}}}\n\
             traffic: {{callers: {{target: site, shape: [{{hold: 3s, rate: 100/s}}], timeout: 500ms, requests: [{{get: /}}]}}}}\nslos: {{availability: {{indicator: success_rate, min: 90%}}}}\n"
        )
    };
    std::fs::write(&path, text(", tls: {ca: cert.pem}")).expect("a file");
    let said = s.scenario(&path, &[]);
    assert_eq!(said.code, 0, "{}", say(&said));
    std::fs::write(&path, text("")).expect("a file");
    std::fs::rename(s.path("out"), s.path("first")).expect("renamed");
    let said = s.scenario(&path, &[]);
    assert!([3, 4, 10].contains(&said.code), "{}", say(&said));
    if said.code != 3 {
        let samples = std::fs::read_to_string(s.path("out/samples.jsonl")).unwrap_or_default();
        assert!(samples.contains("\"tls\""), "{samples}");
    }
}

// === the way back ===

#[test]
fn a_target_that_goes_silent_in_mid_rollout_never_promotes() {
    let _alone = alone();
    let text = shop("")
        .replace("targets: {shop: pilot.router}", "targets: {shop: proxy.front}")
        .replace("  proxies:\n", "  proxies:\n    front: {listen: 127.0.0.1:0, upstream: pilot.router, protocol: http}\n");
    let fault = "faults:\n  lost: {at: {stage: half, plus: 500ms}, for: 4s, on: {proxy: front}, blackhole: {}}\n";
    let (s, said) = run(&format!("{text}{fault}"));
    assert!([4, 10].contains(&said.code), "{}", say(&said));
    println!("black hole: exit {} {}", said.code, reasons(&s));
}

#[test]
fn a_pilot_killed_in_mid_rollout_never_promotes() {
    let _alone = alone();
    let (s, path) = scratch(&shop(""));
    let mut child = start(&s, &path);
    await_fact(&s, "stage_started");
    let all = carrying(&marker(&s));
    let pilots: Vec<u32> = all.iter().filter(|(_, cmd)| cmd.contains("pilot-serve") && !cmd.contains(" shim ")).map(|(p, _)| *p).collect();
    for pilot in pilots {
        kill(Pid::from_raw(i32::try_from(pilot).expect("a pid")), Signal::SIGKILL).expect("it runs");
    }
    let code = child.wait().expect("it ended").code().unwrap_or(-1);
    assert!([4, 10, 11, 13].contains(&code), "{code} {}", reasons(&s));
    println!("pilot killed: exit {code} {}", reasons(&s));
    assert_eq!(carrying(&marker(&s)), Vec::new());
}

#[test]
fn promoted_leaves_the_canary_weight() {
    let _alone = alone();
    let text = shop("").replace("  rollback:", "  afterwards: promoted\n  rollback:");
    let (s, said) = run(&text);
    assert_eq!(said.code, 0, "{}", say(&said));
    let last = facts(&s).into_iter().rev().find_map(|(_, f)| f.get("weight_read").cloned());
    assert_eq!(last, Some(Value::from(1_000_000)));
}

#[test]
fn json_progress_is_one_object_a_line() {
    let _alone = alone();
    let (s, path) = scratch(STUB);
    let out = s.path("out");
    let said = s.run(&["run", path.to_str().expect("a path"), "--out", out.to_str().expect("a path"), "--ui", "json"]);
    assert_eq!(said.code, 0, "{}", say(&said));
    assert!(said.out.lines().count() > 5, "{}", said.out);
    for line in said.out.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value.is_object(), "{line}");
    }
}

// === bad luck ===

/// A small file system, gone with the test.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(at: std::path::PathBuf, size: &str) -> Option<Small> {
        std::fs::create_dir_all(&at).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "shakedown-test"]).arg(&at).output();
        mounted.is_ok_and(|m| m.status.success()).then_some(Small(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_at_the_journal_is_said_and_everything_undone() {
    let _alone = alone();
    let (s, path) = scratch("");
    std::fs::write(
        &path,
        format!("{STUB}{}", traced(&s, "exit 0").replace("  - {delete: \"{{ targets.site }}/made\"}\n", ""))
            .replace("hold: 4s", "hold: 15s"),
    )
    .expect("a file");
    let Some(_small) = Small::mount(s.path("disk"), "96k") else {
        assert!(std::env::var_os("CI").is_none(), "mounting needs root");
        return;
    };
    let out = s.path("disk/out");
    let said = s.run(&["run", path.to_str().expect("a path"), "--out", out.to_str().expect("a path"), "--ui", "plain"]);
    assert_eq!(said.code, 70, "{}", say(&said));
    assert!(said.err.contains("No space left") && said.err.contains("journal"), "{}", said.err);
    assert_eq!(carrying(&marker(&s)), Vec::new());
    assert_eq!(torn(&s), "one\ntwo\n");
    let recover = s.run(&["recover"]);
    assert!(recover.out.contains("Nothing was left behind"), "{} {}", recover.out, recover.err);
}

#[test]
fn a_port_in_use_by_somebody_else_is_named() {
    let _alone = alone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let conf = std::fs::read_to_string(root().join("scenarios/data/nginx.conf")).expect("a configuration");
    let (s, path) = scratch("");
    let conf = s.write("nginx.conf", &conf.replace("18080", &port.to_string()));
    let service = format!(
        "  services:\n    nginx: {{command: [sh, -c, 'exec nginx -p \"$SHAKEDOWN_SCRATCH\" -c {}'], ready: {{http: \"http://127.0.0.1:{port}/healthz\", within: 10s}}}}\n",
        conf.display()
    );
    std::fs::write(&path, STUB.replace("  services:\n", &service)).expect("a file");
    let said = s.scenario(&path, &[]);
    assert_eq!(said.code, 3, "{}", say(&said));
    assert!(say(&said).contains(&port.to_string()) && say(&said).contains("nginx"), "{}", say(&said));
}

#[test]
fn sigkill_at_any_moment_leaves_nothing() {
    let _alone = alone();
    const KILLS: u64 = 25;
    let (s, path) = scratch("");
    let dir = s.0.path().display().to_string();
    let text = shop("")
        .replace("    pilot:", "    other: {command: [sh, -c, 'sleep 60 & sleep 60']}\n    pilot:")
        .replace("baseline: 1s", "baseline: 300ms")
        .replace("warmup: 500ms", "warmup: 100ms");
    let tail = format!(
        "setup:\n  - {{command: [sh, -c, 'echo x >> {dir}/made']}}\nteardown:\n  - {{command: [sh, -c, 'rm -f {dir}/made']}}\n  - {{get: \"{{{{ targets.shop }}}}/products/p1\"}}\nfaults:\n  stop: {{at: 300ms, for: 3s, on: {{service: other}}, pause: {{}}}}\n  slow: {{at: 300ms, for: 3s, on: {{proxy: payments}}, latency: {{delay: 5ms}}}}\n"
    );
    std::fs::write(&path, format!("{text}{tail}")).expect("a file");
    let mut slowest = Duration::ZERO;
    for i in 0..KILLS {
        let _ = std::fs::remove_dir_all(s.path("out"));
        // From right after the start to the middle of the first stage, denser at the beginning, where most things happen.
        let wait = Duration::from_millis(i * i * 4 + i % 7);
        let mut child = start(&s, &path);
        std::thread::sleep(wait);
        kill(pid_of(&child), Signal::SIGKILL).expect("it runs");
        let killed = Instant::now();
        until(GONE_WITHIN, &format!("nothing is left after a kill at {wait:?}: {:?}", carrying(&marker(&s))), || {
            carrying(&marker(&s)).iter().all(|(p, _)| *p == child.id())
        });
        slowest = slowest.max(killed.elapsed());
        child.wait().expect("it ended");
        assert!(!s.path("made").exists(), "teardown ran after a kill at {wait:?}");
        let recover = s.run(&["recover"]);
        assert!(recover.code == 0 && recover.out.contains("Nothing was left behind"), "at {wait:?}: {} {}", recover.out, recover.err);
    }
    println!("slowest of {KILLS} kills: all gone after {slowest:?}");
}
