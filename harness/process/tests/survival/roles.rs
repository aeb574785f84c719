//! The programs this test plays: a fake harness and services of several shapes.

use crate::tools::{me, nginx, spec};
use shakedown_core::seams::{Endpoints, Services};
use shakedown_process::{Isolation, Keeper, ServiceSet, Spawn};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

pub fn play(role: &str, args: &[OsString]) -> ! {
    let text: Vec<&str> = args.iter().filter_map(|a| a.to_str()).collect();
    match role {
        "role-harness" => harness(text[0], Path::new(text[1])),
        "role-busy" => busy(text[0].parse().unwrap()),
        "role-builtin" => builtin(&text),
        "role-flaky" => flaky(Path::new(text[0])),
        other => panic!("no role {other}"),
    }
}

/// Descendants of every kind: in the shell's group, in a session of its own, orphaned (daemonised twice).
pub const FAMILY: &str = "sleep 1000 & setsid sleep 1000 & setsid sh -c 'sleep 1000 & (setsid sleep 1000 &) ; exit 0'; \
                          trap '' TERM HUP INT; echo family-is-up; wait; sleep 1000";

fn harness(mode: &str, dir: &Path) -> ! {
    let keeper = Keeper::start();
    if mode == "ending-thread" {
        // A runtime's thread that asked for the spawn may end: the child belongs to the keeper.
        let keeper = keeper.clone();
        let spawn = move || std::mem::forget(keeper.spawn(Spawn::new(["sleep", "1000"])).unwrap());
        std::thread::spawn(spawn).join().unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let held: Box<dyn std::any::Any> = match mode {
        "ending-thread" => Box::new(()),
        "no-namespace" => {
            let mut spawn = Spawn::new(["sh", "-c", FAMILY]);
            spawn.isolation = Isolation::ShimWithoutNamespace;
            Box::new(keeper.spawn(spawn).unwrap())
        }
        _ => Box::new(runtime.block_on(serve(keeper, mode, dir))),
    };
    println!("up");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(Duration::from_secs(60));
    drop(held);
    exit(0)
}

async fn serve(keeper: Keeper, mode: &str, dir: &Path) -> Arc<ServiceSet> {
    let log = |line: &str| Some(shakedown_core::plan::Probe::Log(line.into()));
    let exe = me();
    let mut specs = Vec::new();
    if mode.contains("attached") {
        let mut attached = spec(dir, "attached", &[], None);
        attached.attach_pid_file = Some(PathBuf::from(std::env::var_os("ATTACH_PID_FILE").unwrap()));
        specs.push(attached);
    } else {
        specs.push(spec(dir, "family", &["sh", "-c", FAMILY], log("family-is-up")));
        specs.push(spec(dir, "busy", &[&exe, "role-busy", "3"], log("busy-is-up")));
        specs.extend(nginx(dir).filter(|_| mode != "nobody").map(|(spec, _)| spec));
    }
    let names: Vec<String> = specs.iter().map(|s| s.name.clone()).collect();
    let set = ServiceSet::new(keeper, specs, Endpoints::default(), Arc::new(|name, status| panic!("{name} ended with {status}")));
    for name in &names {
        set.start(name).await.unwrap();
    }
    if mode.contains("paused") {
        for name in &names {
            assert!(set.pause(name).await.unwrap() > 0);
        }
    }
    set
}

/// Threads that start and end threads all the time, in `processes` processes, one of which forks all the time.
fn busy(processes: u32) -> ! {
    if processes > 1 {
        let child = std::process::Command::new(me()).arg("role-busy").arg((processes - 1).to_string()).spawn().unwrap();
        std::mem::forget(child);
    }
    for _ in 0..4 {
        std::thread::spawn(|| {
            loop {
                std::thread::spawn(|| std::thread::sleep(Duration::from_millis(1))).join().unwrap();
            }
        });
    }
    println!("busy-is-up");
    loop {
        if processes == 1 {
            assert!(std::process::Command::new("true").status().unwrap().success());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Speaks the builtin protocol; keeps the port it is told to keep.
fn builtin(args: &[&str]) -> ! {
    let kept = args.iter().position(|a| *a == "--listen").and_then(|at| args[at + 1].strip_prefix("shop.http="));
    let listener = std::net::TcpListener::bind(kept.unwrap_or("127.0.0.1:0")).unwrap();
    println!("SHAKEDOWN-ENDPOINT shop.http {}", listener.local_addr().unwrap());
    println!("SHAKEDOWN-READY");
    loop {
        drop(listener.accept());
    }
}

/// Ends with 3 the first time, stays the second.
fn flaky(mark: &Path) -> ! {
    if mark.exists() {
        println!("second-life");
        std::thread::sleep(Duration::from_secs(60));
    }
    std::fs::write(mark, "").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    exit(3)
}
