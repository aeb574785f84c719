//! The HTTP proxy on loopback: messages pass byte for byte; requests that match are delayed, aborted, reset, swallowed.
// clippy takes helpers of integration tests for library code.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{NAME, add, canned, connect, exchange, proxy, proxy_to, toxic};
use shakedown_core::Ppm;
use shakedown_core::plan::Match;
use shakedown_core::seams::{Endpoints, Proxies, Toxic};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(3);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

async fn get(stream: &mut tokio::net::TcpStream, method: &str, path: &str) -> String {
    stream.write_all(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.windows(4).any(|w| w == b"\r\n\r\n") {
        assert!(timeout(SOON, stream.read_buf(&mut got)).await.unwrap().unwrap() > 0, "closed");
    }
    let head = String::from_utf8_lossy(&got).to_ascii_lowercase();
    let length: usize = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let end = head.find("\r\n\r\n").unwrap() + 4;
    while got.len() < end + length {
        assert!(timeout(SOON, stream.read_buf(&mut got)).await.unwrap().unwrap() > 0, "closed");
    }
    String::from_utf8(got).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_pass_byte_for_byte_on_one_connection() {
    let answers: &[(&str, &'static [u8])] = &[
        ("GET", OK),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
        ("GET", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"),
    ];
    for (method, answer) in answers {
        let (set, addr) = proxy(canned(answer).await, true).await;
        let mut stream = connect(addr).await;
        for _ in 0..3 {
            let request = format!("{method} /a?b HTTP/1.1\r\nHost:  x\r\nX-Odd:\tY \r\n\r\n");
            let got = timeout(SOON, exchange(&mut stream, request.as_bytes(), answer.len())).await.unwrap();
            assert_eq!(got, *answer);
        }
        let stats = set.stats(NAME).unwrap();
        assert_eq!((stats.connections, stats.requests), (1, 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_speaks_no_http_is_a_502() {
    // The echo's "answer" is the request itself.
    let (upstream, _task) = common::echo().await;
    let (set, addr) = proxy(upstream, true).await;
    let mut stream = connect(addr).await;
    let got = get(&mut stream, "GET", "/").await;
    assert!(got.starts_with("HTTP/1.1 502") && got.contains("x-shakedown-proxy: upstream-unreachable"), "{got}");
    assert_eq!((set.stats(NAME).unwrap().up, set.stats(NAME).unwrap().errors), (27, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abort_hits_its_share_of_what_matches_and_the_same_again() {
    let upstream = canned(OK).await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (set, addr) = proxy(upstream, true).await;
        let matches = Match { method: Some("POST".into()), path: Some("/charge/*".into()) };
        let abort = toxic("fail", "abort", &[("status", "503"), ("body", "no")]);
        add(&set, Toxic { share: Ppm(250_000), matches, ..abort }).await;
        let mut stream = connect(addr).await;
        let mut hit = Vec::new();
        for _ in 0..400 {
            let got = get(&mut stream, "POST", "/charge/7?q=1").await;
            hit.push(got.starts_with("HTTP/1.1 503") && got.ends_with("no"));
            assert!(hit[hit.len() - 1] || got.as_bytes() == OK);
        }
        for (method, path) in [("GET", "/charge/7"), ("POST", "/refund/7")] {
            assert_eq!(get(&mut stream, method, path).await.as_bytes(), OK);
        }
        let counted = set.attest(NAME, "fail");
        let hits = hit.iter().filter(|h| **h).count() as u64;
        assert_eq!((counted.seen, counted.hits), (400, hits));
        // Binomial(400, 0.25): mean 100, standard deviation 8.7; four of them.
        assert!((65..=135).contains(&hits), "{hits} of 400");
        runs.push(hit);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_holds_the_request_and_goes_when_removed() {
    let (set, addr) = proxy(canned(OK).await, true).await;
    for direction in ["upstream", "downstream"] {
        add(&set, toxic("slow", "latency", &[("delay", "50ms"), ("direction", direction)])).await;
        let mut stream = connect(addr).await;
        let started = Instant::now();
        get(&mut stream, "GET", "/").await;
        assert!((50..500).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        set.remove(NAME, "slow").await.unwrap();
    }
    assert_eq!(set.attest(NAME, "slow").hits, 2);
    add(&set, toxic("long", "latency", &[("delay", "60s")])).await;
    let mut stream = connect(addr).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    while set.attest(NAME, "long").hits == 0 {
        tokio::task::yield_now().await;
    }
    let removed = Instant::now();
    set.remove(NAME, "long").await.unwrap();
    let mut got = [0; OK.len()];
    timeout(SOON, stream.read_exact(&mut got)).await.unwrap().unwrap();
    assert!(removed.elapsed() < Duration::from_millis(100), "{:?}", removed.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_and_black_hole_end_connections() {
    let (set, addr) = proxy(canned(OK).await, true).await;
    add(&set, toxic("rst", "reset", &[])).await;
    let mut stream = connect(addr).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = timeout(SOON, stream.read(&mut [0; 1])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    set.remove(NAME, "rst").await.unwrap();

    add(&set, toxic("hole", "blackhole", &[])).await;
    let mut stream = connect(addr).await;
    stream.write_all(b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc").await.unwrap();
    assert!(timeout(Duration::from_millis(100), stream.read(&mut [0; 1])).await.is_err());
    let removed = Instant::now();
    set.remove(NAME, "hole").await.unwrap();
    assert!(matches!(timeout(SOON, stream.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_)));
    assert!(removed.elapsed() < Duration::from_millis(100), "{:?}", removed.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_or_refused_upstream_is_a_502() {
    for upstream in ["127.0.0.1:1", "192.0.2.1:80", "not.up"] {
        let set = proxy_to(upstream, true, Endpoints::default()).await;
        let mut stream = connect(set.addr(NAME).unwrap()).await;
        for _ in 0..2 {
            let got = get(&mut stream, "GET", "/").await;
            assert!(got.starts_with("HTTP/1.1 502") && got.contains("x-shakedown-proxy: upstream-unreachable"), "{got}");
            assert!(upstream != "192.0.2.1:80" || got.contains("environment.allow"), "{got}");
        }
        assert_eq!(set.stats(NAME).unwrap().errors, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_huge_heads_and_smuggling_are_refused() {
    let (set, addr) = proxy(canned(OK).await, true).await;
    let huge = format!("GET / HTTP/1.1\r\nx: {}\r\n", "a".repeat(100_000));
    let cases: &[(&[u8], &str)] = &[
        (b"\x16\x03\x01\x00\xff", "400"),
        (b"hello\r\n\r\n", "400"),
        (huge.as_bytes(), "431"),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400"),
        (b"CONNECT x:1 HTTP/1.1\r\n\r\n", "501"),
    ];
    for (bytes, status) in cases {
        let mut stream = connect(addr).await;
        stream.write_all(bytes).await.unwrap();
        let mut got = Vec::new();
        timeout(SOON, stream.read_to_end(&mut got)).await.unwrap().unwrap();
        let got = String::from_utf8_lossy(&got).into_owned();
        assert!(got.starts_with(&format!("HTTP/1.1 {status}")), "{got}");
    }
    assert_eq!(set.stats(NAME).unwrap().malformed, 5);
    let mut stream = connect(addr).await;
    assert_eq!(get(&mut stream, "GET", "/").await.as_bytes(), OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_vanishes_in_a_body_cuts_the_client_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
        }
    });
    let (set, addr) = proxy(upstream, true).await;
    let mut stream = connect(addr).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    let _ended = timeout(SOON, stream.read_to_end(&mut got)).await.unwrap();
    assert!(got.ends_with(b"abc"), "{got:?}");
    assert_eq!(set.stats(NAME).unwrap().errors, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_proxy_refuses_what_needs_http() {
    let (set, _) = proxy("127.0.0.1:1".parse().unwrap(), false).await;
    let failed = set.add(NAME, toxic("fail", "abort", &[("status", "500")])).await.unwrap_err();
    assert!(failed.0.contains("protocol: http"), "{failed}");
    add(&set, toxic("twice", "reset", &[])).await;
    assert!(set.add(NAME, toxic("twice", "reset", &[])).await.unwrap_err().0.contains("already"));
}
