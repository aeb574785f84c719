//! `search` with the real binary: the edge is known from the scenario itself, and so is who gives way.

mod common;

use common::{Said, Scratch, alone, root};
use serde_json::Value;

fn search(scratch: &Scratch, scenario: &str, more: &[&str]) -> (Said, Value) {
    let scenario = root().join(scenario);
    let out = scratch.path("found");
    let mut args = vec!["search", scenario.to_str().expect("a path"), "--out", out.to_str().expect("a path")];
    args.extend(more);
    let said = scratch.run(&args);
    let text = std::fs::read_to_string(out.join("search.json")).unwrap_or_default();
    (said, serde_json::from_str(&text).unwrap_or_default())
}

#[test]
fn the_delay_at_which_an_objective_breaks_is_found_and_shown() {
    let _alone = alone();
    let s = Scratch::new();
    // p95 may be 100 ms, so the edge lies just below a delay of 100 ms.
    let (said, found) = search(
        &s,
        "scenarios/dependency-delay.yaml",
        &["--vary", "DELAY=25ms..400ms", "--within", "60%", "--confidence", "50%", "--runs", "8"],
    );
    assert_eq!(said.code, 0, "{said:?}");
    let level = |key: &Value| key.as_str().and_then(|t| t.strip_suffix("ms")).and_then(|t| t.parse::<f64>().ok()).expect("milliseconds");
    let (held, broke) = (level(&found["held"]["level"]), level(&found["broke"]));
    assert!((25.0..100.0).contains(&held) && (95.0..=200.0).contains(&broke), "{found:#}");
    assert!(said.out.contains("HOLDS") && said.out.contains("knee") && said.out.contains("p95"), "{}", said.out);
    for run in found["runs"].as_array().expect("runs") {
        let dir = s.path("found").join(run["run"].as_str().expect("a directory"));
        assert!(dir.join("decision.json").exists(), "{run}");
    }
}

#[test]
fn a_scenario_that_never_holds_says_so_after_one_run() {
    let _alone = alone();
    let s = Scratch::new();
    let (said, found) = search(&s, "scenarios/dependency-delay.yaml", &["--vary", "DELAY=200ms..400ms"]);
    assert_eq!((said.code, found["runs"].as_array().map(Vec::len)), (10, Some(1)), "{said:?}");
    assert!(said.out.contains("BREAKS"), "{}", said.out);
}

#[test]
fn a_rate_too_low_to_prove_anything_is_no_breakage() {
    let _alone = alone();
    let s = Scratch::new();
    let (said, found) = search(&s, "scenarios/dependency-delay.yaml", &["--rate", "20/s..600/s", "--confidence", "50%", "--runs", "3"]);
    assert_eq!((said.code, found["runs"].as_array().map(Vec::len)), (12, Some(1)), "{said:?}");
    assert!(said.out.contains("UNKNOWN") && !said.out.contains("BREAKS"), "{}", said.out);
}

#[test]
fn the_rate_is_varied_over_the_whole_shape() {
    let _alone = alone();
    let s = Scratch::new();
    let (said, found) = search(&s, "scenarios/dependency-delay.yaml", &["--rate", "300/s..600/s", "--confidence", "50%", "--runs", "4"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!((found["held"]["level"].as_str(), found["margin"].as_f64()), (Some("600/s"), Some(2.0)), "{found:#}");
}

#[test]
fn mistakes_are_told_before_anything_is_sent() {
    let s = Scratch::new();
    for (args, hint) in [
        (&[][..], "--rate LOW..HIGH"),
        (&["--vary", "NOPE=1ms..2ms"], "NOPE"),
        (&["--vary", "DELAY=1ms..2/s"], "same unit"),
        (&["--vary", "DELAY=5ms..2ms"], "ends above"),
        (&["--rate", "10ms..20ms"], "requests a second"),
        (&["--rate", "1/s..2/s", "--stream", "nobody"], "nobody"),
        (&["--vary", "DELAY=1ms..2ms", "--runs", "0"], "runs"),
    ] {
        let (said, found) = search(&s, "scenarios/dependency-delay.yaml", args);
        assert!(said.code == 2 && said.err.contains(hint), "{args:?}: {said:?}");
        assert!(found.is_null());
    }
}
