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

/// V2 encoding, 16 the word size that marks LEB128.
const COOKIE: u32 = 0x1c84_9303 | 0x10;
const HEADER: usize = 40;
const SIGNIFICANT_DIGITS: u32 = 3;
const LOWEST: u64 = 1;
/// 2 × 10³ rounded up to a power of two: values below are exact.
const SUB_BUCKETS: u64 = 2048;
const HALF_BITS: u32 = 10;

/// One interval-log line, without its line end: tag, start, length, highest value (s) and payload.
pub(super) fn line(tag: &str, from: Offset, length: u64, sparse: &Sparse) -> String {
    let highest = sparse.buckets.last_key_value().map_or(0, |(v, _)| bucket_top(*v));
    let payload = STANDARD.encode(encode(sparse));
    let seconds = |ns: f64| ns / 1e9;
    format!("Tag={tag},{:.3},{:.3},{:.6},{payload}", from.seconds(), seconds(length as f64), seconds(highest as f64))
}

/// The histogram of a line; `clipped` is kept beside it.
pub(super) fn parse(line: &str, clipped: u64) -> Result<Sparse, Fail> {
    let payload = line.rsplit(',').next().unwrap_or_default().trim_end();
    let bytes = STANDARD.decode(payload).map_err(|e| Fail::new(format!("a histogram is not base64: {e}")))?;
    Ok(Sparse { buckets: decode(&bytes)?, clipped })
}

/// The position of a bucket in HdrHistogram's order.
fn index(lowest: u64) -> u64 {
    let bits = u64::from(64 - (lowest | (SUB_BUCKETS - 1)).leading_zeros());
    let bucket = bits - u64::from(HALF_BITS) - 1;
    let sub = lowest >> bucket;
    ((bucket + 1) << HALF_BITS) + sub - (1 << HALF_BITS)
}

/// The lowest value of the bucket at a position.
fn lowest(index: u64) -> u64 {
    if index < SUB_BUCKETS {
        return index;
    }
    let bucket = (index >> HALF_BITS) - 1;
    ((index & ((1 << HALF_BITS) - 1)) + (1 << HALF_BITS)) << bucket
}

fn encode(sparse: &Sparse) -> Vec<u8> {
    let mut payload = Vec::with_capacity(sparse.buckets.len() * 3);
    let mut next = 0;
    for (&value, &count) in &sparse.buckets {
        let at = index(value);
        let gap = i64::try_from(at.saturating_sub(next)).unwrap_or(i64::MAX);
        match gap {
            0 => {}
            // A run of one is the count zero.
            1 => zigzag(0, &mut payload),
            _ => zigzag(-gap, &mut payload),
        }
        zigzag(i64::try_from(count).unwrap_or(i64::MAX), &mut payload);
        next = at + 1;
    }
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend(COOKIE.to_be_bytes());
    out.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(0_u32.to_be_bytes());
    out.extend(SIGNIFICANT_DIGITS.to_be_bytes());
    out.extend(LOWEST.to_be_bytes());
    out.extend(HIGHEST.to_be_bytes());
    out.extend(1.0_f64.to_be_bytes());
    out.extend(payload);
    out
}

fn decode(bytes: &[u8]) -> Result<std::collections::BTreeMap<u64, u64>, Fail> {
    let wrong = || Fail::new("a histogram in histograms.hlog is not one of this harness");
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let length = word(4).ok_or_else(wrong)?;
    if word(0) != Some(COOKIE) || word(12) != Some(SIGNIFICANT_DIGITS) || bytes.len() < HEADER + length as usize {
        return Err(wrong());
    }
    let mut rest = &bytes[HEADER..];
    let (mut at, mut buckets) = (0_u64, std::collections::BTreeMap::new());
    while !rest.is_empty() {
        let number = unzigzag(&mut rest).ok_or_else(wrong)?;
        if number < 0 {
            at = at.saturating_add(number.unsigned_abs());
        } else {
            if number > 0 {
                buckets.insert(lowest(at), number.unsigned_abs());
            }
            at += 1;
        }
        if at > index(HIGHEST) + 1 {
            return Err(wrong());
        }
    }
    Ok(buckets)
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
