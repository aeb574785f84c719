//! HTTP/2 against nginx without TLS: what a request costs when connections are shared.

use super::{columns, ratio, rows};
use crate::bench::{Bench, PLAIN, Sample};
use crate::suite::{Suite, median_of};
use crate::table::{Goal, Table};
use crate::tools::{Job, Peer, which};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CONNECTIONS: u32 = 64;
const STREAMS: u32 = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// h2load against shakedown.
pub fn http2(suite: &mut Suite) -> Vec<Table> {
    let job = Job { streams: Some(STREAMS), ..Job::closed(CONNECTIONS, suite.pick(5, 1)) };
    let mut notes = vec!["The server is nginx, one worker; requests are counted by its stub_status.".to_string()];
    let present = which(Path::new("/usr/sbin"), "nginx").is_some();
    let cases = if present { suite.cases(&["shakedown", "h2load"], PLAIN, &job) } else { Vec::new() };
    if !present {
        notes.push("not measured: nginx is absent (apt-get install nginx-light)".into());
    }
    let all = suite.rounds_by(
        "http2",
        &cases,
        3,
        |bench, peer, case| sample(bench, peer, &case.job).with_context(|| peer.name()),
        |_case, sample| {
            vec![
                Some(sample.seen as f64 / f64::from(job.seconds)),
                Some(sample.cpu_per_million()),
                Some(sample.usage.user * 1e6 / sample.seen as f64),
            ]
        },
    );
    vec![Table {
        id: "http2",
        title: "HTTP/2".into(),
        setting: format!("{job}, {STREAMS} streams each, without TLS (prior knowledge), answers of 2 bytes"),
        columns: columns(&["requests/s", "CPU s per million", "of it user"]),
        rows: rows(&all, &[0, 2, 2]),
        goals: vec![Goal::at_most(
            "CPU per request, share of h2load's, ≤ 1",
            ratio(median_of(&all, "shakedown", 1), median_of(&all, "h2load", 1)),
            1.0,
        )],
        notes,
    }]
}

fn sample(bench: &Bench, peer: &dyn Peer, job: &Job) -> Result<Sample> {
    let dir = tempfile::tempdir_in(bench.dir.path())?;
    let nginx = Nginx::start(bench, dir.path())?;
    let job = Job { port: nginx.port, ..job.clone() };
    let before = nginx.requests()?;
    let usage = bench.generate(peer, &job, dir.path())?;
    // The question after counts itself.
    let seen = nginx.requests()?.saturating_sub(before + 1);
    Sample::new(peer, &job, dir.path(), usage, seen)
}

/// An nginx of its own; killed when dropped.
struct Nginx {
    child: Child,
    port: u16,
    status: u16,
}

impl Nginx {
    #[expect(clippy::disallowed_methods, reason = "the child carries a parent-death signal, and this program has one thread")]
    fn start(bench: &Bench, dir: &Path) -> Result<Self> {
        let (port, status) = free_ports()?;
        let file = dir.join("nginx.conf");
        std::fs::write(&file, configuration(port, status, dir))?;
        let program = which(Path::new("/usr/sbin"), "nginx").context("nginx is absent")?;
        let mut command = Command::new(&bench.own);
        command.arg("pinned");
        if let Some(core) = bench.server {
            command.arg("--core").arg(core.to_string());
        }
        command.arg("--").arg(program).arg("-p").arg(dir).arg("-c").arg(&file).arg("-e").arg(dir.join("nginx.err"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let nginx = Self { child, port, status };
        let end = Instant::now() + PATIENCE;
        while nginx.requests().is_err() {
            let words = || std::fs::read_to_string(dir.join("nginx.err")).unwrap_or_default();
            ensure!(Instant::now() < end, "nginx does not answer: {}", words());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    /// Requests since it started, this question included.
    fn requests(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.status))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        // server accepts handled requests\n 7 7 11 \n
        let line = text.lines().skip_while(|l| !l.starts_with("server accepts")).nth(1).context("no stub_status")?;
        line.split_whitespace().nth(2).and_then(|n| n.parse().ok()).context("no count of requests in stub_status")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            let _ended = self.child.wait();
        }
    }
}

fn configuration(port: u16, status: u16, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nerror_log {dir}/nginx.err;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n keepalive_requests 1000000000;\n client_body_temp_path {dir}/b;\n proxy_temp_path {dir}/p;\n \
         fastcgi_temp_path {dir}/f;\n uwsgi_temp_path {dir}/u;\n scgi_temp_path {dir}/s;\n \
         server {{ listen 127.0.0.1:{port} http2; location / {{ return 200 ok; }} }}\n \
         server {{ listen 127.0.0.1:{status}; location / {{ stub_status; }} }}\n}}\n"
    )
}

/// Two ports that were free a moment ago.
fn free_ports() -> Result<(u16, u16)> {
    let (a, b) = (TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?);
    Ok((a.local_addr()?.port(), b.local_addr()?.port()))
}
