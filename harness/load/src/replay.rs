//! Recorded traffic as absolute due times: read, sorted, spread within the second, cut, sped up. Sends nothing.

use crate::accesslog;
use crate::seeds::Seed;
use shakedown_core::plan::Replay;
use shakedown_core::{Fail, Span};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};

/// Largest log, bytes.
pub const MAX_BYTES: u64 = 1 << 30;
/// Longest line, bytes; longer ones are no log lines.
pub const MAX_LINE: u64 = 64 * 1024;
/// How many bad lines are named.
pub const NAMED: usize = 3;
const SECOND: u64 = 1_000_000_000;

/// A log ready to be replayed: compact, in order of due time.
#[derive(Debug)]
pub struct Log {
    /// Requests in order.
    pub entries: Vec<Entry>,
    /// Lines that were no log lines.
    pub skipped: u64,
    /// The first of them with line numbers.
    pub named: Vec<String>,
    methods: Vec<String>,
    paths: String,
}

/// One recorded request.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When it is due, from the start of the stream.
    pub due: u64,
    /// Recorded status.
    pub status: u16,
    method: u16,
    path: (u32, u32),
}

impl Log {
    /// Reads a log and fixes every due time.
    ///
    /// # Errors
    /// Names the file and why nothing of it can be replayed.
    pub fn read(replay: &Replay, seed: Seed) -> Result<Log, Fail> {
        let at = |why: String| Fail::new(format!("replay {}: {why}", replay.file));
        if replay.format != "access-log" {
            return Err(at(format!("format `{}` is not available yet; there is access-log", replay.format)));
        }
        if replay.file.ends_with(".gz") {
            return Err(at("compressed logs are not available yet; unpack it with gunzip".to_owned()));
        }
        let file = File::open(&replay.file).map_err(|e| at(e.to_string()))?;
        let size = file.metadata().map_err(|e| at(e.to_string()))?.len();
        if size > MAX_BYTES {
            return Err(at(format!("{size} bytes; at most {MAX_BYTES}: cut it, for example by the hour")));
        }
        let mut log = Log { entries: Vec::new(), skipped: 0, named: Vec::new(), methods: Vec::new(), paths: String::new() };
        let seconds = log.lines(file).map_err(at)?;
        if log.entries.is_empty() {
            let first = log.named.first().map_or("it is empty".to_owned(), |n| format!("{} lines, {n}", log.skipped));
            return Err(at(format!("no line of it is an access-log line ({first})")));
        }
        log.place(&seconds, replay, seed);
        if log.entries.is_empty() {
            return Err(at("no request is left after `between` and `methods`".to_owned()));
        }
        Ok(log)
    }

    /// The method of an entry.
    #[must_use]
    pub fn method(&self, entry: &Entry) -> &str {
        &self.methods[usize::from(entry.method)]
    }

    /// The path and query of an entry.
    #[must_use]
    pub fn path(&self, entry: &Entry) -> &str {
        &self.paths[entry.path.0 as usize..entry.path.1 as usize]
    }

    /// From the start of the stream to the last request.
    #[must_use]
    pub fn length(&self) -> Span {
        Span(self.entries.last().map_or(0, |e| e.due))
    }

    /// Reads every line; gives the recorded second of each entry.
    fn lines(&mut self, file: File) -> Result<Vec<i64>, String> {
        let (mut reader, mut seconds) = (BufReader::new(file), Vec::new());
        let (mut raw, mut number) = (Vec::new(), 0u64);
        loop {
            raw.clear();
            let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut raw).map_err(|e| e.to_string())?;
            if read == 0 {
                return Ok(seconds);
            }
            number += 1;
            if raw.last() != Some(&b'\n') && read as u64 == MAX_LINE {
                reader.skip_until(b'\n').map_err(|e| e.to_string())?;
                self.bad(number, "it is too long");
                continue;
            }
            let text = String::from_utf8_lossy(&raw);
            let text = text.trim_end();
            match accesslog::parse(text) {
                Ok(line) => {
                    let method = self.method_index(line.method);
                    match (method, self.add_path(&line.path)) {
                        (Some(method), Some(path)) => {
                            self.entries.push(Entry { due: 0, status: line.status, method, path });
                            seconds.push(line.second);
                        }
                        _ => self.bad(number, "there are too many different methods or paths"),
                    }
                }
                Err(_) if text.is_empty() => {}
                Err(why) => self.bad(number, why),
            }
        }
    }

    fn bad(&mut self, number: u64, why: &str) {
        self.skipped += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("line {number} is no log line: {why}"));
        }
    }

    fn method_index(&mut self, method: &str) -> Option<u16> {
        let found = self.methods.iter().position(|m| m == method);
        let index = found.unwrap_or_else(|| {
            self.methods.push(method.to_owned());
            self.methods.len() - 1
        });
        u16::try_from(index).ok().filter(|i| *i < 100)
    }

    fn add_path(&mut self, path: &str) -> Option<(u32, u32)> {
        let from = u32::try_from(self.paths.len()).ok()?;
        let to = u32::try_from(self.paths.len() + path.len()).ok()?;
        self.paths.push_str(path);
        Some((from, to))
    }

    /// Sorts, spreads within the second by the seed, cuts, caps silences, speeds up.
    fn place(&mut self, seconds: &[i64], replay: &Replay, seed: Seed) {
        let first = seconds.iter().copied().min().unwrap_or(0);
        for (line, (entry, &second)) in self.entries.iter_mut().zip(seconds).enumerate() {
            let whole = u64::try_from(second - first).unwrap_or(0).saturating_mul(SECOND);
            entry.due = whole.saturating_add(seed.at(line as u64).below(SECOND));
        }
        // Within one second the recorded order is kept: the times drawn there are dealt out in line order.
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&i| (seconds[i], i));
        let mut dues: Vec<u64> = self.entries.iter().map(|e| e.due).collect();
        dues.sort_unstable();
        let mut entries: Vec<Entry> = order.iter().zip(dues).map(|(&i, due)| Entry { due, ..self.entries[i] }).collect();
        // The first record is the origin of `between` and of the replay.
        let origin = entries.first().map_or(0, |e| e.due);
        entries.iter_mut().for_each(|e| e.due -= origin);
        let (from, length) = replay.between.unwrap_or((Span::ZERO, Span(u64::MAX)));
        let wanted = |e: &Entry| e.due >= from.0 && e.due - from.0 < length.0 && self.wants(replay, e);
        entries.retain(wanted);
        let (mut last, mut moved) = (from.0, 0u64);
        for entry in &mut entries {
            let gap = entry.due - last;
            last = entry.due;
            moved += replay.gaps.map_or(0, |most| gap.saturating_sub(most.0));
            let recorded = u128::from(entry.due - from.0 - moved);
            let due = recorded * 1_000_000 / u128::from(replay.speed_ppm.max(1));
            entry.due = u64::try_from(due).unwrap_or(u64::MAX);
        }
        self.entries = entries;
    }

    fn wants(&self, replay: &Replay, entry: &Entry) -> bool {
        replay.methods.is_empty() || replay.methods.iter().any(|m| m == self.method(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn line(second: u32, path: &str, method: &str) -> String {
        format!("h - - [17/May/2015:10:{:02}:{:02} +0000] \"{method} {path} HTTP/1.1\" 200 1\n", second / 60, second % 60)
    }

    fn read(text: &str, change: impl FnOnce(&mut Replay)) -> Result<Log, Fail> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut replay = Replay {
            file: file.path().to_str().unwrap().to_owned(),
            format: "access-log".into(),
            speed_ppm: 1_000_000,
            between: None,
            gaps: None,
            methods: vec![],
            expect_recorded: false,
        };
        change(&mut replay);
        Log::read(&replay, Seed::of(7))
    }

    fn paths(log: &Log) -> Vec<&str> {
        log.entries.iter().map(|e| log.path(e)).collect()
    }

    #[test]
    fn lines_are_sorted_spread_and_sped_up() {
        let text = [line(5, "/c", "GET"), line(1, "/a", "GET"), line(1, "/b", "POST"), "garbage\n".into(), line(9, "/d", "GET")].concat();
        let log = read(&text, |_| ()).unwrap();
        assert_eq!(paths(&log), ["/a", "/b", "/c", "/d"]);
        assert_eq!((log.skipped, log.entries[0].due), (1, 0));
        assert!(log.named[0].starts_with("line 4 "), "{:?}", log.named);
        assert!(log.entries.windows(2).all(|w| w[0].due <= w[1].due));
        let fast = read(&text, |r| r.speed_ppm = 4_000_000).unwrap();
        assert_eq!(fast.entries.iter().map(|e| e.due).collect::<Vec<_>>(), log.entries.iter().map(|e| e.due / 4).collect::<Vec<_>>());
    }

    #[test]
    fn a_second_is_spread_not_sent_at_once() {
        let text: String = (0..1000).map(|i| line(i / 500, "/x", "GET")).collect();
        let log = read(&text, |_| ()).unwrap();
        let early = log.entries.iter().filter(|e| e.due < SECOND / 2).count();
        assert!((200..300).contains(&early), "{early}");
    }

    #[test]
    fn between_methods_and_gaps_cut() {
        let text = [line(0, "/a", "GET"), line(60, "/b", "GET"), line(61, "/c", "POST"), line(300, "/d", "GET")].concat();
        let log = read(&text, |r| r.between = Some((Span::secs(30), Span::secs(60)))).unwrap();
        assert_eq!(paths(&log), ["/b", "/c"]);
        let log = read(&text, |r| r.methods = vec!["GET".into()]).unwrap();
        assert_eq!(paths(&log), ["/a", "/b", "/d"]);
        let log = read(&text, |r| r.gaps = Some(Span::secs(2))).unwrap();
        assert!(log.length().0 <= 6 * SECOND && log.entries[1].due == 2 * SECOND, "{:?}", log.entries);
    }

    #[test]
    fn a_log_without_log_lines_is_an_error() {
        let why = read("no\nlog\n", |_| ()).unwrap_err().0;
        assert!(why.contains("no line of it is an access-log line") && why.contains("line 1"), "{why}");
        assert!(read("", |_| ()).unwrap_err().0.contains("it is empty"));
        assert!(read(&line(1, "/a", "GET"), |r| r.methods = vec!["PUT".into()]).unwrap_err().0.contains("no request is left"));
        assert!(read("x", |r| r.file.push_str(".gz")).unwrap_err().0.contains("not available yet"));
    }
}
