//! TLS: who is trusted, what is agreed, what resumes, and what becomes of servers that do it wrong.
#![allow(clippy::unwrap_used, reason = "test helpers are test code too")]

mod support;
#[path = "support/tls.rs"]
mod tls;

use shakedown_core::plan::{HttpVersion, Target, Tls};
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connected, Connector, NoConnection, Reactor, Route, Stream, failure_of};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use support::*;
use tls::{Authority, echo, serve, settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn secure(addr: SocketAddr, tls: Tls) -> Target {
    let mut target = target(&format!("https://localhost:{}", addr.port()));
    target.tls = tls;
    target.reach.pin = Some(addr.ip());
    target
}

fn trusting(ca: &Authority) -> Tls {
    Tls { ca: Some(ca.file()), ..Tls::default() }
}

/// Connects, sends a word and waits for its echo: by then a server's tickets have come.
fn said(route: &Route) -> Result<(bool, Option<Vec<u8>>), NoConnection> {
    let route = route.clone();
    run(|handle| async move {
        let Connected { mut stream, tls, resumed, alpn, .. } = Connector::new(&handle, &route).connect().await?;
        assert!(tls.is_some_and(|t| t > Duration::ZERO));
        stream.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello");
        Ok((resumed, alpn))
    })
}

fn refused(target: &Target) -> String {
    let e = connect(&route(target)).expect_err("this server is not to be trusted");
    assert_eq!(e.kind, Failure::Tls, "{e}");
    e.why
}

#[test]
fn a_server_signed_by_the_given_ca_is_trusted_and_sessions_resume_across_threads() {
    let ca = Authority::new();
    let addr = echo(ca.server());
    let route = route(&secure(addr, trusting(&ca)));
    assert!(route.is_secure());
    assert!(!said(&route).unwrap().0, "the first handshake is a full one");
    assert!(said(&route).unwrap().0);
    let other = route.clone();
    assert!(std::thread::spawn(move || said(&other).unwrap().0).join().unwrap());
}

#[test]
fn full_handshakes_never_resume() {
    let ca = Authority::new();
    let addr = echo(ca.server());
    let route = route(&secure(addr, Tls { full_handshakes: true, ..trusting(&ca) }));
    assert!((0..4).all(|_| !said(&route).unwrap().0));
}

#[test]
fn a_session_of_tls_1_2_resumes_too() {
    let ca = Authority::new();
    let rustls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let tls::Identity(chain, key, _) = ca.issue("localhost", |_| {});
    let config =
        rustls.with_protocol_versions(&[&rustls::version::TLS12]).unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let route = route(&secure(echo(config), trusting(&ca)));
    assert!(!said(&route).unwrap().0);
    assert!(said(&route).unwrap().0);
}

#[test]
fn certificates_that_are_not_to_be_trusted_are_refused_in_words() {
    let ca = Authority::new();
    let with = |name: &str, change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let addr = echo(settings(ca.issue(name, change), None));
        refused(&secure(addr, trusting(&ca)))
    };
    let expired = with("localhost", &|p| p.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert!(expired.contains("certificate expired") && expired.contains("s ago"), "{expired}");
    let early = with("localhost", &|p| p.not_before = rcgen::date_time_ymd(2090, 1, 1));
    assert!(early.contains("becomes valid only in"), "{early}");
    let other = with("elsewhere.example", &|_| {});
    assert!(
        other.contains("is for another name: for [") && other.contains("elsewhere.example") && other.contains("not for localhost"),
        "{other}"
    );

    let stranger = Authority::new();
    let unknown = refused(&secure(echo(stranger.server()), trusting(&ca)));
    assert!(unknown.contains("self-signed or from an unknown issuer") && unknown.contains("insecure: true"), "{unknown}");
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let identity = || tls::Identity(vec![own.cert.der().clone()], key.clone_key(), rcgen::KeyPair::generate().unwrap());
    let addr = echo(settings(identity(), None));
    let signed_itself = refused(&secure(addr, trusting(&ca)));
    assert!(signed_itself.contains("self-signed"), "{signed_itself}");
    said(&route(&secure(addr, Tls { insecure: true, ..Tls::default() }))).unwrap();
}

#[test]
fn another_server_name_is_sent_and_verified() {
    let ca = Authority::new();
    let (names, seen) = mpsc::channel();
    let addr = serve(settings(ca.issue("shop.example", |_| {}), None), move |mut stream| {
        let mut word = [0; 5];
        stream.read_exact(&mut word).unwrap();
        names.send(stream.conn.server_name().map(str::to_owned)).unwrap();
        stream.write_all(&word).unwrap();
    });
    refused(&secure(addr, trusting(&ca)));
    said(&route(&secure(addr, Tls { server_name: Some("shop.example".to_owned()), ..trusting(&ca) }))).unwrap();
    assert_eq!(seen.recv_timeout(SOON).unwrap().as_deref(), Some("shop.example"));
}

#[test]
fn http2_takes_no_other_answer_and_http1_needs_none() {
    let ca = Authority::new();
    let speaking = |alpn: &[&[u8]]| {
        let mut config = ca.server();
        config.alpn_protocols = alpn.iter().map(|a| a.to_vec()).collect();
        secure(echo(config), trusting(&ca))
    };
    let two = |mut target: Target| {
        target.http = HttpVersion::Two;
        target
    };
    assert_eq!(said(&route(&two(speaking(&[b"h2", b"http/1.1"])))).unwrap().1.as_deref(), Some(&b"h2"[..]));
    assert_eq!(said(&route(&speaking(&[b"h2", b"http/1.1"]))).unwrap().1.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(said(&route(&speaking(&[]))).unwrap().1, None);
    let silent = refused(&two(speaking(&[])));
    assert!(silent.contains("does not speak HTTP/2"), "{silent}");
    let only_one = refused(&two(speaking(&[b"http/1.1"])));
    assert!(only_one.contains("none of the protocols offered (ALPN)"), "{only_one}");
}

#[test]
fn a_client_certificate_is_shown_and_a_missing_one_is_tls_trouble() {
    let ca = Authority::new();
    let addr = echo(settings(ca.issue("localhost", |_| {}), Some(ca.roots())));
    let (cert, key) = ca.client();
    said(&route(&secure(addr, Tls { cert: Some(cert), key: Some(key), ..trusting(&ca) }))).unwrap();
    let without = route(&secure(addr, trusting(&ca)));
    let e = run(|handle| async move {
        // With TLS 1.3 the server says so only after the client's handshake is over.
        let mut stream = Connector::new(&handle, &without).connect().await.unwrap().stream;
        stream.read(&mut [0; 8]).await.unwrap_err()
    });
    assert_eq!(failure_of(&e), Failure::Tls);
    assert!(e.to_string().contains("wants a client certificate"), "{e}");
}

#[test]
fn servers_that_do_not_speak_tls_are_tls_trouble_in_words() {
    let answers: [(&'static [u8], &str); 5] = [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "does not speak TLS on this port"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak TLS on this port"),
        (b"\x16\x03\x03\x00\x04\x02\x00\x00\x00", "TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "the server refused"),
        (b"", "closed the connection in the TLS handshake"),
    ];
    for (answer, words) in answers {
        let addr = server(move |_, mut stream| {
            let mut hello = [0; 4096];
            let _asked = stream.read(&mut hello);
            let _gone = stream.write_all(answer);
        });
        let why = refused(&secure(addr, Tls::default()));
        assert!(why.starts_with(&addr.to_string()) && why.contains(words), "{why}");
    }
}

#[test]
fn a_server_that_closes_at_any_byte_of_the_handshake_is_tls_trouble() {
    let ca = Authority::new();
    let real = echo(ca.server());
    let whole = Arc::new(AtomicUsize::new(0));
    for cut in (0..1400).step_by(37) {
        let seen = Arc::clone(&whole);
        // Passes so many bytes of the real server's answer on, then closes.
        let addr = server(move |_, mut client| {
            let mut upstream = std::net::TcpStream::connect(real).unwrap();
            let mut buffer = [0; 4096];
            let n = client.read(&mut buffer).unwrap();
            upstream.write_all(&buffer[..n]).unwrap();
            let flight = upstream.read(&mut buffer).unwrap();
            seen.store(flight, Ordering::SeqCst);
            let _gone = client.write_all(&buffer[..flight.min(cut)]);
        });
        match connect(&route(&secure(addr, trusting(&ca)))) {
            Err(e) => assert!(e.kind == Failure::Tls && e.why.contains("TLS"), "{cut}: {e}"),
            // All of it had come: the client has finished before it learned of the end.
            Ok(_) => assert!(cut >= whole.load(Ordering::SeqCst), "{cut}"),
        }
    }
    assert!(whole.load(Ordering::SeqCst) > 400);
}

const FLOOD: usize = 4 << 20;

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

#[test]
fn a_flood_both_ways_arrives_whole_through_tls() {
    let ca = Authority::new();
    let route = route(&secure(echo(ca.server()), trusting(&ca)));
    run(|handle| async move {
        let stream = Connector::new(&handle, &route).connect().await.unwrap().stream;
        let (mut from, mut to) = tokio::io::split(stream);
        handle.spawn(async move {
            to.write_all(&(0..FLOOD).map(byte).collect::<Vec<_>>()).await.unwrap();
            to.flush().await.unwrap();
            to.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        from.read_to_end(&mut got).await.unwrap();
        assert!(got.len() == FLOOD && got.iter().enumerate().all(|(at, b)| *b == byte(at)));
    });
}

#[test]
fn a_flood_driven_by_hand_arrives_whole_through_tls() {
    let ca = Authority::new();
    let (go, told) = mpsc::channel::<()>();
    let (mut go, told) = (Some(go), Arc::new(Mutex::new(told)));
    let addr = serve(ca.server(), move |mut stream| {
        stream.conn.complete_io(&mut stream.sock).unwrap();
        // Nothing is read before the client has been stopped.
        assert!(told.lock().unwrap().recv().is_err(), "the client hangs up");
        let mut all = vec![0; FLOOD];
        stream.read_exact(&mut all).unwrap();
        stream.write_all(&all).unwrap();
        let _until_the_client_goes = stream.read(&mut [0]);
    });
    let route = route(&secure(addr, trusting(&ca)));
    let mut reactor = Reactor::new().unwrap();
    let connector = Connector::new(reactor.handle(), &route);
    let connected = reactor.run(Instant::now() + SOON, async move { connector.connect().await }).unwrap().unwrap().unwrap();
    let mut direct = connected.stream.into_direct(&reactor.handle().clone(), 3).unwrap();
    assert!(!direct.plain());
    let bytes: Vec<u8> = (0..FLOOD).map(byte).collect();
    let (mut sent, mut blocked, mut held, mut got, mut buffer) = (0, 0, 0, Vec::new(), vec![0; 64 << 10]);
    turn_until(&mut reactor, "the echo is whole", |ready| {
        for event in ready {
            if event.writable {
                held += usize::from(direct.try_flush().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
                while sent < FLOOD {
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
            }
            if !event.readable {
                continue;
            }
            loop {
                match direct.try_read(&mut buffer) {
                    Ok(n) => got.extend_from_slice(&buffer[..n]),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
        got.len() == FLOOD
    });
    assert!(blocked > 0 && got == bytes, "blocked {blocked} times, held back {held} times");
    direct.close();
}

/// How a stream ends, by task and by hand.
fn ends(route: &Route) -> [io::Result<usize>; 2] {
    let (first, second) = (route.clone(), route.clone());
    let by_task = run(|handle| async move {
        let mut stream: Stream = Connector::new(&handle, &first).connect().await.unwrap().stream;
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await
    });
    let mut reactor = Reactor::new().unwrap();
    let connector = Connector::new(reactor.handle(), &second);
    let connected = reactor.run(Instant::now() + SOON, async move { connector.connect().await }).unwrap().unwrap().unwrap();
    let mut direct = connected.stream.into_direct(&reactor.handle().clone(), 0).unwrap();
    let (mut got, mut end) = (0, None);
    turn_until(&mut reactor, "the stream ends", |_| {
        while end.is_none() {
            match direct.try_read(&mut [0; 3]) {
                Ok(0) => end = Some(Ok(got)),
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => end = Some(Err(e)),
            }
        }
        end.is_some()
    });
    [by_task, end.unwrap()]
}

#[test]
fn the_end_of_a_stream_is_believed_only_with_close_notify() {
    let ca = Authority::new();
    let closing = |properly: bool| {
        let addr = serve(ca.server(), move |mut stream| {
            stream.write_all(b"0123456789").unwrap();
            if properly {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
            stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
            let _until_the_client_goes = io::copy(&mut stream.sock, &mut io::sink());
        });
        ends(&route(&secure(addr, trusting(&ca))))
    };
    for end in closing(true) {
        assert_eq!(end.unwrap(), 10);
    }
    for end in closing(false) {
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
