//! Closed-model users against a real server: the rate they keep to, and their cookies.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test helpers are test code too")]

mod support;

use shakedown_core::plan::*;
use shakedown_core::{Epoch, Rate, Span};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use support::*;

fn users(users: u32, think: Span, length: Span) -> Stream {
    stream(Model::Closed { users, think: (think, think), length }, get("page", "/"))
}

#[test]
fn users_keep_to_a_rate_and_waiting_for_it_is_no_failure() {
    let (addr, log) = server(|_, _| Reply::ok("x"));
    let mut p = plan(&format!("http://{addr}"), vec![users(20, Span::ZERO, Span::millis(500))]);
    p.environment.limits.rate = Some(Rate(100_000_000_000));
    let sum = run(wiring(p));
    let all = sum.all();
    assert!((40..=56).contains(&all.ok), "100 a second for half a second: {}", all.ok);
    assert_eq!((all.failures(), all.due as u64, sum.totals[&0].asked, log.count()), (0, all.ok, all.ok, all.ok));
    assert!(all.latency.quantile(0.9).unwrap() < 300_000_000, "waiting for the rate is not latency");
}

#[test]
fn users_held_back_by_the_rate_when_load_stops_were_never_due() {
    let (addr, log) = server(|_, _| Reply::ok("x"));
    let mut p = plan(&format!("http://{addr}"), vec![users(50, Span::ZERO, Span::secs(60))]);
    p.environment.limits.rate = Some(Rate(50_000_000_000));
    let (taken, load) = (Arc::new(Taken::default()), shakedown_load::generator(wiring(p)).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(load.prepare()).unwrap();
    load.start(Epoch(Instant::now()), taken.clone());
    until("some are sent", || log.count() >= 10);
    runtime.block_on(load.stop()).unwrap();
    let sum = taken.sum();
    let (all, totals) = (sum.all(), &sum.totals[&0]);
    assert_eq!((all.failures(), all.due as u64, totals.asked, totals.in_flight), (0, log.count(), log.count(), 0));
}

#[test]
fn a_user_keeps_its_cookies_and_a_journey_does_not() {
    let (addr, log) = server(|n, seen| {
        let known = seen.headers.contains_key("cookie");
        if known { Reply::ok("x") } else { Reply::ok("x").with("set-cookie", &format!("session=s{n}; Path=/")) }
    });
    let mut s = users(3, Span::millis(20), Span::millis(300));
    s.cookies = Cookies::User;
    let sum = run(wiring(plan(&format!("http://{addr}"), vec![s.clone()])));
    let sent = log.header("cookie");
    assert_eq!((sent.len() as u64, sent.iter().collect::<BTreeSet<_>>().len()), (log.count() - 3, 3));
    assert!(sum.all().ok > 12, "{}", sum.all().ok);
    s.cookies = Cookies::Journey;
    run(wiring(plan(&format!("http://{addr}"), vec![s])));
    assert_eq!(log.header("cookie").len(), sent.len(), "each journey begins without");
}

#[test]
fn users_that_may_not_send_do_not_spin() {
    let (addr, _) = server(|_, _| Reply::ok("x").after(std::time::Duration::from_millis(50)));
    let mut p = plan(&format!("http://{addr}"), vec![users(4, Span::ZERO, Span::millis(300))]);
    p.environment.limits.in_flight = Some(1);
    let sum = run(wiring(p));
    let (all, dropped) = (sum.all(), sum.totals[&0].dropped);
    assert_eq!((all.due as u64, all.ok + dropped), (sum.totals[&0].asked, all.due as u64));
    assert!(dropped > 0 && dropped <= 3 * 300 + 10, "{dropped}");
}
