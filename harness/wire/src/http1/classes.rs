//! Finding the ends of names and lines in a head, sixteen bytes at a time where the processor allows. Must not
//! know what a header means.

/// Characters of a token (RFC 9110 §5.6.2): what a header name may be made of.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

/// May `byte` stand in a header name?
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// May `byte` stand in a header value or a reason phrase? Tab, visible ASCII, space, and anything above ASCII.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Where the token that begins at `from` ends: the first byte that is none of it, or the length of `bytes`.
#[inline]
pub(super) fn token_end(bytes: &[u8], from: usize) -> usize {
    first(bytes, from, is_token)
}

/// The first byte at or after `from` that is no text, as [`is_text`] has it: a line end or a forbidden one. The length of
/// `bytes` when there is none.
#[inline]
pub(super) fn text_end(bytes: &[u8], from: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= BLOCK {
        return first_in_blocks(bytes, from, blocks::not_text);
    }
    first(bytes, from, is_text)
}

/// As [`token_end`], but stops at characters that are seldom in names too.
#[inline]
pub(super) fn plain_name_end(bytes: &[u8], from: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= BLOCK {
        return first_in_blocks(bytes, from, blocks::not_plain_name);
    }
    first(bytes, from, is_token)
}

/// The first byte at or after `from` that is not in `class`, or the length of `bytes`.
#[cold]
fn first(bytes: &[u8], from: usize, class: fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.iter().position(|b| !class(*b)).map_or(bytes.len(), |place| from + place)
}

/// The same by blocks; `others` gives a bit for every byte of a block that is not in the class. `bytes` hold a block at
/// least.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn first_in_blocks(bytes: &[u8], from: usize, others: impl Fn(&[u8; BLOCK]) -> u32) -> usize {
    // Most names and many values end in their first block.
    if let Some(block) = bytes.get(from..).and_then(<[u8]>::first_chunk) {
        let found = others(block);
        if found != 0 {
            return from + found.trailing_zeros() as usize;
        }
    }
    first_in_more_blocks(bytes, from, others)
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn first_in_more_blocks(bytes: &[u8], from: usize, others: impl Fn(&[u8; BLOCK]) -> u32) -> usize {
    let (blocks, tail) = bytes.get(from..).unwrap_or_default().as_chunks::<BLOCK>();
    for (number, block) in blocks.iter().enumerate() {
        let found = others(block);
        if found != 0 {
            return from + number * BLOCK + found.trailing_zeros() as usize;
        }
    }
    match bytes.last_chunk() {
        Some(block) if !tail.is_empty() => {
            // The last block reaches back over bytes that were looked at; their bits are pushed out.
            let found = others(block) >> (BLOCK - tail.len());
            let at = bytes.len() - tail.len();
            if found == 0 { bytes.len() } else { at + found.trailing_zeros() as usize }
        }
        _ => bytes.len(),
    }
}

/// Bytes looked at in one go.
#[cfg(target_arch = "x86_64")]
const BLOCK: usize = 16;

/// The classes by blocks. SSE2 is part of every x86-64, so nothing is detected.
#[cfg(target_arch = "x86_64")]
mod blocks {
    use super::BLOCK;
    use std::arch::x86_64::{
        __m128i, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        _mm_sub_epi8,
    };

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(block: &[u8; BLOCK]) -> __m128i {
        // SAFETY: sixteen bytes may be read there, and the load asks for no alignment.
        unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn mask(bytes: __m128i) -> u32 {
        (_mm_movemask_epi8(bytes) as u32) & 0xffff
    }

    /// Bytes of `x` that are `<= limit`, as unsigned numbers.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn at_most(x: __m128i, limit: u8) -> __m128i {
        _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(limit as i8)), x)
    }

    /// A bit for every byte that is no text: below space but for tab, and DEL.
    #[inline]
    pub(super) fn not_text(block: &[u8; BLOCK]) -> u32 {
        #[inline]
        #[target_feature(enable = "sse2")]
        fn find(block: &[u8; BLOCK]) -> u32 {
            let x = load(block);
            let control = _mm_andnot_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(0x09)), at_most(x, 0x1f));
            mask(_mm_or_si128(control, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f))))
        }
        // SAFETY: every x86-64 has SSE2.
        unsafe { find(block) }
    }

    /// A bit for every byte that is neither letter, digit nor hyphen.
    #[inline]
    pub(super) fn not_plain_name(block: &[u8; BLOCK]) -> u32 {
        #[inline]
        #[target_feature(enable = "sse2")]
        fn find(block: &[u8; BLOCK]) -> u32 {
            let x = load(block);
            let letter = at_most(_mm_sub_epi8(_mm_or_si128(x, _mm_set1_epi8(0x20)), _mm_set1_epi8(b'a' as i8)), 25);
            let digit = at_most(_mm_sub_epi8(x, _mm_set1_epi8(b'0' as i8)), 9);
            let hyphen = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'-' as i8));
            mask(_mm_or_si128(_mm_or_si128(letter, digit), hyphen)) ^ 0xffff
        }
        // SAFETY: every x86-64 has SSE2.
        unsafe { find(block) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_single_bytes_agree_on_every_byte() {
        for byte in 0..=255u8 {
            for place in 0..40 {
                let mut bytes = [b'a'; 48];
                bytes[place] = byte;
                let text = bytes.iter().position(|b| !is_text(*b)).unwrap_or(48);
                let token = bytes.iter().position(|b| !is_token(*b)).unwrap_or(48);
                let plain = bytes.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'-').unwrap_or(48);
                for from in 0..3 {
                    // Up to here the bytes are of the class.
                    let (text, token, plain) = if place < from { (48, 48, 48) } else { (text, token, plain) };
                    for length in place.max(16)..48 {
                        let bytes = &bytes[..length];
                        assert_eq!(text_end(bytes, from), text.min(length), "byte {byte} at {place} of {length} from {from}");
                        assert_eq!(token_end(bytes, from), token.min(length), "byte {byte} at {place} of {length} from {from}");
                        assert_eq!(plain_name_end(bytes, from), plain.min(length), "byte {byte} at {place} of {length} from {from}");
                    }
                }
                assert_eq!(text_end(&bytes[..=place], 0), text.min(place + 1), "byte {byte} last of {place}");
                assert_eq!(token_end(&bytes[..=place], 0), token.min(place + 1), "byte {byte} last of {place}");
            }
        }
    }
}
