//! Headers of a raw head, found only when asked for. Must not be asked about bytes that are no complete head.

use super::classes::text_end;

/// Every header of a complete head in order: name as written, value without blanks around it. `head` is what
/// [`super::HeadInfo::length`] cuts off; anything else gives nonsense, but no harm.
#[must_use]
pub fn headers(head: &[u8]) -> Headers<'_> {
    let blank = head.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(head.len());
    let rest = next_line(&head[blank..]).1;
    Headers { rest }
}

/// The first value of a header, by name in any case.
#[must_use]
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    headers(head).find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
}

/// The headers of a head; see [`headers`].
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (line, rest) = next_line(self.rest);
        let colon = line.iter().position(|b| *b == b':')?;
        self.rest = rest;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    }
}

/// The first line without its end, and what follows it.
fn next_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = text_end(bytes, 0);
    let ended = match (bytes.get(end), bytes.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => end + 2,
        (Some(_), _) => end + 1,
        (None, _) => end,
    };
    (&bytes[..end], &bytes[ended..])
}
