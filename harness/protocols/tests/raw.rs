//! Bytes and datagrams against servers that behave and servers that do not.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use bytes::Bytes;
use common::{all, ask, connector, exchange, kind, nobody, run, sockets};
use shakedown_core::plan::{Connections, Until};
use shakedown_core::snapshot::Failure;
use shakedown_net::Handle;
use shakedown_protocols::{Ask, Client, Part, Progress, Tcp, Udp};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn bytes(body: &'static str, until: Until) -> Ask {
    Ask { body: Bytes::from_static(body.as_bytes()), part: Part::Until(until), ..ask("") }
}

fn text(end: &str) -> Until {
    Until::Text(end.to_owned())
}

fn tcp(handle: &Handle, to: SocketAddr, max: u32) -> Tcp {
    Tcp::new(connector(handle, to), &Connections { max, ..Connections::default() })
}

/// Answers each line with itself.
fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

#[test]
fn every_end_is_found_and_connections_are_used_again() {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let at = sockets(move |stream, _| {
        count.fetch_add(1, Ordering::SeqCst);
        echo(stream);
    });
    run(move |handle| async move {
        let client = tcp(&handle, at, 1);
        for (until, reused) in [(text("\r\n"), false), (Until::Bytes(6), true), (text("lo\r\n"), false)] {
            let (reply, progress) = exchange(&client, bytes("hello\r\n", until.clone())).await;
            match until {
                // "\n" is left over.
                Until::Bytes(_) => assert_eq!(kind(&reply), Some(Failure::Protocol)),
                _ => assert_eq!(reply.unwrap().body, b"hello\r\n"),
            }
            assert_eq!(progress.reused.get(), reused);
        }
        let sent = exchange(&client, bytes("", Until::Sent)).await;
        assert_eq!(sent.0.unwrap().length, 0);
    });
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}

#[test]
fn many_at_once_share_few_connections() {
    let at = sockets(|stream, _| echo(stream));
    run(move |handle| async move {
        let outcomes = all(&handle, 50, &tcp(&handle, at, 3), bytes("hello\n", text("\n"))).await;
        assert!(outcomes.iter().all(|(o, _)| o.is_ok()), "{outcomes:?}");
        assert_eq!(outcomes.iter().map(|(_, p)| p.connected.borrow().len()).sum::<usize>(), 3);
        assert!(outcomes.iter().filter(|(_, p)| p.waited.get()).count() == 47);
    });
}

#[test]
fn until_close_and_failures() {
    let says_and_closes = sockets(|mut stream, _| {
        let _ = stream.read(&mut [0; 10]);
        let _ = stream.write_all(b"bye");
    });
    let closes = sockets(|mut stream, _| drop(stream.read(&mut [0; 10])));
    let endless = sockets(|mut stream, _| while stream.write_all(&[b'x'; 65536]).is_ok() {});
    let two_at_once = sockets(|mut stream, _| {
        let _ = stream.read(&mut [0; 10]);
        let _ = stream.write_all(b"a\nb\n");
        let _ = stream.read(&mut [0; 10]);
    });
    run(move |handle| async move {
        let reply = exchange(&tcp(&handle, says_and_closes, 1), bytes("hi", Until::Close)).await.0.unwrap();
        assert_eq!((reply.body, reply.status), (b"bye".to_vec(), None));
        for (at, until, expected) in [
            (nobody(), text("\n"), Failure::Refused),
            (closes, text("\n"), Failure::Reset),
            (says_and_closes, text("\n"), Failure::Reset),
            (endless, text("\n"), Failure::Protocol),
            (endless, Until::Close, Failure::Protocol),
            (two_at_once, text("\n"), Failure::Protocol),
        ] {
            let (outcome, progress) = exchange(&tcp(&handle, at, 1), bytes("hi", until)).await;
            assert_eq!(kind(&outcome), Some(expected), "{outcome:?}");
            assert_eq!(progress.partial.borrow().is_some(), expected != Failure::Refused);
        }
    });
}

#[test]
fn a_kept_connection_that_was_closed_or_spoken_on_is_not_used() {
    let at = sockets(|mut stream, number| {
        let mut buffer = [0; 100];
        let n = stream.read(&mut buffer).unwrap();
        let _ = stream.write_all(&buffer[..n]);
        std::thread::sleep(Duration::from_millis(20));
        if number == 1 {
            let _ = stream.write_all(b"late\n");
            let _ = stream.read(&mut buffer);
        }
    });
    run(move |handle| async move {
        let client = tcp(&handle, at, 1);
        for _ in 0..3 {
            let (reply, progress) = exchange(&client, bytes("x\n", text("\n"))).await;
            assert_eq!(reply.unwrap().body, b"x\n");
            assert!(!progress.reused.get());
            handle.sleep_until(Instant::now() + Duration::from_millis(100)).await;
        }
    });
}

#[test]
fn given_up_the_connection_is_closed() {
    let at = sockets(|mut stream, number| {
        let mut buffer = [0; 100];
        if number == 0 {
            // Its answer comes when nobody waits for it any more.
            let _ = stream.read(&mut buffer);
            std::thread::sleep(Duration::from_millis(60));
            let _ = stream.write_all(b"old\n");
            return;
        }
        echo(stream);
    });
    run(move |handle| async move {
        let client = tcp(&handle, at, 1);
        give_up(&handle, &client, bytes("first\n", text("\n"))).await;
        let (reply, progress) = exchange(&client, bytes("second\n", text("\n"))).await;
        assert_eq!(reply.unwrap().body, b"second\n");
        assert!(!progress.reused.get());
    });
}

/// Waits 30 ms for an exchange that does not come to an end, then drops it.
async fn give_up(handle: &Handle, client: &impl Client, ask: Ask) {
    let mut never = client.exchange(ask, Rc::new(Progress::default()));
    let mut over = Box::pin(handle.sleep_until(Instant::now() + Duration::from_millis(30)));
    std::future::poll_fn(|cx| {
        assert!(never.as_mut().poll(cx).is_pending());
        over.as_mut().poll(cx)
    })
    .await;
}

fn datagram(body: &'static str) -> Ask {
    Ask { body: Bytes::from_static(body.as_bytes()), part: Part::Datagram, ..ask("") }
}

fn udp(handle: &Handle, to: SocketAddr, max: u32) -> Udp {
    Udp::new(connector(handle, to), &Connections { max, ..Connections::default() })
}

/// A server of datagrams: `each` gets the socket, what came and from where.
fn datagrams(each: impl Fn(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            each(&socket, &buffer[..n], from);
        }
    });
    addr
}

#[test]
fn a_datagram_is_answered_by_one() {
    let at = datagrams(|socket, bytes, from| drop(socket.send_to(bytes, from)));
    run(move |handle| async move {
        let client = udp(&handle, at, 4);
        for round in 0..3 {
            let (reply, progress) = exchange(&client, datagram("ping")).await;
            assert_eq!(reply.unwrap().body, b"ping");
            assert_eq!(progress.reused.get(), round > 0);
        }
        let outcomes = all(&handle, 40, &client, datagram("many")).await;
        assert!(outcomes.iter().all(|(o, _)| o.as_ref().is_ok_and(|r| r.body == b"many")));
        assert_eq!(exchange(&client, datagram("")).await.0.unwrap().length, 0);
    });
}

#[test]
fn late_and_doubled_answers_are_nobody_elses() {
    let at = datagrams(|socket, bytes, from| {
        if bytes == b"slow" {
            let (socket, bytes) = (socket.try_clone().unwrap(), bytes.to_vec());
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                let _ = socket.send_to(&bytes, from);
            });
            return;
        }
        for _ in 0..2 {
            let _ = socket.send_to(bytes, from);
        }
    });
    run(move |handle| async move {
        let client = udp(&handle, at, 1);
        give_up(&handle, &client, datagram("slow")).await;
        for body in ["a", "b", "c"] {
            handle.sleep_until(Instant::now() + Duration::from_millis(30)).await;
            assert_eq!(exchange(&client, datagram(body)).await.0.unwrap().body, body.as_bytes());
        }
    });
}

#[test]
fn a_closed_port_refuses() {
    let at = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (outcome, _) = run(move |handle| async move { exchange(&udp(&handle, at, 1), datagram("x")).await });
    assert_eq!(kind(&outcome), Some(Failure::Refused), "{outcome:?}");
}
