//! Rude peers of the other protocols: HTTP/2, gRPC, WebSocket, TCP, UDP.

use crate::common::{Scratch, alone};
use crate::run::{run, scenario};
use crate::server::{Manner, Rude};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a flood goes on at most.
const FLOOD: Duration = Duration::from_secs(10);
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// SETTINGS: no streams at all.
const NO_STREAMS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
/// GOAWAY: last stream 0, no error.
const GO_AWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// PING.
const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/// HEADERS of stream 1 without an end, and what goes on with them: an indexed field, again and again.
const HEADERS: &[u8] = &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88];
const CONTINUATION: &[u8] = &[0, 0, 8, 9, 0, 0, 0, 0, 1, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88];

/// A server on threads; says how many connections came.
fn peer(serve: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (addr, count) = (listener.local_addr().expect("an address"), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || serve(socket));
        }
    });
    (addr, count)
}

/// Says `first`, then `again` until nobody listens any more, and waits for the end.
fn say(mut socket: TcpStream, first: &[u8], again: &[u8]) {
    socket.set_write_timeout(Some(FLOOD)).expect("a timeout");
    let (start, many) = (Instant::now(), again.repeat(1000));
    if socket.write_all(first).is_err() {
        return;
    }
    while !many.is_empty() && start.elapsed() < FLOOD {
        if socket.write_all(&many).is_err() {
            return;
        }
    }
    socket.set_read_timeout(Some(FLOOD)).expect("a timeout");
    let mut space = [0; 4096];
    while matches!(socket.read(&mut space), Ok(1..)) {}
}

fn stream(name: &str, request: &str) -> String {
    format!("{name}: {{target: {name}, timeout: 400ms, shape: [{{hold: 1s, rate: 10/s}}], requests: [{request}]}}\n")
}

#[test]
fn rude_http2_peers_are_counted_and_hold_nobody_up() {
    let _alone = alone();
    let s = Scratch::new();
    s.write("shop.proto", "syntax = \"proto3\";\npackage shop;\nmessage A { string id = 1; }\nservice Cart { rpc Get(A) returns (A); }\n");
    let (away, aways) = peer(|c| say(c, &[SETTINGS, GO_AWAY].concat(), &[]));
    let (none, nones) = peer(|c| say(c, NO_STREAMS, &[]));
    let (ping, _) = peer(|c| say(c, SETTINGS, PING));
    let (bomb, _) = peer(|c| say(c, &[SETTINGS, HEADERS].concat(), CONTINUATION));
    let (silent, _) = peer(|c| say(c, &[], &[]));
    let (closes, _) = peer(drop);
    let garbage = Rude::always(Manner::Garbage);
    let fine = Rude::by_path();
    let targets = format!(
        "away: {{url: \"http://{away}\", http: 2}}, none: {{url: \"http://{none}\", http: 2}}, ping: {{url: \"http://{ping}\", http: 2}}, bomb: {{url: \"http://{bomb}\", http: 2}}, silent: {{url: \"http://{silent}\", http: 2}}, closes: {{url: \"http://{closes}\", http: 2}}, garbage: {{url: \"http://{0}\", http: 2}}, grpc: {{url: \"grpc://{away}\", proto: shop.proto}}, grpc-garbage: {{url: \"grpc://{0}\", proto: shop.proto}}, fine: \"http://{1}\"",
        garbage.address, fine.address
    );
    let mut streams: String =
        ["away", "none", "ping", "bomb", "silent", "closes", "garbage"].iter().map(|n| stream(n, "{get: /}")).collect();
    streams += &stream("grpc", "{name: g, grpc: shop.Cart/Get, message: {id: a}}");
    streams += &stream("grpc-garbage", "{name: g, grpc: shop.Cart/Get, message: {id: a}}");
    streams += "fine: {target: fine, timeout: 2s, shape: [{hold: 1s, rate: 50/s}], requests: [{get: /}]}\n";
    let run = run(&s, &scenario(&targets, &streams, ""), Duration::from_secs(20), &[]);
    println!("http2: {:?}, {} KiB, {aways:?} and {nones:?} connections", run.took, run.peak);
    assert_ne!(run.code, 0, "{run:#?}");
    run.all_failed("away", 10, &["reset"]);
    run.all_failed("none", 10, &["timeout"]);
    run.all_failed("ping", 10, &["timeout", "reset", "protocol"]);
    run.all_failed("bomb", 10, &["timeout", "reset", "protocol"]);
    run.all_failed("silent", 10, &["timeout"]);
    run.all_failed("closes", 10, &["reset"]);
    run.all_failed("garbage", 10, &["protocol", "reset"]);
    run.all_failed("grpc", 10, &["reset"]);
    run.all_failed("grpc-garbage", 10, &["protocol", "reset"]);
    run.all_ok("fine", 50);
    // Ten requests and ten calls, each moved a few times; not as fast as connections can be made.
    assert!(aways.load(Ordering::Relaxed) <= 200, "{aways:?} connections");
    assert!(nones.load(Ordering::Relaxed) <= 100, "{nones:?} connections");
}

/// Opens a WebSocket properly, then says what is none.
fn websocket(socket: TcpStream, first: &[u8], again: &[u8]) {
    let Ok(ws) = tungstenite::accept(socket.try_clone().expect("a second handle")) else { return };
    say(socket, first, again);
    drop(ws);
}

#[test]
fn rude_websocket_peers_are_counted_and_hold_nobody_up() {
    let _alone = alone();
    let s = Scratch::new();
    let (frames, _) = peer(|c| websocket(c, &[0xff; 64], &[]));
    let (pings, _) = peer(|c| websocket(c, &[], &[0x89, 0]));
    let (empty, _) = peer(|c| websocket(c, &[], &[0x81, 0]));
    let (huge, _) = peer(|c| websocket(c, &[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &[]));
    let (mute, _) = peer(|c| websocket(c, &[], &[]));
    let garbage = Rude::always(Manner::Garbage);
    let half = Rude::always(Manner::HalfHead);
    let bomb = Rude::always(Manner::HeaderBomb);
    let fine = Rude::by_path();
    let targets = format!(
        "frames: \"ws://{frames}\", pings: \"ws://{pings}\", empty: \"ws://{empty}\", huge: \"ws://{huge}\", mute: \"ws://{mute}\", garbage: \"ws://{}\", half: \"ws://{}\", bomb: \"ws://{}\", fine: \"http://{}\"",
        garbage.address, half.address, bomb.address, fine.address
    );
    let mut streams: String = ["frames", "pings", "huge", "mute", "garbage", "half", "bomb"]
        .iter()
        .map(|n| stream(n, "{name: w, websocket: /, send: [\"a\"], receive: 2}"))
        .collect();
    streams += &stream("empty", "{name: w, websocket: /, send: [\"a\"], receive: 1000000}");
    streams += "fine: {target: fine, timeout: 2s, shape: [{hold: 1s, rate: 50/s}], requests: [{get: /}]}\n";
    let run = run(&s, &scenario(&targets, &streams, ""), Duration::from_secs(20), &[]);
    println!("websocket: {:?}, {} KiB", run.took, run.peak);
    assert_ne!(run.code, 0, "{run:#?}");
    run.all_failed("frames", 10, &["protocol"]);
    run.all_failed("pings", 10, &["timeout"]);
    run.all_failed("empty", 10, &["timeout", "protocol"]);
    run.all_failed("huge", 10, &["protocol"]);
    run.all_failed("mute", 10, &["timeout"]);
    run.all_failed("garbage", 10, &["protocol", "reset"]);
    run.all_failed("half", 10, &["timeout"]);
    run.all_failed("bomb", 10, &["protocol"]);
    run.all_ok("fine", 50);
}

/// Answers every datagram by `answers`, or not at all.
fn datagrams(answers: &'static [&'static [u8]]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut space = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut space) {
            for answer in answers {
                if socket.send_to(answer, from).is_err() {
                    return;
                }
            }
        }
    });
    addr
}

#[test]
fn rude_tcp_and_udp_peers_are_counted_and_hold_nobody_up() {
    let _alone = alone();
    let s = Scratch::new();
    let (flood, _) = peer(|c| say(c, &[], b"no end in sight "));
    let (more, _) = peer(|c| say(c, b"+PONG\r\nand more", &[]));
    let (silent, _) = peer(|c| say(c, &[], &[]));
    let (closes, _) = peer(drop);
    let (mute, wrong, twice) = (datagrams(&[]), datagrams(&[b"other"]), datagrams(&[b"abc", b"abc"]));
    // Nobody is there once the socket is gone.
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let targets = format!(
        "flood: \"tcp://{flood}\", more: \"tcp://{more}\", silent: \"tcp://{silent}\", closes: \"tcp://{closes}\", mute: \"udp://{mute}\", wrong: \"udp://{wrong}\", twice: \"udp://{twice}\", nobody: \"udp://{nobody}\""
    );
    let mut streams: String =
        ["flood", "more", "silent", "closes"].iter().map(|n| stream(n, r#"{name: p, tcp: "PING\r\n", until: "\r\n"}"#)).collect();
    streams += &["mute", "wrong", "twice", "nobody"].map(|n| stream(n, "{name: u, udp: \"abc\", expect: {body: abc}}")).concat();
    let run = run(&s, &scenario(&targets, &streams, ""), Duration::from_secs(20), &[]);
    println!("tcp and udp: {:?}, {} KiB", run.took, run.peak);
    assert_ne!(run.code, 0, "{run:#?}");
    run.all_failed("flood", 10, &["timeout", "protocol"]);
    run.all_failed("more", 10, &["protocol"]);
    run.all_failed("silent", 10, &["timeout"]);
    run.all_failed("closes", 10, &["reset"]);
    run.all_failed("mute", 10, &["timeout"]);
    run.all_failed("wrong", 10, &["expectation"]);
    run.all_ok("twice", 10);
    run.all_failed("nobody", 10, &["refused"]);
}
