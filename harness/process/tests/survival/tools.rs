//! What the tests share: waiting on conditions, naming processes for good, a service's spec, the fake harness.

use shakedown_core::Span;
use shakedown_core::plan::{Probe, Ready};
use shakedown_process::{ServiceSpec, tree};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub type Test = (&'static str, fn());

/// Bound of every wait.
pub const BOUND: Duration = Duration::from_secs(5);

/// Waits for `holds`; gives how long it took.
pub fn until(what: &str, bound: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < bound, "not within {bound:?}: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
    began.elapsed()
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// Processes below `pid` with their start times.
pub fn below(pid: i32) -> Vec<(i32, u64)> {
    tree::descendants(pid).into_iter().filter_map(|p| tree::stat(p).map(|s| (p, s.started))).collect()
}

pub fn alive(all: &[(i32, u64)]) -> usize {
    all.iter().filter(|(pid, started)| tree::stat(*pid).is_some_and(|s| s.lives() && s.started == *started)).count()
}

/// States of all threads below a process.
pub fn states(pids: &[i32]) -> String {
    pids.iter().flat_map(|pid| tree::threads(*pid).into_iter().filter_map(move |tid| thread_state(*pid, tid))).collect()
}

fn thread_state(pid: i32, tid: i32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    text[text.rfind(')')? + 1..].trim_start().chars().next()
}

pub fn me() -> String {
    std::env::current_exe().unwrap().display().to_string()
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn spec(dir: &Path, name: &str, argv: &[&str], probe: Option<Probe>) -> ServiceSpec {
    ServiceSpec {
        name: name.into(),
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        env: vec![],
        cwd: dir.to_owned(),
        ready: probe.map(|probe| Ready { probe, within: Span::secs(5) }),
        stop_signal: "TERM".into(),
        stop_within: Span::secs(2),
        restart: false,
        builtin: false,
        attach_pid_file: None,
        log: dir.join(format!("{name}.log")),
    }
}

/// An nginx in the foreground with two workers, when there is one on this machine.
pub fn nginx(dir: &Path) -> Option<(ServiceSpec, u16)> {
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|p| Path::new(p).exists());
    assert!(program.is_some() || std::env::var_os("CI").is_none(), "nginx is missing; ci/check installs it");
    let port = free_port();
    let conf = format!(
        "worker_processes 2; pid {0}/nginx.pid; error_log {0}/error.log; daemon off;\nevents {{}}\nhttp {{ access_log off; \
         client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
         server {{ listen 127.0.0.1:{port}; location / {{ return 200 ok; }} }} }}",
        dir.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, conf).unwrap();
    let argv = [program?, "-c", file.to_str().unwrap(), "-e", "stderr"];
    Some((spec(dir, "nginx", &argv, Some(Probe::Http(format!("http://127.0.0.1:{port}/")))), port))
}

/// A fake harness in a process of its own; `mode` says what it starts.
pub struct Harness {
    pub child: Child,
    _dir: tempfile::TempDir,
}

impl Harness {
    pub fn start(mode: &str, change: impl FnOnce(&mut Command, &Path)) -> Harness {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(me());
        command.arg("role-harness").arg(mode).arg(dir.path()).stdout(Stdio::piped());
        change(&mut command, dir.path());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "up", "the fake harness did not come up");
        Harness { child, _dir: dir }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// SIGKILL; gives how long until nothing of `all` was alive.
    pub fn kill_and_time(&mut self, all: &[(i32, u64)]) -> Duration {
        let began = Instant::now();
        self.child.kill().unwrap();
        until("everything below the harness is gone", Duration::from_secs(1), || alive(all) == 0);
        let took = began.elapsed();
        self.child.wait().unwrap();
        took
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn write_pid(file: &PathBuf, pid: u32) {
    std::fs::write(file, format!("{pid}\n")).unwrap();
}
