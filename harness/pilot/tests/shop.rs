//! The shop's API, its payments and the flaws of a release, over real sockets.
#![allow(missing_docs)]

mod common;

use common::{config, many, start};
use http::StatusCode;
use serde_json::json;
use shakedown_pilot::{Stub, StubConfig};
use std::time::Duration;

fn quantile(mut times: Vec<Duration>, q: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3
}

fn times(replies: &[(common::Reply, Duration)]) -> Vec<Duration> {
    replies.iter().map(|(_, time)| *time).collect()
}

#[tokio::test]
async fn a_journey_through_the_router() {
    let shop = start(config(&[]));
    let mut http = shop.open("router").await;
    let page = http.get("/products/7").await;
    assert_eq!((page.status, page.release()), (StatusCode::OK, Some("v1")));
    assert_eq!(page.json()["id"], "7");
    assert_eq!(page.headers["content-length"], page.body.len().to_string());
    assert_eq!(http.get("/products").await.json()["products"].as_array().map(Vec::len), Some(20));
    let cart = http.send("POST", "/cart", &[], r#"{"sku": "7"}"#).await;
    assert_eq!((cart.status, &cart.json()["state"]), (StatusCode::CREATED, &json!("open")));
    let order = http.order("o-1").await;
    assert_eq!((order.status, order.json()), (StatusCode::CREATED, json!({"id": "o-1", "state": "accepted"})));
    let read = http.get("/orders/o-1").await;
    assert_eq!((read.status, &read.json()["cart"]), (StatusCode::OK, &json!("c-1")));
    // The other release sees it: they share the orders.
    assert_eq!(shop.open("canary").await.get("/orders/o-1").await.release(), Some("v2"));
    assert_eq!(http.get("/orders/recent").await.json()["orders"][0]["id"], "o-1");
    assert_eq!(http.get("/orders/o-2").await.status, StatusCode::NOT_FOUND);
    assert_eq!(http.send("POST", "/admin/seed", &[], "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(http.get("/orders/o-1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(http.get("/healthz").await.status, StatusCode::OK);
    let nowhere = http.get("/nowhere").await;
    assert_eq!((nowhere.status, nowhere.release()), (StatusCode::NOT_FOUND, Some("v1")));
    for wrong in ["{", "{}", r#"{"id": "a b", "cart": "c-1"}"#] {
        assert_eq!(http.send("POST", "/orders", &[], wrong).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let head = http.send("HEAD", "/products/7", &[], "").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let shop = start(config(&[]));
    let reply = shop.open("router").await.send("POST", "/cart", &[], &"x".repeat((1 << 20) + 1)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn service_times_are_a_few_milliseconds() {
    let shop = start(config(&["slow"]));
    let control = times(&many(shop.addr("control"), "/products/7", 1_500).await);
    let (median, p99) = (quantile(control.clone(), 0.5), quantile(control, 0.99));
    println!("control: median {median:.2} ms, p99 {p99:.2} ms");
    // Only from below: how much later a busy machine answers is no property of the shop.
    assert!(median >= 2.0, "median {median} ms");
    let slow = quantile(times(&many(shop.addr("canary"), "/products/7", 1_500).await), 0.5);
    println!("slow: median {slow:.2} ms");
    assert!(slow > 4.0 && slow > median, "{slow} ms against {median} ms");
}

#[tokio::test]
async fn a_slow_tail_is_seen_in_the_tail_only() {
    let shop = start(config(&["slow-tail"]));
    let replies = many(shop.addr("canary"), "/products/7", 1_500).await;
    let slow = replies.iter().filter(|(_, time)| *time >= Duration::from_millis(60)).count();
    assert!((170..400).contains(&slow), "{slow} of 1500 took 60 ms or more");
    assert!(quantile(times(&replies), 0.9) > 60.0);
}

#[tokio::test]
async fn errors_are_a_few_percent_of_the_canary_only() {
    let shop = start(config(&["errors"]));
    let failed = |replies: Vec<(common::Reply, Duration)>, release: &str| {
        assert!(replies.iter().all(|(reply, _)| reply.release() == Some(release)));
        replies.iter().filter(|(reply, _)| reply.status == StatusCode::INTERNAL_SERVER_ERROR).count()
    };
    let canary = failed(many(shop.addr("canary"), "/products/7", 3_000).await, "v2");
    assert!((105..200).contains(&canary), "{canary} of 3000");
    assert_eq!(failed(many(shop.addr("control"), "/products/7", 1_000).await, "v1"), 0);
}

#[tokio::test]
async fn empty_bodies_are_answered_with_200() {
    let shop = start(config(&["empty-body"]));
    let mut http = shop.open("canary").await;
    for path in ["/products/7", "/orders/none", "/products"] {
        let reply = http.get(path).await;
        assert_eq!((reply.status, reply.body.len(), reply.release()), (StatusCode::OK, 0, Some("v2")), "{path}");
    }
}

#[tokio::test]
async fn dropped_writes_are_acknowledged_and_gone() {
    let shop = start(config(&["drops-writes"]));
    let mut http = shop.open("canary").await;
    let mut lost = 0;
    for k in 0..200 {
        let id = format!("order-{k}");
        assert_eq!(http.order(&id).await.status, StatusCode::CREATED);
        lost += usize::from(http.get(&format!("/orders/{id}")).await.status == StatusCode::NOT_FOUND);
    }
    assert!((2..30).contains(&lost), "{lost} of 200");
}

/// A payments stub at its own address, counting nothing: what it answers is told by the shop.
async fn payments(answers: serde_json::Value) -> std::net::SocketAddr {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let stub = Stub::bind(&StubConfig { name: "payments".into(), listen, answers }).await.expect("the stub binds");
    let addr = stub.addr();
    tokio::spawn(stub.serve(std::future::pending()));
    addr
}

#[tokio::test]
async fn failing_payments_fail_orders_and_store_nothing() {
    let addr =
        payments(json!([{"method": "POST", "path": "/charge/bad*", "status": 500}, {"path": "/charge/*", "body": {"state": "charged"}}]))
            .await;
    let mut config = config(&[]);
    config.payments = Some(addr);
    let shop = start(config);
    let mut http = shop.open("router").await;
    let bad = http.order("bad-1").await;
    assert_eq!((bad.status, bad.release()), (StatusCode::BAD_GATEWAY, Some("v1")));
    assert_eq!(http.get("/orders/bad-1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(http.order("good-1").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn slow_payments_time_out_and_unreachable_ones_fail() {
    let slow = payments(json!([{"path": "/charge/*", "delay_ns": 30_000_000_000_u64}])).await;
    let mut with_slow = config(&["no-retry-budget"]);
    with_slow.payments = Some(slow);
    let shop = start(with_slow);
    let (mut control, mut canary) = (shop.open("control").await, shop.open("canary").await);
    let started = std::time::Instant::now();
    let once = async { (control.order("o-1").await.status, started.elapsed()) };
    let four_times = async { (canary.order("o-2").await.status, started.elapsed()) };
    let (once, four_times) = tokio::join!(once, four_times);
    assert_eq!((once.0, four_times.0), (StatusCode::GATEWAY_TIMEOUT, StatusCode::GATEWAY_TIMEOUT));
    assert!(once.1 >= Duration::from_secs(1) && once.1 < Duration::from_secs(2), "{once:?}");
    assert!(four_times.1 >= Duration::from_secs(4), "{four_times:?}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let mut without = config(&[]);
    without.payments = Some(closed);
    let shop = start(without);
    assert_eq!(shop.open("router").await.order("o-1").await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn an_order_is_charged_once() {
    // Payments that let nothing through a second time: the stub is gone after the first order.
    let listen = "127.0.0.1:0".parse().expect("an address");
    let answers = json!([{"path": "/charge/*"}]);
    let stub = Stub::bind(&StubConfig { name: "payments".into(), listen, answers }).await.expect("the stub binds");
    let mut config = config(&[]);
    config.payments = Some(stub.addr());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(stub.serve(async {
        let _ = stopped.await;
    }));
    let shop = start(config);
    let mut http = shop.open("router").await;
    assert_eq!(http.order("o-1").await.status, StatusCode::CREATED);
    drop(stop);
    serving.await.expect("the stub ends");
    assert_eq!(http.order("o-1").await.status, StatusCode::CREATED, "idempotent");
    assert_eq!(http.order("o-2").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(http.get("/orders/recent").await.json()["orders"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_own_payments_charge() {
    let shop = start(config(&[]));
    let mut http = shop.open("payments").await;
    let reply = http.send("POST", "/charge/o-1", &[], "").await;
    assert_eq!((reply.status, &reply.json()["order"], reply.release()), (StatusCode::OK, &json!("o-1"), None));
    assert_eq!(http.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(http.get("/charge/o-1").await.status, StatusCode::NOT_FOUND);
}
