//! Sockets of tasks and connections driven by hand: floods, half closes, resets.
#![allow(clippy::unwrap_used, reason = "test helpers are test code too")]

mod support;

use shakedown_net::{Connector, Reactor, Route, Socket, Stream, failure_of, limits};
use std::cell::Cell;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const FLOOD: usize = 8 << 20;

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

#[test]
fn a_flood_both_ways_at_once_arrives_whole() {
    let mut reactor = Reactor::new().unwrap();
    let (left, right) = UnixStream::pair().unwrap();
    let handle = reactor.handle().clone();
    for end in [left, right] {
        end.set_nonblocking(true).unwrap();
        let (mut from, mut to) = tokio::io::split(Socket::new(&handle, end.into()).unwrap());
        handle.spawn(async move {
            let bytes: Vec<u8> = (0..FLOOD).map(byte).collect();
            to.write_all(&bytes).await.unwrap();
            to.shutdown().await.unwrap();
        });
        handle.spawn(async move {
            let mut got = Vec::new();
            from.read_to_end(&mut got).await.unwrap();
            assert!(got.len() == FLOOD && got.iter().enumerate().all(|(at, b)| *b == byte(at)));
        });
    }
    turn_until(&mut reactor, "both directions end", |_| handle.tasks() == 0);
}

/// Connects to `addr` and hands the connection to `f`.
fn with_stream<T: 'static>(addr: std::net::SocketAddr, f: impl AsyncFnOnce(Stream) -> T + 'static) -> T {
    run(|handle| async move {
        let connected = Connector::new(&handle, &Route::to(allowed(addr))).connect().await.unwrap();
        assert!(connected.tls.is_none() && !connected.resumed);
        f(connected.stream).await
    })
}

#[test]
fn a_peer_that_closes_its_half_is_still_written_to() {
    let addr = server(|_, mut stream: TcpStream| {
        stream.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), 1 << 20);
        // Seen by the client only as the end of its connection.
    });
    with_stream(addr, async |mut stream: Stream| {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        stream.write_all(&vec![1; 1 << 20]).await.unwrap();
        stream.shutdown().await.unwrap();
    });
}

#[test]
fn a_reset_is_an_error_for_reader_and_writer() {
    let addr = server(|_, stream: TcpStream| {
        // Closing with unread bytes resets.
        let mut one = [0];
        stream.peek(&mut one).unwrap();
    });
    with_stream(addr, async |mut stream: Stream| {
        stream.write_all(&[1; 64]).await.unwrap();
        let e = stream.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!((e.kind(), failure_of(&e)), (io::ErrorKind::ConnectionReset, shakedown_core::snapshot::Failure::Reset));
        assert!(stream.write(&[1]).await.is_err());
    });
}

#[test]
fn a_connection_driven_by_hand_reports_edges_under_its_token() {
    let (go, told) = mpsc::channel::<()>();
    let (mut go, told) = (Some(go), Arc::new(Mutex::new(told)));
    let addr = server(move |_, mut stream: TcpStream| {
        // Nothing is read before the client has been stopped.
        assert!(told.lock().unwrap().recv().is_err(), "the client hangs up");
        let mut got = vec![0; FLOOD];
        stream.read_exact(&mut got).unwrap();
        assert!(got.iter().enumerate().all(|(at, b)| *b == byte(at)));
        stream.write_all(&got).unwrap();
    });
    let mut reactor = Reactor::new().unwrap();
    let connector = Connector::new(reactor.handle(), &Route::to(allowed(addr)));
    let connected = reactor.run(Instant::now() + SOON, async move { connector.connect().await }).unwrap().unwrap().unwrap();
    let mut direct = connected.stream.into_direct(&reactor.handle().clone(), 77).unwrap();
    assert!(direct.plain());
    let bytes: Vec<u8> = (0..FLOOD).map(byte).collect();
    let (mut sent, mut blocked, mut got, mut buffer, mut ended) = (0, 0, Vec::new(), vec![0; 64 << 10], false);
    turn_until(&mut reactor, "the echo ends", |ready| {
        for event in ready {
            assert_eq!(event.token, 77);
            while event.writable && sent < FLOOD {
                match direct.try_write(&bytes[sent..]) {
                    Ok(n) => sent += n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        blocked += 1;
                        let _started = go.take();
                        break;
                    }
                    Err(e) => panic!("{e}"),
                }
            }
            while event.readable && !ended {
                match direct.try_read(&mut buffer) {
                    Ok(0) => ended = true,
                    Ok(n) => got.extend_from_slice(&buffer[..n]),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
        ended
    });
    assert!(blocked > 0, "never stopped");
    assert!(got == bytes, "{} bytes came back", got.len());
}

#[test]
fn a_try_that_blocks_arms_the_next_wait() {
    let mut reactor = Reactor::new().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let handle = reactor.handle().clone();
    let (socket, waits) = (Socket::new(&handle, theirs.into()).unwrap(), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&waits);
    handle.spawn(async move {
        let mut got = 0;
        while got < 3 {
            socket.readable().await;
            match socket.try_read(&mut [0; 8]) {
                Ok(n) => got += n,
                Err(e) => {
                    assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
                    counted.set(counted.get() + 1);
                }
            }
        }
    });
    for _ in 0..3 {
        reactor.turn(Some(Instant::now() + Duration::from_millis(5)), Duration::ZERO, &mut Vec::new()).unwrap();
        ours.write_all(b"x").unwrap();
    }
    turn_until(&mut reactor, "three bytes", |_| handle.tasks() == 0);
    assert!(waits.get() <= 3, "it waits instead of trying again and again: {}", waits.get());
}

#[test]
fn descriptors_are_counted_and_their_limit_raised() {
    let limit = limits::raise_descriptors().unwrap();
    assert_eq!(limit, limits::descriptor_limit());
    let before = limits::open_descriptors().unwrap();
    let more: Vec<_> = (0..500).map(|_| UnixStream::pair().unwrap()).collect();
    let after = limits::open_descriptors().unwrap();
    // Other tests of this process open some at the same time.
    assert!(after >= before + 800 && after < before + 1600, "{before} {after}");
    drop(more);
}
