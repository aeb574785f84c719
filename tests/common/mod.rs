//! What the end-to-end tests share: the binary, run directories, waiting for conditions. Must not judge anything.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::print_stderr, reason = "a repeated run is worth seeing")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// End-to-end runs load the whole machine: one at a time.
pub static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// How often a run is made at most whose generator could not keep up because something else had the machine.
const MACHINE_TRIES: u32 = 3;

/// A scratch directory with its own state directory, so that tests neither see nor leave anything.
pub struct Scratch(pub tempfile::TempDir);

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch(tempfile::tempdir().expect("a temporary directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// The binary with these arguments, in the repository's root.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shakedown"));
        command.args(args).current_dir(root()).env("SHAKEDOWN_STATE", self.path("state")).env("NO_COLOR", "1");
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        said(self.command(args))
    }

    /// Runs a scenario into `out` of this scratch directory.
    pub fn scenario(&self, scenario: &Path, more: &[&str]) -> Said {
        let out = self.path("out");
        let mut args = vec!["run", scenario.to_str().expect("a path"), "--out", out.to_str().expect("a path"), "--ui", "plain"];
        args.extend(more);
        for _ in 1..MACHINE_TRIES {
            let said = self.run(&args);
            if said.code != 4 || !self.machine_was_too_busy() {
                return said;
            }
            eprintln!("the machine was too busy to be believed; once more: {}", said.out);
            std::fs::remove_dir_all(&out).expect("the run directory");
        }
        self.run(&args)
    }

    /// The run says that its own generator could not keep up: rightly no verdict, and nothing about the scenario.
    fn machine_was_too_busy(&self) -> bool {
        let code = self.decision()["reasons"][0]["code"].as_str().unwrap_or_default().to_owned();
        ["generator-late", "generator-behind"].contains(&code.as_str())
    }

    pub fn decision(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.path("out/decision.json")).expect("a decision");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[allow(clippy::disallowed_methods, reason = "a test is not the harness: its children need no keeper")]
pub fn said(mut command: Command) -> Said {
    let output: Output = command.output().expect("the binary runs");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[allow(clippy::disallowed_methods, reason = "a test is not the harness: its children need no keeper")]
pub fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
}

/// Waits until `condition`, at most `within`; says how long it took.
pub fn until(within: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}

/// Processes that carry this marker in their environment, zombies left out.
pub fn carrying(marker: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let has = environ.split(|b| *b == 0).any(|v| v == marker.as_bytes());
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or(' ', |(_, rest)| rest.chars().next().unwrap_or(' '));
        if has && state != 'Z' && pid != std::process::id() {
            let cmdline = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, format!("{state} {}", String::from_utf8_lossy(&cmdline).replace('\0', " "))));
        }
    }
    found
}

/// Holds the machine for one end-to-end run; a failed test before does not stop the next.
pub fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A short scenario on the embedded pilot, with `{…}` parts replaced; small enough for a debug build.
pub fn short(v2: &str) -> String {
    let csv = root().join("scenarios/data/products.csv");
    SHORT.replace("V2", v2).replace("CSV", &csv.display().to_string())
}

const SHORT: &str = r#"version: 1
name: short
seed: 5
time_box: 60s
environment:
  name: short
  services:
    pilot: {builtin: shop, releases: {v1: [], v2: [V2]}, payments: proxy.payments}
  targets: {shop: pilot.router}
  proxies:
    payments: {listen: 127.0.0.1:0, upstream: pilot.payments, protocol: http}
traffic:
  shoppers:
    target: shop
    shape: [{hold: 14s, rate: 400/s}]
    warmup: 1s
    timeout: 1s
    data: {products: {csv: CSV, pick: random}}
    requests:
      - {weight: 9, name: page, get: "/products/{{ products.id }}"}
      - {weight: 1, name: order, post: /orders, json: {id: "{{ uuid }}", cart: c1}, expect: {status: 201}}
faults:
  payments-slow:
    at: {stage: half, plus: 500ms}
    for: 2s
    on: {proxy: payments}
    latency: {delay: 20ms}
rollout:
  driver: {builtin: pilot}
  control: v1
  canary: v2
  baseline: 2s
  stages:
    - {name: half, weight: 50%, hold: 5s, extend: 5s, min_samples: 200, gate: [availability]}
    - {name: full, weight: 100%, hold: 3s, extend: 5s, min_samples: 200, gate: [availability]}
  rehearse: {rollback: last-stage}
  rollback: {restored_when: [availability], restored_within: 8s}
slos:
  availability: {indicator: success_rate, min: 97%}
"#;
