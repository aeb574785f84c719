//! WebSockets against servers that behave and servers that do not.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{ask, connector, exchange, kind, nobody, run, sockets};
use shakedown_core::Span;
use shakedown_core::plan::Connections;
use shakedown_core::snapshot::Failure;
use shakedown_protocols::{Ask, Part, WebSocket};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::{self, Message};

fn messages(send: &[&str], receive: u32, hold: Span) -> Ask {
    let send = send.iter().map(|s| (*s).to_owned()).collect();
    Ask { part: Part::Messages { send, receive, hold }, ..ask("/chat?x=1") }
}

fn client(handle: &shakedown_net::Handle, to: SocketAddr) -> WebSocket {
    WebSocket::new(connector(handle, to), &Connections { max: 2, ..Connections::default() })
}

/// Opens, then does as it is told.
fn serve(each: impl Fn(tungstenite::WebSocket<TcpStream>) + Send + Sync + 'static) -> SocketAddr {
    sockets(move |stream, _| {
        if let Ok(socket) = tungstenite::accept(stream) {
            each(socket);
        }
    })
}

#[test]
fn messages_are_answered_and_the_connection_is_closed_in_good_order() {
    let closed = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&closed);
    let at = serve(move |mut socket| {
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    socket.send(Message::Ping("p".into())).unwrap();
                    socket.send(Message::text(format!("echo {text}"))).unwrap();
                    socket.send(Message::binary(vec![b'b', 0xff])).unwrap();
                }
                Ok(Message::Close(_)) => drop(seen.fetch_add(1, Ordering::SeqCst)),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    run(move |handle| async move {
        let (reply, progress) = exchange(&client(&handle, at), messages(&["one", "two"], 4, Span::ZERO)).await;
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.messages, reply.length), (Some(101), 4, 20));
        assert_eq!(String::from_utf8(reply.body).unwrap(), "echo one\nb\u{fffd}\necho two\nb\u{fffd}\n");
        assert_eq!(progress.connected.borrow().len(), 1);
        while closed.load(Ordering::SeqCst) == 0 || handle.tasks() > 1 {
            handle.sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn it_is_held_and_messages_meanwhile_count() {
    let at = serve(|mut socket| {
        let _ = socket.read();
        for _ in 0..3 {
            let _ = socket.send(Message::text("tick"));
        }
        while socket.read().is_ok() {}
    });
    let (reply, took) = run(move |handle| async move {
        let started = Instant::now();
        let (reply, _) = exchange(&client(&handle, at), messages(&["x"], 1, Span(50_000_000))).await;
        (reply.unwrap(), started.elapsed())
    });
    assert_eq!(reply.messages, 3);
    assert!(took >= Duration::from_millis(50));
}

#[test]
fn a_refused_upgrade_is_an_answer_with_its_status() {
    let at = sockets(|mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
        let _ = stream.read(&mut [0; 1]);
    });
    let reply = run(move |handle| async move { exchange(&client(&handle, at), messages(&[], 0, Span::ZERO)).await.0.unwrap() });
    assert_eq!(reply.status, Some(403));
}

#[test]
fn failures_have_their_kinds() {
    let closes = sockets(|stream, _| drop(stream));
    let closes_in_handshake = sockets(|mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 101 Swi");
    });
    let garbage = sockets(|mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[0xff; 64]);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let wrong_key = sockets(|mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let header_bomb = sockets(|mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n");
        while stream.write_all(&b"x-a: ".repeat(1000)).is_ok() {}
    });
    let says_goodbye = serve(|mut socket| {
        let _ = socket.read();
        let _ = socket.close(None);
        while socket.read().is_ok() {}
    });
    let vanishes = serve(|socket| drop(socket.get_ref().shutdown(Shutdown::Both)));
    let bad_frame = serve(|mut socket| {
        let _ = socket.read();
        let _ = socket.get_mut().write_all(&[0xff; 32]);
        while socket.read().is_ok() {}
    });
    for (at, expected) in [
        (nobody(), Failure::Refused),
        (closes, Failure::Reset),
        (closes_in_handshake, Failure::Reset),
        (garbage, Failure::Protocol),
        (wrong_key, Failure::Protocol),
        (header_bomb, Failure::Protocol),
        (says_goodbye, Failure::Reset),
        (vanishes, Failure::Reset),
        (bad_frame, Failure::Protocol),
    ] {
        let (outcome, _) = run(move |handle| async move { exchange(&client(&handle, at), messages(&["hi"], 1, Span::ZERO)).await });
        assert_eq!(kind(&outcome), Some(expected), "{outcome:?}");
    }
}

#[test]
fn a_server_that_ends_a_hold_is_a_reset() {
    let at = serve(|mut socket| {
        let _ = socket.close(None);
        while socket.read().is_ok() {}
    });
    let (outcome, _) = run(move |handle| async move { exchange(&client(&handle, at), messages(&[], 0, Span::secs(20))).await });
    assert_eq!(kind(&outcome), Some(Failure::Reset), "{outcome:?}");
}

#[test]
fn a_server_that_never_says_goodbye_holds_only_its_place() {
    let at = serve(|mut socket| {
        let _ = socket.send(Message::text("hi"));
        std::thread::sleep(Duration::from_secs(5));
    });
    run(move |handle| async move {
        let client = client(&handle, at);
        let started = Instant::now();
        for _ in 0..2 {
            assert!(exchange(&client, messages(&[], 1, Span::ZERO)).await.0.is_ok());
        }
        assert!(started.elapsed() < Duration::from_millis(900));
        // Both places are taken by connections that are being closed; a third exchange gets one after the bound.
        let (outcome, progress) = exchange(&client, messages(&[], 1, Span::ZERO)).await;
        assert!(outcome.is_ok() && progress.waited.get());
        assert!(started.elapsed() < Duration::from_secs(4));
    });
}
