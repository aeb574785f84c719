//! What the pilot's tests share: a running shop on its own thread, and a client of one connection.
#![allow(dead_code, missing_docs)]

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shakedown_pilot::{ENDPOINTS, Pilot, ShopConfig, runtime};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

pub struct Running {
    endpoints: BTreeMap<&'static str, SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Duration>>,
}

/// A shop with these flaws of the canary.
pub fn config(flaws: &[&str]) -> ShopConfig {
    ShopConfig {
        name: "pilot".into(),
        control: ("v1".into(), Vec::new()),
        canary: ("v2".into(), flaws.iter().map(|&f| f.to_owned()).collect()),
        payments: None,
        listen: BTreeMap::new(),
        seed: 7,
        sticky: None,
    }
}

pub fn start(config: ShopConfig) -> Running {
    let (bound, addresses) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let serving = async {
            let pilot = Pilot::bind(config).await.expect("the shop binds");
            let endpoints = ENDPOINTS.into_iter().map(|e| (e, pilot.endpoint(e).expect("every endpoint is bound"))).collect();
            bound.send(endpoints).expect("the test waits");
            pilot
                .serve(async {
                    let _ = stopped.await;
                })
                .await;
        };
        runtime().expect("a runtime").block_on(serving);
        cpu_of_this_thread()
    });
    let endpoints = addresses.recv().expect("the shop is bound");
    Running { endpoints, stop: Some(stop), thread: Some(thread) }
}

pub fn cpu_of_this_thread() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    Duration::from_nanos(stat.split(' ').next().expect("a field").parse().expect("nanoseconds"))
}

impl Running {
    pub fn addr(&self, endpoint: &str) -> SocketAddr {
        self.endpoints[endpoint]
    }

    pub async fn open(&self, endpoint: &str) -> Http {
        Http::open(self.addr(endpoint)).await
    }

    /// Ends the shop; gives the CPU time of its thread.
    pub fn stop(mut self) -> Duration {
        drop(self.stop.take());
        self.thread.take().expect("running").join().expect("the shop does not panic")
    }

    pub async fn weigh(&self, ppm: u32) -> Reply {
        self.open("admin").await.send("PUT", "/weight", &[], &format!("{{\"canary_ppm\": {ppm}}}")).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub struct Http(SendRequest<Full<Bytes>>);

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn release(&self) -> Option<&str> {
        self.headers.get("x-release").map(|v| v.to_str().expect("text"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

impl Http {
    pub async fn open(addr: SocketAddr) -> Http {
        let stream = TcpStream::connect(addr).await.expect("connects");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("handshake");
        tokio::spawn(connection);
        Http(sender)
    }

    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = Request::builder().method(method).uri(path).header("host", "test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request");
        self.0.ready().await.expect("kept alive");
        let (parts, body) = self.0.send_request(request).await.expect("an answer").into_parts();
        Reply { status: parts.status, headers: parts.headers, body: body.collect().await.expect("a body").to_bytes() }
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub async fn order(&mut self, id: &str) -> Reply {
        self.send("POST", "/orders", &[], &format!("{{\"id\": \"{id}\", \"cart\": \"c-1\"}}")).await
    }
}

/// GETs `path` `n` times over 32 connections; gives every reply with its time.
pub async fn many(addr: SocketAddr, path: &'static str, n: usize) -> Vec<(Reply, Duration)> {
    let lanes = 32;
    let lane = |k: usize| async move {
        let mut http = Http::open(addr).await;
        let mut replies = Vec::new();
        for _ in (k..n).step_by(lanes) {
            let sent = std::time::Instant::now();
            let reply = http.get(path).await;
            replies.push((reply, sent.elapsed()));
        }
        replies
    };
    let tasks: Vec<_> = (0..lanes).map(|k| tokio::spawn(lane(k))).collect();
    let mut all = Vec::with_capacity(n);
    for task in tasks {
        all.extend(task.await.expect("a lane"));
    }
    all
}
