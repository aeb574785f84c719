//! A pause stops every thread, loses no signal, and ends cleanly.

use crate::tools::{BOUND, Test, alive, me, nginx, run, spec, states, until};
use shakedown_core::plan::Probe;
use shakedown_core::seams::{Endpoints, Services};
use shakedown_process::{Keeper, ServiceSet, tree};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("a_pause_stops_every_thread_of_a_busy_tree", a_pause_stops_every_thread_of_a_busy_tree),
    ("a_paused_nginx_answers_after_the_pause", a_paused_nginx_answers_after_the_pause),
    ("a_signal_during_a_pause_is_delivered_after_it", a_signal_during_a_pause_is_delivered_after_it),
    ("a_paused_service_can_be_killed_and_stopped", a_paused_service_can_be_killed_and_stopped),
];

fn shims() -> Vec<i32> {
    let me = i32::try_from(std::process::id()).unwrap();
    tree::descendants(me).into_iter().filter(|p| tree::stat(*p).is_some_and(|s| s.parent == me)).collect()
}

fn set_of(specs: Vec<shakedown_process::ServiceSpec>) -> Arc<ServiceSet> {
    ServiceSet::new(Keeper::start(), specs, Endpoints::default(), Arc::new(|_, _| {}))
}

fn a_pause_stops_every_thread_of_a_busy_tree() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let set = set_of(vec![spec(dir.path(), "busy", &[&me(), "role-busy", "3"], Some(Probe::Log("busy-is-up".into())))]);
        set.start("busy").await.unwrap();
        let shim = shims()[0];
        until("all three run", BOUND, || tree::of_service(shim).len() >= 3);
        for _ in 0..20 {
            let began = std::time::Instant::now();
            let count = set.pause("busy").await.unwrap();
            let took = began.elapsed();
            let members = tree::of_service(shim);
            assert!(count >= 3 && members.len() as u64 <= count, "{count} {members:?}");
            for _ in 0..3 {
                let seen = states(&tree::of_service(shim));
                assert!(seen.chars().all(|s| s == 't'), "{seen}");
                std::thread::sleep(Duration::from_millis(3));
            }
            assert!(took < Duration::from_secs(1), "{took:?}");
            assert!(set.pause("busy").await.is_err(), "twice");
            set.resume("busy").await.unwrap();
            set.resume("busy").await.unwrap();
            assert!(!states(&tree::of_service(shim)).contains('t'));
        }
        set.stop_all().await.unwrap();
    });
    assert!(shims().is_empty());
}

fn get(port: u16, within: Duration) -> std::io::Result<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(within))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map(|_| text)
}

fn a_paused_nginx_answers_after_the_pause() {
    let dir = tempfile::tempdir().unwrap();
    let Some((spec, port)) = nginx(dir.path()) else { return };
    run(async {
        let set = set_of(vec![spec]);
        set.start("nginx").await.unwrap();
        assert!(get(port, BOUND).unwrap().ends_with("ok"));
        assert_eq!(set.pause("nginx").await.unwrap(), 3, "master and two workers");
        assert!(get(port, Duration::from_millis(200)).is_err());
        set.resume("nginx").await.unwrap();
        assert!(get(port, BOUND).unwrap().ends_with("ok"));
        set.stop_all().await.unwrap();
    });
    assert!(shims().is_empty());
}

fn a_signal_during_a_pause_is_delivered_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'echo got-it' USR1; echo is-up; while :; do sleep 0.01; done";
    run(async {
        let set = set_of(vec![spec(dir.path(), "traps", &["sh", "-c", script], Some(Probe::Log("is-up".into())))]);
        set.start("traps").await.unwrap();
        let log = dir.path().join("traps.log");
        let count = || std::fs::read_to_string(&log).unwrap().matches("got-it").count();
        for round in 0..20 {
            // Odd rounds: the signal is on its way to the program while its threads are being stopped.
            let races = round % 2 == 1;
            if races {
                set.signal("traps", "USR1").await.unwrap();
            }
            set.pause("traps").await.unwrap();
            if !races {
                set.signal("traps", "USR1").await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
                assert_eq!(count(), round);
            }
            set.resume("traps").await.unwrap();
            until("the signal is handled", BOUND, || count() == round + 1);
        }
        set.stop_all().await.unwrap();
    });
}

fn a_paused_service_can_be_killed_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        for kill in [true, false] {
            let set = set_of(vec![spec(dir.path(), "busy", &[&me(), "role-busy", "2"], Some(Probe::Log("busy-is-up".into())))]);
            set.start("busy").await.unwrap();
            let all = crate::tools::below(shims()[0]);
            set.pause("busy").await.unwrap();
            if kill {
                assert!(set.kill("busy").await.unwrap() >= 1);
                assert_eq!(alive(&all), 0);
            }
            set.stop_all().await.unwrap();
            assert_eq!(alive(&all), 0);
        }
    });
    assert!(shims().is_empty());
}
