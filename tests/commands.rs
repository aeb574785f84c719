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
    let later = s.run(&["compare", "one", "other"]);
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
    for word in [
        "unknown key `targts`",
        "did you mean `targets`?",
        "has no unit",
        "written with %",
        "p95",
        "sku",
        "wrong.yaml:",
        "Nothing was sent. (exit 2)",
    ] {
        assert!(said.err.contains(word), "{word} in\n{}", said.err);
    }
}

#[test]
fn unusable_input_is_exit_2_with_what_to_do() {
    let s = Scratch::new();
    let none = s.run(&["run", "no-such.yaml"]);
    assert_eq!(none.code, 2);
    assert!(none.err.contains("no-such.yaml"), "{}", none.err);
    for (name, text) in [("empty.yaml", ""), ("list.yaml", "- a\n- b\n"), ("broken.yaml", "a: [1, 2\nb: }\n"), ("bytes.yaml", "\u{0}\u{1}")]
    {
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

/// A small scenario with a data file of its own.
const SMALL: &str = "version: 1
name: small
seed: 3
environment: {name: small, services: {pilot: {builtin: shop, releases: {v1: []}}}, targets: {shop: pilot.router}}
traffic: {s: {target: shop, shape: [{hold: 5s, rate: 20/s}], data: {p: {csv: rows.csv}}, requests: [{get: \"/products/{{ p.id }}\"}]}}
slos: {ok: {indicator: success_rate, min: 90%}}
";

#[test]
fn the_plan_hash_does_not_depend_on_where_it_is_called_from() {
    let s = Scratch::new();
    s.write("rows.csv", "id\n1\n");
    let path = s.write("small.yaml", SMALL);
    let dir = path.parent().expect("a directory");
    let hash = |name: &std::path::Path, at: &std::path::Path| {
        let mut command = s.command(&["plan", name.to_str().expect("a path")]);
        command.current_dir(at);
        let said = common::said(command);
        said.out.lines().find(|l| l.contains("sha256")).unwrap_or_else(|| panic!("{} {}", said.out, said.err)).to_owned()
    };
    let here = hash(std::path::Path::new("small.yaml"), dir);
    assert_eq!(here, hash(&path, std::path::Path::new("/")));
    assert_eq!(here, hash(std::path::Path::new("./small.yaml"), dir));
    s.write("rows.csv", "id\n2\n");
    assert_ne!(here, hash(&path, dir), "other data is another plan");
}

#[test]
fn mistakes_show_the_whole_line_and_never_drive_a_terminal() {
    let s = Scratch::new();
    s.write("rows.csv", "id\n1\n");
    let check = |name: &str, text: &[u8]| {
        let path = s.path(name);
        std::fs::write(&path, text).expect("written");
        let said = s.run(&["check", path.to_str().expect("a path")]);
        assert_eq!(said.code, 2, "{name}: {} {}", said.out, said.err);
        assert!(!said.err.contains("panicked") && !said.err.contains('\u{1b}'), "{name}: {}", said.err);
        said.err
    };
    let said = check("key.yaml", SMALL.replace("rate:", "rte:").as_bytes());
    assert!(said.contains("key.yaml:5:") && said.contains("traffic: {s: {target: shop, shape: [{hold: 5s, rte: 20/s}]"), "{said}");
    let said = check("escape.yaml", SMALL.replace("name: small\n", "name: \"\\e[31m\u{1b}[31m\"\n").as_bytes());
    assert!(said.contains("escape.yaml:2:"), "{said}");
    let mut latin = SMALL.replace("small\nseed", "caf\nseed").into_bytes();
    let at = latin.windows(3).position(|w| w == b"caf").expect("there") + 3;
    latin.insert(at, 0xe9);
    let said = check("latin.yaml", &latin);
    assert!(said.contains("latin.yaml:2:10: the byte 0xe9 is not UTF-8"), "{said}");
    let many: String = (0..20_000).map(|i| format!("k{i}: 1\n")).collect();
    let said = check("many.yaml", many.as_bytes());
    assert!(said.contains("more. ") && said.len() < 100_000, "{}", said.len());
    let said = check("device.yaml", SMALL.replace("rows.csv", "/dev/zero").as_bytes());
    assert!(said.contains("not a regular file"), "{said}");
}

#[test]
fn arguments_that_cannot_be_right_say_so() {
    let s = Scratch::new();
    s.write("rows.csv", "id\n1\n");
    let path = s.write("small.yaml", SMALL);
    let name = path.to_str().expect("a path");
    for (args, word) in [
        (vec!["check", name, "--set", "1x"], "is not NAME=VALUE"),
        (vec!["check", name, "--set", "=1"], "is not a variable's name"),
        (vec!["check", name, "--seed", "99999999999999999999"], "too large"),
        (vec!["check", name, "--policy", "p.yaml"], "policies are not available yet"),
        (vec!["run", name, "--segment", "1/2"], "--segment needs --epoch"),
        (vec!["run", name, "--report", "pdf"], "no report format `pdf`"),
        (vec!["run", name, "--out", name], "cannot make the run directory"),
        (vec!["pilot", "--listen", "0.0.0.0:0"], "outside loopback"),
        (vec!["pilot", "--v2", "nope"], "there is no flaw `nope`"),
    ] {
        let said = s.run(&args);
        assert_eq!(said.code, 2, "{args:?}: {} {}", said.out, said.err);
        assert!(said.err.contains(word), "{args:?}: {}", said.err);
    }
}

/// Does something to a run directory.
type Damage<'a> = &'a dyn Fn(&std::path::Path);

#[test]
fn a_damaged_run_directory_is_named_and_never_judged() {
    let s = Scratch::new();
    s.write("rows.csv", "id\np1\n");
    let path = s.write("small.yaml", &SMALL.replace("5s", "3s"));
    let made = s.path("made");
    let run = s.run(&["run", path.to_str().expect("a path"), "--out", made.to_str().expect("a path"), "--ui", "none"]);
    assert!(made.join("decision.json").exists(), "{} {}", run.out, run.err);
    let damaged = s.path("damaged");
    let name = damaged.to_str().expect("a path");
    let with = |damage: Damage| {
        if damaged.exists() {
            std::fs::remove_dir_all(&damaged).expect("ours");
        }
        std::fs::create_dir(&damaged).expect("ours");
        for entry in std::fs::read_dir(&made).expect("made").flatten().filter(|e| e.path().is_file()) {
            std::fs::copy(entry.path(), damaged.join(entry.file_name())).expect("copied");
        }
        damage(&damaged);
        (s.run(&["judge", name]), s.run(&["report", name, "--format", "html"]))
    };
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        move |dir: &std::path::Path| {
            let text = std::fs::read_to_string(dir.join(file)).expect("readable");
            assert!(text.contains(from), "{from} in {file}");
            std::fs::write(dir.join(file), text.replacen(from, to, 1)).expect("written");
        }
    };
    let remove = |file: &'static str| move |dir: &std::path::Path| std::fs::remove_file(dir.join(file)).expect("there");
    let (judged, reported) = with(&|_| {});
    assert_eq!((judged.code, reported.code), (run.code, 0), "{} {}", judged.err, reported.err);
    let cases: [(Damage, i32, i32, &str); 7] = [
        (&edit("decision.json", "\"verdict\": \"", "\"verdict\": \"in"), 70, 2, "says otherwise"),
        (&edit("plan.json", "\"seed\": 3", "\"seed\": 4"), 70, 0, "plan.json has the SHA-256"),
        (&edit("plan.json", "\"version\": 1", "\"vorsion\": 1"), 2, 2, "not a plan of this version"),
        (&remove("plan.json"), 2, 2, "cannot read"),
        (&remove("journal.jsonl"), 2, 2, "journal.jsonl"),
        (&edit("journal.jsonl", "{\"seq\":2,", "{\"seq\":9,"), 2, 2, "journal.jsonl, line 3"),
        (&|dir| std::fs::write(dir.join("histograms.hlog"), "garbage").expect("written"), 2, 2, "histograms.hlog"),
    ];
    for (damage, judge, report, word) in cases {
        let (judged, reported) = with(damage);
        assert_eq!((judged.code, reported.code), (judge, report), "{word}: {} / {}", judged.err, reported.err);
        assert!(
            judged.err.contains(word) && !judged.err.contains("panicked") && !reported.err.contains("panicked"),
            "{word}: {}",
            judged.err
        );
    }
}
