//! One pass over an answer's head where it lies: finds its end and the few facts that frame the body. Takes and refuses
//! what httparse does by default; must not copy, allocate or keep anything of the bytes.

use super::classes::{plain_name_end, text_end, token_end};
use super::values::{is_name, trimmed, whole_number};
use super::{Framing, HttpError, MAX_HEAD, MAX_HEADERS};

/// What the head said about length and connection, one bit each.
mod said {
    pub const LENGTH: u8 = 1;
    pub const BAD_LENGTH: u8 = 1 << 1;
    pub const CODING: u8 = 1 << 2;
    pub const CHUNKED: u8 = 1 << 3;
    pub const CLOSE: u8 = 1 << 4;
    pub const KEEP_ALIVE: u8 = 1 << 5;
}

/// All of `HTTP/1.x` but the x.
const MINOR: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);

/// The facts of a head read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) status: u16,
    pub(super) minor: u8,
    said: u8,
    headers: u16,
    length: u64,
}

/// Where in a head the scan stands. Complete lines are never read twice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadScan {
    facts: Facts,
    /// Where the first line that is not complete begins.
    line: u32,
    /// Up to here that line is known to hold no line end; at or before `line` when nothing is known.
    seen: u32,
    /// The status line is behind.
    headers: bool,
}

/// A step within a head: where the next line begins, that the head ended, or that the line is not complete up to some
/// place.
enum Line {
    Next(usize),
    End(usize),
    Partial(usize),
}

impl HeadScan {
    /// Scans on. `bytes` holds the head from its first byte on. Gives the head's length once it is complete.
    ///
    /// # Errors
    /// As soon as no further byte can make a head of it.
    #[inline]
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, HttpError> {
        let window = &bytes[..bytes.len().min(MAX_HEAD)];
        if self.fresh()
            && let Some(next) = self.facts.plain_start(window)
        {
            (self.line, self.headers) = (next as u32, true);
        }
        loop {
            // As many lines as are complete and written as lines are; one at a time of what is not.
            if self.headers && self.seen <= self.line {
                self.line = self.facts.plain_lines(window, self.line as usize) as u32;
            }
            let at = self.line as usize;
            if let Some([b'\r', b'\n']) = window.get(at..).and_then(<[u8]>::first_chunk)
                && self.headers
            {
                return Ok(Some(at + 2));
            }
            match self.line(window)? {
                Line::Next(next) => (self.line, self.seen) = (next as u32, 0),
                Line::End(length) => return Ok(Some(length)),
                Line::Partial(_) if bytes.len() >= MAX_HEAD => return Err(HttpError::HeadTooLarge),
                Line::Partial(seen) => {
                    self.seen = seen as u32;
                    return Ok(None);
                }
            }
        }
    }

    /// Any line: the empty one that ends the head, one that is not complete, one that no server should write.
    fn line(&mut self, bytes: &[u8]) -> Result<Line, HttpError> {
        let (at, seen) = (self.line as usize, self.seen as usize);
        if !self.headers {
            return self.facts.start(bytes, at, seen, &mut self.headers);
        }
        match bytes.get(at) {
            Some(b'\r' | b'\n') => Ok(match line_end(bytes, at, "a line end is malformed")? {
                Line::Next(end) => Line::End(end),
                partial => partial,
            }),
            Some(_) => self.facts.header(bytes, at, seen),
            None => Ok(Line::Partial(at)),
        }
    }

    /// Nothing of the head was read yet.
    #[inline]
    pub(super) fn fresh(&self) -> bool {
        !self.headers && self.line == 0 && self.seen == 0
    }

    /// The facts of a complete head.
    #[inline]
    pub(super) fn facts(&self) -> Facts {
        self.facts
    }
}

/// The line end at `at`, where a CR or an LF stands.
#[inline]
fn line_end(bytes: &[u8], at: usize, refusal: &'static str) -> Result<Line, HttpError> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(Line::Next(at + 2)),
        (Some(b'\r'), None) => Ok(Line::Partial(at)),
        (Some(b'\n'), _) => Ok(Line::Next(at + 1)),
        _ => Err(HttpError::BadHead(refusal)),
    }
}

impl Facts {
    /// A complete status line at the start, when it is written as usual. Gives where the headers begin; what is anything
    /// else is [`Facts::start`]'s.
    #[inline]
    fn plain_start(&mut self, bytes: &[u8]) -> Option<usize> {
        let line = bytes.first_chunk::<13>()?;
        let digits = [line[9].wrapping_sub(b'0'), line[10].wrapping_sub(b'0'), line[11].wrapping_sub(b'0')];
        let usual = line.first_chunk() == Some(b"HTTP/1.1") && line[8] == b' ' && line[12] == b' ';
        if !usual || digits[0] > 9 || digits[1] > 9 || digits[2] > 9 {
            return None;
        }
        let end = text_end(bytes, 13);
        if bytes.get(end..).and_then(<[u8]>::first_chunk) != Some(b"\r\n") {
            return None;
        }
        self.minor = 1;
        self.status = u16::from(digits[0]) * 100 + u16::from(digits[1]) * 10 + u16::from(digits[2]);
        Some(end + 2)
    }

    /// The status line at `at`, or an empty line before it.
    #[inline]
    fn start(&mut self, bytes: &[u8], at: usize, seen: usize, done: &mut bool) -> Result<Line, HttpError> {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(line) = rest.first_chunk::<13>() else {
            return short_start(bytes, at);
        };
        if let b'\r' | b'\n' = line[0] {
            return line_end(bytes, at, "a line end is malformed");
        }
        let version = line.first_chunk().map_or(0, |version| u64::from_ne_bytes(*version));
        if version & MINOR != u64::from_ne_bytes(*b"HTTP/1.\0") || line[7] & !1 != b'0' || line[8] != b' ' {
            return Err(HttpError::BadHead("the version is not HTTP/1.0 or HTTP/1.1"));
        }
        self.minor = line[7] & 1;
        let digits = [line[9].wrapping_sub(b'0'), line[10].wrapping_sub(b'0'), line[11].wrapping_sub(b'0')];
        if digits.iter().any(|d| *d > 9) {
            return Err(HttpError::BadHead("the status is malformed"));
        }
        self.status = u16::from(digits[0]) * 100 + u16::from(digits[1]) * 10 + u16::from(digits[2]);
        let end = match line[12] {
            b' ' => text_end(bytes, seen.max(at + 13)),
            b'\r' | b'\n' => at + 12,
            _ => return Err(HttpError::BadHead("the status is malformed")),
        };
        if end == bytes.len() {
            return Ok(Line::Partial(end));
        }
        let line = line_end(bytes, end, "the status is malformed")?;
        *done = matches!(line, Line::Next(_));
        Ok(line)
    }

    /// Reads header lines from `at` on as long as each is complete, ends in CR LF and has a name of letters, digits and
    /// hyphens: all that servers write. Gives the first line that is something else; nothing of it was taken.
    #[inline]
    fn plain_lines(&mut self, bytes: &[u8], mut at: usize) -> usize {
        let mut facts = *self;
        while usize::from(facts.headers) < MAX_HEADERS && bytes.get(at).is_some_and(|b| *b != b'\r') {
            let colon = plain_name_end(bytes, at);
            if colon == at || bytes.get(colon) != Some(&b':') {
                break;
            }
            let end = text_end(bytes, colon + 1);
            if bytes.get(end..).and_then(<[u8]>::first_chunk) != Some(b"\r\n") {
                break;
            }
            facts.headers += 1;
            facts.note(bytes, at, colon, end);
            at = end + 2;
        }
        *self = facts;
        at
    }

    /// A header's name is at `at..colon`, its value at `colon + 1..end`.
    #[inline]
    fn note(&mut self, bytes: &[u8], at: usize, colon: usize, end: usize) {
        // The lengths of the three names that matter.
        match colon - at {
            14 => self.content_length(&bytes[at..colon], &bytes[colon + 1..end]),
            10 => self.connection(&bytes[at..colon], &bytes[colon + 1..end]),
            17 => self.coding(&bytes[at..colon], &bytes[colon + 1..end]),
            _ => {}
        }
    }

    /// The header line at `at`, which is not empty.
    fn header(&mut self, bytes: &[u8], at: usize, seen: usize) -> Result<Line, HttpError> {
        let colon = token_end(bytes, at);
        if colon == bytes.len() {
            return Ok(Line::Partial(at));
        }
        if bytes[colon] != b':' || colon == at {
            return Err(HttpError::BadHead("a header name is malformed"));
        }
        let end = text_end(bytes, seen.max(colon + 1));
        if end == bytes.len() {
            return Ok(Line::Partial(end));
        }
        let line = line_end(bytes, end, "a header value is malformed")?;
        if let Line::Next(_) = line {
            self.headers += 1;
            if usize::from(self.headers) > MAX_HEADERS {
                return Err(HttpError::HeadTooLarge);
            }
            self.note(bytes, at, colon, end);
        }
        Ok(line)
    }

    #[inline]
    fn content_length(&mut self, name: &[u8], value: &[u8]) {
        if !is_name(name, b"content-length") {
            return;
        }
        let value = trimmed(value);
        match whole_number(value) {
            Some(length) if self.said & said::LENGTH == 0 => {
                self.length = length;
                self.said |= said::LENGTH;
            }
            length => self.more_lengths(length, value),
        }
    }

    /// A second length, or a list of lengths: all must be one.
    #[cold]
    fn more_lengths(&mut self, length: Option<u64>, value: &[u8]) {
        if length.is_some_and(|length| length == self.length) {
            return;
        }
        for element in value.split(|b| *b == b',') {
            match whole_number(trimmed(element)) {
                Some(length) if self.said & said::LENGTH == 0 || self.length == length => {
                    self.length = length;
                    self.said |= said::LENGTH;
                }
                _ => self.said |= said::BAD_LENGTH,
            }
        }
    }

    #[inline]
    fn connection(&mut self, name: &[u8], value: &[u8]) {
        if !is_name(name, b"connection") {
            return;
        }
        let value = trimmed(value);
        if is_name(value, b"keep-alive") {
            self.said |= said::KEEP_ALIVE;
        } else if value.eq_ignore_ascii_case(b"close") {
            self.said |= said::CLOSE;
        } else {
            self.options(value);
        }
    }

    #[cold]
    fn options(&mut self, value: &[u8]) {
        if !value.is_ascii() {
            return;
        }
        for option in value.split(|b| *b == b',').map(trimmed) {
            if option.eq_ignore_ascii_case(b"close") {
                self.said |= said::CLOSE;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.said |= said::KEEP_ALIVE;
            }
        }
    }

    /// The last coding of the last Transfer-Encoding decides.
    #[inline]
    fn coding(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let last = value.rsplit(|b| *b == b',').next().unwrap_or_default();
            let last = trimmed(last);
            let chunked = last.eq_ignore_ascii_case(b"chunked") && value.is_ascii();
            self.said = (self.said & !said::CHUNKED) | said::CODING | if chunked { said::CHUNKED } else { 0 };
        }
    }

    /// How the body ends, as hyper's client has it. `to_head` says that the request was HEAD.
    ///
    /// # Errors
    /// Lengths that are no numbers or differ, and a transfer coding in HTTP/1.0, where a body may be.
    #[inline]
    pub(super) fn framing(&self, to_head: bool) -> Result<Framing, HttpError> {
        if self.bodiless(to_head) {
            return Ok(Framing::None);
        }
        if self.said & said::CODING != 0 {
            if self.minor == 0 {
                return Err(HttpError::Ambiguous("an HTTP/1.0 message has a Transfer-Encoding"));
            }
            return Ok(if self.said & said::CHUNKED != 0 { Framing::Chunked } else { Framing::Close });
        }
        if self.said & said::BAD_LENGTH != 0 {
            return Err(HttpError::Ambiguous("Content-Length is no whole number, or there are two different ones"));
        }
        Ok(match (self.said & said::LENGTH != 0, self.length) {
            (true, 0) => Framing::None,
            (true, length) => Framing::Length(length),
            (false, _) => Framing::Close,
        })
    }

    #[inline]
    fn bodiless(&self, to_head: bool) -> bool {
        to_head || self.status < 200 || self.status == 204 || self.status == 304
    }

    /// May another request follow on this connection? Not after an answer with both Transfer-Encoding and
    /// Content-Length: whoever wrote it may think that it ends elsewhere (RFC 9112 §6.3).
    #[inline]
    pub(super) fn keep_alive(&self, framing: Framing) -> bool {
        let both = said::CODING | said::LENGTH;
        let open = if self.minor == 0 { self.said & said::KEEP_ALIVE != 0 } else { true };
        open && self.said & said::CLOSE == 0
            && framing != Framing::Close
            && self.status != 101
            && self.said & both != both
            && self.said & (said::CODING | said::BAD_LENGTH) != said::CODING | said::BAD_LENGTH
    }
}

/// A status line of fewer than 13 bytes: is it the beginning of one?
#[cold]
fn short_start(bytes: &[u8], at: usize) -> Result<Line, HttpError> {
    let line = &bytes[at..];
    if let Some(b'\r' | b'\n') = line.first() {
        return line_end(bytes, at, "a line end is malformed");
    }
    for (place, byte) in line.iter().enumerate() {
        let fits = match place {
            0..=6 => *byte == b"HTTP/1."[place],
            7 => matches!(byte, b'0' | b'1'),
            8 => *byte == b' ',
            9..=11 => byte.is_ascii_digit(),
            _ => true,
        };
        if !fits {
            return Err(HttpError::BadHead(if place < 9 { "the version is not HTTP/1.0 or HTTP/1.1" } else { "the status is malformed" }));
        }
    }
    Ok(Line::Partial(at))
}
