//! A message head: its raw bytes and where things stand in them, and the rules of RFC 9112 §6.3 for where the body
//! ends. Must not see body bytes.

use super::{HttpError, MAX_HEADERS};
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// How the end of a message's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body at all.
    None,
    /// Exactly so many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the sender closes.
    Close,
}

/// A request's or response's head. The raw bytes are what arrived until [`Head::append`] or [`Head::remove`] changes
/// them.
#[derive(Clone, Debug)]
pub struct Head {
    raw: Bytes,
    start: Start,
    headers: Vec<(Range<usize>, Range<usize>)>,
    minor: u8,
}

#[derive(Clone, Debug)]
enum Start {
    Request { method: Range<usize>, target: Range<usize> },
    Response { status: u16 },
}

impl Head {
    /// Parses a request head that `raw` begins with; `None` when it is not complete yet. The head's length is
    /// [`Head::raw`]'s.
    ///
    /// # Errors
    /// When the bytes can be no request head.
    pub fn parse_request(raw: &[u8]) -> Result<Option<Head>, HttpError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(raw).map_err(refuse)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        let method = within(raw, request.method.unwrap_or_default().as_bytes());
        let target = within(raw, request.path.unwrap_or_default().as_bytes());
        let minor = request.version.unwrap_or(1);
        let headers = ranges(raw, request.headers);
        let raw = Bytes::copy_from_slice(&raw[..length]);
        Ok(Some(Head { raw, start: Start::Request { method, target }, headers, minor }))
    }

    /// Parses a response head likewise.
    ///
    /// # Errors
    /// When the bytes can be no response head.
    pub fn parse_response(raw: &[u8]) -> Result<Option<Head>, HttpError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(raw).map_err(refuse)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        let start = Start::Response { status: response.code.unwrap_or(0) };
        let minor = response.version.unwrap_or(1);
        let headers = ranges(raw, response.headers);
        Ok(Some(Head { raw: Bytes::copy_from_slice(&raw[..length]), start, headers, minor }))
    }

    /// The head's bytes, up to and including the empty line.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Is it a request's?
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The request's method; empty for a response.
    #[must_use]
    pub fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => text(&self.raw[method.clone()]),
            Start::Response { .. } => "",
        }
    }

    /// The request's target as written; empty for a response.
    #[must_use]
    pub fn target(&self) -> &str {
        match &self.start {
            Start::Request { target, .. } => text(&self.raw[target.clone()]),
            Start::Response { .. } => "",
        }
    }

    /// The target's path: no query, and no scheme and authority when it is in absolute form.
    #[must_use]
    pub fn path(&self) -> &str {
        let target = self.target();
        let path = match target.split_once("://") {
            Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
            _ => target,
        };
        path.split(['?', '#']).next().unwrap_or(path)
    }

    /// The response's status; 0 for a request.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status } => status,
        }
    }

    /// HTTP/1.`minor`.
    #[must_use]
    pub fn minor(&self) -> u8 {
        self.minor
    }

    /// All headers in order: name as written, value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (text(&self.raw[name.clone()]), &self.raw[value.clone()]))
    }

    /// The first value of a header, by name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value of a header, when it is text.
    #[must_use]
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Adds a header at the end. A name or value that would break the framing is left out and `false` is returned.
    pub fn append(&mut self, name: &str, value: &str) -> bool {
        let name_ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let value_ok = value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f));
        if !name_ok || !value_ok || self.headers.len() >= MAX_HEADERS {
            return false;
        }
        let end = if self.raw.ends_with(b"\r\n") { self.raw.len() - 2 } else { self.raw.len() - 1 };
        let mut raw = BytesMut::with_capacity(self.raw.len() + name.len() + value.len() + 4);
        raw.extend_from_slice(&self.raw[..end]);
        let name_at = raw.len()..raw.len() + name.len();
        raw.extend_from_slice(name.as_bytes());
        raw.extend_from_slice(b": ");
        let value_at = raw.len()..raw.len() + value.len();
        raw.extend_from_slice(value.as_bytes());
        raw.extend_from_slice(b"\r\n\r\n");
        self.raw = raw.freeze();
        self.headers.push((name_at, value_at));
        true
    }

    /// Takes every header of that name out.
    pub fn remove(&mut self, name: &str) {
        if self.header(name).is_none() {
            return;
        }
        let first = self.raw.iter().position(|b| *b == b'\n').map_or(self.raw.len(), |at| at + 1);
        let mut raw = BytesMut::with_capacity(self.raw.len());
        raw.extend_from_slice(&self.raw[..first]);
        for (n, value) in self.headers().filter(|(n, _)| !n.eq_ignore_ascii_case(name)) {
            raw.extend_from_slice(n.as_bytes());
            raw.extend_from_slice(b": ");
            raw.extend_from_slice(value);
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"\r\n");
        let again = if self.is_request() { Head::parse_request(&raw) } else { Head::parse_response(&raw) };
        if let Ok(Some(head)) = again {
            *self = head;
        }
    }

    /// Does the sender mean to keep the connection open after this message?
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        let has = |token: &str| {
            self.headers()
                .filter(|(n, _)| n.eq_ignore_ascii_case("connection"))
                .any(|(_, v)| text(v).split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
        };
        if self.minor == 0 { has("keep-alive") && !has("close") } else { !has("close") }
    }

    /// How the body ends. `to_head` says that this response answers a HEAD request.
    ///
    /// # Errors
    /// When two readers could disagree: both Transfer-Encoding and Content-Length, differing lengths, a transfer coding
    /// whose last is not `chunked`, or any transfer coding in HTTP/1.0.
    pub fn framing(&self, to_head: bool) -> Result<Framing, HttpError> {
        let length = self.content_length()?;
        let chunked = self.chunked()?;
        if chunked && length.is_some() {
            return Err(HttpError::Ambiguous("it has both Transfer-Encoding and Content-Length"));
        }
        if self.is_request() {
            return Ok(match (chunked, length) {
                (true, _) => Framing::Chunked,
                (false, Some(0) | None) => Framing::None,
                (false, Some(n)) => Framing::Length(n),
            });
        }
        let status = self.status();
        if to_head || (100..200).contains(&status) || status == 204 || status == 304 {
            return Ok(Framing::None);
        }
        Ok(match (chunked, length) {
            (true, _) => Framing::Chunked,
            (false, Some(0)) => Framing::None,
            (false, Some(n)) => Framing::Length(n),
            (false, None) => Framing::Close,
        })
    }

    fn content_length(&self) -> Result<Option<u64>, HttpError> {
        let mut found = None;
        for (_, value) in self.headers().filter(|(n, _)| n.eq_ignore_ascii_case("content-length")) {
            let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
            let length = text(value).parse::<u64>().ok().filter(|_| digits);
            let length = length.ok_or(HttpError::Ambiguous("Content-Length is no whole number"))?;
            if found.replace(length).is_some_and(|before| before != length) {
                return Err(HttpError::Ambiguous("it has two different Content-Lengths"));
            }
        }
        Ok(found)
    }

    fn chunked(&self) -> Result<bool, HttpError> {
        let mut found = false;
        for (_, value) in self.headers().filter(|(n, _)| n.eq_ignore_ascii_case("transfer-encoding")) {
            if self.minor == 0 {
                return Err(HttpError::Ambiguous("an HTTP/1.0 message has a Transfer-Encoding"));
            }
            if found || !text(value).trim().eq_ignore_ascii_case("chunked") {
                return Err(HttpError::Ambiguous("Transfer-Encoding is not exactly `chunked`"));
            }
            found = true;
        }
        Ok(found)
    }
}

fn refuse(error: httparse::Error) -> HttpError {
    match error {
        httparse::Error::TooManyHeaders => HttpError::HeadTooLarge,
        httparse::Error::HeaderName => HttpError::BadHead("a header name is malformed"),
        httparse::Error::HeaderValue => HttpError::BadHead("a header value is malformed"),
        httparse::Error::NewLine => HttpError::BadHead("a line end is malformed"),
        httparse::Error::Status => HttpError::BadHead("the status is malformed"),
        httparse::Error::Token => HttpError::BadHead("the start line is malformed"),
        httparse::Error::Version => HttpError::BadHead("the version is not HTTP/1.0 or HTTP/1.1"),
    }
}

/// Where `part`, a subslice of `whole`, stands in it.
fn within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let at = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize).min(whole.len());
    at..(at + part.len()).min(whole.len())
}

fn ranges(raw: &[u8], headers: &[httparse::Header<'_>]) -> Vec<(Range<usize>, Range<usize>)> {
    headers.iter().map(|h| (within(raw, h.name.as_bytes()), within(raw, h.value))).collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}
