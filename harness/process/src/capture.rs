//! Takes a program's output from a pipe: into a log file up to a cap, its last lines into memory, each line to whoever
//! waits for one. Always drains, so that a full disk or a full log never blocks the program.

use shakedown_core::Fail;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Most bytes in a log file; what comes later is not kept.
const LOG_CAP: u64 = 8 * 1024 * 1024;
/// Longest part of a line that is looked at and remembered.
const LINE_CAP: usize = 4096;
/// Lines remembered for messages.
const TAIL_LINES: usize = 10;
/// Longest wait for the last output of a program that has ended.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Sees every line, without its end, cut at 4 KiB.
pub type OnLine = Box<dyn FnMut(&str) + Send>;

/// Output of one program being taken.
#[derive(Debug)]
pub struct Capture {
    tail: Arc<Mutex<VecDeque<String>>>,
    ended: watch::Receiver<bool>,
}

impl Capture {
    /// Starts taking; gives the end of the pipe for the program (standard output and error alike).
    ///
    /// # Errors
    /// When the log cannot be opened or no pipe or thread is to be had.
    pub fn start(log: Option<&Path>, on_line: OnLine) -> Result<(Capture, PipeWriter), Fail> {
        let file = log.map(open).transpose()?;
        let fail = |e: std::io::Error| Fail::new(format!("cannot take a program's output: {e}"));
        let (reader, writer) = std::io::pipe().map_err(fail)?;
        let tail = Arc::new(Mutex::new(VecDeque::with_capacity(TAIL_LINES)));
        let (tell, ended) = watch::channel(false);
        let mut taker = Taker { file, tail: tail.clone(), line: Vec::new(), on_line };
        let take = move || {
            taker.run(reader);
            tell.send_replace(true);
        };
        std::thread::Builder::new().name("output".into()).spawn(take).map_err(fail)?;
        Ok((Capture { tail, ended }, writer))
    }

    /// The last lines so far, oldest first.
    #[must_use]
    pub fn tail(&self) -> String {
        let tail = self.tail.lock().expect("no holder panics");
        tail.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// The last lines of a program that has ended: waits a moment for what is still in the pipe.
    pub async fn last_words(&self) -> String {
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(LAST_WORDS, ended.wait_for(|e| *e)).await;
        self.tail()
    }
}

fn open(path: &Path) -> Result<(File, u64), Fail> {
    let fail = |e: std::io::Error| Fail::new(format!("cannot write the log {}: {e}", path.display()));
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    Ok((file, size))
}

struct Taker {
    file: Option<(File, u64)>,
    tail: Arc<Mutex<VecDeque<String>>>,
    line: Vec<u8>,
    on_line: OnLine,
}

impl Taker {
    fn run(&mut self, mut reader: PipeReader) {
        let mut chunk = [0; 16 * 1024];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => self.take(&chunk[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = LINE_CAP - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
        self.log(bytes);
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).trim_end_matches('\r').to_owned();
        self.line.clear();
        (self.on_line)(&line);
        let mut tail = self.tail.lock().expect("no holder panics");
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }

    fn log(&mut self, bytes: &[u8]) {
        let Some((file, size)) = &mut self.file else { return };
        let room = usize::try_from(LOG_CAP.saturating_sub(*size)).unwrap_or(usize::MAX);
        *size += bytes.len() as u64;
        let mut written = file.write_all(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            written = written.and_then(|()| writeln!(file, "\n[shakedown: the log ends here, at {LOG_CAP} bytes]"));
        }
        if let Err(why) = &written {
            tracing::warn!("a service's log cannot be written: {why}; the run goes on without it");
        }
        if written.is_err() || bytes.len() > room {
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[tokio::test]
    async fn keeps_the_last_lines_and_tells_each_one() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.log");
        let (tell, told) = channel();
        let (capture, mut pipe) = Capture::start(Some(&log), Box::new(move |l| tell.send(l.to_owned()).unwrap())).unwrap();
        for i in 0..30 {
            writeln!(pipe, "line {i}").unwrap();
        }
        write!(pipe, "unfinished").unwrap();
        drop(pipe);
        let tail = capture.last_words().await;
        assert!(tail.starts_with("line 21") && tail.ends_with("unfinished"), "{tail}");
        assert_eq!(told.iter().count(), 31);
        assert_eq!(std::fs::read_to_string(log).unwrap().lines().count(), 31);
    }

    #[tokio::test]
    async fn a_log_stops_at_its_cap_and_the_program_is_not_blocked() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.log");
        let (capture, mut pipe) = Capture::start(Some(&log), Box::new(|_| {})).unwrap();
        let block = vec![b'x'; 1024 * 1024];
        for _ in 0..10 {
            pipe.write_all(&block).unwrap();
        }
        drop(pipe);
        capture.last_words().await;
        let size = std::fs::metadata(log).unwrap().len();
        assert!((LOG_CAP..LOG_CAP + 200).contains(&size), "{size}");
    }
}
