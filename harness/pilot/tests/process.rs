//! Announcements, and the end of the servers.
#![allow(missing_docs)]

mod common;

use common::{Http, config, start};
use serde_json::json;
use shakedown_pilot::{Stub, StubConfig, serve_shop, serve_stub};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Hands lines over to the test.
struct Out(mpsc::UnboundedSender<String>, String);

impl std::io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.push_str(std::str::from_utf8(bytes).expect("text"));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        for line in std::mem::take(&mut self.1).lines() {
            self.0.send(line.to_owned()).expect("the test listens");
        }
        Ok(())
    }
}

async fn announced(lines: &mut mpsc::UnboundedReceiver<String>) -> Vec<(String, SocketAddr)> {
    let mut endpoints = Vec::new();
    loop {
        let line = lines.recv().await.expect("a line");
        if line == "SHAKEDOWN-READY" {
            return endpoints;
        }
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("SHAKEDOWN-ENDPOINT"));
        endpoints.push((words.next().expect("a name").to_owned(), words.next().expect("an address").parse().expect("an address")));
    }
}

#[tokio::test]
async fn every_endpoint_is_announced_and_serves() {
    let (send, mut lines) = mpsc::unbounded_channel();
    let serving = tokio::spawn(async move { serve_shop(config(&[]), &mut Out(send, String::new())).await });
    let endpoints = announced(&mut lines).await;
    let names: Vec<&str> = endpoints.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["pilot.admin", "pilot.canary", "pilot.control", "pilot.payments", "pilot.router"]);
    for (name, addr) in endpoints {
        assert_eq!(Http::open(addr).await.get("/healthz").await.status, 200, "{name}");
    }
    serving.abort();
}

#[tokio::test]
async fn announcements_that_cannot_be_written_end_the_shop() {
    let mut full: &mut [u8] = &mut [];
    assert!(serve_shop(config(&[]), &mut full).await.expect_err("nobody listens").0.contains("announce"));
}

#[tokio::test]
async fn the_stub_answers_as_told() {
    let answers = json!([
        {"method": "GET", "path": "/a/*", "status": 203, "headers": {"x-a": "b"}, "body": {"k": 1}},
        {"path": "/slow", "delay_ns": 30_000_000, "body": "late"},
    ]);
    let config = StubConfig { name: "ledger".into(), listen: "127.0.0.1:0".parse().expect("an address"), answers };
    let (send, mut lines) = mpsc::unbounded_channel();
    let serving = {
        let config = config.clone();
        tokio::spawn(async move { serve_stub(config, &mut Out(send, String::new())).await })
    };
    let endpoints = announced(&mut lines).await;
    assert_eq!(endpoints[0].0, "ledger.http");
    let mut http = Http::open(endpoints[0].1).await;
    let reply = http.get("/a/b?c=d").await;
    assert_eq!((reply.status.as_u16(), &reply.headers["x-a"], reply.json()), (203, &"b".parse().expect("text"), json!({"k": 1})));
    assert_eq!(reply.headers["content-type"], "application/json");
    let asked = Instant::now();
    assert_eq!(http.get("/slow").await.body, "late");
    assert!(asked.elapsed() >= Duration::from_millis(30));
    assert_eq!(http.send("POST", "/a/b", &[], "").await.status, 404);
    serving.abort();

    let wrong = StubConfig { answers: json!([{"status": 200}, {"statuz": 200}]), ..config };
    assert!(Stub::bind(&wrong).await.err().expect("a wrong entry").0.starts_with("answer 2 of ledger is wrong"));
}

#[tokio::test]
async fn the_end_takes_less_than_a_second_with_requests_open() {
    let answers = json!([{"delay_ns": 30_000_000_000_u64}]);
    let stub =
        Stub::bind(&StubConfig { name: "p".into(), listen: "127.0.0.1:0".parse().expect("an address"), answers }).await.expect("binds");
    let mut config = config(&[]);
    config.payments = Some(stub.addr());
    tokio::spawn(stub.serve(std::future::pending()));
    let shop = start(config);
    let mut idle = shop.open("router").await;
    idle.get("/healthz").await;
    let mut open = TcpStream::connect(shop.addr("router")).await.expect("connects");
    let order = br#"{"id": "o-1", "cart": "c-1"}"#;
    let head = format!("POST /orders HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", order.len());
    open.write_all(head.as_bytes()).await.expect("sent");
    open.write_all(order).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let stopped = Instant::now();
    tokio::task::spawn_blocking(|| shop.stop()).await.expect("it ends");
    assert!(stopped.elapsed() < Duration::from_millis(900), "{:?}", stopped.elapsed());
    let mut rest = Vec::new();
    assert_eq!(open.read_to_end(&mut rest).await.unwrap_or(0), 0, "the request stayed unanswered");
}
