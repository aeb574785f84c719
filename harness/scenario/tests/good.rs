//! A good scenario gives the expected plan.

mod common;

use common::{GOOD, KINDS, run, run_with};
use shakedown_core::plan::*;
use shakedown_core::template::Part;
use shakedown_core::units::{Ppm, Quantile, Rate, Span};
use shakedown_scenario::{render, schema};
use std::path::Path;

fn good() -> Plan {
    match run(GOOD) {
        Ok(checked) => checked.plan,
        Err(problems) => panic!("{}", render(&problems, Path::new("good.yaml"), GOOD)),
    }
}

#[test]
fn head_and_environment() {
    let plan = good();
    assert_eq!((plan.name.as_str(), plan.seed, plan.time_box), ("checkout-canary", 7, Some(Span::secs(360))));
    assert_eq!(plan.slice, Span::millis(100), "the guard over 500 ms needs fine slices");
    assert_eq!(plan.max_cells, 1000);
    assert_eq!(plan.environment.limits.rate, Some(Rate::from_per_second(2000.0)));
    let kinds: Vec<&ServiceKind> = plan.environment.services.iter().map(|s| &s.kind).collect();
    let ServiceKind::Shop { releases, payments, .. } = kinds[0] else { panic!("{kinds:?}") };
    assert_eq!((releases["v2"].as_slice(), payments.as_deref()), (["slow-tail".to_owned()].as_slice(), Some("proxy.payments")));
    let ServiceKind::Stub { answers, listen } = kinds[2] else { panic!("{kinds:?}") };
    assert_eq!(listen, "127.0.0.1:0");
    assert_eq!(answers[0]["delay_ns"], 5_000_000);
    assert_eq!(answers[0]["body"], "{\"ok\":true}");
    assert_eq!(answers[1]["status"], 204);
    assert_eq!(kinds[3], &ServiceKind::AttachPidFile("queue.pid".into()));
    assert_eq!(plan.environment.services[1].ready.as_ref().map(|r| r.within), Some(Span::secs(10)));
    assert!(plan.environment.proxies[0].http);
    assert_eq!(plan.files.keys().collect::<Vec<_>>(), ["access.log", "bank.yaml", "products.csv"]);
    assert!(plan.files.values().all(|h| h.len() == 64));
}

#[test]
fn traffic() {
    let plan = good();
    let shoppers = &plan.streams[0];
    let Model::Open { poisson: true, shape } = &shoppers.model else { panic!("{:?}", shoppers.model) };
    let rate = Rate::from_per_second;
    assert_eq!(shape[0].form, Form::Hold(rate(50.0)));
    assert_eq!(shape[1].form, Form::Ramp(rate(50.0), rate(300.0)));
    assert_eq!(shape[3].form, Form::Hold(rate(300.0)), "the wave ends at its low, 100/s, and the spike is three times that");
    assert_eq!(shape[4].form, Form::Hold(rate(300.0)));
    assert_eq!(shoppers.feeds[0].columns, ["id", "name"]);
    assert_eq!((shoppers.feeds[0].rows, shoppers.feeds[0].pick), (2, Pick::Zipf(1100)));
    let buy = &shoppers.journeys[1];
    let Step::Request(cart) = &buy.steps[0] else { panic!() };
    let body = cart.body.as_ref().unwrap();
    assert_eq!((body.content_type.as_str(), body.escape), ("application/json", Escape::Json));
    let feed = Part::Feed { feed: "products".into(), column: "id".into() };
    assert_eq!(body.text.0, [Part::Text("{\"n\":2,\"sku\":\"".into()), feed, Part::Text("\"}".into())]);
    assert_eq!(buy.steps[1], Step::Think(Span::millis(200), Span::secs(1)));
    let Step::Request(order) = &buy.steps[2] else { panic!() };
    let form = &order.body.as_ref().unwrap().text.0;
    assert_eq!(form[2], Part::Text("&cart=a%20b%20".into()), "{form:?}");
    assert_eq!(order.expect.status, [(200, 299), (302, 302)]);
    assert_eq!(plan.streams[1].journeys[0].name, "GET /orders/recent");
    assert_eq!(plan.streams[1].model, Model::Closed { users: 20, think: (Span::secs(1), Span::secs(3)), length: Span::secs(180) });
    let Model::Replay(replay) = &plan.streams[2].model else { panic!() };
    assert_eq!((replay.file.as_str(), replay.speed_ppm, replay.expect_recorded), ("access.log", 2_000_000, true));
}

#[test]
fn faults_rollout_and_judgement() {
    let plan = good();
    assert_eq!(plan.faults[0].share, Ppm(300_000));
    assert_eq!(plan.faults[0].params["delay_ns"], 200_000_000);
    assert_eq!(plan.faults[1].at, When::After { fault: "payments-slow".into(), plus: Span::secs(5) });
    let rollout = plan.rollout.as_ref().unwrap();
    assert_eq!(rollout.identify.by, IdentifyBy::Header("x-release".into()));
    assert_eq!((rollout.identify.control.as_slice(), rollout.canary.as_str()), (["v1".to_owned()].as_slice(), "v2"));
    assert_eq!(rollout.stages[0].hold, Span::secs(12), "--set replaces, then it is typed");
    // At 100 % nothing can be compared with the control; what has a window of its own gates nothing.
    assert_eq!(rollout.stages[2].gate, ["availability", "checkout", "per-region"]);
    let objective = |name: &str| plan.objective(name).unwrap();
    assert_eq!(objective("p95").limit.value, LimitValue::Times(1.5, Reference::Control));
    assert_eq!(objective("slower").limit.value, LimitValue::Plus(20e6, Reference::Control));
    assert_eq!(objective("errors").limit.floor, Some(0.001));
    assert_eq!(objective("p95").arm, ArmChoice::Canary);
    assert_eq!(objective("in-fault").arm, ArmChoice::All);
    assert_eq!(objective("in-fault").window, WindowRef::Fault("payments-slow".into()));
    assert_eq!(objective("late-tail").indicator, Indicator::Latency(Quantile(999_000)));
    assert_eq!(objective("per-region").by_header.as_deref(), Some("x-region"));
    let guards: Vec<&str> = plan.guards.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(guards, ["melt-down", "burning", "canary-slow", "warm"], "strongest first");
    assert_eq!(plan.verdict.at_least, Some(5));
}

#[test]
fn warnings_name_what_is_left_out_and_retried_writes() {
    let warnings = run(GOOD).unwrap().warnings;
    let all: Vec<&str> = warnings.iter().map(|w| w.message.as_str()).collect();
    assert!(all.iter().any(|m| m.contains("`full` is gated by") && m.contains("`p95`: at 100%")), "{all:?}");
    assert_eq!(all.iter().filter(|m| m.contains("is retried and writes")).count(), 2, "{all:?}");
}

#[test]
fn same_text_same_plan_and_no_secrets_in_it() {
    let (one, two) = (run(GOOD).unwrap(), run(GOOD).unwrap());
    assert_eq!(one.plan.canonical(), two.plan.canonical());
    assert!(!one.plan.canonical().contains("planted-secret-value"));
    assert!(!format!("{one:?}").contains("planted-secret-value"));
    assert_eq!(one.plan.secrets, ["TOKEN"]);
    assert_eq!(one.secrets.get("TOKEN"), Some("planted-secret-value"));
    assert_eq!(one.plan.environment.targets["web"].headers[0].1.0[1], Part::Secret("TOKEN".into()));
    let filed = GOOD.replace("secret:TOKEN", "secret:FILED");
    assert_eq!(run(&filed).unwrap().secrets.get("FILED"), Some("from-a-file-42"));
}

#[test]
fn seeds() {
    assert_eq!(run_with(GOOD, |s| s.seed = Some(11)).unwrap().plan.seed, 11);
    assert_eq!(run(&GOOD.replace("seed: 7\n", "")).unwrap().plan.seed, 99);
}

#[test]
fn a_plan_survives_json() {
    let plan = good();
    let back: Plan = serde_json::from_str(&plan.canonical()).unwrap();
    assert_eq!(back, plan);
}

const SMALL: &str = "\
version: 1
name: small
environment: {name: here, targets: {web: \"http://localhost:8080\"}}
traffic: {s: {target: web, shape: [{hold: 10s, rate: 10/s}, {spike: 5s, by: 3x}], requests: [{get: /}]}}
slos: {up: {indicator: success_rate, min: 99%}}
";

#[test]
fn without_a_rollout_and_with_a_spike_last() {
    let plan = run(SMALL).map_err(|p| render(&p, Path::new("small"), SMALL)).unwrap().plan;
    assert_eq!((plan.slice, plan.seed, plan.rollout.is_none()), (Span::secs(1), 99, true));
    assert_eq!(plan.objectives[0].arm, ArmChoice::All);
    let Model::Open { shape, .. } = &plan.streams[0].model else { panic!() };
    let last = shape.last().unwrap();
    assert_eq!((last.length, last.form), (Span::ZERO, Form::Hold(Rate::from_per_second(10.0))), "what goes on is the rate before");
    assert_eq!(shakedown_scenario::least_length(&plan), Span::secs(15));
    for (from, to, message) in [
        ("requests: [{get: /}]", "requests: []", "needs at least one request"),
        ("shape: [{hold: 10s, rate: 10/s}, {spike: 5s, by: 3x}]", "shape: ", "needs exactly one of `shape`"),
        ("hold: 10s, rate: 10/s", "hold: 10s, rate: 0/s", "a spike needs a rate before it"),
        ("slos:", "rollout:\nslos:", "`rollout` is empty"),
        ("slos:", "guards: {g: {indicator: error_rate, over: 5s, max: 5%, then: rollback}}\nslos:", "`rollback` needs a rollout"),
        ("min: 99%", "min: 99%, arm: canary", "an arm needs a rollout"),
        ("min: 99%", "min: 0.9x control, floor: 1%", "a relative limit needs a rollout"),
        ("min: 99%", "min: 99%, window: baseline", "never comes"),
    ] {
        let text = SMALL.replacen(from, to, 1);
        let problems = run(&text).expect_err(to);
        assert!(problems.0.iter().any(|p| p.message.contains(message)), "{to}: {problems:?}");
    }
}

fn schema_accepts(text: &str) -> Result<(), String> {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("urn:shakedown:scenario:1", schema(&KINDS)).expect("the schema is JSON");
    let index = compiler.compile("urn:shakedown:scenario:1", &mut schemas).expect("the schema is a schema");
    let value: serde_json::Value = serde_yaml::from_str(text).expect("the text is YAML");
    schemas.validate(&value, index).map_err(|e| format!("{e:#}"))
}

#[test]
fn the_schema_accepts_what_is_good_and_refuses_unknown_keys() {
    schema_accepts(GOOD).unwrap();
    schema_accepts(SMALL).unwrap();
    for (from, to) in [
        ("owner:", "ownr:"),
        ("warmup: 5s", "warm_up: 5s"),
        ("baseline: 10s", "base: 10s"),
        ("timeout: 2s", "timeout: 2"),
        ("share: 30%", "share: 0.3"),
        ("then: abort", "then: explode"),
        ("rate: 2000/s", "rate: 2000"),
        ("latency: {delay", "latenzy: {delay"),
        ("builtin: stub", "buildin: stub"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        assert!(schema_accepts(&GOOD.replacen(from, to, 1)).is_err(), "{to}");
    }
}
