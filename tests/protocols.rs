//! Every protocol with the real binary against small servers of this test: HTTP/2, gRPC (proto file), WebSocket, TCP, UDP,
//! and HTTP/1.1 over a Unix socket. What the servers saw is held against what the run says.

mod common;

use common::{Scratch, alone};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What the servers counted.
#[derive(Default)]
struct Seen {
    h2: AtomicU64,
    grpc: AtomicU64,
    websocket: AtomicU64,
    tcp: AtomicU64,
    udp: AtomicU64,
    unix: AtomicU64,
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// An HTTP/2 server with prior knowledge; gRPC calls to `shop.Cart/Get` know every cart but `gone`.
fn h2_server(seen: Arc<Seen>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("non-blocking");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((socket, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(Arc::clone(&seen), request, respond));
                    }
                });
            }
        });
    });
    addr
}

async fn answer(seen: Arc<Seen>, request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<bytes::Bytes>) {
    let path = request.uri().path().to_owned();
    let mut body = Vec::new();
    let mut stream = request.into_body();
    while let Some(Ok(data)) = stream.data().await {
        stream.flow_control().release_capacity(data.len()).expect("released once");
        body.extend_from_slice(&data);
    }
    if path != "/shop.Cart/Get" {
        one_more(&seen.h2);
        let head = http::Response::builder().status(200).header("x-by", "h2").body(()).expect("a head");
        let mut out = respond.send_response(head, false).expect("an answer");
        out.send_data("{\"state\":\"open\"}".into(), true).expect("a body");
        return;
    }
    one_more(&seen.grpc);
    // Five bytes of gRPC framing, then `id` as field 1.
    let id = body.get(7..).unwrap_or_default().to_vec();
    let head = http::Response::builder().status(200).header("content-type", "application/grpc").body(()).expect("a head");
    let mut out = respond.send_response(head, false).expect("an answer");
    let mut trailers = http::HeaderMap::new();
    if id == b"gone" {
        trailers.insert("grpc-status", "5".parse().expect("a value"));
    } else {
        let mut message = vec![0x0a, id.len() as u8];
        message.extend(&id);
        message.extend(b"\x12\x04open");
        let mut framed = vec![0];
        framed.extend((message.len() as u32).to_be_bytes());
        framed.extend(message);
        out.send_data(framed.into(), false).expect("a message");
        trailers.insert("grpc-status", "0".parse().expect("a value"));
    }
    out.send_trailers(trailers).expect("trailers");
}

/// Greets, then says every text back.
fn websocket_server(seen: Arc<Seen>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                let Ok(mut ws) = tungstenite::accept(socket) else { return };
                one_more(&seen.websocket);
                let mut said = ws.send("hello".into());
                while said.is_ok() {
                    match ws.read() {
                        Ok(m) if m.is_text() => said = ws.send(m),
                        Ok(_) => {}
                        Err(_) => return,
                    }
                }
            });
        }
    });
    addr
}

/// Answers `PING` lines with `PONG`.
fn tcp_server(seen: Arc<Seen>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                let mut out = socket.try_clone().expect("a second handle");
                for line in BufReader::new(socket).lines().map_while(Result::ok) {
                    one_more(&seen.tcp);
                    let answer: &[u8] = if line == "PING" { b"+PONG\r\n" } else { b"-ERR\r\n" };
                    if out.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

fn udp_server(seen: Arc<Seen>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut datagram = [0u8; 1500];
        while let Ok((n, from)) = socket.recv_from(&mut datagram) {
            one_more(&seen.udp);
            if socket.send_to(&datagram[..n], from).is_err() {
                return;
            }
        }
    });
    addr
}

/// HTTP/1.1 on a Unix socket.
fn unix_server(path: &Path, seen: Arc<Seen>) {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                let (mut kept, mut piece) = (Vec::new(), [0u8; 4096]);
                while let Ok(n @ 1..) = socket.read(&mut piece) {
                    kept.extend_from_slice(&piece[..n]);
                    while let Some(end) = kept.windows(4).position(|w| w == b"\r\n\r\n") {
                        kept.drain(..end + 4);
                        one_more(&seen.unix);
                        if socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}

const PROTO: &str = r#"syntax = "proto3";
package shop;
message GetRequest { string id = 1; }
message CartReply { string id = 1; string state = 2; }
service Cart { rpc Get(GetRequest) returns (CartReply); }
"#;

const SCENARIO: &str = r#"version: 1
name: protocols
seed: 4
time_box: 30s
environment:
  name: protocols
  targets:
    two: {url: "http://H2", http: 2}
    carts: {url: "grpc://H2", proto: shop.proto}
    feed: "ws://WS"
    lines: "tcp://TCP"
    datagrams: "udp://UDP"
    local: {url: "http://local", unix: ./app.sock}
traffic:
  two:
    target: two
    shape: [{hold: 2s, rate: 100/s}]
    connections: {max: 2, streams: 10}
    requests: [{get: /items/1, expect: {status: 200, json: {$.state: open}}}]
  carts:
    target: carts
    shape: [{hold: 2s, rate: 50/s}]
    journeys:
      both:
        steps:
          - {name: there, grpc: shop.Cart/Get, message: {id: c1}, capture: {state: $.state}, expect: {json: {$.state: open}}}
          - {name: gone, grpc: shop.Cart/Get, message: {id: gone}, expect: {grpc_status: NOT_FOUND}}
  feed:
    target: feed
    shape: [{hold: 2s, rate: 40/s}]
    requests: [{name: talk, websocket: /feed, send: ["one", "two"], receive: 3, expect: {messages: 3, body: two}}]
  lines:
    target: lines
    shape: [{hold: 2s, rate: 100/s}]
    requests: [{name: ping, tcp: "PING\r\n", until: "\r\n", expect: {body: PONG}}]
  datagrams:
    target: datagrams
    shape: [{hold: 2s, rate: 100/s}]
    requests: [{name: echo, udp: "abc", expect: {body: abc}}]
  local:
    target: local
    shape: [{hold: 2s, rate: 100/s}]
    requests: [{get: /}]
slos:
  two: {indicator: success_rate, min: 97%, stream: two}
  carts: {indicator: success_rate, min: 97%, stream: carts}
  feed: {indicator: success_rate, min: 90%, stream: feed}
  lines: {indicator: success_rate, min: 97%, stream: lines}
  datagrams: {indicator: success_rate, min: 97%, stream: datagrams}
  local: {indicator: success_rate, min: 97%, stream: local}
"#;

#[test]
fn every_protocol_is_sent_counted_and_judged() {
    let _alone = alone();
    let s = Scratch::new();
    let seen = Arc::new(Seen::default());
    s.write("shop.proto", PROTO);
    unix_server(&s.path("app.sock"), Arc::clone(&seen));
    let text = SCENARIO
        .replace("H2", &h2_server(Arc::clone(&seen)).to_string())
        .replace("WS", &websocket_server(Arc::clone(&seen)).to_string())
        .replace("TCP", &tcp_server(Arc::clone(&seen)).to_string())
        .replace("UDP", &udp_server(Arc::clone(&seen)).to_string());
    let said = s.scenario(&s.write("protocols.yaml", &text), &[]);
    assert_eq!(said.code, 0, "{said:?}");
    let decision = s.decision();
    for (name, samples) in [("two", 200), ("carts", 200), ("feed", 80), ("lines", 200), ("datagrams", 200), ("local", 200)] {
        let objective = &decision["objectives"][name];
        assert_eq!(
            (objective["status"].as_str(), objective["samples"][0].as_u64()),
            (Some("pass"), Some(samples)),
            "{name}: {objective:#}"
        );
        assert_eq!(objective["value"].as_f64(), Some(1.0), "{name}: {objective:#}");
    }
    let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
    assert_eq!((count(&seen.h2), count(&seen.grpc), count(&seen.websocket)), (200, 200, 80));
    assert_eq!((count(&seen.tcp), count(&seen.udp), count(&seen.unix)), (200, 200, 200));
}

#[test]
fn a_protocol_nobody_speaks_fails_and_never_passes() {
    let _alone = alone();
    let s = Scratch::new();
    let seen = Arc::new(Seen::default());
    let h2 = h2_server(Arc::clone(&seen));
    // Each client against a server that speaks something else.
    for (target, request) in [
        (format!("{{url: \"http://{}\", http: 2}}", tcp_server(Arc::clone(&seen))), "{get: /}".to_owned()),
        (format!("\"ws://{}\"", tcp_server(Arc::clone(&seen))), "{name: w, websocket: /, receive: 1}".to_owned()),
        (format!("\"tcp://{h2}\""), "{name: t, tcp: \"PING\\r\\n\", until: \"+PONG\"}".to_owned()),
    ] {
        let text = format!(
            "version: 1\nname: wrong\nseed: 1\ntime_box: 20s\nenvironment:\n  name: wrong\n  targets: {{t: {target}}}\ntraffic:\n  s: {{target: t, shape: [{{hold: 1s, rate: 20/s}}], timeout: 500ms, requests: [{request}]}}\nslos:\n  ok: {{indicator: success_rate, min: 50%}}\n"
        );
        let said = s.scenario(&s.write("wrong.yaml", &text), &[]);
        assert_eq!(said.code, 10, "{request}: {said:?}");
        std::fs::remove_dir_all(s.path("out")).expect("the run directory");
    }
}
