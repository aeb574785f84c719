//! The TCP proxy on loopback: what toxics do to bytes and connections, and how fast they go.
// clippy takes helpers of integration tests for library code.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{NAME, add, connect, echo, exchange, proxy, proxy_to, toxic};
use shakedown_core::AllowList;
use shakedown_core::Ppm;
use shakedown_core::plan::ProxyPlan;
use shakedown_core::seams::{Endpoints, Proxies};
use shakedown_injectors::ProxySet;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(3);

fn percentile(values: &mut [i64], q: f64) -> i64 {
    values.sort_unstable();
    values[((values.len() - 1) as f64 * q) as usize]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delays_are_exact_below_a_millisecond_too() {
    let (upstream, _task) = echo().await;
    let (set, addr) = proxy(upstream, false).await;
    let mut stream = connect(addr).await;
    for (delay, count) in [("500us", 200_i64), ("5ms", 100), ("50ms", 15)] {
        let mut plain = Vec::new();
        for _ in 0..count {
            let started = Instant::now();
            exchange(&mut stream, b"ping", 4).await;
            plain.push(started.elapsed().as_nanos() as i64);
        }
        add(&set, toxic("slow", "latency", &[("delay", delay)])).await;
        let wanted = shakedown_core::Span::parse(delay).unwrap().0 as i64;
        let base = percentile(&mut plain, 0.5);
        let mut errors = Vec::new();
        for _ in 0..count {
            let started = Instant::now();
            exchange(&mut stream, b"ping", 4).await;
            let took = started.elapsed().as_nanos() as i64;
            assert!(took >= wanted, "{took} ns is earlier than {delay}");
            errors.push(took - wanted - base);
        }
        let (p50, p99) = (percentile(&mut errors, 0.5), percentile(&mut errors, 0.99));
        println!("{delay}: error p50 {p50} ns, p99 {p99} ns, idle round trip p50 {base} ns");
        assert!(p50.abs() < 1_000_000, "{delay}: p50 of the error is {p50} ns");
        set.remove(NAME, "slow").await.unwrap();
    }
    let counted = set.attest(NAME, "slow");
    assert_eq!((counted.hits, counted.bytes), (3, 315 * 4), "hit per connection, each toxic anew; kept after removal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latencies_chain_and_overlap_in_order() {
    let (upstream, _task) = echo().await;
    let (set, addr) = proxy(upstream, false).await;
    add(&set, toxic("a", "latency", &[("delay", "60ms")])).await;
    add(&set, toxic("b", "latency", &[("delay", "40ms"), ("direction", "upstream")])).await;
    let mut stream = connect(addr).await;
    let started = Instant::now();
    for byte in 0..10_u8 {
        stream.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut got = [0; 10];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let took = started.elapsed();
    assert!((Duration::from_millis(100)..Duration::from_millis(400)).contains(&took), "ten overlapping waits took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_releases_what_waits() {
    let (upstream, _task) = echo().await;
    let (set, addr) = proxy(upstream, false).await;
    add(&set, toxic("long", "latency", &[("delay", "60s")])).await;
    let mut stream = connect(addr).await;
    stream.write_all(b"held").await.unwrap();
    let mut got = [0; 4];
    assert!(timeout(Duration::from_millis(100), stream.read_exact(&mut got)).await.is_err());
    let removed = Instant::now();
    set.remove(NAME, "long").await.unwrap();
    set.remove(NAME, "long").await.unwrap();
    timeout(SOON, stream.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(&got, b"held");
    assert!(removed.elapsed() < Duration::from_millis(100), "{:?}", removed.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_a_reset() {
    let (upstream, _task) = echo().await;
    let (set, addr) = proxy(upstream, false).await;
    let mut live = connect(addr).await;
    exchange(&mut live, b"ping", 4).await;
    add(&set, toxic("rst", "reset", &[("after", "30ms")])).await;
    let error = timeout(SOON, live.read(&mut [0; 1])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let counted = set.attest(NAME, "rst");
    assert_eq!((counted.hits, counted.seen), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_holds_and_closes_when_it_goes() {
    let (upstream, _task) = echo().await;
    let (set, addr) = proxy(upstream, false).await;
    let mut live = connect(addr).await;
    exchange(&mut live, b"ping", 4).await;
    add(&set, toxic("hole", "blackhole", &[])).await;
    let mut fresh = connect(addr).await;
    for stream in [&mut live, &mut fresh] {
        stream.write_all(b"lost").await.unwrap();
        assert!(timeout(Duration::from_millis(100), stream.read(&mut [0; 4])).await.is_err());
    }
    let removed = Instant::now();
    set.remove(NAME, "hole").await.unwrap();
    for stream in [&mut live, &mut fresh] {
        assert!(matches!(timeout(SOON, stream.read(&mut [0; 4])).await.unwrap(), Ok(0) | Err(_)));
    }
    assert!(removed.elapsed() < Duration::from_millis(100), "{:?}", removed.elapsed());
    assert_eq!(set.attest(NAME, "hole").hits, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bandwidth_is_kept_within_a_tenth() {
    let (upstream, _task) = echo().await;
    let (set, addr) = proxy(upstream, false).await;
    add(&set, toxic("thin", "bandwidth", &[("rate", "200KB/s")])).await;
    // A busy machine may stall once; never may it be too fast.
    let mut best = f64::MAX;
    for _ in 0..3 {
        let mut stream = connect(addr).await;
        let started = Instant::now();
        exchange(&mut stream, &[7; 200_000], 200_000).await;
        let took = started.elapsed().as_secs_f64();
        assert!(took > 0.9, "200 KB at 200 KB/s took only {took} s");
        best = best.min(took);
        if best < 1.1 {
            return;
        }
    }
    panic!("200 KB at 200 KB/s took {best} s at best");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_does_not_wait_for_a_dead_sink() {
    // An upstream that accepts and never reads, and a client that never reads either.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let (set, addr) = proxy(upstream, false).await;
    add(&set, toxic("slow", "latency", &[("delay", "10ms"), ("direction", "upstream")])).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(addr).await;
        // Until nothing more is taken: kernel buffers and the lane are full.
        while timeout(Duration::from_millis(20), stream.write_all(&[0; 256 * 1024])).await.is_ok() {}
        streams.push(stream);
    }
    let removed = Instant::now();
    set.remove(NAME, "slow").await.unwrap();
    assert!(removed.elapsed() < Duration::from_millis(100), "{:?}", removed.elapsed());
    timeout(SOON, set.stop()).await.unwrap();
    held.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_close_is_kept() {
    let (upstream, _task) = echo().await;
    let (set, addr) = proxy(upstream, false).await;
    let mut stream = connect(addr).await;
    stream.write_all(&[9; 300_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = Vec::new();
    timeout(SOON, stream.read_to_end(&mut got)).await.unwrap().unwrap();
    assert_eq!(got.len(), 300_000);
    let stats = set.stats(NAME).unwrap();
    assert_eq!((stats.connections, stats.errors), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_rolled_per_connection_and_the_same_again() {
    let (upstream, _task) = echo().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (set, addr) = proxy(upstream, false).await;
        add(&set, shakedown_core::seams::Toxic { share: Ppm(300_000), ..toxic("hole", "blackhole", &[]) }).await;
        let mut hit = Vec::new();
        for _ in 0..60 {
            let mut stream = connect(addr).await;
            stream.write_all(b"x").await.unwrap();
            hit.push(timeout(Duration::from_millis(25), stream.read(&mut [0; 1])).await.is_err());
        }
        let hits = hit.iter().filter(|h| **h).count() as u64;
        let counted = set.attest(NAME, "hole");
        assert_eq!((counted.hits, counted.seen), (hits, 60));
        // Binomial(60, 0.3): mean 18, standard deviation 3.5; four of them.
        assert!((4..=32).contains(&hits), "{hits} of 60");
        runs.push(hit);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reached_closes_and_is_counted() {
    for upstream in ["127.0.0.1:1", "192.0.2.1:80", "nowhere"] {
        let set = proxy_to(upstream, false, Endpoints::default()).await;
        let mut stream = connect(set.addr(NAME).unwrap()).await;
        assert!(matches!(timeout(SOON, stream.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_)), "{upstream}");
        while set.stats(NAME).unwrap().errors == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_use_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plan = ProxyPlan { name: NAME.into(), listen: taken.local_addr().unwrap(), upstream: "x".into(), http: false };
    let allow = AllowList::parse(&["127.0.0.0/8".into()]).unwrap();
    let failed = ProxySet::start(&[plan], Endpoints::default(), allow, 1).await.err().unwrap();
    assert!(failed.0.contains("proxy p cannot listen on 127.0.0.1:") && failed.0.contains("another port"), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_looked_up_when_it_is_needed() {
    let endpoints = Endpoints::default();
    let set = proxy_to("late.service", false, endpoints.clone()).await;
    assert_eq!(endpoints.get("proxy.p"), set.addr(NAME));
    let (upstream, _task) = echo().await;
    endpoints.set("late.service", upstream);
    let mut stream = connect(set.addr(NAME).unwrap()).await;
    assert_eq!(exchange(&mut stream, b"ping", 4).await, b"ping");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_closes_every_connection() {
    let (upstream, _task) = echo().await;
    let (set, addr) = proxy(upstream, false).await;
    let mut stream = connect(addr).await;
    exchange(&mut stream, b"ping", 4).await;
    set.stop().await;
    assert!(matches!(timeout(SOON, stream.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_)));
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    let unknown = set.add("q", toxic("x", "reset", &[])).await.unwrap_err();
    assert!(unknown.0.contains("no proxy named q"), "{unknown}");
}
