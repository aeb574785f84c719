//! One run made by several generators: `run --segment i/n` of one scenario at once, then `merge`. Every arrival is sent by
//! exactly one of them, the sum is judged as one run, and parts that do not belong together are refused.

#![allow(clippy::disallowed_methods, reason = "a test is not the harness: its children need no keeper")]

mod common;
#[path = "common/rude.rs"]
mod rude;

use common::{Said, Scratch, alone, said, spawn, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rude::{Manner, Rude};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Offset 0 lies this far ahead: a debug build is ready long before.
const AHEAD: Duration = Duration::from_secs(3);
/// Longest wait for a run to get somewhere.
const THERE_WITHIN: Duration = Duration::from_secs(30);

/// Four seconds at a rate that no number of segments divides, against a server that every segment can reach.
const LOAD: &str = r#"version: 1
name: parts
seed: 11
time_box: 30s
environment:
  name: parts
  targets: {site: "http://TARGET"}
traffic:
  callers:
    target: site
    arrivals: poisson
    shape: [{hold: 4s, rate: 101/s}]
    timeout: 1s
    requests: [{get: /fine}]
slos:
  availability: {indicator: success_rate, min: 90%}
"#;

/// The embedded shop in the controller; its router is reached by all through a proxy whose address is known beforehand.
const SHOP: &str = r#"version: 1
name: parts
seed: 11
time_box: 60s
environment:
  name: parts
  services:
    pilot: {builtin: shop, releases: {v1: [], v2: []}}
  targets: {shop: "http://TARGET"}
  proxies:
    front: {listen: TARGET, upstream: pilot.router, protocol: http}
traffic:
  shoppers:
    target: shop
    shape: [{hold: 8s, rate: 200/s}]
    warmup: 500ms
    timeout: 500ms
    requests: [{get: /products/p1}]
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
  availability: {indicator: success_rate, min: 90%}
"#;

/// Segments of one scenario in a scratch directory.
struct Parts {
    scratch: Scratch,
    scenario: PathBuf,
    epoch: String,
    of: u32,
    running: Vec<Child>,
}

impl Parts {
    fn new(text: &str, of: u32) -> Parts {
        let scratch = Scratch::new();
        let scenario = scratch.write("scenario.yaml", text);
        Parts { scratch, scenario, epoch: epoch(AHEAD), of, running: Vec::new() }
    }

    fn dir(&self, index: u32) -> PathBuf {
        self.scratch.path(&format!("part-{index}"))
    }

    fn command(&self, index: u32, more: &[&str]) -> std::process::Command {
        let (out, part) = (self.dir(index), format!("{index}/{}", self.of));
        let mut args = vec!["run", text(&self.scenario), "--out", text(&out), "--ui", "none", "--segment", &part, "--epoch", &self.epoch];
        args.extend(more);
        self.scratch.command(&args)
    }

    /// Starts the workers, then the controller; first is segment 1.
    fn start(&mut self) {
        let workers: Vec<Child> = (2..=self.of).map(|i| spawn(self.command(i, &[]))).collect();
        self.running.push(spawn(self.command(1, &[])));
        self.running.extend(workers);
    }

    fn signal(&self, index: u32, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.running[index as usize - 1].id()).expect("a pid"));
        kill(pid, signal).expect("it runs");
    }

    /// Exit codes in order; none of one that was killed.
    #[allow(clippy::disallowed_methods, reason = "a test is not the harness")]
    fn codes(&mut self) -> Vec<Option<i32>> {
        self.running.iter_mut().map(|child| child.wait().expect("it ended").code()).collect()
    }

    /// Waits until segment `index` has told of sent requests.
    fn sends(&self, index: u32) {
        let journal = self.dir(index).join("journal.jsonl");
        until(THERE_WITHIN, "requests are sent", || std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"asked\"")));
    }

    fn merge(&self, out: &str, parts: &[&Path]) -> Said {
        let out = self.scratch.path(out);
        let mut args = vec!["merge", "--out", text(&out)];
        args.extend(parts.iter().map(|p| text(p)));
        self.scratch.run(&args)
    }

    fn merge_all(&self) -> Said {
        let dirs: Vec<PathBuf> = (1..=self.of).rev().map(|i| self.dir(i)).collect();
        self.merge("merged", &dirs.iter().map(PathBuf::as_path).collect::<Vec<_>>())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // Only after a failed test is one of them still there.
        for child in &mut self.running {
            if matches!(child.try_wait(), Ok(None)) {
                let _ = child.kill();
                #[allow(clippy::disallowed_methods, reason = "a test is not the harness")]
                let _ = child.wait();
            }
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn epoch(ahead: Duration) -> String {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + ahead;
    format!("@{}.{:03}", at.as_secs(), at.subsec_millis())
}

fn decision(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join("decision.json")).expect("a decision");
    serde_json::from_str(&text).expect("JSON")
}

/// Sums over the snapshots of a journal: arrivals asked for, attempts sent, requests due and requests answered.
fn counts(dir: &Path) -> [u64; 4] {
    let journal = std::fs::read_to_string(dir.join("journal.jsonl")).expect("a journal");
    let mut sum = [0; 4];
    for event in journal.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON")) {
        let Some(snapshot) = event["what"].get("snapshot") else { continue };
        for totals in snapshot["streams"].as_object().expect("streams").values() {
            sum[0] += totals["asked"].as_u64().unwrap_or(0);
            sum[1] += totals["sent"].as_u64().unwrap_or(0);
        }
        for cell in snapshot["cells"].as_array().expect("cells").iter().filter(|c| c[0]["arm"] == "all" && c[0]["dim"] == "whole") {
            sum[2] = sum[2].wrapping_add_signed(cell[1]["due"].as_i64().unwrap_or(0));
            sum[3] += cell[1]["ok"].as_u64().unwrap_or(0);
        }
    }
    sum
}

fn load(server: &Rude) -> String {
    LOAD.replace("TARGET", &server.address.to_string())
}

#[test]
fn three_segments_send_every_arrival_once_and_are_judged_as_one_run() {
    let _alone = alone();
    let server = Rude::always(Manner::Fine);
    let mut parts = Parts::new(&load(&server), 3);
    let whole = parts.scratch.scenario(&parts.scenario, &[]);
    assert_eq!(whole.code, 0, "{whole:?}");
    let want = counts(&parts.scratch.path("out"));
    let before = server.requests();
    parts.epoch = epoch(AHEAD);
    parts.start();
    assert_eq!(parts.codes(), [Some(0), Some(0), Some(0)]);
    let merged = parts.merge_all();
    assert_eq!(merged.code, 0, "{merged:?}");
    let out = parts.scratch.path("merged");
    assert_eq!(counts(&out), want, "as one run asked, sent, awaited and got");
    assert_eq!(server.requests() - before, want[1], "the server saw no other");
    let each: Vec<u64> = (1..=3).map(|i| counts(&parts.dir(i))[0]).collect();
    assert!(each.iter().all(|n| *n == want[0] / 3 || *n == want[0] / 3 + 1), "{each:?} of {}", want[0]);
    let (one, sum) = (decision(&parts.scratch.path("out")), decision(&out));
    for same in ["verdict", "exit", "plan_sha256", "seed"] {
        assert_eq!(one[same], sum[same], "{same}");
    }
    assert_eq!(one["validity"]["sent"], sum["validity"]["sent"]);
    assert_eq!((sum["verdict"].as_str(), sum["exit"].as_u64()), (Some("promote"), Some(0)));
    let again = parts.scratch.run(&["judge", "--json", text(&out)]);
    let kept = std::fs::read_to_string(out.join("decision.json")).expect("a decision");
    assert_eq!((again.code, again.out), (0, kept), "judged again, byte for byte");
    refused(&parts);
}

/// Parts that do not make one run.
fn refused(parts: &Parts) {
    let dir = |i| parts.dir(i);
    let changed = |name: &str, file: &str, from: &str, to: &str| {
        let copy = parts.scratch.path(name);
        std::fs::create_dir(&copy).expect("a directory");
        for entry in std::fs::read_dir(dir(2)).expect("a run directory").flatten().filter(|e| e.path().is_file()) {
            std::fs::copy(entry.path(), copy.join(entry.file_name())).expect("a copy");
        }
        let before = std::fs::read_to_string(copy.join(file)).expect("a text");
        assert!(before.contains(from), "{before}");
        std::fs::write(copy.join(file), before.replace(from, to)).expect("writable");
        copy
    };
    let sha = decision(&dir(1))["plan_sha256"].as_str().expect("a hash").to_owned();
    let seed = changed("seed", "segment.json", "\"seed\": 11", "\"seed\": 12");
    let plan = changed("plan", "segment.json", &sha, &"0".repeat(64));
    let epoch = changed("epoch", "segment.json", "\"epoch\": \"20", "\"epoch\": \"19");
    let (one, two, three) = (dir(1), dir(2), dir(3));
    for (given, hint) in [
        (&[one.as_path(), &three][..], "missing: segment 2 of 3"),
        (&[&one, &two, &two, &three], "segment 2 is given twice"),
        (&[&one, &seed, &three], "seed 11 and 12"),
        (&[&one, &plan, &three], "different runs: plan"),
        (&[&one, &epoch, &three], "different runs: epoch"),
        (&[&one, &parts.scratch.path("out"), &three], "segment.json"),
        (&[&one, &parts.scratch.path("nowhere"), &three], "nowhere"),
    ] {
        let said = parts.merge("refused", given);
        assert_eq!(said.code, 2, "{hint}: {said:?}");
        assert!(said.err.contains(hint), "{hint}: {}", said.err);
    }
    let full = parts.merge("merged", &[&one, &two, &three]);
    assert!(full.code == 2 && full.err.contains("not empty"), "{full:?}");
    let alone = parts.scratch.run(&["judge", text(&two)]);
    assert!(alone.code == 2 && alone.err.contains("shakedown merge"), "{alone:?}");
}

#[test]
fn a_worker_that_is_killed_makes_the_whole_invalid() {
    let _alone = alone();
    let server = Rude::always(Manner::Fine);
    let mut parts = Parts::new(&load(&server), 2);
    parts.start();
    parts.sends(2);
    parts.signal(2, Signal::SIGKILL);
    assert_eq!(parts.codes(), [Some(0), None]);
    let merged = parts.merge_all();
    assert_eq!(merged.code, 4, "{merged:?}");
    let out = parts.scratch.path("merged");
    let reason = &decision(&out)["reasons"][0];
    assert_eq!(reason["code"], "segment-incomplete");
    assert!(reason["text"].as_str().expect("words").contains("segment 2 of 2 was cut off"), "{reason}");
    assert_eq!(parts.scratch.run(&["judge", text(&out)]).code, 4);
}

#[test]
fn a_worker_of_a_rollout_goes_on_until_it_is_told() {
    let _alone = alone();
    // A free port, known before anything listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut parts = Parts::new(&SHOP.replace("TARGET", &free.to_string()), 2);
    parts.epoch = epoch(Duration::from_secs(6));
    parts.start();
    let ended = parts.dir(1).join("decision.json");
    until(Duration::from_secs(60), "the controller decided", || ended.exists());
    parts.signal(2, Signal::SIGTERM);
    assert_eq!(parts.codes(), [Some(0), Some(0)], "{}", decision(&parts.dir(1)));
    let merged = parts.merge_all();
    let out = parts.scratch.path("merged");
    assert_eq!(merged.code, 0, "{merged:?} {}", decision(&out));
    // The plan's rate, not that of one segment; what the worker sent after the end is no part of it.
    let ([asked, ..], [alone, ..]) = (counts(&out), counts(&parts.dir(1)));
    assert!(asked >= alone * 2 - 1 && asked <= alone * 2 + 400, "{asked} of two, {alone} of the controller");
    let failed = decision(&out)["validity"]["failed"].as_u64().unwrap_or(0);
    assert_eq!(failed, 0, "nothing of the environment that was taken down counts");
    assert_eq!(parts.scratch.run(&["judge", text(&out)]).code, 0);
}

#[test]
fn what_cannot_be_run_in_segments_is_refused_before_anything_is_sent() {
    let server = Rude::always(Manner::Fine);
    let plain = load(&server);
    let late = "  late: {target: shop, at: {stage: half}, shape: [{hold: 1s, rate: 10/s}], requests: [{get: /products/p1}]}\nrollout:\n";
    let waiting = SHOP.replace("TARGET", "127.0.0.1:18081").replace("rollout:\n", late);
    let own = SHOP.replace("{shop: \"http://TARGET\"}", "{shop: pilot.router}").replace("TARGET", "127.0.0.1:18081");
    for (scenario, part, ahead, code, hint) in [
        (&plain, "2/2", "@1000000000".to_owned(), 3, "over or too near"),
        (&plain, "1/2", epoch(Duration::from_millis(20)), 3, "over or too near"),
        (&plain, "1/2", epoch(Duration::from_secs(7200)), 2, "at most"),
        (&waiting, "1/2", epoch(AHEAD), 2, "waits for a stage"),
        (&own, "2/2", epoch(AHEAD), 2, "started by the controller"),
        (&plain.replace("seed: 11\n", ""), "1/2", epoch(AHEAD), 2, "--seed"),
    ] {
        let parts = Parts::new(scenario, 2);
        let out = parts.dir(1);
        let args = ["run", text(&parts.scenario), "--out", text(&out), "--segment", part, "--epoch", &ahead];
        let said = said(parts.scratch.command(&args));
        assert_eq!(said.code, code, "{part} {ahead}: {said:?}");
        assert!(said.err.contains(hint), "{hint}: {}", said.err);
        assert!(!out.exists(), "no run directory is left");
    }
    assert_eq!(server.requests(), 0);
}
