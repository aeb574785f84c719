//! HTTP/2 against servers that behave and servers that do not.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use bytes::Bytes;
use common::{all, ask, connector, exchange, kind, nobody, post, run, sockets, tasks};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, server};
use http::{HeaderMap, Request, Response};
use shakedown_core::Span;
use shakedown_core::plan::Connections;
use shakedown_core::snapshot::Failure;
use shakedown_net::Handle;
use shakedown_protocols::{Client, Http2, Progress};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Server = Connection<tokio::net::TcpStream, Bytes>;

async fn accepted(stream: tokio::net::TcpStream) -> Server {
    server::handshake(stream).await.unwrap()
}

/// Answers every request on every connection with `each`.
fn serve(builder: server::Builder, each: impl Fn(Request<RecvStream>, SendResponse<Bytes>) + Clone + Send + 'static) -> SocketAddr {
    tasks(move |stream, _| {
        let (each, builder) = (each.clone(), builder.clone());
        async move {
            let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                each(request, respond);
            }
        }
    })
}

fn answer(mut respond: SendResponse<Bytes>, body: &'static [u8]) {
    let response = Response::builder().header("x-by", "test").body(()).unwrap();
    // Whoever gave up has no use for it.
    if let Ok(mut stream) = respond.send_response(response, body.is_empty())
        && !body.is_empty()
    {
        let _ = stream.send_data(Bytes::from_static(body), true);
    }
}

fn client(handle: &Handle, to: SocketAddr, policy: &Connections) -> Http2 {
    Http2::new(connector(handle, to), policy)
}

fn one(max: u32) -> Connections {
    Connections { max, ..Connections::default() }
}

#[test]
fn an_exchange_is_whole() {
    let at = serve(server::Builder::new(), |request, mut respond| {
        tokio::task::spawn_local(async move {
            assert_eq!(request.method(), "POST");
            let (path, host) = (request.uri().path().to_owned(), request.uri().authority().unwrap().to_string());
            let length = request.headers()["content-length"].clone();
            let mut body = request.into_body();
            let mut got = Vec::new();
            while let Some(chunk) = body.data().await {
                got.extend_from_slice(&chunk.unwrap());
            }
            let response = Response::builder().status(201).header("x-length", length).body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from(format!("{path} {host} {}", String::from_utf8(got).unwrap())), false).unwrap();
            stream.send_trailers(HeaderMap::from_iter([("x-end".parse().unwrap(), "yes".parse().unwrap())])).unwrap();
        });
    });
    let (reply, again) = run(move |handle| async move {
        let client = client(&handle, at, &one(1));
        let first = exchange(&client, post("/a?b=c", "hello")).await;
        assert_eq!(first.1.connected.borrow().len(), 1);
        assert!(!first.1.reused.get() && first.1.sent.get() <= first.1.first_byte.get());
        let mut other = post("/", "x");
        other.headers.insert("host", "shop.test".parse().unwrap());
        let second = exchange(&client, other).await;
        assert!(second.1.reused.get() && second.1.connected.borrow().is_empty() && !second.1.waited.get());
        (first.0.unwrap(), second.0.unwrap())
    });
    assert_eq!(reply.status, Some(201));
    assert_eq!(String::from_utf8(reply.body).unwrap(), format!("/a {at} hello"));
    assert_eq!((reply.headers["x-end"].as_bytes(), reply.headers["x-length"].as_bytes()), (&b"yes"[..], &b"5"[..]));
    assert_eq!(again.body, b"/ shop.test x");
}

#[test]
fn bodies_larger_than_every_window_pass_both_ways() {
    const SIZE: usize = 12 << 20;
    let at = serve(server::Builder::new(), |request, mut respond| {
        tokio::task::spawn_local(async move {
            let mut body = request.into_body();
            let mut got = 0;
            while let Some(chunk) = body.data().await {
                let length = chunk.unwrap().len();
                body.flow_control().release_capacity(length).unwrap();
                got += length;
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from(vec![7; got]), true).unwrap();
        });
    });
    let reply = run(move |handle| async move {
        let client = client(&handle, at, &one(1));
        let mut big = post("/", "");
        big.body = Bytes::from(vec![1; SIZE]);
        exchange(&client, big).await.0.unwrap()
    });
    assert_eq!((reply.length, reply.body.len()), (SIZE as u64, SIZE));
}

#[test]
fn a_limit_of_one_stream_is_kept_and_the_others_wait() {
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, now) = (Arc::clone(&most), Arc::new(AtomicUsize::new(0)));
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(1);
    let at = serve(builder, move |_, respond| {
        let (seen, now) = (Arc::clone(&seen), Arc::clone(&now));
        tokio::task::spawn_local(async move {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            answer(respond, b"ok");
        });
    });
    let outcomes = run(move |handle| async move { all(&handle, 20, &client(&handle, at, &one(2)), ask("/")).await });
    assert!(outcomes.iter().all(|(o, _)| o.is_ok()), "{outcomes:?}");
    assert!(most.load(Ordering::SeqCst) <= 2);
    assert_eq!(outcomes.iter().map(|(_, p)| p.connected.borrow().len()).sum::<usize>(), 2);
    assert!(outcomes.iter().filter(|(_, p)| p.waited.get()).count() >= 10);
}

#[test]
fn connections_are_filled_one_after_another_and_prewarmed_ones_evenly() {
    let opened = Arc::new(AtomicUsize::new(0));
    let (count, counts) = (Arc::clone(&opened), Arc::new(std::sync::Mutex::new(Vec::<usize>::new())));
    let by = Arc::clone(&counts);
    let at = tasks(move |stream, number| {
        count.fetch_add(1, Ordering::SeqCst);
        let by = Arc::clone(&by);
        async move {
            let mut connection = accepted(stream).await;
            while let Some(Ok((_, respond))) = connection.accept().await {
                by.lock().unwrap().push(number);
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    answer(respond, b"");
                });
            }
        }
    });
    run(move |handle| async move {
        let filling = client(&handle, at, &Connections { max: 4, streams: 8, ..Connections::default() });
        assert!(all(&handle, 8, &filling, ask("/")).await.iter().all(|(o, _)| o.is_ok()));
    });
    assert_eq!(opened.swap(0, Ordering::SeqCst), 1);
    counts.lock().unwrap().clear();
    run(move |handle| async move {
        let spread = client(&handle, at, &Connections { max: 4, streams: 8, prewarm: 4, ..Connections::default() });
        assert_eq!(spread.prewarm(4).await.unwrap().len(), 4);
        let outcomes = all(&handle, 8, &spread, ask("/")).await;
        assert!(outcomes.iter().all(|(o, p)| o.is_ok() && p.connected.borrow().is_empty()));
    });
    assert_eq!(opened.load(Ordering::SeqCst), 4);
    let counts = counts.lock().unwrap();
    assert!((1..=4).all(|n| counts.iter().filter(|c| **c == n).count() == 2), "{counts:?}");
}

#[test]
fn requests_that_a_server_going_away_did_not_process_move_on() {
    let at = tasks(|stream, number| async move {
        let mut connection = accepted(stream).await;
        let mut taken = 0;
        while let Some(Ok((_, respond))) = connection.accept().await {
            taken += 1;
            answer(respond, b"ok");
            if number == 0 && taken == 3 {
                connection.graceful_shutdown();
            }
        }
    });
    let outcomes = run(move |handle| async move {
        let client = client(&handle, at, &one(2));
        let mut outcomes = all(&handle, 10, &client, ask("/")).await;
        outcomes.extend(all(&handle, 10, &client, ask("/")).await);
        outcomes
    });
    assert!(outcomes.iter().all(|(o, _)| o.is_ok()), "{outcomes:?}");
}

#[test]
fn going_away_abruptly_moves_what_was_not_processed() {
    // The first connection gives up at once, having processed nothing.
    let at = tasks(|stream, number| async move {
        let mut connection = accepted(stream).await;
        while let Some(Ok((_, respond))) = connection.accept().await {
            if number == 0 {
                refuse(connection, respond).await;
                return;
            }
            answer(respond, b"ok");
        }
    });
    async fn refuse(mut connection: Server, mut respond: SendResponse<Bytes>) {
        respond.send_reset(Reason::REFUSED_STREAM);
        connection.graceful_shutdown();
        while connection.accept().await.is_some() {}
    }
    let (outcome, _) = run(move |handle| async move { exchange(&client(&handle, at, &one(3)), ask("/")).await });
    assert_eq!(outcome.unwrap().body, b"ok");
}

#[test]
fn refusals_without_end_are_a_reset() {
    let at = serve(server::Builder::new(), |_, mut respond| respond.send_reset(Reason::REFUSED_STREAM));
    let (outcome, _) = run(move |handle| async move { exchange(&client(&handle, at, &one(2)), ask("/")).await });
    assert_eq!(kind(&outcome), Some(Failure::Reset), "{outcome:?}");
}

#[test]
fn a_stream_reset_by_the_server_is_a_reset_and_the_connection_goes_on() {
    let at = serve(server::Builder::new(), |request, mut respond| match request.uri().path() {
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/half" => {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"hal"), false).unwrap();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            });
        }
        _ => answer(respond, b"ok"),
    });
    run(move |handle| async move {
        let client = client(&handle, at, &one(1));
        assert_eq!(kind(&exchange(&client, ask("/reset")).await.0), Some(Failure::Reset));
        let (half, progress) = exchange(&client, ask("/half")).await;
        assert_eq!(kind(&half), Some(Failure::Reset));
        assert_eq!(progress.partial.take().unwrap().body, b"hal");
        let (whole, progress) = exchange(&client, ask("/")).await;
        assert!(whole.is_ok() && progress.reused.get());
    });
}

#[test]
fn given_up_it_is_reset_and_its_place_is_free() {
    let resets = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&resets);
    let at = serve(server::Builder::new(), move |request, mut respond| {
        if request.uri().path() == "/" {
            return answer(respond, b"ok");
        }
        let seen = Arc::clone(&seen);
        tokio::task::spawn_local(async move {
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
            assert_eq!(reason, Reason::CANCEL);
            seen.fetch_add(1, Ordering::SeqCst);
        });
    });
    run(move |handle| async move {
        let client = client(&handle, at, &Connections { max: 1, streams: 1, ..Connections::default() });
        for _ in 0..3 {
            let mut never = client.exchange(ask("/never"), Rc::new(Progress::default()));
            let until = Instant::now() + Duration::from_millis(30);
            let mut over = Box::pin(handle.sleep_until(until));
            std::future::poll_fn(|cx| {
                assert!(never.as_mut().poll(cx).is_pending());
                over.as_mut().poll(cx)
            })
            .await;
            drop(never);
            assert_eq!(exchange(&client, ask("/")).await.0.unwrap().body, b"ok");
        }
        while resets.load(Ordering::SeqCst) < 3 {
            handle.sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn connections_end_at_their_requests_and_when_idle() {
    let at = serve(server::Builder::new(), |_, respond| answer(respond, b"ok"));
    run(move |handle| async move {
        let two = client(&handle, at, &Connections { max: 1, max_requests: Some(2), ..Connections::default() });
        let mut made = 0;
        for _ in 0..6 {
            let (outcome, progress) = exchange(&two, ask("/")).await;
            assert!(outcome.is_ok());
            made += progress.connected.borrow().len();
        }
        assert_eq!(made, 3);
        let single = client(&handle, at, &Connections { max: 2, reuse: false, ..Connections::default() });
        let outcomes = all(&handle, 6, &single, ask("/")).await;
        assert!(outcomes.iter().all(|(o, p)| o.is_ok() && p.connected.borrow().len() == 1 && !p.reused.get()));
        let brief = client(&handle, at, &Connections { max: 1, idle: Span(1_000_000), ..Connections::default() });
        for _ in 0..3 {
            let (outcome, progress) = exchange(&brief, ask("/")).await;
            assert!(outcome.is_ok() && progress.connected.borrow().len() == 1);
            handle.sleep_until(Instant::now() + Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn failures_have_their_kinds() {
    let closes = sockets(|stream, _| drop(stream));
    let garbage = sockets(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        let _ = stream.read(&mut [0; 1024]);
    });
    let half_frame = sockets(|mut stream, _| {
        let _ = stream.write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3]);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    // SETTINGS, then a frame of HEADERS that no decoder takes.
    let bad_headers = sockets(|mut stream, _| {
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let mut seen = [0; 4096];
        let _ = stream.read(&mut seen);
        std::thread::sleep(Duration::from_millis(30));
        let _ = stream.write_all(&[0, 0, 4, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let data_first = sockets(|mut stream, _| {
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 9, 0]);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let vanishes = tasks(|stream, _| async move {
        let mut connection = accepted(stream).await;
        let _taken = connection.accept().await;
        connection.abrupt_shutdown(Reason::INTERNAL_ERROR);
        while connection.accept().await.is_some() {}
    });
    for (at, expected) in [
        (nobody(), Failure::Refused),
        (closes, Failure::Reset),
        (garbage, Failure::Protocol),
        (half_frame, Failure::Reset),
        (bad_headers, Failure::Protocol),
        (data_first, Failure::Protocol),
        (vanishes, Failure::Reset),
    ] {
        let outcomes = run(move |handle| async move { all(&handle, 3, &client(&handle, at, &one(2)), ask("/")).await });
        for (outcome, _) in outcomes {
            assert_eq!(kind(&outcome), Some(expected), "{outcome:?}");
        }
    }
}

#[test]
fn headers_without_bound_are_refused() {
    let at = serve(server::Builder::new(), |_, mut respond| {
        let mut response = Response::new(());
        for number in 0..2000 {
            response
                .headers_mut()
                .insert(http::HeaderName::try_from(format!("x-{number}")).unwrap(), http::HeaderValue::from_str(&"v".repeat(100)).unwrap());
        }
        let _ = respond.send_response(response, true);
    });
    let (outcome, _) = run(move |handle| async move { exchange(&client(&handle, at, &one(1)), ask("/")).await });
    assert!(outcome.is_err(), "{outcome:?}");
}

#[test]
fn a_path_that_is_none_is_refused_unsent() {
    let at = serve(server::Builder::new(), |_, respond| answer(respond, b"ok"));
    let (outcome, progress) = run(move |handle| async move { exchange(&client(&handle, at, &one(1)), ask("no path")).await });
    assert_eq!(kind(&outcome), Some(Failure::Protocol));
    assert!(progress.sent.get().is_none());
}

#[test]
fn prewarming_tells_why_it_failed() {
    let at = nobody();
    let outcome = run(move |handle| async move { client(&handle, at, &one(4)).prewarm(4).await });
    assert_eq!(outcome.unwrap_err().0, Failure::Refused);
}

/// nginx on its own, stopped when dropped; `None` where it is not installed.
struct Nginx {
    process: std::process::Child,
    _dir: tempfile::TempDir,
    at: SocketAddr,
}

impl Nginx {
    #[allow(clippy::disallowed_methods, reason = "a test is not the harness: its children need no keeper")]
    fn start() -> Option<Nginx> {
        let dir = tempfile::tempdir().unwrap();
        let at = nobody();
        let path = dir.path().display();
        let conf = format!(
            "daemon off; worker_processes 1; pid {path}/pid; error_log stderr crit; events {{}}\n\
             http {{ access_log off; client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;\n\
             uwsgi_temp_path {path}/u; scgi_temp_path {path}/s; keepalive_requests 50; http2_max_concurrent_streams 4;\n\
             server {{ listen {at} http2; location / {{ return 200 hello; }} }} }}"
        );
        std::fs::write(dir.path().join("conf"), conf).unwrap();
        let started = std::process::Command::new("nginx")
            .args(["-p", &path.to_string(), "-c", "conf", "-e", "stderr"])
            .stderr(std::process::Stdio::null())
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                println!("skipped: nginx is not installed");
                return None;
            }
            Err(e) => panic!("{e}"),
        };
        let nginx = Nginx { process, _dir: dir, at };
        let until = Instant::now() + common::HANGS;
        while std::net::TcpStream::connect(at).is_err() {
            assert!(Instant::now() < until, "nginx does not listen");
            std::thread::yield_now();
        }
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, so that its worker goes too.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

#[test]
fn nginx_with_few_streams_that_ends_its_connections_answers_everything() {
    let Some(nginx) = Nginx::start() else { return };
    let at = nginx.at;
    let outcomes = run(move |handle| async move { all(&handle, 1000, &client(&handle, at, &one(4)), ask("/x")).await });
    for (outcome, _) in &outcomes {
        assert_eq!(outcome.as_ref().unwrap().body, b"hello");
    }
    // Each of nginx's connections carries 50 requests (by its GOAWAY), so at least 20 were made.
    let made = outcomes.iter().map(|(_, p)| p.connected.borrow().len()).sum::<usize>();
    assert!((20..200).contains(&made), "{made}");
}
