//! The router's split, its admin endpoint and the router's flaws, over real sockets.
#![allow(missing_docs)]

mod common;

use common::{Http, config, many, start};
use http::StatusCode;
use serde_json::json;
use shakedown_core::plan::Sticky;
use shakedown_pilot::Pilot;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

async fn canaries(addr: SocketAddr, n: usize) -> usize {
    let replies = many(addr, "/healthz", n).await;
    assert!(replies.iter().all(|(reply, _)| reply.status == StatusCode::OK));
    replies.iter().filter(|(reply, _)| reply.release() == Some("v2")).count()
}

#[tokio::test]
async fn the_split_is_exact() {
    let shop = start(config(&[]));
    assert_eq!(canaries(shop.addr("router"), 500).await, 0);
    let mut total = 0;
    for percent in [5, 25, 50, 100] {
        assert_eq!(shop.weigh(percent * 10_000).await.status, StatusCode::OK);
        let got = canaries(shop.addr("router"), 2_000).await;
        assert!(got.abs_diff(20 * percent as usize) <= 4, "{got} of 2000 at {percent}%");
        total += got;
    }
    let report = shop.open("admin").await.get("/weight").await.json();
    assert_eq!(report["requests"], json!({"control": 8_500 - total, "canary": total}));
    assert_eq!((&report["service"], &report["canary_ppm"]), (&json!("pilot"), &json!(1_000_000)));
}

#[tokio::test]
async fn a_weight_is_in_effect_before_it_is_acknowledged() {
    let shop = start(config(&[]));
    let (mut admin, mut http) = (shop.open("admin").await, shop.open("router").await);
    for _ in 0..50 {
        admin.send("PUT", "/weight", &[], r#"{"canary_ppm": 1000000, "owner": "run-1"}"#).await;
        assert_eq!(http.get("/healthz").await.release(), Some("v2"));
        let ack = admin.send("PUT", "/weight", &[], r#"{"canary_ppm": 0}"#).await;
        assert_eq!(ack.json()["canary_ppm"], 0);
        assert_eq!(http.get("/healthz").await.release(), Some("v1"));
    }
    // Under load too: no request sent after the acknowledgement reaches the canary.
    shop.weigh(500_000).await;
    let addr = shop.addr("router");
    let (acknowledged, before) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let lanes: Vec<_> = (0..16).map(|_| tokio::spawn(lane(addr, acknowledged.clone(), before.clone()))).collect();
    while before.load(SeqCst) < 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    shop.weigh(0).await;
    acknowledged.store(true, SeqCst);
    for lane in lanes {
        lane.await.expect("no canary after the acknowledgement");
    }
}

/// Sends requests until 50 were sent after the acknowledgement; counts the canary's answers to those before it.
async fn lane(addr: SocketAddr, acknowledged: Arc<AtomicBool>, before: Arc<AtomicUsize>) {
    let mut http = Http::open(addr).await;
    let mut after = 0;
    while after < 50 {
        let sent_after = acknowledged.load(SeqCst);
        let canary = http.get("/healthz").await.release() == Some("v2");
        assert!(!(sent_after && canary), "the canary answered a request sent after the acknowledgement");
        before.fetch_add(usize::from(canary), SeqCst);
        after += usize::from(sent_after);
    }
}

#[tokio::test]
async fn wrong_weights_are_refused() {
    let shop = start(config(&[]));
    let mut admin = shop.open("admin").await;
    for wrong in ["", "{}", r#"{"canary_ppm": 1000001}"#, r#"{"canary_ppm": -1}"#, r#"{"canary_ppm": 1, "x": 2}"#] {
        assert_eq!(admin.send("PUT", "/weight", &[], wrong).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(admin.get("/weight").await.json()["canary_ppm"], 0);
    assert_eq!(admin.get("/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn sticky_callers_stay() {
    for by in [Sticky::Header("x-user".into()), Sticky::Cookie("session".into())] {
        let mut config = config(&[]);
        config.sticky = Some(by.clone());
        let shop = start(config);
        shop.weigh(300_000).await;
        let mut http = shop.open("router").await;
        let mut canary = 0;
        for user in 0..200 {
            let value = match &by {
                Sticky::Header(_) => ("x-user", format!("user-{user}")),
                Sticky::Cookie(_) => ("cookie", format!("theme=dark; session=user-{user}")),
            };
            let mut releases = Vec::new();
            for _ in 0..3 {
                let reply = http.send("GET", "/healthz", &[(value.0, &value.1)], "").await;
                releases.push(reply.release().expect("a release").to_owned());
            }
            assert!(releases.iter().all(|r| *r == releases[0]), "user {user}: {releases:?}");
            canary += usize::from(releases[0] == "v2");
        }
        assert!((35..85).contains(&canary), "{canary} of 200 callers at 30%");
    }
}

#[tokio::test]
async fn the_given_address_is_used() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let mut config = config(&[]);
    config.listen.insert("control".into(), free);
    let shop = start(config);
    assert_eq!(shop.addr("control"), free);
    assert_eq!(shop.open("router").await.get("/healthz").await.release(), Some("v1"));
}

#[tokio::test]
async fn a_taken_port_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut with_port = config(&[]);
    with_port.listen.insert("router".into(), taken.local_addr().expect("its address"));
    let fail = Pilot::bind(with_port).await.err().expect("the port is taken");
    assert!(fail.0.contains("pilot.router cannot listen on 127.0.0.1:"), "{fail}");
    let mut unknown = config(&[]);
    unknown.listen.insert("routre".into(), "127.0.0.1:0".parse().expect("an address"));
    assert!(Pilot::bind(unknown).await.err().expect("unknown endpoint").0.contains("routre"));
    assert!(Pilot::bind(config(&["slow-tale"])).await.is_err());
    let mut misplaced = config(&[]);
    misplaced.control.1.push("slow-rollback".into());
    assert!(Pilot::bind(misplaced).await.err().expect("a router flaw").0.contains("slow-rollback"));
}

#[tokio::test]
async fn a_router_that_refuses_rollback() {
    let shop = start(config(&["refuses-rollback"]));
    assert_eq!(shop.weigh(0).await.status, StatusCode::OK);
    assert_eq!(shop.weigh(50_000).await.status, StatusCode::OK);
    assert_eq!(shop.weigh(250_000).await.status, StatusCode::OK);
    let refused = shop.weigh(0).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(String::from_utf8_lossy(&refused.body).contains("25%"));
    let got = canaries(shop.addr("router"), 1_000).await;
    assert!(got.abs_diff(250) <= 3, "{got} of 1000");
}

#[tokio::test]
async fn a_router_that_ignores_its_weight() {
    let shop = start(config(&["ignores-weight"]));
    assert_eq!(canaries(shop.addr("router"), 500).await, 0);
    for ppm in [50_000, 500_000, 0] {
        assert_eq!(shop.weigh(ppm).await.json()["canary_ppm"], ppm);
        let got = canaries(shop.addr("router"), 1_000).await;
        assert!(got.abs_diff(120) <= 3, "{got} of 1000 at {ppm} ppm");
    }
}

#[tokio::test]
async fn a_router_that_rolls_back_slowly() {
    let shop = start(config(&["slow-rollback"]));
    shop.weigh(1_000_000).await;
    let acknowledged = Instant::now();
    assert_eq!(shop.weigh(0).await.json()["canary_ppm"], 0);
    let mut http = shop.open("router").await;
    assert_eq!(http.get("/healthz").await.release(), Some("v2"));
    while http.get("/healthz").await.release() == Some("v2") {
        assert!(acknowledged.elapsed() < Duration::from_secs(12), "never applied");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = acknowledged.elapsed();
    assert!((7.9..9.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[tokio::test]
async fn a_router_that_fails_while_it_rolls_back() {
    let shop = start(config(&["rollback-errors"]));
    shop.weigh(500_000).await;
    let mut http = shop.open("router").await;
    assert_eq!(http.get("/healthz").await.status, StatusCode::OK);
    let decreased = Instant::now();
    shop.weigh(0).await;
    let failed = http.get("/healthz").await;
    assert_eq!((failed.status, failed.release()), (StatusCode::SERVICE_UNAVAILABLE, None));
    while http.get("/healthz").await.status != StatusCode::OK {
        assert!(decreased.elapsed() < Duration::from_secs(4), "never over");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(decreased.elapsed() > Duration::from_millis(1_900));
}
