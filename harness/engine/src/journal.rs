//! The event journal of a run directory: `journal.jsonl` (one event a line), `histograms.hlog` (HdrHistogram interval
//! log; the lines of snapshots refer to it by offset, length and CRC-32) and `samples.jsonl`. Must not interpret events.

mod hlog;
mod reader;
mod writer;

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
    hist: Vec<Ref>,
}

/// A line of the journal, as written.
#[derive(Serialize)]
struct LineOut<'a> {
    seq: u64,
    at: Offset,
    what: &'a Input,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hist: Vec<Ref>,
}

/// Where a histogram is: index of the cell, which of its histograms, offset, length and CRC-32 of its line in the
/// interval log, values clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ref(u32, u8, u64, u32, u32, u64);

/// The histograms of a cell; their index is the second number of a [`Ref`].
const NAMES: [&str; 5] = ["latency", "dispatch", "service", "lag", "connect"];

fn histograms(cell: &Cell) -> [&Sparse; 5] {
    [&cell.latency, &cell.dispatch, &cell.service, &cell.lag, &cell.connect]
}

fn histogram_mut(cell: &mut Cell, which: u8) -> Option<&mut Sparse> {
    match which {
        0 => Some(&mut cell.latency),
        1 => Some(&mut cell.dispatch),
        2 => Some(&mut cell.service),
        3 => Some(&mut cell.lag),
        4 => Some(&mut cell.connect),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
