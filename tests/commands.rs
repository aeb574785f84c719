//! Every command that sends nothing, as a newcomer would try it; and the mistakes people make.

mod common;

use common::{Scratch, root};

#[test]
fn help_version_kinds_and_completions() {
    let s = Scratch::new();
    let help = s.run(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.out.contains("Exit codes"), "{}", help.out);
    assert!(s.run(&["--version"]).out.starts_with("shakedown 0."));
    let kinds = s.run(&["kinds"]);
    for word in ["latency", "blackhole", "builtin", "haproxy", "not available yet", "junit"] {
        assert!(kinds.out.contains(word), "{word} in {}", kinds.out);
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(s.run(&["completions", shell]).out.contains("shakedown"));
    }
    assert_eq!(s.run(&["runn"]).code, 2);
    let later = s.run(&["search", "x.yaml", "--rate"]);
    assert_eq!(later.code, 2);
    assert!(later.err.contains("not available yet"), "{}", later.err);
}

#[test]
fn every_shipped_scenario_checks_plans_and_fits_the_schema() {
    let s = Scratch::new();
    let schema: serde_json::Value = serde_json::from_str(&s.run(&["schema"]).out).expect("the schema is JSON");
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("mem://scenario.json", schema).expect("a resource");
    let index = compiler.compile("mem://scenario.json", &mut schemas).expect("a valid schema");
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("scenarios")).expect("scenarios").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&path).expect("readable");
        let value: serde_json::Value = serde_yaml::from_str(&text).expect("YAML");
        schemas.validate(&value, index).unwrap_or_else(|e| panic!("{}: {e:#}", path.display()));
        let name = path.to_str().expect("a path");
        let check = s.run(&["check", name]);
        assert_eq!(check.code, 0, "{name}: {}", check.err);
        let plan = s.run(&["plan", name]);
        assert_eq!(plan.code, 0, "{name}: {}", plan.err);
        assert_eq!(plan.out, s.run(&["plan", name]).out, "the same plan twice");
        assert!(plan.out.contains("sha256") || plan.out.contains("SHA-256"), "{}", plan.out);
    }
    assert!(seen >= 4, "{seen} scenarios");
}

#[test]
fn init_writes_a_scenario_that_checks_and_never_overwrites() {
    let s = Scratch::new();
    let path = s.path("mine.yaml");
    let name = path.to_str().expect("a path");
    assert_eq!(s.run(&["init", name]).code, 0);
    let check = s.run(&["check", name]);
    assert_eq!(check.code, 0, "{}", check.err);
    assert_eq!(s.run(&["init", name]).code, 2);
}

#[test]
fn check_names_every_mistake_at_once_with_place_and_hint() {
    let s = Scratch::new();
    let text = std::fs::read_to_string(root().join("scenarios/quickstart.yaml")).expect("readable");
    let text = text
        .replace("targets:", "targts:")
        .replace("timeout: 1s", "timeout: 1")
        .replace("weight: 25%", "weight: 0.25")
        .replace("quantile: p95", "quantile: 95")
        .replace("get: \"/products/{{ products.id }}\"", "get: \"/products/{{ products.sku }}\"")
        .replace("csv: data/products.csv", &format!("csv: {}", root().join("scenarios/data/products.csv").display()));
    let path = s.write("wrong.yaml", &text);
    let said = s.run(&["check", path.to_str().expect("a path")]);
    assert_eq!(said.code, 2);
    for word in ["unknown key `targts`", "did you mean `targets`?", "has no unit", "written with %", "p95", "sku", "wrong.yaml:", "Nothing was sent. (exit 2)"] {
        assert!(said.err.contains(word), "{word} in\n{}", said.err);
    }
}

#[test]
fn unusable_input_is_exit_2_with_what_to_do() {
    let s = Scratch::new();
    let none = s.run(&["run", "no-such.yaml"]);
    assert_eq!(none.code, 2);
    assert!(none.err.contains("no-such.yaml"), "{}", none.err);
    for (name, text) in [("empty.yaml", ""), ("list.yaml", "- a\n- b\n"), ("broken.yaml", "a: [1, 2\nb: }\n"), ("bytes.yaml", "\u{0}\u{1}")] {
        let path = s.write(name, text);
        let said = s.run(&["check", path.to_str().expect("a path")]);
        assert_eq!(said.code, 2, "{name}: {}", said.err);
        assert!(!said.err.contains("panicked"), "{name}: {}", said.err);
    }
    let judged = s.run(&["judge", s.path("nowhere").to_str().expect("a path")]);
    assert_eq!(judged.code, 2, "{}", judged.err);
    let reported = s.run(&["report", s.path("nowhere").to_str().expect("a path"), "--format", "pdf"]);
    assert_eq!(reported.code, 2, "{}", reported.err);
}

#[test]
fn a_log_line_that_is_no_log_line_is_named() {
    let s = Scratch::new();
    let log = s.write("bad.log", "hello\nthis is no log\n");
    let scenario = root().join("scenarios/replay-access-log.yaml");
    let said = s.run(&["check", scenario.to_str().expect("a path"), "--set", &format!("LOG={}", log.display())]);
    assert_eq!(said.code, 2, "{} {}", said.out, said.err);
    assert!(said.err.contains("bad.log"), "{}", said.err);
}

#[test]
fn recover_with_nothing_left_says_so() {
    let s = Scratch::new();
    let said = s.run(&["recover"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("Nothing was left behind"), "{}", said.out);
}
