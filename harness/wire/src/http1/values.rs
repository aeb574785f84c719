//! Header values as words and numbers, for the few headers that frame a body. Must not know which header it is.

/// Largest length that is believed; hyper's bound.
const MAX_LENGTH: u64 = u64::MAX - 2;

/// Is `text` this, `lower`, in any case? `lower` is of 8 to 16 letters and hyphens. Setting bit 0x20 makes letters lower
/// case, and of the other characters a header may have maps none onto a letter or a hyphen.
#[inline]
pub(super) fn is_name<const N: usize>(text: &[u8], lower: &[u8; N]) -> bool {
    const CASE: u64 = u64::from_ne_bytes([0x20; 8]);
    // The two halves overlap when there are fewer than 16.
    let halves = |text: &[u8]| {
        let half = |bytes: Option<&[u8; 8]>| bytes.map(|bytes| u64::from_ne_bytes(*bytes));
        half(text.first_chunk()).zip(half(text.last_chunk()))
    };
    match (halves(text), halves(lower)) {
        (Some((a, b)), Some((c, d))) => text.len() == N && ((a | CASE) ^ c) | ((b | CASE) ^ d) == 0,
        _ => false,
    }
}

/// Without the blanks around it.
#[inline]
pub(super) fn trimmed(mut value: &[u8]) -> &[u8] {
    // Nearly always exactly one.
    if let [b' ', rest @ ..] = value {
        value = rest;
    }
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A whole number in decimal digits, up to [`MAX_LENGTH`].
#[inline]
pub(super) fn whole_number(value: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    // So many digits never overflow.
    let (first, rest) = value.split_at(value.len().min(18));
    for byte in first {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (!value.is_empty() && number <= MAX_LENGTH).then_some(number)
}
