//! The event journal of a run directory: `journal.jsonl` (one event a line), `histograms.hlog` (HdrHistogram interval
//! log; the lines of snapshots refer to stretches of it by offset, length and CRC-32) and `samples.jsonl`. Must not interpret events.

mod dense;
mod hlog;
mod reader;
mod writer;

pub(crate) use dense::Dense;
pub(crate) use reader::{Raw, samples};
pub use reader::{Reader, read};
pub use writer::Writer;

use serde::{Deserialize, Serialize};
use shakedown_core::event::Input;
use shakedown_core::snapshot::Cell;
use shakedown_core::sparse::Sparse;
use shakedown_core::units::Offset;

/// Event lines.
pub(crate) const JOURNAL: &str = "journal.jsonl";
/// Histograms.
pub(crate) const HISTOGRAMS: &str = "histograms.hlog";
/// Kept requests.
pub(crate) const SAMPLES: &str = "samples.jsonl";

/// A line of the journal, as read.
#[derive(Deserialize)]
struct Line {
    seq: u64,
    at: Offset,
    what: Input,
    #[serde(default)]
    hist: Option<Block>,
}

/// A line of the journal, as written.
#[derive(Serialize)]
struct LineOut<'a> {
    seq: u64,
    at: Offset,
    what: &'a Input,
    #[serde(skip_serializing_if = "Option::is_none")]
    hist: Option<Block>,
}

/// Where the histograms of a snapshot are: one stretch of the interval log, a line each, in the order of cells and names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Offset of the stretch in bytes.
    offset: u64,
    /// Its length in bytes.
    length: u32,
    /// Its CRC-32.
    crc: u32,
    /// Per cell: which of its histograms are there; bit i is [`NAMES`]\[i\].
    of: Vec<u8>,
    /// Values above the highest bucket: cell, histogram, how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    clipped: Vec<(u32, u8, u64)>,
}

/// How many histograms a cell has.
pub(crate) const KINDS: usize = 8;
/// The histograms of a cell, in the order of the bits of [`Block::of`].
const NAMES: [&str; KINDS] = ["latency", "dispatch", "service", "lag", "connect", "tls", "first_byte", "send"];

fn histograms(cell: &Cell) -> [&Sparse; KINDS] {
    [&cell.latency, &cell.dispatch, &cell.service, &cell.lag, &cell.connect, &cell.tls, &cell.first_byte, &cell.send]
}

pub(crate) fn histograms_mut(cell: &mut Cell) -> [&mut Sparse; KINDS] {
    let Cell { latency, dispatch, service, lag, connect, tls, first_byte, send, .. } = cell;
    [latency, dispatch, service, lag, connect, tls, first_byte, send]
}

#[cfg(test)]
mod tests;
