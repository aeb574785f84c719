//! What the plan says about connections, workers and segments, against real sockets.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test helpers are test code too")]

mod support;

use shakedown_core::plan::*;
use shakedown_core::{Arm, Dim, Span};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::*;

fn at(addr: std::net::SocketAddr) -> String {
    format!("http://{addr}")
}

#[test]
fn a_connection_carries_so_many_requests() {
    let (addr, log) = server(|_, _| Reply::ok("x"));
    let mut s = stream(hold(400, 50), get("page", "/"));
    s.connections = Connections { max: 1, max_requests: Some(5), ..Connections::default() };
    let sum = run(wiring(plan(&at(addr), vec![s])));
    assert_eq!((sum.all().ok, sum.totals[&0].connections, log.connections.load(Ordering::SeqCst) - 1), (20, 4, 4));
}

#[test]
fn a_connection_that_was_idle_for_too_long_is_not_used() {
    let (addr, _) = server(|_, _| Reply::ok("x"));
    let mut s = stream(hold(500, 10), get("page", "/"));
    s.connections.idle = Span::millis(20);
    let sum = run(wiring(plan(&at(addr), vec![s])));
    assert_eq!((sum.all().ok, sum.totals[&0].connections), (5, 5));
}

#[test]
fn connections_opened_in_advance_are_divided_over_segments() {
    let (addr, log) = server(|_, _| Reply::ok("x"));
    let mut opened = Vec::new();
    for (index, arrivals) in [(0, 10), (1, 10), (2, 10)] {
        let mut s = stream(hold(300, 100), get("page", "/"));
        s.connections = Connections { max: 7, prewarm: 5, ..Connections::default() };
        let before = log.connections.load(Ordering::SeqCst);
        let sum = run(shakedown_load::Wiring { segment: (index, 3), ..wiring(plan(&at(addr), vec![s])) });
        assert_eq!(sum.all().ok, arrivals);
        let made = log.connections.load(Ordering::SeqCst) - before - 1;
        assert_eq!(made, sum.totals[&0].connections, "what is opened in advance is counted too");
        opened.push(made);
    }
    assert_eq!(opened, [2, 2, 1]);
}

#[test]
fn several_workers_count_what_one_counts() {
    let (addr, log) = server(|_, seen| if seen.path.ends_with('7') { Reply::status(500) } else { Reply::ok("x") });
    let outcome = |workers: u16| {
        let mut s = stream(hold(600, 200), get("page", "/"));
        s.journeys = vec![
            journey("one", vec![Step::Request(Box::new(get("page", "/1")))]),
            journey("two", vec![Step::Request(Box::new(get("a", "/2"))), Step::Request(Box::new(get("b", "/7")))]),
        ];
        s.connections = Connections { max: 9, prewarm: 4, ..Connections::default() };
        let mut p = plan(&at(addr), vec![s]);
        p.precision.workers = Some(workers);
        p.objectives.push(Objective { journey: Some("two".into()), ..objective(Indicator::JourneySuccess) });
        let before = log.count();
        let sum = run(wiring(p));
        let (all, two, totals) = (sum.all(), sum.arm(Arm::All, &Dim::Journey("two".into())), &sum.totals[&0]);
        assert_eq!((totals.sent, totals.in_flight), (log.count() - before, 0));
        assert_eq!((all.lag.count(), all.latency.count()), (all.due as u64, all.ok));
        (totals.asked, all.due, all.ok, all.failed, all.status, two.due, two.failures(), all.send.count())
    };
    let one = outcome(1);
    assert_eq!((one.0, one.7), (120, 120));
    assert_eq!(outcome(3), one);
}

#[test]
fn an_absurd_rate_ends_in_time_and_every_arrival_is_counted() {
    let (addr, _) = server(|_, _| Reply::ok("x").after(Duration::from_millis(1)));
    for poisson in [false, true] {
        let mut s = stream(hold(300, 2_000_000_000), get("page", "/"));
        if let Model::Open { poisson: drawn, .. } = &mut s.model {
            *drawn = poisson;
        }
        s.journeys.push(journey("other", vec![Step::Request(Box::new(get("b", "/")))]));
        let mut p = plan(&at(addr), vec![s]);
        p.objectives.push(Objective { by_header: Some("x-region".into()), ..objective(Indicator::SuccessRate) });
        let begin = std::time::Instant::now();
        let sum = run(wiring(p));
        assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
        let (all, totals) = (sum.all(), &sum.totals[&0]);
        assert_eq!((all.due as u64, all.ok + all.failures()), (totals.asked, totals.asked));
        assert!(totals.dropped > 0 && all.failed[&shakedown_core::snapshot::Failure::Dropped] == totals.dropped);
        // Two arrivals a nanosecond: the last one is due at the end, which is not before it.
        assert!(totals.asked.abs_diff(600_000_000) <= if poisson { 1_000_000 } else { 1 }, "{}", totals.asked);
        let grouped: i64 =
            sum.cells.iter().filter(|(k, _)| k.arm == Arm::All && matches!(k.dim, Dim::Group { .. })).map(|(_, c)| c.due).sum();
        assert_eq!(grouped, all.due, "no group loses any");
    }
}

#[test]
fn connections_come_from_the_sources_in_turn() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            told.send(stream.peer_addr().unwrap().ip().to_string()).ok();
            let mut head = [0u8; 4096];
            if stream.read(&mut head).is_ok_and(|n| n > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok();
            }
        }
    });
    let mut p = plan(&at(addr), vec![stream(hold(200, 20), get("page", "/"))]);
    p.environment.targets.get_mut("shop").unwrap().reach.sources = vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()];
    assert_eq!(run(wiring(p)).all().ok, 4);
    let all: Vec<String> = heard.try_iter().collect();
    for source in ["127.0.0.2", "127.0.0.3"] {
        assert!(all.iter().filter(|s| *s == source).count() >= 2, "{all:?}");
    }
    assert!(all.iter().all(|s| s != "127.0.0.1"), "{all:?}");
}
