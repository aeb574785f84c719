//! HdrHistogram's V2 encoding of a sparse histogram and its interval-log line. Written from the sparse counts directly:
//! a dense histogram of this range is 262 KB, and a busy run has hundreds of small ones a second.
//!
//! Source: the V2 encoding of HdrHistogram (github.com/HdrHistogram/HdrHistogram, `AbstractHistogram.encodeIntoByteBuffer`):
//! a 40-byte big-endian header, then ZigZag LEB128 counts in index order, where a negative number is a run of empty
//! buckets. Tested against the `hdrhistogram` crate in both directions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shakedown_core::seams::Fail;
use shakedown_core::sparse::{HIGHEST, Sparse, bucket_top};
use shakedown_core::units::Offset;
use std::fmt::Write;

/// V2 encoding, 16 the word size that marks LEB128.
const COOKIE: u32 = 0x1c84_9303 | 0x10;
const HEADER: usize = 40;
const SIGNIFICANT_DIGITS: u32 = 3;
const LOWEST: u64 = 1;
/// 2 × 10³ rounded up to a power of two: values below are exact.
const SUB_BUCKETS: u64 = 2048;
const HALF_BITS: u32 = 10;

/// Appends one interval-log line, without its line end: tag, start, length, highest value (s) and payload.
pub(super) fn line(out: &mut String, tag: &str, from: Offset, length: u64, sparse: &Sparse) {
    let highest = sparse.buckets.last().map_or(0, bucket_top);
    let buckets = sparse.buckets.iter().map(|(value, count)| (index(value), count));
    payload_line(out, tag, (from, length), highest, buckets, sparse.buckets.len());
}

/// The same from (position, count) in order, of which there are about `len`.
pub(super) fn payload_line(
    out: &mut String,
    tag: &str,
    (from, length): (Offset, u64),
    highest: u64,
    buckets: impl Iterator<Item = (u64, u64)>,
    len: usize,
) {
    let seconds = |ns: u64| ns as f64 / 1e9;
    write!(out, "Tag={tag},{:.3},{:.3},{:.6},", from.seconds(), seconds(length), seconds(highest)).expect("a string takes everything");
    STANDARD.encode_string(encode(buckets, len), out);
}

/// The histogram of a line; what was clipped is kept beside it.
pub(super) fn parse(line: &str) -> Result<Sparse, Fail> {
    let mut buckets = Vec::new();
    visit(line, &mut Vec::new(), |at, count| buckets.push((lowest(at), count)))?;
    // In order already: the map is built in one pass.
    Ok(Sparse { buckets: buckets.into_iter().collect(), clipped: 0 })
}

/// Shows every (position, count) of a line's histogram in order. `room` is scratch space.
pub(super) fn visit(line: &str, room: &mut Vec<u8>, each: impl FnMut(u64, u64)) -> Result<(), Fail> {
    let payload = line.rsplit(',').next().unwrap_or_default().trim_end();
    room.clear();
    STANDARD.decode_vec(payload, room).map_err(|e| Fail::new(format!("a histogram is not base64: {e}")))?;
    decode(room, each)
}

/// The position of a bucket in HdrHistogram's order.
pub(super) fn index(lowest: u64) -> u64 {
    let bits = u64::from(64 - (lowest | (SUB_BUCKETS - 1)).leading_zeros());
    let bucket = bits - u64::from(HALF_BITS) - 1;
    let sub = lowest >> bucket;
    ((bucket + 1) << HALF_BITS) + sub - (1 << HALF_BITS)
}

/// The lowest value of the bucket at a position.
pub(super) fn lowest(index: u64) -> u64 {
    if index < SUB_BUCKETS {
        return index;
    }
    let bucket = (index >> HALF_BITS) - 1;
    ((index & ((1 << HALF_BITS) - 1)) + (1 << HALF_BITS)) << bucket
}

fn encode(buckets: impl Iterator<Item = (u64, u64)>, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + len * 3);
    out.extend(COOKIE.to_be_bytes());
    out.extend([0; 8]);
    out.extend(SIGNIFICANT_DIGITS.to_be_bytes());
    out.extend(LOWEST.to_be_bytes());
    out.extend(HIGHEST.to_be_bytes());
    out.extend(1.0_f64.to_be_bytes());
    let mut next = 0;
    for (at, count) in buckets {
        let gap = i64::try_from(at.saturating_sub(next)).unwrap_or(i64::MAX);
        match gap {
            0 => {}
            // A run of one is the count zero.
            1 => zigzag(0, &mut out),
            _ => zigzag(-gap, &mut out),
        }
        zigzag(i64::try_from(count).unwrap_or(i64::MAX), &mut out);
        next = at + 1;
    }
    let payload = u32::try_from(out.len() - HEADER).unwrap_or(u32::MAX);
    out[4..8].copy_from_slice(&payload.to_be_bytes());
    out
}

fn decode(bytes: &[u8], mut each: impl FnMut(u64, u64)) -> Result<(), Fail> {
    let wrong = || Fail::new("a histogram in histograms.hlog is not one of this harness");
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let length = word(4).ok_or_else(wrong)?;
    if word(0) != Some(COOKIE) || word(12) != Some(SIGNIFICANT_DIGITS) || bytes.len() < HEADER + length as usize {
        return Err(wrong());
    }
    let mut rest = &bytes[HEADER..];
    let mut at = 0_u64;
    let end = index(HIGHEST) + 1;
    while let Some((&first, after)) = rest.split_first() {
        // Most counts and gaps are one byte.
        let number = if first < 0x80 {
            rest = after;
            i64::from(first >> 1) ^ -i64::from(first & 1)
        } else {
            unzigzag(&mut rest).ok_or_else(wrong)?
        };
        if number < 0 {
            at = at.saturating_add(number.unsigned_abs());
        } else {
            if number > 0 && at < end {
                each(at, number.unsigned_abs());
            }
            at += 1;
        }
        if at > end {
            return Err(wrong());
        }
    }
    Ok(())
}

/// ZigZag, then LEB128 in at most nine bytes (the ninth carries eight bits).
fn zigzag(value: i64, out: &mut Vec<u8>) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    for _ in 0..8 {
        if left < 0x80 {
            out.push(left as u8);
            return;
        }
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn unzigzag(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for i in 0..9_u32 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let last = i == 8 || byte < 0x80;
        value |= u64::from(if i == 8 { byte } else { byte & 0x7f }) << (7 * i);
        if last {
            break;
        }
    }
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}
