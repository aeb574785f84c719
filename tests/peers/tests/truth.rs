//! The instrument itself: the floor against the server, counts and clocks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

const OWN: &str = env!("CARGO_BIN_EXE_shakedown-peers");

struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(OWN);
        command.args(["truth", "--room", "100000"]).args(arguments).stdout(Stdio::piped());
        #[expect(clippy::disallowed_methods, reason = "killed on drop")]
        let mut child = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let port = u16::try_from(number(&mut lines, "port ")).expect("a port");
        Self { child, lines, port }
    }

    fn end(mut self) -> u64 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        number(&mut self.lines, "seen ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn number(lines: &mut impl BufRead, key: &str) -> u64 {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    line.trim().strip_prefix(key).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line:?} has no {key}"))
}

#[test]
fn the_floor_counts_what_the_server_saw() {
    for mode in [&["--block"][..], &[]] {
        let server = Server::start(mode);
        let port = server.port.to_string();
        #[expect(clippy::disallowed_methods, reason = "runs to its end")]
        let out = Command::new(OWN).args(["floor", "--port", &port, "--connections", "8", "--seconds", "1"]).output().expect("it runs");
        let said = String::from_utf8_lossy(&out.stdout).to_string();
        let counted: u64 = said.trim().strip_prefix("requests ").expect("a count").parse().expect("a number");
        assert!(counted > 8, "{said}");
        assert_eq!(server.end(), counted);
    }
}

#[test]
fn answers_that_are_held_are_logged_with_both_times() {
    let dir = tempfile::tempdir().expect("a directory");
    let dump = dir.path().join("log");
    let server = Server::start(&["--block", "--mode", "delay", "--answer", "json", "--dump", &dump.to_string_lossy()]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.write_all(b"POST /cart HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n").expect("it reads");
    let mut text = String::new();
    while text.matches("\"state\":\"open\"").count() < 2 {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).expect("it answers");
        assert!(read > 0, "closed after {text:?}");
        text += &String::from_utf8_lossy(&part[..read]);
    }
    assert_eq!(server.end(), 2);
    let log = std::fs::read(dump).expect("the log is there");
    assert_eq!(log.len(), 32);
    for entry in log.chunks(16) {
        let time = |part: &[u8]| u64::from_le_bytes(part.try_into().expect("eight bytes"));
        // Lognormal with a median of 5 ms and sigma 0.8: one below 100 µs is five deviations away.
        assert!(time(&entry[8..]) > time(&entry[..8]) + 100_000, "the answer was not held");
    }
}
