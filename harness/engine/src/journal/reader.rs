//! Reads a journal back, exactly. A last line cut by a crash is left out and reported; anything else that does not fit is
//! an error.

use super::{Block, HISTOGRAMS, JOURNAL, Line, SAMPLES, histograms_mut, hlog};
use shakedown_core::event::{Event, Input};
use shakedown_core::seams::Fail;
use shakedown_core::snapshot::{Sample, Snapshot};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Longest line of either file; more is damage, not evidence.
const LONGEST_LINE: u64 = 256 * 1024 * 1024;
/// Read at once.
const BUFFER: usize = 64 * 1024;
/// Room made beforehand for a stretch of histograms; what a line says of its length is not believed beyond it.
const ROOM: usize = 1024 * 1024;

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
        let buffered = |file| BufReader::with_capacity(BUFFER, file);
        File::open(&path).map(buffered).map_err(|e| Fail::new(format!("cannot open {}: {e}; is it a run directory?", path.display())))
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
        let Some((mut event, raw)) = self.raw()? else { return Ok(None) };
        if let Some(raw) = raw {
            let number = self.next_seq;
            let whole = raw.whole().map_err(|Fail(why)| Fail::new(format!("{JOURNAL}, line {number}: {why}")))?;
            event.what = Input::Snapshot(whole);
        }
        Ok(Some(event))
    }

    /// The next event; a snapshot's cells come beside it, its histograms as they are written.
    pub(crate) fn raw(&mut self) -> Result<Option<(Event, Option<Raw>)>, Fail> {
        let mut text = Vec::new();
        let read = (&mut self.journal).take(LONGEST_LINE).read_until(b'\n', &mut text);
        read.map_err(|e| Fail::new(format!("cannot read {JOURNAL}: {e}")))?;
        if text.is_empty() || self.truncated {
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
        let (what, raw) = match (line.what, line.hist) {
            (Input::Snapshot(snapshot), block) => {
                let block = block.unwrap_or_else(|| Block { of: vec![0; snapshot.cells.len()], ..Block::default() });
                if block.of.len() != snapshot.cells.len() {
                    return Err(wrong(format!("{} cells, and histograms of {}", snapshot.cells.len(), block.of.len())));
                }
                let text = self.histogram(block.offset, block.length, block.crc).map_err(|Fail(why)| wrong(why))?;
                (Input::Snapshot(Snapshot::default()), Some(Raw { snapshot, block, text }))
            }
            (_, Some(_)) => return Err(wrong("histograms on an event that is no snapshot".to_owned())),
            (what, None) => (what, None),
        };
        Ok(Some((Event { seq: line.seq, at: line.at, what }, raw)))
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
        let mut bytes = Vec::with_capacity((length as usize).min(ROOM));
        (&mut self.histograms).take(u64::from(length)).read_to_end(&mut bytes).map_err(gone)?;
        self.position = offset + bytes.len() as u64;
        if bytes.len() != length as usize || crc32fast::hash(&bytes) != crc {
            return Err(Fail::new(format!("{HISTOGRAMS} was changed: wrong checksum at byte {offset}")));
        }
        String::from_utf8(bytes).map_err(|_| Fail::new(format!("{HISTOGRAMS} is no text at byte {offset}")))
    }
}

/// A snapshot without its histograms, and these as they are written.
pub(crate) struct Raw {
    /// Counts.
    pub snapshot: Snapshot,
    block: Block,
    text: String,
}

impl Raw {
    /// The histograms' lines, in the order of cells and names.
    pub fn lines(&self) -> std::str::Lines<'_> {
        self.text.lines()
    }

    /// Is this histogram of this cell there?
    pub fn has(&self, cell: usize, which: usize) -> bool {
        self.block.of.get(cell).is_some_and(|of| of & (1 << which) != 0)
    }

    /// Values of it above the highest bucket.
    pub fn clipped(&self, cell: usize, which: usize) -> u64 {
        let found = self.block.clipped.iter().find(|(c, w, _)| (*c as usize, usize::from(*w)) == (cell, which));
        found.map_or(0, |(.., n)| *n)
    }

    /// The snapshot with its histograms.
    fn whole(mut self) -> Result<Snapshot, Fail> {
        let mut cells = std::mem::take(&mut self.snapshot.cells);
        let mut lines = self.lines();
        for (index, (_, cell)) in cells.iter_mut().enumerate() {
            for (which, slot) in histograms_mut(cell).into_iter().enumerate() {
                if self.has(index, which) {
                    *slot = hlog::parse(lines.next().ok_or_else(|| Fail::new("a histogram is missing"))?)?;
                }
                slot.clipped = self.clipped(index, which);
            }
        }
        if lines.next().is_some() {
            return Err(Fail::new("a histogram belongs to no cell"));
        }
        self.snapshot.cells = cells;
        Ok(self.snapshot)
    }
}

/// The kept requests of a run.
pub(crate) fn samples(dir: &Path) -> Result<Vec<Sample>, Fail> {
    let path = dir.join(SAMPLES);
    let text = std::fs::read_to_string(&path).map_err(|e| Fail::new(format!("cannot read {}: {e}", path.display())))?;
    let parse = |line| serde_json::from_str(line).map_err(|e| Fail::new(format!("{} is damaged: {e}", path.display())));
    text.lines().map(parse).collect()
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
