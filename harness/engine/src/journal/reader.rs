//! Reads a journal back, exactly. A last line cut by a crash is left out and reported; anything else that does not fit is
//! an error.

use super::{HISTOGRAMS, JOURNAL, Line, histogram_mut, hlog};
use shakedown_core::event::{Event, Input};
use shakedown_core::seams::Fail;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Longest line of either file; more is damage, not evidence.
const LONGEST_LINE: u64 = 256 * 1024 * 1024;

/// The events of a run, in order.
pub struct Reader {
    journal: BufReader<File>,
    histograms: BufReader<File>,
    position: u64,
    next_seq: u64,
    truncated: bool,
    ended: bool,
}

/// Opens the journal of a run directory.
///
/// # Errors
/// When one of its files cannot be opened.
pub fn read(dir: &Path) -> Result<Reader, Fail> {
    let open = |name: &str| {
        let path = dir.join(name);
        File::open(&path).map(BufReader::new).map_err(|e| Fail::new(format!("cannot open {}: {e}; is it a run directory?", path.display())))
    };
    Ok(Reader { journal: open(JOURNAL)?, histograms: open(HISTOGRAMS)?, position: 0, next_seq: 0, truncated: false, ended: false })
}

impl Reader {
    /// The last line was cut off (the harness was killed while writing it). Known once the events are through.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    fn line(&mut self) -> Result<Option<Event>, Fail> {
        let mut text = Vec::new();
        let read = (&mut self.journal).take(LONGEST_LINE).read_until(b'\n', &mut text);
        read.map_err(|e| Fail::new(format!("cannot read {JOURNAL}: {e}")))?;
        if text.is_empty() {
            return Ok(None);
        }
        if text.last() != Some(&b'\n') {
            tracing::warn!("{JOURNAL} ends in the middle of a line; that line is left out");
            self.truncated = true;
            return Ok(None);
        }
        let number = self.next_seq + 1;
        let wrong = |why: String| Fail::new(format!("{JOURNAL}, line {number}: {why}"));
        let line: Line = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        if line.seq != self.next_seq {
            return Err(wrong(format!("event {} where {} belongs: a line is missing", line.seq, self.next_seq)));
        }
        self.next_seq += 1;
        let mut event = Event { seq: line.seq, at: line.at, what: line.what };
        for r in line.hist {
            let text = self.histogram(r.2, r.3, r.4).map_err(|Fail(why)| wrong(why))?;
            let sparse = hlog::parse(&text, r.5).map_err(|Fail(why)| wrong(why))?;
            let Input::Snapshot(snapshot) = &mut event.what else {
                return Err(wrong("histograms on an event that is no snapshot".to_owned()));
            };
            let cell = snapshot.cells.get_mut(r.0 as usize).map(|(_, cell)| cell);
            let slot = cell.and_then(|cell| histogram_mut(cell, r.1));
            *slot.ok_or_else(|| wrong(format!("no cell {} with histogram {}", r.0, r.1)))? = sparse;
        }
        Ok(Some(event))
    }

    fn histogram(&mut self, offset: u64, length: u32, crc: u32) -> Result<String, Fail> {
        let gone = |e: std::io::Error| Fail::new(format!("{HISTOGRAMS} has no {length} bytes at {offset}: {e}"));
        if offset >= self.position {
            // Mostly forward by one byte: keeps the buffer.
            let by = i64::try_from(offset - self.position).unwrap_or(i64::MAX);
            self.histograms.seek_relative(by).map_err(gone)?;
        } else {
            self.histograms.seek(SeekFrom::Start(offset)).map_err(gone)?;
        }
        let mut bytes = Vec::new();
        (&mut self.histograms).take(u64::from(length)).read_to_end(&mut bytes).map_err(gone)?;
        self.position = offset + bytes.len() as u64;
        if bytes.len() != length as usize || crc32fast::hash(&bytes) != crc {
            return Err(Fail::new(format!("{HISTOGRAMS} was changed: wrong checksum at byte {offset}")));
        }
        String::from_utf8(bytes).map_err(|_| Fail::new(format!("{HISTOGRAMS} is no text at byte {offset}")))
    }
}

impl Iterator for Reader {
    type Item = Result<Event, Fail>;

    fn next(&mut self) -> Option<Result<Event, Fail>> {
        if self.ended {
            return None;
        }
        let next = self.line().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
