//! The builtin driver against a double of the router's admin endpoint.
#![allow(missing_docs)]

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use shakedown_core::event::Attestation;
use shakedown_core::seams::{
    Available, Boxed, Cx, Driver, DriverKind, Endpoints, Fail, Kind, Owner, Proxies, Services, Toxic, Undo, UndoRecord, UndoState,
};
use shakedown_core::tree::{Node, Problems, Tree};
use shakedown_core::{AllowList, Ppm};
use shakedown_rollout::{Builtin, BuiltinUndo, KINDS, UNDO};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How the double behaves.
#[derive(Clone, Copy, Default, PartialEq)]
enum Manner {
    #[default]
    Good,
    Refuses,
    Hangs,
    Lies,
    Babbles,
}

#[derive(Default)]
struct State {
    canary: u64,
    owner: Value,
    manner: Manner,
    connections: u32,
}

struct Double {
    state: Arc<Mutex<State>>,
    addr: SocketAddr,
    tasks: JoinHandle<()>,
}

async fn answer(state: Arc<Mutex<State>>, request: hyper::Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    if state.lock().expect("test").manner == Manner::Hangs {
        std::future::pending::<()>().await;
    }
    let mut state = state.lock().expect("test");
    let reply = |status: u16, text: String| {
        let mut reply = Response::new(Full::new(text.into()));
        *reply.status_mut() = StatusCode::from_u16(status).expect("a status");
        reply
    };
    if parts.method == Method::PUT {
        let wanted: Value = serde_json::from_slice(&body).expect("JSON");
        match state.manner {
            Manner::Refuses => return reply(409, "the weight cannot be decreased\n".into()),
            Manner::Lies => {}
            _ => state.canary = wanted["canary_ppm"].as_u64().expect("a weight"),
        }
        state.owner = wanted["owner"].clone();
    }
    match state.manner {
        Manner::Babbles => reply(200, "<html>".into()),
        _ => reply(200, json!({"service": "pilot", "canary_ppm": state.canary, "owner": state.owner}).to_string()),
    }
}

async fn double() -> Double {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("its address");
    let state = Arc::new(Mutex::new(State::default()));
    let shared = state.clone();
    let tasks = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            shared.lock().expect("test").connections += 1;
            let state = shared.clone();
            let service = service_fn(move |request| {
                let answer = answer(state.clone(), request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Double { state, addr, tasks }
}

impl Double {
    fn manner(&self, manner: Manner) {
        self.state.lock().expect("test").manner = manner;
    }

    fn canary(&self) -> u64 {
        self.state.lock().expect("test").canary
    }

    /// The router is gone: nobody listens any more.
    async fn end(self) {
        self.tasks.abort();
        let _ = self.tasks.await;
    }
}

struct Nothing;

impl Services for Nothing {
    fn start<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<(), Fail>> {
        unreachable!("a driver starts nothing")
    }
    fn stop_all<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        unreachable!("a driver stops nothing")
    }
    fn pause<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<u64, Fail>> {
        unreachable!("a driver pauses nothing")
    }
    fn resume<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<(), Fail>> {
        unreachable!("a driver resumes nothing")
    }
    fn kill<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<u64, Fail>> {
        unreachable!("a driver kills nothing")
    }
}

impl Proxies for Nothing {
    fn add<'a>(&'a self, _: &'a str, _: Toxic) -> Boxed<'a, Result<(), Fail>> {
        unreachable!("a driver adds no toxic")
    }
    fn remove<'a>(&'a self, _: &'a str, _: &'a str) -> Boxed<'a, Result<(), Fail>> {
        unreachable!("a driver removes no toxic")
    }
    fn attest(&self, _: &str, _: &str) -> Attestation {
        unreachable!("a driver attests nothing")
    }
}

fn owner() -> Owner {
    Owner { run: "run-1".into(), ..Owner::default() }
}

fn cx(admin: Option<SocketAddr>, allow: &str) -> Cx {
    let endpoints = Endpoints::default();
    if let Some(addr) = admin {
        endpoints.set("pilot.admin", addr);
    }
    let allow = AllowList::parse(&[allow.to_owned()]).expect("a block");
    Cx { endpoints, allow, services: Arc::new(Nothing), proxies: Arc::new(Nothing), seed: 1, owner: owner() }
}

async fn connect(admin: SocketAddr) -> Arc<dyn Driver> {
    Builtin.connect(&json!({"service": "pilot"}), &cx(Some(admin), "127.0.0.0/8")).await.expect("connects")
}

fn record(driver: &dyn Driver, found: &shakedown_core::seams::Found) -> UndoRecord {
    let (kind, what, data) = driver.undo(found);
    UndoRecord { id: 1, kind, what, data, owner: owner(), deadline: 0 }
}

#[tokio::test]
async fn finds_sets_reads_and_restores_over_one_connection() {
    let router = double().await;
    router.state.lock().expect("test").canary = 20_000;
    let driver = connect(router.addr).await;
    let found = driver.found().await.expect("found");
    assert_eq!(found.canary, Ppm(20_000));
    for ppm in [50_000, 250_000, 1_000_000, 0] {
        driver.set(Ppm(ppm)).await.expect("set");
        assert_eq!(driver.read().await.expect("read"), Ppm(ppm));
        assert_eq!(router.state.lock().expect("test").owner, "run-1");
    }
    for _ in 0..2 {
        driver.restore(&found).await.expect("restored, twice too");
        assert_eq!(router.canary(), 20_000);
    }
    assert_eq!(router.state.lock().expect("test").connections, 1);
}

#[tokio::test]
async fn a_set_is_acknowledged_fast() {
    let router = double().await;
    let driver = connect(router.addr).await;
    let mut times: Vec<Duration> = Vec::new();
    for k in 0..200 {
        let sent = Instant::now();
        driver.set(Ppm(k)).await.expect("set");
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    println!("set: median {:?}, p99 {:?}", times[100], times[198]);
    assert!(times[100] < Duration::from_millis(5), "median {:?}", times[100]);
}

#[tokio::test]
async fn refused_hanging_and_lying_routers_are_said() {
    let router = double().await;
    let driver = connect(router.addr).await;
    router.manner(Manner::Refuses);
    let fail = driver.set(Ppm::ZERO).await.expect_err("refused");
    assert!(fail.0.contains("(409)") && fail.0.contains("cannot be decreased"), "{fail}");
    router.manner(Manner::Lies);
    driver.set(Ppm(50_000)).await.expect("it says so");
    assert_eq!(driver.read().await.expect("read"), Ppm::ZERO, "the weight is read back, not remembered");
    router.manner(Manner::Babbles);
    assert!(driver.read().await.expect_err("no JSON").0.contains("cannot be read"));
    router.manner(Manner::Hangs);
    let asked = Instant::now();
    assert!(driver.set(Ppm::ZERO).await.expect_err("hangs").0.contains("did not answer"));
    assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}", asked.elapsed());
    router.manner(Manner::Good);
    driver.set(Ppm(70_000)).await.expect("a new connection");
    assert_eq!(driver.read().await.expect("read"), Ppm(70_000));
}

#[tokio::test]
async fn undo_restores_what_is_still_ours() {
    let router = double().await;
    let driver = connect(router.addr).await;
    let record = record(&*driver, &driver.found().await.expect("found"));
    assert_eq!(record.kind, BuiltinUndo.kind());
    assert_eq!(BuiltinUndo.undo(&record).await, Ok(UndoState::Already), "nothing was set yet");
    driver.set(Ppm(250_000)).await.expect("set");
    assert_eq!(BuiltinUndo.undo(&record).await, Ok(UndoState::Undone));
    assert_eq!(router.canary(), 0);
    assert_eq!(BuiltinUndo.undo(&record).await, Ok(UndoState::Already));
    // Somebody else's weight is left alone, with an owner and without.
    for owner in [json!("run-2"), Value::Null] {
        *router.state.lock().expect("test") = State { canary: 100_000, owner, ..State::default() };
        assert_eq!(BuiltinUndo.undo(&record).await, Ok(UndoState::NotOurs));
        assert_eq!(router.canary(), 100_000);
    }
    for manner in [Manner::Refuses, Manner::Lies] {
        *router.state.lock().expect("test") = State { canary: 100_000, owner: json!("run-1"), manner, ..State::default() };
        BuiltinUndo.undo(&record).await.expect_err("not undone is said");
    }
    router.end().await;
    assert_eq!(BuiltinUndo.undo(&record).await, Ok(UndoState::Already), "the router is gone");
    let broken = UndoRecord { data: json!({}), ..record };
    assert!(BuiltinUndo.undo(&broken).await.is_err());
}

#[tokio::test]
async fn a_router_that_is_gone_or_moved() {
    let first = double().await;
    let cx = cx(Some(first.addr), "127.0.0.0/8");
    let driver = Builtin.connect(&json!({"service": "pilot"}), &cx).await.expect("connects");
    first.end().await;
    assert!(driver.set(Ppm(1)).await.expect_err("gone").0.contains("refuses connections"));
    let second = double().await;
    cx.endpoints.set("pilot.admin", second.addr);
    driver.set(Ppm(1)).await.expect("the restarted router");
    assert_eq!(second.canary(), 1);
}

#[tokio::test]
async fn connecting_needs_an_allowed_endpoint_of_the_right_service() {
    let router = double().await;
    let refused = |params: Value, cx: Cx| async move { Builtin.connect(&params, &cx).await.err().expect("refused").0 };
    assert!(refused(json!({"service": "pilot"}), cx(None, "127.0.0.0/8")).await.contains("no endpoint pilot.admin"));
    assert!(refused(json!({"service": "pilot"}), cx(Some(router.addr), "10.0.0.0/8")).await.contains("environment.allow"));
    let other = cx(Some(router.addr), "127.0.0.0/8");
    other.endpoints.set("shop.admin", router.addr);
    assert!(refused(json!({"service": "shop"}), other).await.contains("is the router of pilot"));
    assert!(refused(json!({}), cx(None, "127.0.0.0/8")).await.contains("parameters"));
}

#[test]
fn kinds_parse_a_service_name() {
    let node = |text: &str| Node { span: 0..text.len(), tree: Tree::Scalar { text: text.into(), quoted: false } };
    let mut problems = Problems::default();
    assert_eq!(Builtin.parse(&node("pilot"), &mut problems), Some(json!({"service": "pilot"})));
    assert!(problems.is_empty());
    for wrong in ["", "-a", "Pilot", "a b"] {
        assert_eq!(Builtin.parse(&node(wrong), &mut problems), None, "{wrong}");
    }
    assert_eq!(Builtin.parse(&Node { span: 0..1, tree: Tree::Seq(Vec::new()) }, &mut problems), None);
    assert_eq!(problems.0.len(), 5);
}

#[tokio::test]
async fn every_kind_is_there_and_only_builtin_works() {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.as_kind().name()).collect();
    let all = ["builtin", "haproxy", "envoy", "nginx", "flagd", "command", "webhook", "kubernetes", "gateway", "argo-rollouts", "external"];
    assert_eq!(names, all);
    for kind in &KINDS[1..] {
        assert_eq!(kind.available(), Available::Later);
        let mut problems = Problems::default();
        assert_eq!(kind.parse(&Node { span: 0..0, tree: Tree::Null }, &mut problems), None);
        assert_eq!(problems.0.len(), 1);
        assert!(kind.connect(&Value::Null, &cx(None, "127.0.0.1")).await.is_err());
    }
    assert_eq!(UNDO.len(), 1);
}
