//! Following answers in any cut, for the tests of the answer scanner. Must not judge.

#![allow(dead_code, reason = "each test file uses a part")]

use shakedown_wire::http1::{AnswerScan, HeadInfo, HttpError, SeenHead, Step};

/// How following one answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Complete.
    Done,
    /// More bytes would have to come, and may.
    More,
    /// No answer, or not one that ended as it should.
    Refused(HttpError),
}

/// What was found of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub interims: Vec<u16>,
    pub head: Option<HeadInfo>,
    pub raw_head: Vec<u8>,
    pub body: Vec<u8>,
    pub end: End,
    /// Bytes of this answer, of all that were given; 0 when it was refused.
    pub taken: usize,
}

/// Follows one answer whose bytes come in these pieces; `closed` when the peer closes after the last.
pub fn follow(pieces: &[&[u8]], to_head: bool, closed: bool, mut seen: Option<&mut SeenHead>) -> Found {
    let mut scan = AnswerScan::new(to_head);
    let mut found = Found { interims: Vec::new(), head: None, raw_head: Vec::new(), body: Vec::new(), end: End::More, taken: 0 };
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let bytes = &buffer[found.taken..];
            let step = match &mut seen {
                Some(seen) => scan.advance_seen(bytes, seen),
                None => scan.advance(bytes),
            };
            match step {
                Ok(Step::More { consumed }) => {
                    assert!(!scan.in_head() || consumed == 0);
                    found.taken += consumed;
                    break;
                }
                Ok(Step::Interim(info)) => {
                    found.interims.push(info.status);
                    found.taken += info.length;
                }
                Ok(Step::Head(info)) => {
                    found.raw_head = bytes[..info.length].to_vec();
                    found.taken += info.length;
                    found.head = Some(info);
                }
                Ok(Step::Body { from, to }) => {
                    assert!(to > from, "content that is empty goes on for ever");
                    found.body.extend_from_slice(&bytes[from..to]);
                    found.taken += to;
                }
                Ok(Step::Done { consumed }) => {
                    found.taken += consumed;
                    found.end = End::Done;
                    return found;
                }
                Err(error) => {
                    found.taken = 0;
                    found.end = End::Refused(error);
                    return found;
                }
            }
        }
    }
    if closed {
        found.end = scan.end().map_or_else(End::Refused, |()| End::Done);
    }
    found
}

/// The same bytes whole, in every two pieces, byte by byte and in pieces of some lengths: gives what was found, the same
/// for all.
pub fn every_cut(bytes: &[u8], to_head: bool, closed: bool, what: &str) -> Found {
    let whole = follow(&[bytes], to_head, closed, None);
    let mut seen = SeenHead::default();
    let cuts = if bytes.len() <= LONGEST_FOR_EVERY_CUT { bytes.len() } else { 0 };
    for cut in 0..=cuts {
        let (a, b) = bytes.split_at(cut);
        assert_eq!(follow(&[a, b], to_head, closed, Some(&mut seen)), whole, "{what}: cut at {cut}");
    }
    for length in [1, 2, 3, 7, 16, 17, 997, 1460, 16_384].into_iter().filter(|n| bytes.len() / n <= LONGEST_FOR_EVERY_CUT) {
        let pieces: Vec<&[u8]> = bytes.chunks(length).collect();
        assert_eq!(follow(&pieces, to_head, closed, None), whole, "{what}: pieces of {length}");
    }
    whole
}

/// Longer inputs are not cut at every byte.
const LONGEST_FOR_EVERY_CUT: usize = 4096;

/// A small generator of random numbers (SplitMix64): the same seed gives the same cases everywhere.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below a usize")
    }

    /// One of these.
    pub fn of<'a, T: ?Sized>(&mut self, some: &[&'a T]) -> &'a T {
        some[self.below(some.len())]
    }
}
