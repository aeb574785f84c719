//! Every shipped scenario, run whole with the real binary: its exit code, its evidence, what it leaves.

mod common;

use common::{Scratch, alone, carrying, root};
use serde_json::Value;

fn run(name: &str, more: &[&str]) -> (Scratch, common::Said) {
    let s = Scratch::new();
    let said = s.scenario(&root().join("scenarios").join(name), more);
    (s, said)
}

/// The same journal gives the same decision record, byte for byte, and every report can be written from it.
fn judged_again(s: &Scratch) {
    let out = s.path("out");
    let dir = out.to_str().expect("a path");
    let again = s.run(&["judge", dir, "--json"]);
    let kept = std::fs::read_to_string(out.join("decision.json")).expect("a decision");
    assert_eq!(again.out, kept, "{}", again.err);
    for (format, word) in [("html", "<!doctype html"), ("junit", "<testsuites"), ("markdown", "|"), ("json", "shakedown.decision/v1")] {
        let report = s.run(&["report", dir, "--format", format]);
        assert_eq!(report.code, 0, "{format}: {}", report.err);
        assert!(report.out.to_lowercase().contains(word), "{format}");
    }
    for file in ["scenario.yaml", "plan.json", "journal.jsonl", "histograms.hlog", "samples.jsonl", "report.html"] {
        assert!(out.join(file).exists(), "{file}");
    }
}

fn nothing_left(s: &Scratch) {
    let marker = format!("SHAKEDOWN_STATE={}", s.path("state").display());
    assert_eq!(carrying(&marker), Vec::new());
    let recover = s.run(&["recover"]);
    assert!(recover.out.contains("Nothing was left behind"), "{}", recover.out);
}

fn codes(decision: &Value) -> Vec<String> {
    decision["reasons"].as_array().expect("reasons").iter().map(|r| r["code"].as_str().expect("a code").to_owned()).collect()
}

#[test]
fn quickstart_promotes() {
    let _alone = alone();
    let (s, said) = run("quickstart.yaml", &[]);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    assert!(said.out.contains("PROMOTE"), "{}", said.out);
    let d = s.decision();
    assert_eq!(d["verdict"], "promote");
    assert_eq!(d["stages"].as_array().map(Vec::len), Some(4));
    assert!(d["faults"][0]["hits"].as_u64().is_some_and(|h| h > 0), "{}", d["faults"]);
    assert_eq!(d["rollbacks"][0]["rehearsal"], true);
    assert_eq!(d["rollbacks"][0]["status"], "ok");
    judged_again(&s);
    nothing_left(&s);
}

#[test]
fn bad_canary_is_rolled_back() {
    let _alone = alone();
    let (s, said) = run("bad-canary.yaml", &[]);
    assert_eq!(said.code, 10, "{}\n{}", said.out, said.err);
    let d = s.decision();
    assert_eq!(d["verdict"], "rollback");
    let failed = d["objectives"].as_object().expect("objectives").values().filter(|o| o["status"] == "fail").count();
    assert!(failed > 0, "{}", d["objectives"]);
    assert!(["canary-5", "canary-25"].contains(&d["rollbacks"][0]["stage"].as_str().expect("a stage")), "{}", d["rollbacks"]);
    assert!(!d["rollbacks"][0]["restored"].is_null(), "{}", d["rollbacks"]);
    judged_again(&s);
    nothing_left(&s);
}

#[test]
fn broken_rollback_is_said() {
    let _alone = alone();
    let (s, said) = run("broken-rollback.yaml", &[]);
    assert_eq!(said.code, 11, "{}\n{}", said.out, said.err);
    assert!(codes(&s.decision()).iter().any(|c| c.contains("rollback")), "{}", s.decision()["reasons"]);
    judged_again(&s);
    nothing_left(&s);
}

#[test]
fn a_real_access_log_is_replayed_against_a_real_nginx() {
    let _alone = alone();
    let (s, said) = run("replay-access-log.yaml", &[]);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let d = s.decision();
    assert_eq!(d["validity"]["asked"], d["validity"]["succeeded"], "{}", d["validity"]);
    assert_eq!(d["validity"]["asked"], 900);
    judged_again(&s);
    nothing_left(&s);
}

#[test]
fn a_stall_shows_in_p99_and_not_in_p50() {
    let _alone = alone();
    let (s, said) = run("stall.yaml", &[]);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let d = s.decision();
    let ms = |name: &str| d["objectives"][name]["value"].as_f64().expect("a value") / 1e6;
    assert!(ms("p99") > 1000.0 && ms("p99") < 1700.0, "p99 {}", ms("p99"));
    assert!(ms("p50") < 50.0, "p50 {}", ms("p50"));
    assert_eq!(d["objectives"]["recovery"]["status"], "pass");
    judged_again(&s);
    nothing_left(&s);
}

#[test]
fn load_alone_is_sent_in_time_and_says_so() {
    let _alone = alone();
    let (s, said) = run("load.yaml", &["--precision", "report"]);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let d = s.decision();
    let generator = &d["validity"]["generator"];
    // 500/s for 8 s; the wave's 100 + 750 arrivals of two requests; 50 users of about two requests a second.
    assert!(d["validity"]["sent"].as_u64().is_some_and(|n| (6000..7000).contains(&n)), "{}", d["validity"]);
    assert!(generator["workers"].as_u64().is_some_and(|n| n >= 1), "{generator}");
    for word in ["send error", "descriptors", "setting"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    judged_again(&s);
    nothing_left(&s);
}

#[test]
fn a_dependency_may_be_as_slow_as_written() {
    let _alone = alone();
    let (s, said) = run("dependency-delay.yaml", &[]);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    assert!(s.decision()["faults"][0]["hits"].as_u64().is_some_and(|h| h > 0));
    judged_again(&s);
    nothing_left(&s);
}
