//! Where connections lead: URLs, endpoints, names, sources, Unix sockets, proxies, what is not there.
#![allow(clippy::unwrap_used, reason = "test helpers are test code too")]

mod support;

use shakedown_core::plan::{HttpVersion, Target};
use shakedown_core::seams::Endpoints;
use shakedown_core::snapshot::Failure;
use shakedown_net::{Alpn, Connector, NoConnection, Route, Scheme};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn refused(target: &Target) -> String {
    Route::new(target, Alpn::of(target), &Endpoints::default(), &loopback()).expect_err("this target is wrong").0
}

fn check(route: &Route) -> Result<(), String> {
    let route = route.clone();
    run(|handle| async move { Connector::new(&handle, &route).check().await }).map_err(|e| e.0)
}

/// Sends `word` and takes as many bytes back.
fn said(route: &Route, word: &'static str) -> Result<String, NoConnection> {
    let route = route.clone();
    run(|handle| async move {
        let mut stream = Connector::new(&handle, &route).connect().await?.stream;
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut back = vec![0; word.len()];
        stream.read_exact(&mut back).await.unwrap();
        Ok(String::from_utf8(back).unwrap())
    })
}

fn echo_once(mut stream: impl std::io::Read + std::io::Write) {
    let mut buffer = [0; 1024];
    if let Ok(n) = stream.read(&mut buffer) {
        let _gone = stream.write_all(&buffer[..n]);
    }
}

#[test]
fn a_url_is_taken_apart() {
    let table = [
        ("http://127.0.0.1:81/base/", Scheme::Http, "127.0.0.1:81", "/base", "http://127.0.0.1:81/base", false),
        ("https://localhost", Scheme::Https, "localhost", "", "https://localhost", true),
        ("ws://[::1]:90/x", Scheme::Ws, "[::1]:90", "/x", "ws://[::1]:90/x", false),
        ("wss://localhost/", Scheme::Wss, "localhost", "", "wss://localhost", true),
        ("grpc://localhost:50051", Scheme::Grpc, "localhost:50051", "", "grpc://localhost:50051", false),
        ("grpcs://localhost", Scheme::Grpcs, "localhost", "", "grpcs://localhost", true),
        ("tcp://127.0.0.1:7", Scheme::Tcp, "127.0.0.1:7", "", "tcp://127.0.0.1:7", false),
        ("tls://127.0.0.1:7", Scheme::Tls, "127.0.0.1:7", "", "tls://127.0.0.1:7", true),
        ("udp://127.0.0.1:7", Scheme::Udp, "127.0.0.1:7", "", "udp://127.0.0.1:7", false),
    ];
    for (at, scheme, authority, base, url, secure) in table {
        let route = route(&target(at));
        let seen = (route.scheme(), route.authority(), route.base(), route.url(), route.is_secure(), route.absolute_form());
        assert_eq!(seen, (scheme, authority, base, url, secure, false), "{at}");
    }
    let alpn =
        [("https://a", Alpn::Http1), ("wss://a", Alpn::Http1), ("grpcs://a", Alpn::Http2), ("tls://a:1", Alpn::None), ("x.y", Alpn::Http1)];
    for (at, wanted) in alpn {
        assert_eq!(Alpn::of(&target(at)), wanted, "{at}");
    }
    assert_eq!(Alpn::of(&Target { http: HttpVersion::Two, ..target("https://a") }), Alpn::Http2);
}

#[test]
fn a_target_that_cannot_be_is_refused_in_words() {
    let with = |at: &str, change: &dyn Fn(&mut Target)| {
        let mut target = target(at);
        change(&mut target);
        refused(&target)
    };
    let plain = |at: &str| with(at, &|_| {});
    assert_eq!(
        plain("http://10.1.2.3:80/"),
        "target `shop` at http://10.1.2.3:80/: 10.1.2.3:80 is not in environment.allow; add its block there if load and faults may reach it"
    );
    assert!(plain("http://u:p@127.0.0.1/").contains("holds credentials"));
    assert!(plain("ftp://127.0.0.1/").contains("must begin with http://"));
    assert!(plain("tcp://127.0.0.1").contains("has no port"));
    assert!(plain("http://").contains("is no URL"));
    assert!(plain("pilot.router").contains("there is no such endpoint; is its service up?"));
    assert!(with("http://localhost", &|t| t.reach.pin = Some(IpAddr::from([10, 0, 0, 1]))).contains("environment.allow"));
    assert!(with("https://localhost", &|t| t.tls.ca = Some("/nowhere.pem".into())).contains("/nowhere.pem"));
    assert!(with("https://localhost", &|t| t.tls.cert = Some("/nowhere.pem".into())).contains("belong together"));
    assert!(with("https://localhost", &|t| t.tls.server_name = Some("a b".into())).contains("cannot be a server name"));
    assert!(
        with("http://localhost", &|t| t.reach.proxy = Some("http://10.0.0.1:3128".into()))
            .contains("proxy http://10.0.0.1:3128: 10.0.0.1:3128 is not in")
    );
    assert!(with("http://localhost", &|t| t.reach.proxy = Some("https://127.0.0.1:1".into())).contains("must begin with http://"));
    assert!(with("udp://127.0.0.1:1", &|t| t.reach.proxy = Some("http://127.0.0.1:1".into())).contains("datagrams"));
}

#[test]
fn an_endpoint_is_looked_up_and_checked_for_every_connection() {
    let word = |word: &'static [u8; 5]| server(move |_, mut s| drop((s.read(&mut [0; 5]), s.write_all(word))));
    let endpoints = Endpoints::default();
    endpoints.set("pilot.router", word(b"first"));
    let route = Route::new(&target("pilot.router"), Alpn::None, &endpoints, &loopback()).unwrap();
    assert_eq!(route.url(), format!("http://{}", endpoints.get("pilot.router").unwrap()));
    assert_eq!(said(&route, "hello").unwrap(), "first");
    endpoints.set("pilot.router", word(b"moved"));
    assert_eq!(said(&route, "hello").unwrap(), "moved");
    endpoints.set("pilot.router", SocketAddr::from(([10, 0, 0, 1], 80)));
    let e = said(&route, "hello").unwrap_err();
    assert!(e.kind == Failure::Connect && e.why.contains("environment.allow"), "{e}");
}

#[test]
fn a_check_sees_who_is_there() {
    let there = server(|_, _| {});
    check(&route(&target(&format!("http://{there}")))).unwrap();
    let nobody = nobody();
    let url = format!("http://{nobody}");
    assert_eq!(
        check(&route(&target(&url))).unwrap_err(),
        format!("target `shop` at {url}: cannot be reached: {nobody}: Connection refused (os error 111)")
    );
    let e = check(&route(&target("http://no-such-name.invalid"))).unwrap_err();
    assert!(e.starts_with("target `shop` at http://no-such-name.invalid: no-such-name.invalid: "), "{e}");
    check(&route(&target("udp://127.0.0.1:9"))).unwrap();
}

#[test]
fn nobody_there_is_refused_with_its_error_number() {
    let e = connect(&Route::to(allowed(nobody()))).unwrap_err();
    assert_eq!((e.kind, e.errno), (Failure::Refused, Some(111)));
    let mut target = target("http://no-such-name.invalid");
    assert_eq!(connect(&route(&target)).unwrap_err().kind, Failure::Resolve);
    // A source address this machine does not have.
    target.at = format!("http://{}", server(|_, _| {}));
    target.reach.sources = vec![IpAddr::from([192, 0, 2, 1])];
    let e = connect(&route(&target)).unwrap_err();
    assert_eq!((e.kind, e.errno), (Failure::Connect, Some(99)), "{e}");
    target.reach.sources = vec![IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let e = connect(&route(&target)).unwrap_err();
    assert!(e.kind == Failure::Connect && e.why.contains("none of `sources` is of its address family"), "{e}");
}

#[test]
fn a_connection_that_meets_itself_is_refused() {
    // The kernel draws ports of the lowest one's parity first, one after another: sooner or later it draws this one.
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let lowest: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let mut ports = (lowest + 200..u16::MAX).step_by(2).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let nobody = ports.find(|addr| TcpListener::bind(addr).is_ok()).unwrap();
    let route = Route::to(allowed(nobody));
    let met = run(move |handle| async move {
        let connector = Connector::new(&handle, &route);
        for _ in 0..60_000 {
            let e = connector.connect().await.expect_err("nobody listens there");
            assert_eq!(e.kind, Failure::Refused, "{e}");
            if e.why.contains("met itself") {
                return true;
            }
        }
        false
    });
    // Another process may have taken the port, so that it is never drawn.
    assert!(met || TcpListener::bind(nobody).is_err(), "never drawn");
}

#[test]
fn a_name_with_several_addresses_is_tried_in_turn() {
    // `localhost` is ::1 and 127.0.0.1 on most machines; only one of them listens, whichever comes first.
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(bind) else { continue };
        let addr = listener.local_addr().unwrap();
        let known: Vec<_> = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", addr.port())).unwrap().collect();
        if known.contains(&addr) {
            let route = route(&target(&format!("http://localhost:{}", addr.port())));
            assert!((0..3).all(|_| connect(&route).is_ok()), "{addr}");
        }
    }
}

#[test]
fn a_pinned_name_is_never_resolved() {
    let addr = server(|_, stream| echo_once(stream));
    let mut target = target(&format!("http://no-such-name.invalid:{}", addr.port()));
    target.reach.pin = Some(addr.ip());
    let route = route(&target);
    assert_eq!(route.authority(), format!("no-such-name.invalid:{}", addr.port()));
    assert_eq!(said(&route, "pinned").unwrap(), "pinned");
}

#[test]
fn sources_take_turns() {
    let (peers, seen) = mpsc::channel();
    let addr = server(move |_, stream| peers.send(stream.peer_addr().unwrap().ip()).unwrap());
    let mut target = target(&format!("http://{addr}"));
    target.reach.sources = vec![IpAddr::from([127, 0, 0, 2]), Ipv6Addr::LOCALHOST.into(), IpAddr::from([127, 0, 0, 3])];
    let route = route(&target);
    let mut all: Vec<IpAddr> = (0..4)
        .map(|_| {
            connect(&route).unwrap();
            seen.recv_timeout(SOON).unwrap()
        })
        .collect();
    assert_eq!(all[0], Ipv4Addr::new(127, 0, 0, 2));
    all.sort();
    assert_eq!(all, [[127, 0, 0, 2], [127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 3]].map(IpAddr::from));
}

#[test]
fn a_unix_socket_takes_the_place_of_host_and_port() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("shop.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(|s| echo_once(s.unwrap())));
    let mut target = target("http://no-such-name.invalid/base");
    target.reach.unix = Some(path.display().to_string());
    let unix = route(&target);
    check(&unix).unwrap();
    assert_eq!((said(&unix, "local").unwrap().as_str(), unix.authority()), ("local", "no-such-name.invalid"));
    target.reach.unix = Some("/nowhere/shop.sock".to_owned());
    let e = connect(&route(&target)).unwrap_err();
    assert!(e.kind == Failure::Connect && e.why.starts_with("/nowhere/shop.sock: ") && e.errno == Some(2), "{e}");
}

#[test]
fn a_unix_socket_with_a_full_backlog_is_waited_for() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("full.sock");
    let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
    let listener = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut target = target("http://localhost");
    target.reach.unix = Some(path.display().to_string());
    let route = route(&target);
    let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
    run(move |handle| async move {
        let connector = Connector::new(&handle, &route);
        let waits = handle.before(Instant::now() + Duration::from_millis(30), connector.connect()).await;
        assert!(waits.is_none(), "the backlog is full");
        std::thread::spawn(move || (0..2).for_each(|_| drop(rustix::net::accept(&listener).unwrap())));
        connector.connect().await.unwrap();
    });
}

#[test]
fn datagrams_go_to_one_address() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = peer.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let (n, from) = peer.recv_from(&mut buffer).unwrap();
        peer.send_to(&buffer[..n], from).unwrap();
    });
    let route = route(&target(&format!("udp://{addr}")));
    run(|handle| async move {
        let socket = Connector::new(&handle, &route).datagram().await.unwrap();
        assert_eq!(socket.try_write(b"ping").unwrap(), 4);
        let mut back = [0; 64];
        loop {
            socket.readable().await;
            match socket.try_read(&mut back) {
                Ok(n) => break assert_eq!(&back[..n], b"ping"),
                Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
    });
}

/// A proxy that answers CONNECT with `answer` and then echoes, and tells what it was asked.
fn proxy(answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let (asked, seen) = mpsc::channel();
    let addr = server(move |_, mut stream: TcpStream| {
        let mut head = Vec::new();
        let mut one = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut one).is_ok_and(|n| n == 1) {
            head.push(one[0]);
        }
        asked.send(String::from_utf8(head).unwrap()).unwrap();
        // In two pieces, the second with the tunnel's first bytes.
        let (first, second) = answer.split_at(answer.len() / 2);
        stream.write_all(first.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        let _gone = stream.write_all(second.as_bytes());
        echo_once(stream);
    });
    (addr, seen)
}

#[test]
fn a_proxy_opens_a_tunnel_and_keeps_nothing_of_it() {
    let (addr, seen) = proxy("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello from the far end");
    let mut target = target("tcp://127.0.0.1:4321");
    target.reach.proxy = Some(format!("http://{addr}"));
    let route = route(&target);
    assert!(!route.absolute_form());
    let got = run(|handle| async move {
        let mut stream = Connector::new(&handle, &route).connect().await.unwrap().stream;
        let mut got = [0; 22];
        stream.read_exact(&mut got).await.unwrap();
        got
    });
    assert_eq!(&got, b"hello from the far end");
    assert_eq!(seen.recv_timeout(SOON).unwrap(), "CONNECT 127.0.0.1:4321 HTTP/1.1\r\nHost: 127.0.0.1:4321\r\n\r\n");
}

#[test]
fn plain_http_through_a_proxy_is_left_to_the_caller() {
    let addr = server(|_, stream| echo_once(stream));
    let mut target = target("http://127.0.0.1:4321/base");
    target.reach.proxy = Some(format!("http://{addr}"));
    let one = route(&target);
    assert!(one.absolute_form());
    assert_eq!(said(&one, "GET http://").unwrap(), "GET http://");
    target.http = HttpVersion::Two;
    assert!(!route(&target).absolute_form(), "HTTP/2 goes through a tunnel");
}

#[test]
fn a_proxy_that_refuses_or_talks_nonsense_is_no_connection() {
    let endless: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(40_000)).into_boxed_str());
    let table = [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407 Proxy Authentication Required to CONNECT 127.0.0.1:1"),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!", "answered 502 Bad Gateway"),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "is no HTTP"),
        ("HTTP/1.1 two hundred\r\n\r\n", "its answer is no HTTP"),
        (endless, "too long"),
        ("", "closed the connection"),
    ];
    for (answer, words) in table {
        let (addr, _seen) = if answer.is_empty() { (server(|_, _| {}), mpsc::channel().1) } else { proxy(answer) };
        let mut target = target("tcp://127.0.0.1:1");
        target.reach.proxy = Some(format!("http://{addr}"));
        let e = connect(&route(&target)).unwrap_err();
        let reset = answer.is_empty() && e.why.contains("reset");
        assert!(e.kind == Failure::Connect && (e.why.contains(words) || reset), "{e}");
        assert!(e.why.starts_with(&format!("proxy http://{addr}: ")), "{e}");
    }
    let mut target = target("tcp://127.0.0.1:1");
    target.reach.proxy = Some(format!("http://{}", nobody()));
    let e = connect(&route(&target)).unwrap_err();
    assert!(e.kind == Failure::Refused && e.why.starts_with("proxy http://"), "{e}");
}
