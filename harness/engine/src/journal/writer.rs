//! Writes the journal. Buffered: the dispatcher flushes before every change to the world and every 100 ms.

use super::{Block, HISTOGRAMS, JOURNAL, LineOut, NAMES, SAMPLES, histograms, hlog};
use shakedown_core::event::{Event, Input};
use shakedown_core::seams::Fail;
use shakedown_core::snapshot::{CellKey, Dim, Sample, Snapshot};
use shakedown_core::units::{Offset, Span};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// First lines of the interval log; `StartTime` is 0: offsets count from the epoch.
const HEAD: &str = "#[Histogram log format version 1.3]\n#[StartTime: 0.000 (seconds since epoch), the load epoch]\n\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";

/// The open journal of a run.
pub struct Writer {
    journal: BufWriter<File>,
    histograms: BufWriter<File>,
    samples: BufWriter<File>,
    dir: PathBuf,
    written: u64,
    slice: Span,
    streams: Vec<String>,
}

impl Writer {
    /// Creates the files in `dir`. `slice` is the plan's slice length, `streams` the streams' names by index.
    ///
    /// # Errors
    /// When a file cannot be created.
    pub fn create(dir: &Path, slice: Span, streams: Vec<String>) -> Result<Writer, Fail> {
        let open = |name: &str| {
            let path = dir.join(name);
            File::create(&path).map(BufWriter::new).map_err(|e| Fail::new(format!("cannot create {}: {e}", path.display())))
        };
        let mut writer = Writer {
            journal: open(JOURNAL)?,
            histograms: open(HISTOGRAMS)?,
            samples: open(SAMPLES)?,
            dir: dir.to_owned(),
            written: 0,
            slice,
            streams,
        };
        writer.histogram(HEAD)?;
        Ok(writer)
    }

    /// Appends one event.
    ///
    /// # Errors
    /// When it cannot be written (buffered: a full disk may show only when flushing).
    pub fn append(&mut self, event: &Event) -> Result<(), Fail> {
        let hist = match &event.what {
            Input::Snapshot(snapshot) => self.block(snapshot)?,
            _ => None,
        };
        let line = LineOut { seq: event.seq, at: event.at, what: &event.what, hist };
        let text = serde_json::to_string(&line).map_err(|e| Fail::new(format!("cannot write event {}: {e}", event.seq)))?;
        self.journal.write_all(text.as_bytes()).and_then(|()| self.journal.write_all(b"\n")).map_err(|e| self.lost(JOURNAL, &e))
    }

    /// Appends kept requests, each redacted.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn samples(&mut self, samples: &[Sample], redact: &dyn Fn(&str) -> String) -> Result<(), Fail> {
        for sample in samples {
            let clean = Sample {
                detail: redact(&sample.detail),
                request: redact(&sample.request),
                answer: redact(&sample.answer),
                ..sample.clone()
            };
            let text = serde_json::to_string(&clean).map_err(|e| Fail::new(format!("cannot write a sample: {e}")))?;
            self.samples.write_all(text.as_bytes()).and_then(|()| self.samples.write_all(b"\n")).map_err(|e| self.lost(SAMPLES, &e))?;
        }
        Ok(())
    }

    /// Hands everything to the system; histograms first, so that no line refers to what is not there.
    ///
    /// # Errors
    /// When the disk is full, for one.
    pub fn flush(&mut self) -> Result<(), Fail> {
        self.histograms.flush().map_err(|e| self.lost(HISTOGRAMS, &e))?;
        self.journal.flush().map_err(|e| self.lost(JOURNAL, &e))?;
        self.samples.flush().map_err(|e| self.lost(SAMPLES, &e))
    }

    /// Flushes and waits for the disk: once, at the end.
    ///
    /// # Errors
    /// When the disk is full, for one.
    pub fn sync(&mut self) -> Result<(), Fail> {
        self.flush()?;
        for (file, name) in [(&self.histograms, HISTOGRAMS), (&self.journal, JOURNAL), (&self.samples, SAMPLES)] {
            match file.get_ref().sync_all() {
                // Pipes and devices cannot be synced; what was written to them is written.
                Err(e) if e.raw_os_error() != Some(22) => return Err(self.lost(name, &e)),
                _ => {}
            }
        }
        Ok(())
    }

    fn histogram(&mut self, text: &str) -> Result<(), Fail> {
        self.histograms.write_all(text.as_bytes()).map_err(|e| self.lost(HISTOGRAMS, &e))?;
        self.written += text.len() as u64;
        Ok(())
    }

    /// Writes a snapshot's histograms as one stretch; `None` when it has none.
    fn block(&mut self, snapshot: &Snapshot) -> Result<Option<Block>, Fail> {
        let mut block = Block { offset: self.written, of: vec![0; snapshot.cells.len()], ..Block::default() };
        let mut text = String::new();
        let length = self.slice.0.saturating_mul(u64::from(snapshot.folded.max(1)));
        for (index, (key, cell)) in snapshot.cells.iter().enumerate() {
            let from = Offset::ZERO.plus(Span(self.slice.0.saturating_mul(u64::from(key.slice))));
            for (which, sparse) in histograms(cell).into_iter().enumerate() {
                if sparse.clipped > 0 {
                    block.clipped.push((index as u32, which as u8, sparse.clipped));
                }
                if !sparse.is_empty() {
                    block.of[index] |= 1 << which;
                    hlog::line(&mut text, &self.tag(key, NAMES[which]), from, length, sparse);
                    text.push('\n');
                }
            }
        }
        if text.is_empty() && block.clipped.is_empty() {
            return Ok(None);
        }
        let bytes = text.as_bytes();
        block.length = u32::try_from(bytes.len()).map_err(|_| Fail::new("one snapshot has over 4 GiB of histograms"))?;
        block.crc = crc32fast::hash(bytes);
        self.histogram(&text)?;
        Ok(Some(block))
    }

    /// Stream, arm, dimension and kind; characters that mean something in the log become `_`.
    fn tag(&self, key: &CellKey, which: &str) -> String {
        let stream = self.streams.get(usize::from(key.stream)).map_or("?", String::as_str);
        let arm = format!("{:?}", key.arm).to_lowercase();
        let dim = match &key.dim {
            Dim::Whole => "whole".to_owned(),
            Dim::Journey(journey) => format!("journey:{journey}"),
            Dim::Step { journey, step } => format!("step:{journey}:{step}"),
            Dim::Group { objective, value } => format!("group:{objective}:{value}"),
        };
        let clean = |c: char| if c == ',' || c.is_whitespace() || c.is_control() { '_' } else { c };
        format!("{stream}/{arm}/{dim}/{which}").chars().map(clean).collect()
    }

    fn lost(&self, name: &str, e: &std::io::Error) -> Fail {
        let path = self.dir.join(name);
        Fail::new(format!("the run's journal {} cannot be written: {e}; free disk space or choose another --out", path.display()))
    }
}
