//! The kinds: what they parse and refuse, where they sit, and the two that work on services.
// clippy takes helpers of integration tests for library code.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{map, scalar, texts};
use serde_json::{Value, json};
use shakedown_core::plan::{FaultPlan, Match, On, When};
use shakedown_core::seams::{Available, Boxed, Class, Cx, Endpoints, Injector, Owner, Services};
use shakedown_core::tree::{Node, Problems, Tree};
use shakedown_core::{AllowList, Fail, Ppm, Span};
use shakedown_injectors::{KINDS, ProxySet};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

fn kind(name: &str) -> &'static dyn Injector {
    *KINDS.iter().find(|k| k.name() == name).unwrap()
}

fn parse(name: &str, node: &Node) -> Result<Value, String> {
    let mut problems = Problems::default();
    match kind(name).parse(node, &mut problems) {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(problems.0.into_iter().map(|p| format!("{} | {}", p.message, p.hint.unwrap_or_default())).collect::<Vec<_>>().join("\n")),
    }
}

#[test]
fn good_parameters_become_canonical() {
    let null = Node { span: 0..0, tree: Tree::Null };
    assert_eq!(
        parse("latency", &texts(&[("delay", "2ms"), ("jitter", "1ms")])),
        Ok(json!({"delay": 2_000_000, "jitter": 1_000_000, "distribution": "uniform", "direction": null}))
    );
    assert_eq!(
        parse("latency", &texts(&[("delay", "100us")])),
        Ok(json!({"delay": 100_000, "jitter": 0, "distribution": "fixed", "direction": null}))
    );
    let headers = map(&[("status", scalar("429")), ("headers", texts(&[("Retry-After", "5")]))]);
    assert_eq!(parse("abort", &headers), Ok(json!({"status": 429, "body": "", "headers": {"retry-after": "5"}})));
    assert_eq!(parse("reset", &null), Ok(json!({"after": 0})));
    assert_eq!(parse("bandwidth", &texts(&[("rate", "64KiB/s")])), Ok(json!({"rate": 65_536, "direction": "downstream"})));
    for name in ["blackhole", "pause", "kill"] {
        assert_eq!(parse(name, &null), Ok(json!({})));
    }
}

#[test]
fn every_wrong_parameter_is_a_problem() {
    let cases: &[(&str, Node, &[&str])] = &[
        ("latency", texts(&[]), &["needs `delay`"]),
        ("latency", scalar("200ms"), &["must be a map"]),
        ("latency", texts(&[("delay", "200")]), &["no unit"]),
        ("latency", texts(&[("delay", "2h")]), &["too long", "at most"]),
        ("latency", texts(&[("delay", "1ms"), ("jitter", "2ms")]), &["more than the delay"]),
        ("latency", texts(&[("delay", "1ms"), ("distribution", "normal")]), &["needs `jitter`"]),
        ("latency", texts(&[("delay", "1ms"), ("jitter", "1ms"), ("distribution", "fixed")]), &["fixed delay has none"]),
        ("latency", texts(&[("delay", "1ms"), ("distribution", "gauss")]), &["not a distribution", "pareto"]),
        ("latency", texts(&[("delay", "1ms"), ("distribution", "lognormal")]), &["not available yet"]),
        ("latency", texts(&[("dealy", "1ms"), ("direction", "left")]), &["did you mean `delay`", "needs `delay`", "neither upstream"]),
        ("abort", texts(&[("status", "200")]), &["400 to 599"]),
        ("abort", texts(&[("status", "boom"), ("bdy", "x")]), &["whole number", "did you mean `body`"]),
        (
            "abort",
            map(&[("status", scalar("500")), ("headers", texts(&[("a b", "1"), ("Content-Length", "1")]))]),
            &["not a header name", "frames its answer"],
        ),
        ("abort", map(&[("status", scalar("500")), ("headers", scalar("x"))]), &["must be a map"]),
        ("reset", texts(&[("after", "soon")]), &["not a duration"]),
        ("blackhole", texts(&[("delay", "1s")]), &["unknown key `delay`"]),
        ("bandwidth", texts(&[("rate", "64KiB")]), &["bytes per second", "64KiB/s"]),
        ("bandwidth", texts(&[("rate", "0B/s")]), &["out of range"]),
        ("bandwidth", texts(&[("rate", "-1KB/s")]), &["not a size"]),
        ("pause", scalar("true"), &["takes no parameters"]),
        ("kill", texts(&[("signal", "TERM")]), &["unknown key"]),
        ("dns", texts(&[]), &["not available yet"]),
    ];
    for (name, node, expected) in cases {
        let said = parse(name, node).unwrap_err();
        for part in *expected {
            assert!(said.contains(part), "{name}: {said:?} lacks {part:?}");
        }
    }
}

#[test]
fn the_registry_is_consistent() {
    let names: BTreeSet<_> = KINDS.iter().map(|k| k.name()).collect();
    assert_eq!(names.len(), KINDS.len());
    for k in KINDS {
        assert_eq!(k.as_kind().name(), k.name());
        if k.available() == Available::Now {
            assert!(!k.sits_on().is_empty() && k.schema().is_object(), "{}", k.name());
        }
    }
    assert_eq!(kind("abort").sits_on(), ["http-proxy"]);
    assert_eq!(kind("kill").class(&json!({})), Class::Irreversible);
    assert_eq!(kind("pause").class(&json!({})), Class::Kernel);
    assert_eq!(kind("pause").conflicts(&json!({})), "pause");
}

#[derive(Default)]
struct Fake {
    calls: Mutex<Vec<String>>,
    failing: Mutex<bool>,
}

impl Fake {
    fn called(&self, what: &str, name: &str) -> Result<u64, Fail> {
        self.calls.lock().unwrap().push(format!("{what} {name}"));
        if *self.failing.lock().unwrap() { Err(Fail::new("no")) } else { Ok(3) }
    }
}

impl Services for Fake {
    fn start<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move { self.called("start", name).map(|_| ()) })
    }
    fn stop_all<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async { Ok(()) })
    }
    fn pause<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<u64, Fail>> {
        Box::pin(async move { self.called("pause", name) })
    }
    fn resume<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move { self.called("resume", name).map(|_| ()) })
    }
    fn kill<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<u64, Fail>> {
        Box::pin(async move { self.called("kill", name) })
    }
}

fn fault(kind: &str, on: On, params: Value) -> FaultPlan {
    FaultPlan {
        name: "f".into(),
        at: When::At(Span::ZERO),
        length: Span::secs(1),
        on,
        share: Ppm::ONE,
        matches: Match::default(),
        kind: kind.into(),
        params,
        during_rollback: false,
    }
}

async fn cx(services: Arc<Fake>) -> (Cx, Arc<ProxySet>) {
    let proxies = common::proxy("127.0.0.1:1".parse().unwrap(), true).await.0;
    let allow = AllowList::parse(&[]).unwrap();
    let cx = Cx { endpoints: Endpoints::default(), allow, services, proxies: proxies.clone(), seed: 1, owner: Owner::default() };
    (cx, proxies)
}

#[tokio::test]
async fn services_are_paused_and_killed_and_come_back() {
    for (name, there, back) in [("pause", "pause db", "resume db"), ("kill", "kill db", "start db")] {
        let services = Arc::new(Fake::default());
        let (cx, _set) = cx(Arc::clone(&services)).await;
        let plan = fault(name, On::Service("db".into()), json!({}));
        let prepared = kind(name).prepare(&plan, &cx).await.unwrap();
        assert!(prepared.undo.is_none() && services.calls.lock().unwrap().is_empty(), "prepare only reads");
        prepared.fault.revert().await.unwrap();
        prepared.fault.apply().await.unwrap();
        assert_eq!((prepared.fault.attest().hits, prepared.fault.attest().seen), (3, 3));
        *services.failing.lock().unwrap() = true;
        assert!(prepared.fault.revert().await.is_err());
        *services.failing.lock().unwrap() = false;
        prepared.fault.revert().await.unwrap();
        prepared.fault.revert().await.unwrap();
        assert_eq!(*services.calls.lock().unwrap(), [there, back, back]);
        let wrong = fault(name, On::Proxy("p".into()), json!({}));
        assert!(kind(name).prepare(&wrong, &cx).await.err().unwrap().0.contains("sits on a service"));
    }
}

#[tokio::test]
async fn proxy_faults_are_put_on_and_taken_off() {
    let (cx, set) = cx(Arc::new(Fake::default())).await;
    let plan = fault("abort", On::Proxy(common::NAME.into()), json!({"status": 503, "body": "", "headers": {}}));
    let prepared = kind("abort").prepare(&plan, &cx).await.unwrap();
    let addr = set.addr(common::NAME).unwrap();
    for (applied, expected) in [(false, 502), (true, 503), (false, 502)] {
        if applied {
            prepared.fault.apply().await.unwrap();
        } else {
            prepared.fault.revert().await.unwrap();
        }
        let within = std::time::Duration::from_secs(3);
        let (status, ..) = shakedown_wire::request(addr, "GET", "/", &[], "", within).await.unwrap();
        assert_eq!(status, expected);
    }
    assert_eq!(prepared.fault.attest().hits, 1);
    let wrong = fault("abort", On::Proxy(common::NAME.into()), json!({"status": 99, "body": "", "headers": {}}));
    assert!(kind("abort").prepare(&wrong, &cx).await.is_err());
    assert!(kind("dns").prepare(&plan, &cx).await.err().unwrap().0.contains("not available yet"));
}
