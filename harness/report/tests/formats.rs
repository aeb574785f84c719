//! Every format over a promote, a rollback, an invalid and an inconclusive decision: the same facts, safe with hostile
//! names, never greener than the decision.

mod support;

use shakedown_core::Plan;
use shakedown_core::decision::Decision;
use shakedown_report::{KINDS, Style, markdown, terminal};

const VERDICTS: [&str; 4] = ["promote", "rollback", "invalid", "inconclusive"];

fn written(kind: &str, plan: &Plan, decision: &Decision) -> String {
    let reporter = KINDS.iter().find(|k| k.name() == kind).expect("a known format");
    let mut out = Vec::new();
    reporter.finish(plan, &mut support::events().into_iter(), decision, &mut out).expect("memory takes it");
    String::from_utf8(out).expect("reports are UTF-8")
}

fn hostile() -> (Plan, Decision) {
    let (mut plan, mut decision) = (support::plan(), support::decision("rollback"));
    let name = support::HOSTILE.to_owned();
    plan.objectives[1].name.clone_from(&name);
    let slow = decision.objectives.remove("p95").expect("it is there");
    decision.objectives.insert(name.clone(), slow);
    decision.stages[0].name.clone_from(&name);
    decision.faults[0].name = format!("{name}\u{1b}[31m\u{202e}");
    decision.headline = format!("{name} `x` | y\n::error::gone @everyone");
    decision.reasons[0].text.clone_from(&name);
    (plan, decision)
}

#[test]
fn names_and_files_are_fixed() {
    let told: Vec<_> = KINDS.iter().map(|k| (k.name(), k.file())).collect();
    assert_eq!(told, [("json", "decision.json"), ("junit", "junit.xml"), ("markdown", "summary.md"), ("html", "report.html")]);
}

#[test]
fn the_end_block_says_verdict_why_way_back_validity_and_next_in_this_order() {
    let text = terminal::end_block(&support::plan(), &support::decision("rollback"), "runs/x", Style::default());
    let places = ["ROLLBACK", "exit 10", "\n why ", "\n way back ", "\n valid ", "\n next ", "\n objective"]
        .map(|w| text.find(w).unwrap_or_else(|| panic!("{w}: {text}")));
    assert!(places.is_sorted(), "{text}");
    for fact in [
        "1.83 × control (limit 1.5 ×; 95 % interval 1.66–2.02)",
        "+1.1 ms",
        "(limit 5 s)",
        "0 of 18,204",
        "48.1 ms",
        "≤ 1.5 × control",
        "--seed 7",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
}

#[test]
fn the_end_block_fits_its_width_and_needs_no_colour() {
    for verdict in VERDICTS {
        for width in [40, 80, 120] {
            let text =
                terminal::end_block(&support::plan(), &support::decision(verdict), "runs/x", Style { color: false, width, unicode: true });
            assert!(!text.contains('\u{1b}'), "{text}");
            let longest = text.lines().map(|l| l.chars().count()).max().unwrap_or(0);
            assert!(longest <= width, "{longest} > {width}: {text}");
        }
    }
    let ascii =
        terminal::end_block(&support::plan(), &support::decision("rollback"), "runs/x", Style { color: false, width: 80, unicode: false });
    assert!(ascii.is_ascii(), "{ascii}");
}

#[test]
fn each_verdict_has_its_word_and_status_words() {
    let block = |v: &str| terminal::end_block(&support::plan(), &support::decision(v), "", Style::default());
    assert!(block("promote").starts_with("PROMOTE"));
    assert!(block("invalid").starts_with("INVALID") && block("invalid").contains("IN DOUBT") && block("invalid").contains("no data"));
    assert!(block("inconclusive").starts_with("INCONCLUSIVE") && block("inconclusive").contains("inconclusive"));
    let mut plan = support::plan();
    plan.rollout = None;
    assert!(terminal::end_block(&plan, &support::decision("promote"), "", Style::default()).starts_with("PASS"));
    assert!(terminal::end_block(&plan, &support::decision("rollback"), "", Style::default()).starts_with("FAIL"));
}

#[test]
fn a_way_back_that_was_never_tried_is_said() {
    let mut decision = support::decision("promote");
    decision.rollbacks.clear();
    let text = terminal::end_block(&support::plan(), &decision, "", Style { width: 200, ..Style::default() });
    assert!(text.contains("none was taken or rehearsed"), "{text}");
}

#[test]
fn json_is_the_decision_itself() {
    for verdict in VERDICTS {
        let decision = support::decision(verdict);
        let text = written("json", &support::plan(), &decision);
        assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
        assert_eq!(text, written("json", &support::plan(), &decision), "stable");
    }
}

#[test]
fn junit_skips_what_was_not_decided_and_fails_with_the_why() {
    let plan = support::plan();
    let count = |xml: &str, what: &str| xml.matches(what).count();
    let promote = written("junit", &plan, &support::decision("promote"));
    assert_eq!((count(&promote, "<testcase"), count(&promote, "<failure")), (8, 0), "{promote}");
    let rollback = written("junit", &plan, &support::decision("rollback"));
    assert!(rollback.contains("<failure message=\"p95 1.83 × control (limit 1.5 ×;"), "{rollback}");
    let open = written("junit", &plan, &support::decision("inconclusive"));
    assert!(open.contains("type=\"inconclusive\"") && count(&open, "<failure") == 0, "{open}");
    let invalid = written("junit", &plan, &support::decision("invalid"));
    assert!(invalid.contains("<failure") && invalid.contains("no data:"), "{invalid}");
    assert!(invalid.contains("failures=\"1\""), "an invalid run is never green: {invalid}");
}

#[test]
fn junit_stays_well_formed_with_hostile_names() {
    let (plan, decision) = hostile();
    let xml = written("junit", &plan, &decision);
    assert!(!xml.contains("<img") && !xml.contains("<script") && !xml.contains('\u{1b}'), "{xml}");
    let mut open = Vec::new();
    for tag in xml.split('<').skip(1).map(|t| t.split('>').next().expect("split gives one")) {
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name.to_owned()), "{xml}"),
            None if tag.starts_with('?') || tag.ends_with('/') => {}
            None => open.push(tag.split_whitespace().next().expect("a tag has a name").to_owned()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn markdown_makes_hostile_names_inert_and_bounds_annotations() {
    let (plan, mut decision) = hostile();
    let text = written("markdown", &plan, &decision);
    assert!(!text.contains("<img") && !text.contains("@everyone") && !text.contains("\n::error"), "{text}");
    for row in text.lines().filter(|l| l.starts_with('|')) {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 8, "{row}");
    }
    let slow = decision.objectives[support::HOSTILE].clone();
    for n in 0..30 {
        decision.objectives.insert(format!("o{n}: a,b%"), slow.clone());
    }
    let notes = markdown::annotations(&plan, &decision);
    assert_eq!(notes.len(), markdown::ANNOTATIONS);
    assert!(notes.iter().all(|n| n.starts_with("::error title=") && !n.contains('\n')), "{notes:?}");
    assert!(notes.iter().any(|n| n.contains("a%2Cb%25")), "{notes:?}");
}

#[test]
fn html_is_one_file_without_a_network_and_without_markup_from_outside() {
    let (plan, decision) = hostile();
    let page = written("html", &plan, &decision);
    assert!(!page.contains("<img"), "markup from a name");
    assert_eq!(page.matches("<script").count(), 3, "data, uPlot, page");
    assert_eq!(page.matches("</script>").count(), 3);
    for loads in ["src=\"http", "href=\"http", "url(http", "@import", "fetch("] {
        assert!(!page.contains(loads), "{loads}");
    }
    let (_, rest) = page.split_once("id=\"data\">").expect("the data are there");
    let data: serde_json::Value = serde_json::from_str(rest.split_once("</script>").expect("it ends").0).unwrap();
    assert_eq!(data["stages"][0]["name"], support::HOSTILE);
}

#[test]
fn html_holds_series_bands_and_words_in_order() {
    let page = written("html", &support::plan(), &support::decision("rollback"));
    let marks = [
        "class=\"verdict\">ROLLBACK",
        "<dt>Why",
        "<dt>Way back",
        "<dt>Valid",
        "id=\"time\"",
        "id=\"objectives\"",
        "id=\"stages\"",
        "id=\"samples\"",
        "id=\"run\"",
    ];
    assert!(marks.map(|m| page.find(m).unwrap_or_else(|| panic!("{m}"))).is_sorted());
    let (_, rest) = page.split_once("id=\"data\">").expect("the data are there");
    let data: serde_json::Value = serde_json::from_str(rest.split_once("</script>").expect("it ends").0).unwrap();
    let titles: Vec<&str> = data["charts"].as_array().unwrap().iter().map(|c| c["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Requests", "Latency p50", "Latency p95", "Latency p99", "Failed", "Canary weight"]);
    let points = data["t"].as_array().unwrap().len();
    assert_eq!(points, 90);
    for chart in data["charts"].as_array().unwrap() {
        for series in chart["series"].as_array().unwrap() {
            assert_eq!(series["values"].as_array().unwrap().len(), points);
        }
    }
    assert!(data["charts"][2]["series"][1]["values"][5].is_null(), "no canary before its stage");
    assert!(
        data["charts"][2]["series"][1]["values"][40].as_f64().unwrap() > data["charts"][2]["series"][0]["values"][40].as_f64().unwrap()
    );
    assert_eq!(
        (data["stages"].as_array().unwrap().len(), data["faults"].as_array().unwrap().len(), data["backs"].as_array().unwrap().len()),
        (2, 1, 1)
    );
}

#[test]
fn html_without_any_traffic_says_so() {
    let mut out = Vec::new();
    let html = KINDS.iter().find(|k| k.name() == "html").expect("known");
    html.finish(&support::plan(), &mut std::iter::empty(), &support::decision("invalid"), &mut out).unwrap();
    let page = String::from_utf8(out).unwrap();
    assert!(page.contains("No traffic was recorded.") && page.contains("IN DOUBT"));
}

#[test]
fn nothing_is_told_twice_and_huge_evidence_stays_readable() {
    let mut decision = support::decision("rollback");
    decision.next = vec!["way back: decided".to_owned(), "replay: shakedown run scenario.yaml".to_owned(), "look at the router".to_owned()];
    decision.objectives.get_mut("p95").expect("it is there").proof = Some([2.6e43, 20.0]);
    let text = terminal::end_block(&support::plan(), &decision, "runs/x/", Style { width: 200, ..Style::default() });
    assert_eq!((text.matches("way back").count(), text.matches("replay:").count()), (2, 1), "headline and section: {text}");
    assert!(text.contains("look at the router") && text.contains("runs/x/scenario.yaml --seed 7"), "{text}");
    assert!(!text.contains("20 needed") && text.contains("90 % interval") && text.contains("1.83 × (1.66–2.02)"), "{text}");
}

#[test]
fn the_page_is_named_when_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let block = || {
        terminal::end_block(
            &support::plan(),
            &support::decision("promote"),
            &dir.path().display().to_string(),
            Style { width: 300, ..Style::default() },
        )
    };
    assert!(block().contains("page: shakedown report "));
    std::fs::write(dir.path().join("report.html"), "x").unwrap();
    assert!(block().contains(&format!("page: {}/report.html", dir.path().display())));
}

#[test]
fn without_a_rollout_the_page_shows_all_requests_and_no_weights() {
    let mut plan = support::plan();
    plan.rollout = None;
    let page = written("html", &plan, &support::decision("promote"));
    assert!(page.contains("class=\"verdict\">PASS") && !page.contains("Canary weight") && !page.contains("<dt>Way back"));
    assert!(page.contains("all requests"));
}

#[test]
fn a_fact_has_no_samples_and_no_violation_is_said() {
    let (mut plan, mut decision) = (support::plan(), support::decision("promote"));
    plan.rollout = None;
    plan.objectives.truncate(1);
    plan.objectives[0].name = "recovery".to_owned();
    plan.objectives[0].indicator =
        shakedown_core::plan::Indicator::TimeToRecover { of: "availability".to_owned(), after: "payments-slow".to_owned() };
    let mut fact = decision.objectives.remove("availability").expect("it is there");
    (fact.value, fact.interval, fact.proof, fact.samples) = (Some(0.0), None, None, [0, 0]);
    fact.unit = "ns".to_owned();
    decision.objectives = [("recovery".to_owned(), fact)].into();
    let text = terminal::end_block(&plan, &decision, "", Style { width: 200, ..Style::default() });
    let row = text.lines().find(|l| l.trim_start().starts_with("recovery")).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains("0 s (never violated)") && row.ends_with('–') && !text.contains("control"), "{text}");
}

#[test]
fn an_environment_that_was_not_ready_shows_no_numbers() {
    let mut decision = support::decision("invalid");
    decision.exit = shakedown_core::Exit::NotReady;
    decision.validity.sent = 0;
    let text = terminal::end_block(&support::plan(), &decision, "runs/x", Style::default());
    assert!(text.starts_with("NOT READY") && text.contains("exit 3") && text.contains("replay:"), "{text}");
    assert!(!text.contains("objective ") && !text.contains("page:") && !text.contains("valid"), "{text}");
    assert!(!written("markdown", &support::plan(), &decision).contains("| Status"));
}

#[test]
fn a_replay_names_the_command_that_was_left() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(shakedown_report::REPLAY_FILE), "shakedown run scenarios/x.yaml --seed 7 --set 'A=b c'\n").unwrap();
    let dir = dir.path().display().to_string();
    let text = terminal::end_block(&support::plan(), &support::decision("rollback"), &dir, Style { width: 300, ..Style::default() });
    assert!(text.contains("replay: shakedown run scenarios/x.yaml --seed 7 --set 'A=b c'"), "{text}");
}

#[test]
fn a_run_that_failed_without_a_failed_objective_is_annotated() {
    let notes = markdown::annotations(&support::plan(), &support::decision("invalid"));
    assert!(notes[0].starts_with("::error title=INVALID::") && notes[0].contains("71 %25"), "{notes:?}");
}
