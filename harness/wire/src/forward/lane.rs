//! What waits in one direction of a connection, and the trait by which a policy times it. Sans I/O: pure functions of
//! the moments given.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most bytes that wait in one lane; above it the source is not read (backpressure).
pub const LANE_LIMIT: usize = 1024 * 1024;

/// Bytes that wait, and who holds them for how long. Holds add up; taking one away shortens the wait.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The bytes.
    pub data: Bytes,
    /// When they were read.
    pub read: Instant,
    /// Holder and length of each hold.
    pub holds: Vec<(u64, Duration)>,
}

/// Pieces in order: none overtakes another, whatever its own moment.
#[derive(Debug, Default)]
pub struct Lane {
    queue: VecDeque<Piece>,
    bytes: usize,
}

/// A policy's part in one direction of one connection or exchange.
pub trait Flow: Send {
    /// A chunk was read at `now`: puts it on the lane whole, in pieces, later or not at all.
    fn chunk(&mut self, data: Bytes, now: Instant, lane: &mut Lane) {
        lane.push(Piece { data, read: now, holds: Vec::new() });
    }
    /// The policy changed: may release or clear what waits.
    fn changed(&mut self, _now: Instant, _lane: &mut Lane) {}
    /// So many bytes were written to the sink.
    fn passed(&mut self, _bytes: usize) {}
}

/// Passes everything at once.
#[derive(Debug)]
pub(super) struct Plain;

impl Flow for Plain {}

impl Piece {
    /// When it may leave.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.holds.iter().fold(self.read, |at, (_, hold)| at + *hold)
    }
}

impl Lane {
    /// Adds a piece at the end; an empty one is dropped.
    pub fn push(&mut self, piece: Piece) {
        if !piece.data.is_empty() {
            self.bytes += piece.data.len();
            self.queue.push_back(piece);
        }
    }

    /// Takes a holder's holds away: its pieces leave that much earlier.
    pub fn release(&mut self, holder: u64) {
        for piece in &mut self.queue {
            piece.holds.retain(|(h, _)| *h != holder);
        }
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.bytes = 0;
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the first piece may leave.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.queue.front().map(Piece::due)
    }

    /// The first piece's bytes.
    pub(super) fn front(&self) -> &[u8] {
        self.queue.front().map_or(&[], |piece| &piece.data)
    }

    /// `count` bytes of the first piece are out.
    pub(super) fn advance(&mut self, count: usize) {
        let Some(front) = self.queue.front_mut() else { return };
        let count = count.min(front.data.len());
        front.data.advance(count);
        self.bytes -= count;
        if front.data.is_empty() {
            self.queue.pop_front();
        }
    }
}
