//! What must never pass: each scenario here is broken in one way, and none may end with exit 0.

mod common;

use common::{Said, Scratch, alone, short};

fn run(text: &str) -> (Scratch, Said) {
    let s = Scratch::new();
    let path = s.write("scenario.yaml", text);
    let said = s.scenario(&path, &["--report", "json"]);
    assert!(!said.err.contains("panicked"), "{}", said.err);
    (s, said)
}

fn reasons(s: &Scratch) -> String {
    s.decision()["reasons"].to_string()
}

#[test]
fn the_short_scenario_itself_promotes() {
    let _alone = alone();
    let (_s, said) = run(&short(""));
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
}

#[test]
fn empty_bodies_from_the_canary() {
    let _alone = alone();
    let (s, said) = run(&short("empty-body"));
    assert_eq!(said.code, 10, "{}\n{}", said.out, said.err);
    assert!(s.decision()["verdict"] != "promote");
}

#[test]
fn a_router_that_ignores_the_weight() {
    let _alone = alone();
    let (s, said) = run(&short("ignores-weight"));
    assert!([4, 10, 11].contains(&said.code), "{}\n{}", said.out, said.err);
    assert!(reasons(&s).contains("sample-ratio") || said.code == 11, "{}", reasons(&s));
}

#[test]
fn a_fault_at_an_unused_proxy() {
    let _alone = alone();
    let (s, said) = run(&short("").replace("payments: proxy.payments", ""));
    assert_eq!(said.code, 4, "{}\n{}", said.out, said.err);
    assert!(reasons(&s).contains("fault-no-hit"), "{}", reasons(&s));
}

#[test]
fn no_traffic() {
    let _alone = alone();
    let text = short("").replace("rate: 400/s", "rate: 0/s");
    let (_s, said) = run(&text);
    assert!([2, 4].contains(&said.code), "{}\n{}", said.out, said.err);
}

#[test]
fn a_dead_target_and_a_wrong_port() {
    let _alone = alone();
    let (_s, said) = run(&short("").replace("{shop: pilot.router}", "{shop: \"http://127.0.0.1:1\"}"));
    assert_eq!(said.code, 3, "{}\n{}", said.out, said.err);
    assert!(said.err.contains("127.0.0.1:1"), "{}", said.err);
}

#[test]
fn a_target_outside_the_allow_list() {
    let s = Scratch::new();
    let path = s.write("scenario.yaml", &short("").replace("{shop: pilot.router}", "{shop: \"http://10.1.2.3:80\"}"));
    let said = s.scenario(&path, &[]);
    assert_eq!(said.code, 2, "{}\n{}", said.out, said.err);
    assert!(said.err.contains("allow"), "{}", said.err);
}

#[test]
fn a_service_that_never_gets_ready_or_exits() {
    let _alone = alone();
    for (command, word) in [
        ("[sh, -c, 'echo hello; sleep 60']", "ready"),
        ("[sh, -c, 'echo no such config >&2; exit 3']", "no such config"),
        ("[/no/such/program]", "/no/such/program"),
    ] {
        let service = format!("  services:\n    extra: {{command: {command}, ready: {{tcp: \"127.0.0.1:9\", within: 1s}}}}\n");
        let (_s, said) = run(&short("").replace("  services:\n", &service));
        assert_eq!(said.code, 3, "{command}: {}\n{}", said.out, said.err);
        assert!(said.err.contains(word), "{command}: {}", said.err);
    }
}

#[test]
fn a_port_in_use() {
    let _alone = alone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("an address").to_string();
    let (_s, said) = run(&short("").replace("listen: 127.0.0.1:0", &format!("listen: {addr}")));
    assert_eq!(said.code, 3, "{}\n{}", said.out, said.err);
    assert!(said.err.contains(&addr), "{}", said.err);
}

#[test]
fn two_runs_of_one_environment() {
    let _alone = alone();
    let s = Scratch::new();
    let path = s.write("scenario.yaml", &short(""));
    let first = s.path("first");
    let args = ["run", path.to_str().expect("a path"), "--out", first.to_str().expect("a path"), "--ui", "none"];
    let mut child = common::spawn(s.command(&args));
    common::until(std::time::Duration::from_secs(20), "the first run began", || first.join("journal.jsonl").exists());
    let said = s.scenario(&path, &[]);
    assert_eq!(said.code, 3, "{}\n{}", said.out, said.err);
    assert!(said.err.contains("short"), "names the environment: {}", said.err);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    #[allow(clippy::disallowed_methods, reason = "a test is not the harness")]
    let status = child.wait().expect("it ended");
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_secret_is_in_no_output() {
    let _alone = alone();
    let s = Scratch::new();
    let text = short("errors").replace(
        "get: \"/products/{{ products.id }}\"",
        "get: \"/products/{{ products.id }}\", headers: {authorization: \"Bearer ${secret:TOKEN}\"}",
    );
    let text =
        text.replace("  services:\n", "  services:\n    extra: {command: [sh, -c, 'sleep 60'], env: {TOKEN: \"${secret:TOKEN}\"}}\n");
    let text = format!("{text}teardown: [{{command: [sh, -c, 'echo ${{secret:TOKEN}} >/dev/null']}}]\n");
    let path = s.write("scenario.yaml", &text);
    let out = s.path("out");
    let mut command = s.command(&["run", path.to_str().expect("a path"), "--out", out.to_str().expect("a path"), "-vv"]);
    command.env("TOKEN", "planted-hunter2-secret");
    let said = common::said(command);
    assert!([0, 10, 12].contains(&said.code), "{}\n{}", said.out, said.err);
    for text in [&said.out, &said.err] {
        assert!(!text.contains("planted-hunter2-secret"), "printed: {text}");
    }
    let mut files = vec![out, s.path("state")];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).expect("readable").flatten().map(|e| e.path()));
        } else if path.exists() {
            read += 1;
            let bytes = std::fs::read(&path).expect("readable");
            assert!(!String::from_utf8_lossy(&bytes).contains("planted-hunter2-secret"), "in {}", path.display());
        }
    }
    assert!(read > 5, "{read} files searched");
}

#[test]
fn a_missing_secret_is_a_scenario_error() {
    let s = Scratch::new();
    let text = short("")
        .replace("get: \"/products/{{ products.id }}\"", "get: /products/p1, headers: {authorization: \"${secret:NOT_SET_ANYWHERE}\"}");
    let path = s.write("scenario.yaml", &text);
    let said = s.scenario(&path, &[]);
    assert_eq!(said.code, 2, "{}\n{}", said.out, said.err);
    assert!(said.err.contains("NOT_SET_ANYWHERE"), "{}", said.err);
}
