//! The generator against real sockets: counts, latencies, failures, connections. Every server is in this process.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test helpers are test code too")]

mod support;

use shakedown_core::event::HaltBy;
use shakedown_core::plan::*;
use shakedown_core::seams::LoadMode;
use shakedown_core::snapshot::Failure;
use shakedown_core::{Arm, Dim, Input, Offset, Span};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::*;

fn at(addr: std::net::SocketAddr) -> String {
    format!("http://{addr}")
}

#[test]
fn counts_are_exact_and_every_request_is_marked() {
    let (addr, log) = server(|_, _| Reply::ok("hello"));
    let sum = run(wiring(plan(&at(addr), vec![stream(hold(1000, 300), get("page", "/p?x=1"))])));
    let all = sum.all();
    assert_eq!((log.count(), all.due, all.ok, all.failures()), (300, 300, 300, 0));
    let totals = &sum.totals[&0];
    assert_eq!((totals.asked, totals.sent, totals.dropped, totals.in_flight), (300, 300, 0, 0));
    assert_eq!(totals.connections, log.connections.load(Ordering::SeqCst) - 1, "one was the connect check");
    assert!(totals.connections < 20, "keep-alive: {}", totals.connections);
    assert_eq!((all.latency.count(), all.service.count(), all.lag.count(), all.empty), (300, 300, 300, 0));
    assert_eq!(all.status[&200], 300);
    assert!(all.bytes > 300 * 5 && sum.snapshots >= 9 && sum.cpu > 0);
    assert_eq!(log.header("x-shakedown-run").len(), 300);
    let traces: BTreeSet<String> = log.header("traceparent").into_iter().collect();
    assert_eq!(traces.len(), 300);
    assert!(traces.iter().all(|t| t.len() == 55 && t.starts_with("00-") && t.ends_with("-01")));
    assert!(log.header("user-agent").iter().all(|a| a.starts_with("shakedown/")));
    assert_eq!(log.seen.lock().unwrap()[0].path, "/p?x=1");
    assert_eq!(sum.arm(Arm::Unknown, &Dim::Whole).ok, 300);
    assert_eq!(sum.last_answer.keys().copied().collect::<Vec<_>>(), [Arm::All, Arm::Unknown]);
}

#[test]
fn a_stall_shows_in_the_intended_p99_and_not_in_p50() {
    let start = Arc::new(Mutex::new(None));
    let first = Arc::clone(&start);
    let (addr, _) = server(move |_, seen| {
        let begin = *first.lock().unwrap().get_or_insert(seen.at);
        let into = seen.at - begin;
        let stalled = into >= Duration::from_millis(700) && into < Duration::from_millis(1000);
        Reply::ok("x").after(if stalled { Duration::from_millis(1000) - into } else { Duration::ZERO })
    });
    let mut s = stream(hold(2000, 300), get("page", "/"));
    s.connections.max = 2;
    let all = run(wiring(plan(&at(addr), vec![s]))).all();
    assert_eq!(all.ok, 600);
    let q = |p: f64| all.latency.quantile(p).unwrap();
    assert!(q(0.99) > 200_000_000, "p99 {}", q(0.99));
    assert!(q(0.5) < 50_000_000, "p50 {}", q(0.5));
    assert!(all.service.quantile(0.97).unwrap() < 50_000_000, "few were on the wire while it stalled");
}

#[test]
fn retries_are_counted_apart_and_keep_their_uuid() {
    // Every first attempt gets a 503; the second is fine.
    let ids = Arc::new(Mutex::new(BTreeSet::new()));
    let known = Arc::clone(&ids);
    let (addr, log) = server(move |_, seen| {
        let id = seen.headers["x-id"].to_str().unwrap().to_owned();
        if known.lock().unwrap().insert(id) { Reply::status(503).with("x-release", "v2") } else { Reply::ok("y").with("x-release", "v1") }
    });
    let mut request = get("page", "/");
    request.headers.push(("x-id".into(), shakedown_core::template::Template::parse("{{ uuid }}").unwrap()));
    let mut s = stream(hold(500, 100), request);
    s.retry = Some(Retry { attempts: 2, on: vec![RetryOn::Status(503)], backoff: Span::millis(20) });
    let mut p = plan(&at(addr), vec![s]);
    p.slice = Span::millis(100);
    p.rollout = Some(rollout(IdentifyBy::Header("x-release".into())));
    let sum = run(wiring(p));
    let all = sum.all();
    assert_eq!((all.due, all.ok, all.failures(), all.retries, log.count()), (50, 50, 0, 50, 100));
    assert_eq!(sum.totals[&0].sent, 100);
    assert_eq!(ids.lock().unwrap().len(), 50);
    let canary = sum.arm(Arm::Canary, &Dim::Whole);
    assert_eq!((canary.ok, canary.failed[&Failure::Status], canary.due), (0, 50, 0));
    assert_eq!(sum.arm(Arm::Control, &Dim::Whole).ok, 50);
    // Every slice is whole again: what was due there is done there.
    for (key, cell) in sum.cells.iter().filter(|(k, _)| k.arm == Arm::All) {
        assert_eq!(cell.due, cell.done() as i64, "{key:?}");
    }
    assert!(all.latency.quantile(0.5).unwrap() > 10_000_000, "the backoff is in the logical latency");
}

#[test]
fn arms_are_told_apart() {
    let (addr, _) = server(|n, _| match n % 4 {
        0 => Reply::ok("a").with("x-release", "v2"),
        3 => Reply::ok(""),
        _ => Reply::ok("a").with("x-release", "v1"),
    });
    let mut p = plan(&at(addr), vec![stream(hold(500, 200), get("page", "/"))]);
    p.rollout = Some(rollout(IdentifyBy::Header("x-release".into())));
    let sum = run(wiring(p));
    let ok = |arm| sum.arm(arm, &Dim::Whole).ok;
    assert_eq!([ok(Arm::Canary), ok(Arm::Control), ok(Arm::Unknown), ok(Arm::All)], [25, 50, 25, 100]);
    assert_eq!(sum.arm(Arm::Unknown, &Dim::Whole).empty, 25);
    assert!(sum.last_answer.contains_key(&Arm::Canary));
}

#[test]
fn arrivals_past_the_in_flight_limit_are_dropped_and_counted() {
    let (addr, log) = server(|_, _| Reply::ok("x").after(Duration::from_millis(400)));
    let mut p = plan(&at(addr), vec![stream(hold(300, 100), get("page", "/"))]);
    p.environment.limits.in_flight = Some(10);
    let sum = run(wiring(p));
    assert_eq!((log.count(), sum.totals[&0].dropped, sum.totals[&0].asked), (10, 20, 30));
    assert_eq!((sum.all().due, sum.all().ok, sum.failed(Failure::Dropped)), (30, 10, 20));
}

#[test]
fn the_request_limit_halts_once() {
    let (addr, log) = server(|_, _| Reply::ok("x"));
    let mut p = plan(&at(addr), vec![stream(hold(10_000, 100), get("page", "/"))]);
    p.environment.limits.requests = Some(25);
    let sum = run(wiring(p));
    assert_eq!(sum.halts, [Input::Halt(HaltBy::Limit("requests".into()))]);
    assert_eq!(log.count(), 25);
}

#[test]
fn broken_answers_fail_by_their_kind() {
    let failing = |addr: std::net::SocketAddr, timeout: u64| {
        let mut s = stream(hold(200, 50), get("page", "/"));
        s.timeout = Span::millis(timeout);
        run(wiring(plan(&at(addr), vec![s])))
    };
    let garbage = failing(raw_server(b"\x16\x03\x01 this is no HTTP\r\n\r\n"), 1000);
    assert_eq!((garbage.failed(Failure::Protocol), garbage.all().ok), (10, 0));
    let half = failing(raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"), 1000);
    assert_eq!((half.failed(Failure::Reset), half.all().status[&200]), (10, 10));
    let cut = failing(raw_server(b"HTTP/1.1 2"), 1000);
    assert_eq!(cut.failed(Failure::Reset), 10);
    let chunks = failing(raw_server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 1000);
    assert_eq!(chunks.failed(Failure::Protocol) + chunks.failed(Failure::Reset), 10);
    let never = failing(raw_server(b""), 150);
    assert_eq!((never.failed(Failure::Timeout), never.totals[&0].sent), (10, 10));
    assert_eq!(never.all().latency.quantile(0.5), Some(shakedown_core::sparse::bucket_top(150_000_000)));
    assert_eq!(never.samples.len(), 10);
    assert!(never.samples.iter().all(|s| s.failure == Some(Failure::Timeout) && s.detail.contains("150ms")));
}

#[test]
fn a_target_that_is_not_there_stops_prepare_and_one_that_goes_away_is_refused() {
    let (addr, _) = server(|_, _| Reply::ok("x"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let prepare = |target: &str| {
        let load = shakedown_load::generator(wiring(plan(target, vec![stream(hold(100, 10), get("p", "/"))]))).unwrap();
        runtime.block_on(load.prepare()).unwrap_err().0
    };
    let why = prepare(&at(gone));
    assert!(why.contains("`shop`") && why.contains(&gone.to_string()) && why.contains("refused"), "{why}");
    assert!(prepare("pilot.router").contains("no such endpoint"));
    assert!(prepare("http://192.0.2.1:80").contains("environment.allow"));
    assert!(prepare("http://u:p@127.0.0.1:80").contains("credentials"));
    // An endpoint that moves to a dead port in the middle: refused, counted, run goes on.
    let mut w = wiring(plan("svc.http", vec![stream(hold(400, 50), get("p", "/"))]));
    let mut p = (*w.plan).clone();
    p.streams[0].connections.reuse = false;
    w.plan = Arc::new(p);
    w.endpoints.set("svc.http", addr);
    let endpoints = w.endpoints.clone();
    let sum = run_with(w, |_, taken| {
        until("some went well", || taken.sum().all().ok >= 5);
        endpoints.set("svc.http", gone);
    });
    assert!(sum.failed(Failure::Refused) > 0 && sum.all().ok >= 5, "{:?}", sum.all());
    assert_eq!(sum.all().due, 20);
    assert!(sum.totals[&0].sent < 20, "what was refused was not sent");
}

#[test]
fn connections_are_kept_or_not_and_bounded() {
    let (addr, log) = server(|_, _| Reply::ok("x").after(Duration::from_millis(5)));
    let mut s = stream(hold(500, 100), get("page", "/"));
    s.connections = Connections { max: 2, prewarm: 2, ..Connections::default() };
    let sum = run(wiring(plan(&at(addr), vec![s.clone()])));
    assert_eq!((sum.all().ok, sum.totals[&0].connections, log.connections.load(Ordering::SeqCst)), (50, 2, 3));
    s.connections.reuse = false;
    let before = log.connections.load(Ordering::SeqCst);
    let sum = run(wiring(plan(&at(addr), vec![s])));
    assert_eq!(sum.totals[&0].connections, 50);
    assert_eq!((log.connections.load(Ordering::SeqCst) - before, sum.all().connect.count()), (51, 50));
}

#[test]
fn journeys_capture_think_and_keep_cookies() {
    let (addr, log) = server(|_, seen| match seen.path.as_str() {
        "/cart" => Reply::ok(r#"{"id": "c 7"}"#).with("set-cookie", "session=s1; Path=/"),
        "/orders/c%207" => Reply::ok(r#"{"state": "open"}"#),
        _ => Reply::status(404),
    });
    let mut cart = get("cart", "/cart");
    cart.capture.push(Capture { name: "cart".into(), from: CaptureFrom::Json("$.id".into()) });
    let mut order = get("order", "/orders/{{ cart }}");
    order.expect.json.push(("$.state".into(), "open".into()));
    let mut s = stream(hold(400, 50), get("unused", "/"));
    let steps = vec![Step::Request(Box::new(cart)), Step::Think(Span::millis(30), Span::millis(60)), Step::Request(Box::new(order))];
    s.journeys = vec![journey("buy", steps), journey("lost", vec![Step::Request(Box::new(get("gone", "/gone")))])];
    let mut p = plan(&at(addr), vec![s]);
    p.objectives.push(Objective { journey: Some("buy".into()), ..objective(Indicator::JourneySuccess) });
    p.objectives.push(Objective { step: Some("order".into()), ..objective(Indicator::SuccessRate) });
    let sum = run_with(wiring(p), |load, taken| {
        until("all are in", || taken.sum().totals.get(&0).is_some_and(|t| t.ended && t.in_flight == 0 && t.asked == 20));
        std::thread::sleep(Duration::from_millis(150));
        load.mode(LoadMode::Finish);
    });
    let buys = sum.arm(Arm::All, &Dim::Journey("buy".into()));
    let lost = sum.failed(Failure::Status) as i64;
    assert_eq!((buys.due, buys.ok as i64, buys.failures()), (20 - lost, 20 - lost, 0));
    assert!(lost > 2 && lost < 18, "weights: {lost}");
    assert!(buys.latency.quantile(0.01).unwrap() >= 30_000_000);
    assert_eq!(sum.all().due, 20 + buys.due);
    let order = sum.arm(Arm::All, &Dim::Step { journey: "buy".into(), step: "order".into() });
    assert_eq!((order.due, order.ok), (buys.due, buys.ok));
    assert_eq!(sum.arm(Arm::Unknown, &Dim::Journey("buy".into())).ok, buys.ok);
    assert_eq!(log.header("cookie"), vec!["session=s1"; buys.ok as usize]);
    let orders = sum.samples.iter().filter(|s| s.step == "buy/order");
    assert!(orders.clone().count() > 0 && orders.map(|s| s.latency).all(|l| l < 30_000_000), "think time is not latency");
}

#[test]
fn stop_drains_what_is_open_and_sends_nothing_more() {
    let (addr, log) = server(|_, _| Reply::ok("x").after(Duration::from_millis(200)));
    let w = wiring(plan(&at(addr), vec![stream(hold(10_000, 100), get("page", "/"))]));
    let taken = Arc::new(Taken::default());
    let load = shakedown_load::generator(w).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(load.prepare()).unwrap();
    load.start(shakedown_core::Epoch(Instant::now()), taken.clone());
    until("some are sent", || log.count() >= 30);
    runtime.block_on(load.stop()).unwrap();
    let (sum, seen) = (taken.sum(), log.count());
    assert_eq!((sum.all().due, sum.all().ok, sum.totals[&0].in_flight), (seen as i64, seen, 0));
    assert!(matches!(taken.0.lock().unwrap().last(), Some(Input::Samples(s)) if !s.is_empty()));
    assert!(runtime.block_on(load.stop()).is_ok(), "stopping twice does no harm");
}

#[test]
fn modes_change_the_load() {
    let (addr, log) = server(|_, _| Reply::ok("x"));
    let taken = Arc::new(Taken::default());
    let load = shakedown_load::generator(wiring(plan(&at(addr), vec![stream(hold(100, 100), get("p", "/"))]))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(load.prepare()).unwrap();
    load.start(shakedown_core::Epoch(Instant::now()), taken.clone());
    until("the last rate goes on past the end", || log.count() > 20);
    assert!(!taken.sum().totals[&0].ended);
    load.mode(LoadMode::Off);
    std::thread::sleep(Duration::from_millis(60));
    let (off, begin) = (log.count(), Instant::now());
    load.mode(LoadMode::Probe);
    until("the probe asks", || log.count() >= off + 2);
    assert!(begin.elapsed() > Duration::from_millis(900), "one a second");
    runtime.block_on(load.stop()).unwrap();
    let sum = taken.sum();
    assert_eq!((sum.all().ok, sum.totals[&0].asked), (log.count(), log.count()));
}

#[test]
fn streams_wait_for_their_stage_and_users_wait_for_answers() {
    let (addr, log) = server(|_, _| Reply::ok("x").after(Duration::from_millis(20)));
    let mut s = stream(Model::Closed { users: 3, think: (Span::ZERO, Span::ZERO), length: Span::millis(400) }, get("p", "/"));
    s.at = When::Stage { stage: "canary".into(), plus: Span::ZERO };
    let sum = run_with(wiring(plan(&at(addr), vec![s])), |load, taken| {
        until("snapshots come while idle", || taken.sum().snapshots >= 2);
        assert_eq!(log.count(), 0);
        load.start_stream("shoppers", Offset(300_000_000));
    });
    let all = sum.all();
    assert!(all.ok >= 24 && all.ok <= 60, "3 users of 20 ms for 400 ms: {}", all.ok);
    assert_eq!((all.due, sum.totals[&0].asked, log.count()), (all.ok as i64, all.ok, all.ok));
}

#[test]
fn a_log_is_replayed_on_time() {
    use std::io::Write as _;
    let (addr, log) = server(|_, seen| if seen.path.starts_with("/broken") { Reply::status(500) } else { Reply::status(404) });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for i in 0..40 {
        let path = if i == 5 { "/broken?a=%20b" } else { "/fine" };
        writeln!(file, "h - - [17/May/2015:10:05:{:02} +0000] \"GET {path} HTTP/1.1\" 404 1", i / 4).unwrap();
    }
    let replay = Replay {
        file: file.path().to_str().unwrap().into(),
        format: "access-log".into(),
        speed_ppm: 10_000_000,
        between: None,
        gaps: None,
        methods: vec![],
        expect_recorded: false,
    };
    let mut s = stream(Model::Replay(replay), get("unused", "/"));
    s.journeys.clear();
    let p = plan(&at(addr), vec![s]);
    let forecast = shakedown_load::forecast(&p).unwrap();
    assert!((forecast[0].requests - 40.0).abs() < 1e-9 && forecast[0].length < Span::secs(1));
    let begin = Instant::now();
    let sum = run(wiring(p));
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!((log.count(), sum.all().ok, sum.failed(Failure::Status)), (40, 39, 1));
    assert!(log.seen.lock().unwrap().iter().any(|s| s.path == "/broken?a=%20b"));
    assert!(sum.all().lag.quantile(0.99).unwrap() < 50_000_000);
}

#[test]
fn groups_hold_every_request_and_a_feed_that_runs_out_fails_its_arrivals() {
    use std::io::Write as _;
    let (addr, log) = server(|n, _| match n % 3 {
        0 => Reply::ok("a").with("x-region", "eu"),
        1 => Reply::status(500).with("x-region", "us"),
        _ => Reply::ok("a"),
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"id,note\n1,a\n2,b\n3,c\n4,d\n5,e\n6,f\n7,g\n8,h\n9,i\n").unwrap();
    let mut s = stream(hold(200, 50), get("page", "/p/{{ rows.id }}"));
    let csv = file.path().to_str().unwrap().to_owned();
    s.feeds.push(Feed { name: "rows".into(), csv, columns: vec!["id".into()], rows: 9, pick: Pick::Unique });
    let mut p = plan(&at(addr), vec![s]);
    p.objectives.push(Objective { by_header: Some("x-region".into()), ..objective(Indicator::SuccessRate) });
    let sum = run(wiring(p));
    let group = |value: &str| {
        let c = sum.arm(Arm::All, &Dim::Group { objective: "o".into(), value: value.into() });
        (c.due, c.ok, c.failures())
    };
    assert_eq!([group("eu"), group("us"), group("(none)")], [(3, 3, 0), (3, 0, 3), (4, 3, 1)]);
    assert_eq!((log.count(), sum.all().due, sum.failed(Failure::Capture)), (9, 10, 1));
    let paths: BTreeSet<String> = log.seen.lock().unwrap().iter().map(|s| s.path.clone()).collect();
    assert_eq!(paths.len(), 9);
    assert!(sum.samples.iter().any(|s| s.detail.contains("ran out after 9 rows")));
}

#[test]
fn secrets_are_sent_and_never_kept() {
    let (addr, log) = server(|_, seen| {
        let echo = seen.headers["authorization"].to_str().unwrap().to_owned();
        Reply { status: 500, ..Reply::ok(&echo) }.with("x-echo", &echo)
    });
    let mut p = plan(&at(addr), vec![stream(hold(100, 50), get("page", "/t/${secret:TOKEN}"))]);
    let bearer = shakedown_core::template::Template::parse("Bearer ${secret:TOKEN}").unwrap();
    p.environment.targets.get_mut("shop").unwrap().headers.push(("authorization".into(), bearer));
    p.secrets.push("TOKEN".into());
    let mut w = wiring(p);
    let mut secrets = shakedown_core::Secrets::default();
    secrets.insert("TOKEN", "planted-s3cret");
    w.secrets = Arc::new(secrets);
    let sum = run(w);
    assert_eq!(log.header("authorization")[0], "Bearer planted-s3cret");
    assert_eq!(log.seen.lock().unwrap()[0].path, "/t/planted-s3cret");
    assert_eq!(sum.samples.len(), 5);
    assert!(!format!("{sum:?}").contains("s3cret"), "{:?}", sum.samples[0]);
}

#[test]
fn sending_is_on_time_at_1500_a_second() {
    let (addr, _) = server(|_, _| Reply::ok("x"));
    let all = run(wiring(plan(&at(addr), vec![stream(hold(2000, 1500), get("p", "/"))]))).all();
    let us = |q: f64| all.lag.quantile(q).unwrap() / 1000;
    eprintln!("lag at 1500/s: p50 {} µs, p99 {} µs, p99.9 {} µs", us(0.5), us(0.99), us(0.999));
    assert_eq!(all.due, 3000);
    assert!(us(0.5) < 2_000, "p50 {} µs", us(0.5));
}
