//! Out of descriptors: alone in its process, for it takes them all.
#![allow(clippy::unwrap_used, reason = "test helpers are test code too")]

mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connector, Reactor, Route, limits};
use std::time::Instant;
use support::*;

#[test]
fn out_of_descriptors_is_an_outcome_with_its_error_number() {
    // Its backlog takes connections; nobody accepts them, which would need descriptors too.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let old = getrlimit(Resource::Nofile);
    let mut reactor = Reactor::new().unwrap();
    let connector = Connector::new(reactor.handle(), &Route::to(allowed(addr)));
    let lowest = limits::open_descriptors().unwrap() + 1;
    setrlimit(Resource::Nofile, Rlimit { current: Some(lowest), maximum: old.maximum }).unwrap();
    let again = connector.clone();
    let all = reactor
        .run(Instant::now() + SOON, async move {
            let mut held = Vec::new();
            loop {
                match connector.connect().await {
                    Ok(connected) => held.push(connected),
                    Err(e) => break (held.len(), e),
                }
                assert!(held.len() < 10);
            }
        })
        .unwrap();
    let (_held, e) = all.unwrap();
    assert_eq!((e.kind, e.errno), (Failure::Connect, Some(24)), "{e}");
    limits::raise_descriptors().unwrap();
    reactor.run(Instant::now() + SOON, async move { again.connect().await.unwrap() }).unwrap().unwrap();
}
