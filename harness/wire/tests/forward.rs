//! The forwarding loop with a policy of its own: a small router on loopback.
// clippy takes helpers of integration tests for library code.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use shakedown_core::seams::Boxed;
use shakedown_wire::{Answer, Exchange, Forward, Head, HttpPolicy, Origin, Report, Server, Timer, Verdict, bind, request, serve_http};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(3);

/// Sends `/a…` to the first upstream, `/b…` to the second, refuses the rest; marks answers with the arm.
struct Router {
    upstreams: [SocketAddr; 2],
    reports: Arc<Mutex<Vec<Report>>>,
}

struct Arm(&'static str, Arc<Mutex<Vec<Report>>>);

impl HttpPolicy for Router {
    fn request<'a>(&'a self, _origin: &'a Origin, head: &'a mut Head) -> Boxed<'a, Verdict> {
        let (index, arm) = match head.path().as_bytes() {
            [b'/', b'a', ..] => (0, "a"),
            [b'/', b'b', ..] => (1, "b"),
            _ => return Box::pin(async { Verdict::Answer(Answer::text(404, "no such arm\n")) }),
        };
        let exchange = Box::new(Arm(arm, Arc::clone(&self.reports)));
        let upstream = self.upstreams[index];
        Box::pin(async move { Verdict::Forward(Forward { upstream, exchange }) })
    }
}

impl Exchange for Arm {
    fn response<'a>(&'a mut self, head: &'a mut Head) -> Boxed<'a, ()> {
        head.append("x-release", self.0);
        Box::pin(async {})
    }
    fn end(self: Box<Self>, report: Report) {
        self.1.lock().unwrap().push(report);
    }
}

async fn router(upstreams: [SocketAddr; 2]) -> (Server, Arc<Mutex<Vec<Report>>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let policy = Arc::new(Router { upstreams, reports: Arc::clone(&reports) });
    let timer = Arc::new(Timer::start().unwrap());
    let listener = bind("127.0.0.1:0".parse().unwrap(), "router").unwrap();
    let server = Server::start(listener, move |stream, peer, number| {
        let (policy, timer) = (Arc::clone(&policy), Arc::clone(&timer));
        async move { serve_http(stream, number, peer, &*policy, &timer).await }
    });
    (server.unwrap(), reports)
}

/// Records what it gets and answers each request with its body's length (chunked requests end in `0\r\n\r\n`); closes
/// after `per_connection` answers.
async fn upstream(per_connection: usize) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let record = Arc::clone(&record);
            tokio::spawn(async move {
                let mut got = Vec::new();
                for _ in 0..per_connection {
                    while !(got.ends_with(b"\r\n\r\n") || got.ends_with(b"END")) {
                        if stream.read_buf(&mut got).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    record.lock().unwrap().extend_from_slice(&got);
                    got.clear();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                }
            });
        }
    });
    (addr, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_goes_where_the_policy_says() {
    let ((a, seen_a), (b, seen_b)) = (upstream(100).await, upstream(100).await);
    let (server, reports) = router([a, b]).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    // Pipelined: answered in order, each by its own upstream, bodies byte for byte.
    let to_a = b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\n_END".as_slice();
    let to_b = b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\nz\r\n0\r\n\r\n".as_slice();
    for _ in 0..3 {
        stream.write_all(&[to_a, to_b].concat()).await.unwrap();
        let answer = |arm| format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-release: {arm}\r\n\r\nok");
        let expected = [answer("a"), answer("b")].concat();
        let mut got = vec![0; expected.len()];
        timeout(SOON, stream.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), expected);
    }
    assert_eq!(*seen_a.lock().unwrap(), to_a.repeat(3));
    assert_eq!(*seen_b.lock().unwrap(), to_b.repeat(3));
    let (status, headers, body) = request(server.addr(), "GET", "/c", &[], "", SOON).await.unwrap();
    assert_eq!((status, &body[..], headers["content-type"].to_str().unwrap()), (404, &b"no such arm\n"[..], "text/plain; charset=utf-8"));
    while reports.lock().unwrap().len() < 6 {
        tokio::task::yield_now().await;
    }
    let reports = reports.lock().unwrap();
    assert!(reports.len() == 6 && reports.iter().all(|r| r.status == Some(200) && r.failure.is_none() && r.upstream_latency.is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_closes_between_requests_is_dialled_again() {
    let (a, _seen) = upstream(1).await;
    let (server, reports) = router([a, a]).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    for _ in 0..20 {
        stream.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
        let mut got = [0; 54];
        timeout(SOON, stream.read_exact(&mut got)).await.unwrap().unwrap();
        assert!(got.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&got));
    }
    assert!(reports.lock().unwrap().iter().all(|r| r.failure.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_protocols_are_tunnelled_with_half_close() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut got).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n").await.unwrap();
        got.clear();
        stream.read_to_end(&mut got).await.unwrap();
        got.reverse();
        stream.write_all(&got).await.unwrap();
    });
    let (server, _) = router([addr, addr]).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"GET /a HTTP/1.1\r\nupgrade: x\r\n\r\n").await.unwrap();
    let mut head = [0; 62];
    timeout(SOON, stream.read_exact(&mut head)).await.unwrap().unwrap();
    stream.write_all(b"abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = Vec::new();
    timeout(SOON, stream.read_to_end(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, b"cba");
}

#[tokio::test]
async fn the_client_says_what_went_wrong() {
    let nobody = request("127.0.0.1:1".parse().unwrap(), "PUT", "/x", &[], "body", SOON).await.unwrap_err();
    assert!(nobody.0.contains("PUT http://127.0.0.1:1/x: cannot connect"), "{nobody}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let late = request(listener.local_addr().unwrap(), "GET", "/", &[], "", Duration::from_millis(50)).await.unwrap_err();
    assert!(late.0.contains("no answer within 50ms"), "{late}");
    let wrong = request(listener.local_addr().unwrap(), "G T", "/", &[], "", SOON).await.unwrap_err();
    assert!(wrong.0.contains("not a valid request"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timer_is_never_early_and_wakes_everyone() {
    let timer = Arc::new(Timer::start().unwrap());
    let sleepers = (0..200_u64).map(|i| {
        let timer = Arc::clone(&timer);
        tokio::spawn(async move {
            let until = Instant::now() + Duration::from_micros((i * 7_919) % 20_000);
            timer.until(until).await;
            Instant::now().checked_duration_since(until).expect("never early")
        })
    });
    for sleeper in sleepers.collect::<Vec<_>>() {
        assert!(timeout(SOON, sleeper).await.unwrap().unwrap() < Duration::from_secs(1));
    }
    // A sleeper that is dropped leaves nothing behind, and one that outlives its timer ends.
    drop(timer.after(Duration::from_secs(60)));
    let left = timer.after(Duration::from_secs(60));
    let waiting = tokio::spawn(left);
    tokio::task::yield_now().await;
    drop(timer);
    timeout(SOON, waiting).await.unwrap().unwrap();
}
