//! The server's log: when each request arrived and when its answer left. Memory is taken and touched before the first
//! request, so that writing an entry never faults a page in. Must not know how answers are made.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// One request, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The request was read whole.
    pub arrived: u64,
    /// Its answer was handed to the kernel; zero when none was.
    pub replied: u64,
}

/// A log with room for a fixed number of requests; later ones are counted only.
pub struct Log {
    entries: Vec<Entry>,
    seen: usize,
}

impl Log {
    /// Takes and touches memory for `room` entries.
    pub fn new(room: usize) -> Self {
        // Not zero: pages of zeros would be mapped lazily, one fault at a time while requests are timed.
        let entries = vec![Entry { arrived: 1, replied: 1 }; room];
        Self { entries, seen: 0 }
    }

    /// Requests seen, logged or not.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Notes an arrival; the number is for [`Log::replied`].
    pub fn arrived(&mut self, now: u64) -> usize {
        let number = self.seen;
        if let Some(entry) = self.entries.get_mut(number) {
            *entry = Entry { arrived: now, replied: 0 };
        }
        self.seen += 1;
        number
    }

    /// Notes that the answer of a request left.
    pub fn replied(&mut self, number: usize, now: u64) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.replied = now;
        }
    }

    /// Writes the entries as pairs of little-endian 64-bit numbers.
    pub fn dump(&self, path: &Path) -> Result<()> {
        let mut file = BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
        for entry in &self.entries[..self.seen.min(self.entries.len())] {
            file.write_all(&entry.arrived.to_le_bytes())?;
            file.write_all(&entry.replied.to_le_bytes())?;
        }
        file.flush()?;
        Ok(())
    }
}

/// Reads what [`Log::dump`] wrote.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(bytes.len() % 16 == 0, "{} ends inside an entry", path.display());
    let number = |part: &[u8]| part.try_into().map(u64::from_le_bytes).unwrap_or_default();
    Ok(bytes.chunks_exact(16).map(|pair| Entry { arrived: number(&pair[..8]), replied: number(&pair[8..]) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dumped_is_read_and_the_rest_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new(2);
        for now in [10, 20, 30] {
            let number = log.arrived(now);
            log.replied(number, now + 5);
        }
        assert_eq!(log.seen(), 3);
        log.dump(&dir.path().join("log")).unwrap();
        let entries = read(&dir.path().join("log")).unwrap();
        assert_eq!(entries, [Entry { arrived: 10, replied: 15 }, Entry { arrived: 20, replied: 25 }]);
    }

    #[test]
    fn half_an_entry_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log"), [0; 17]).unwrap();
        assert!(read(&dir.path().join("log")).is_err());
    }
}
