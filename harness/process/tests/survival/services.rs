//! Services that start, do not start, restart, end and are stopped; commands.

use crate::tools::{BOUND, Test, below, free_port, me, run, spec, until};
use shakedown_core::Span;
use shakedown_core::plan::{Probe, Ready};
use shakedown_core::seams::{Endpoints, Services};
use shakedown_process::{Keeper, ServiceSet, ServiceSpec, run_command};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    ("a_service_that_is_never_ready_says_why_and_is_gone", a_service_that_is_never_ready_says_why_and_is_gone),
    ("a_port_in_use_is_told_before_the_start", a_port_in_use_is_told_before_the_start),
    ("a_service_that_ends_early_shows_its_last_lines", a_service_that_ends_early_shows_its_last_lines),
    ("a_killed_builtin_comes_back_on_its_port", a_killed_builtin_comes_back_on_its_port),
    ("an_unexpected_end_is_told_or_restarted", an_unexpected_end_is_told_or_restarted),
    ("stopping_is_in_reverse_order_and_thorough", stopping_is_in_reverse_order_and_thorough),
    ("stopping_ends_a_start_that_waits", stopping_ends_a_start_that_waits),
    ("commands_are_bounded_and_leave_nothing", commands_are_bounded_and_leave_nothing),
];

type Ends = Arc<Mutex<Vec<(String, i32)>>>;

fn set_of(specs: Vec<ServiceSpec>) -> (Arc<ServiceSet>, Endpoints, Ends) {
    let (endpoints, ends) = (Endpoints::default(), Ends::default());
    let told = ends.clone();
    let on_exit = Arc::new(move |name: &str, status| told.lock().unwrap().push((name.to_owned(), status)));
    (ServiceSet::new(Keeper::start(), specs, endpoints.clone(), on_exit), endpoints, ends)
}

fn nothing_left() {
    let me = i32::try_from(std::process::id()).unwrap();
    assert_eq!(below(me), []);
}

fn a_service_that_is_never_ready_says_why_and_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let probe = Probe::Http(format!("http://127.0.0.1:{port}/healthz"));
    let mut slow = spec(dir.path(), "slow", &["sh", "-c", "echo warming up; sleep 1000 & sleep 1000"], None);
    slow.ready = Some(Ready { probe, within: Span::millis(300) });
    let why = run(async { set_of(vec![slow]).0.start("slow").await.unwrap_err() }).0;
    assert!(why.contains("not ready within 300ms") && why.contains("refused") && why.contains("warming up"), "{why}");
    nothing_left();
}

fn a_port_in_use_is_told_before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = Probe::Tcp(listener.local_addr().unwrap().to_string());
    let why = run(async { set_of(vec![spec(dir.path(), "a", &["sleep", "9"], Some(probe))]).0.start("a").await.unwrap_err() }).0;
    assert!(why.contains("something else already listens on 127.0.0.1:"), "{why}");
    nothing_left();
}

fn a_service_that_ends_early_shows_its_last_lines() {
    let dir = tempfile::tempdir().unwrap();
    let start = |argv: &[&str]| run(async { set_of(vec![spec(dir.path(), "a", argv, None)]).0.start("a").await.unwrap_err() }).0;
    let why = start(&["sh", "-c", "echo bind: Address already in use >&2; exit 1"]);
    assert!(why.contains("ended with status 1") && why.contains("its port is taken") && why.contains("bind: Address"), "{why}");
    let why = start(&["/no/such/program"]);
    assert!(why.contains("no such program"), "{why}");
    nothing_left();
}

fn a_killed_builtin_comes_back_on_its_port() {
    let dir = tempfile::tempdir().unwrap();
    for restart in [true, false] {
        let mut shop = spec(dir.path(), "shop", &[&me(), "role-builtin"], None);
        (shop.builtin, shop.restart) = (true, restart);
        let (set, endpoints, ends) = set_of(vec![shop]);
        run(async {
            set.start("shop").await.unwrap();
            let port = endpoints.get("shop.http").unwrap();
            for _ in 0..2 {
                assert_eq!(set.kill("shop").await.unwrap(), 1);
                assert!(std::net::TcpStream::connect(port).is_err());
                set.start("shop").await.unwrap();
                assert!(std::net::TcpStream::connect(port).is_ok());
                assert_eq!(endpoints.get("shop.http"), Some(port));
            }
            set.stop_all().await.unwrap();
        });
        assert_eq!(*ends.lock().unwrap(), [], "a kill on purpose is no surprise");
        nothing_left();
    }
}

fn an_unexpected_end_is_told_or_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    for restart in [false, true] {
        let _ = std::fs::remove_file(&mark);
        let mut flaky = spec(dir.path(), "flaky", &[&me(), "role-flaky", mark.to_str().unwrap()], None);
        flaky.restart = restart;
        let (set, _, ends) = set_of(vec![flaky]);
        run(async {
            set.start("flaky").await.unwrap();
            let log = dir.path().join("flaky.log");
            if restart {
                until("it lives again", BOUND, || std::fs::read_to_string(&log).unwrap().contains("second-life"));
            } else {
                until("its end is told", BOUND, || *ends.lock().unwrap() == [("flaky".to_owned(), 3)]);
            }
            set.stop_all().await.unwrap();
        });
        assert_eq!(ends.lock().unwrap().len(), usize::from(!restart));
    }
    nothing_left();
}

fn stopping_is_in_reverse_order_and_thorough() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("order");
    let polite = |name: &str| format!("trap 'echo {name} >> {}; exit 0' TERM; setsid sleep 1000 & echo is-up; wait; wait", out.display());
    let up = || Some(Probe::Log("is-up".into()));
    let mut specs: Vec<ServiceSpec> = ["a", "b"].iter().map(|n| spec(dir.path(), n, &["sh", "-c", &polite(n)], up())).collect();
    let mut deaf =
        spec(dir.path(), "deaf", &["sh", "-c", "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 1000' & echo is-up; sleep 1000"], up());
    deaf.stop_within = Span::millis(100);
    specs.push(deaf);
    let (set, _, ends) = set_of(specs);
    run(async {
        for name in ["a", "b", "deaf"] {
            set.start(name).await.unwrap();
        }
        let began = Instant::now();
        set.stop_all().await.unwrap();
        // Whatever is alive the moment it returns is a leak.
        nothing_left();
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(set.start("a").await.unwrap_err().0.contains("being stopped"));
    });
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "b\na\n");
    assert_eq!(*ends.lock().unwrap(), []);
}

fn stopping_ends_a_start_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (set, ..) = set_of(vec![spec(dir.path(), "slow", &["sleep", "1000"], Some(Probe::Log("never".into())))]);
    run(async {
        let starting = tokio::spawn({
            let set = set.clone();
            async move { set.start("slow").await }
        });
        let me = i32::try_from(std::process::id()).unwrap();
        until("it runs", BOUND, || below(me).len() == 3);
        let began = Instant::now();
        set.stop_all().await.unwrap();
        assert!(starting.await.unwrap().is_err());
        assert!(began.elapsed() < Duration::from_secs(1));
        nothing_left();
    });
}

fn commands_are_bounded_and_leave_nothing() {
    let keeper = Keeper::start();
    let command = |script: &str, within| {
        let argv = ["sh", "-c", script].map(str::to_owned);
        run(run_command(&keeper, &argv, &[("NAME".into(), "value".into())], Path::new("/tmp"), within))
    };
    assert_eq!(command("echo $NAME; pwd; echo err >&2", Span::secs(5)).unwrap(), "value\n/tmp\nerr");
    let why = command("echo oh; exit 4", Span::secs(5)).unwrap_err().0;
    assert!(why.contains("status 4") && why.contains("oh"), "{why}");
    let began = Instant::now();
    let why = command("setsid sleep 1000 & sleep 1000", Span::millis(100)).unwrap_err().0;
    assert!(why.contains("did not end within 100ms and was killed"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(command("setsid sleep 1000 >/dev/null 2>&1 & exit 0", Span::secs(5)).is_ok());
    nothing_left();
}
