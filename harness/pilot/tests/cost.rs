//! What the pilot costs: CPU time of its thread for a request through router and shop. Printed, not asserted: machines
//! differ; read it with `cargo test --release -p shakedown-pilot --test cost -- --nocapture`.
#![allow(missing_docs)]

mod common;

use common::{Http, config, many, start};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Shortest round-robin lane of the paced run.
const LANES: usize = 48;

#[tokio::test]
async fn cpu_per_request() {
    let shop = start(config(&[]));
    let addr = shop.addr("router");
    many(addr, "/products/7", 500).await;
    let (started, n) = (Instant::now(), 6_000);
    let replies = many(addr, "/products/7", n).await;
    let rate = n as f64 / started.elapsed().as_secs_f64();
    assert!(replies.iter().all(|(reply, _)| reply.status == 200));
    let cpu = shop.stop().as_secs_f64() / (n + 500) as f64;
    println!("closed, 32 connections: {rate:.0}/s, {:.1} us CPU a request, {:.0} requests a core-second", cpu * 1e6, 1.0 / cpu);
}

#[tokio::test]
async fn cpu_at_a_paced_rate() {
    let shop = start(config(&[]));
    shop.weigh(250_000).await;
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        lanes.push(Arc::new(Mutex::new(shop.open("router").await)));
    }
    let (rate, seconds) = (1_500, 3);
    let (started, mut sent) = (Instant::now(), 0);
    let mut tasks = Vec::new();
    while sent < rate * seconds {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as usize;
        for k in sent..due.min(rate * seconds) {
            let lane: Arc<Mutex<Http>> = lanes[k % LANES].clone();
            tasks.push(tokio::spawn(async move {
                let mut http = lane.lock().await;
                // One request in ten is an order, which goes on to payments.
                let reply = if k % 10 == 0 { http.order(&format!("o-{k}")).await } else { http.get("/products/7").await };
                assert!(reply.status.is_success());
            }));
        }
        sent = due.min(rate * seconds);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for task in tasks {
        task.await.expect("every request is answered");
    }
    let wall = started.elapsed().as_secs_f64();
    let cpu = shop.stop().as_secs_f64();
    println!("paced: {:.0}/s cost {:.1}% of a core, {:.1} us a request", sent as f64 / wall, 100.0 * cpu / wall, cpu / sent as f64 * 1e6);
}
