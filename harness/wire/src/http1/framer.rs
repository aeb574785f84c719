//! The incremental framer: fed bytes in any cut, it yields heads, body pieces and ends. Must not read sockets.

use super::chunked::{Chunked, Run};
use super::{Framing, Head, HttpError, MAX_HEAD};
use bytes::{Bytes, BytesMut};

/// A piece of a message, in wire order. Forwarding `Head::raw`, `Body` and `Frame` as they come is forwarding the
/// message byte for byte.
#[derive(Clone, Debug)]
pub enum Part {
    /// Start line and headers.
    Head(Head),
    /// Content.
    Body(Bytes),
    /// Chunk sizes, line ends and trailers of a chunked body.
    Frame(Bytes),
    /// The message is complete; the next one may follow.
    End,
}

/// Frames one direction of a connection, message after message.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    scanned: usize,
    requests: bool,
    to_head: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunked),
    Close,
    End,
    /// No further messages: raw bytes after a switch of protocols.
    Raw,
}

impl Framer {
    /// For the side that sends requests.
    #[must_use]
    pub fn requests() -> Framer {
        Framer { buffer: BytesMut::new(), scanned: 0, requests: true, to_head: false, state: State::Head }
    }

    /// For the side that sends responses.
    #[must_use]
    pub fn responses() -> Framer {
        Framer { requests: false, ..Framer::requests() }
    }

    /// Says which request the next response answers: one to HEAD has no body whatever its head says.
    pub fn answers(&mut self, method: &str) {
        self.to_head = method == "HEAD";
    }

    /// From here on everything is content without end (after `101 Switching Protocols`).
    pub fn raw(&mut self) {
        self.state = State::Raw;
    }

    /// Takes bytes in.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer to read into, appending.
    pub fn space(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes taken in and not yielded yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Between messages, with nothing of the next one seen.
    #[must_use]
    pub fn idle(&self) -> bool {
        matches!(self.state, State::Head) && self.buffer.is_empty()
    }

    /// A head was yielded and its [`Part::End`] not yet.
    #[must_use]
    pub fn in_message(&self) -> bool {
        !matches!(self.state, State::Head)
    }

    /// The current message is complete but for its [`Part::End`].
    #[must_use]
    pub fn at_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// The next part; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes are no message that may be forwarded; the connection is of no further use.
    pub fn next_part(&mut self) -> Result<Option<Part>, HttpError> {
        match &mut self.state {
            State::Head => self.next_head(),
            State::End => {
                self.state = State::Head;
                Ok(Some(Part::End))
            }
            _ if self.buffer.is_empty() => Ok(None),
            State::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::End;
                }
                Ok(Some(Part::Body(self.buffer.split_to(taken).freeze())))
            }
            State::Chunked(chunked) => {
                let run = chunked.advance(&self.buffer)?;
                if chunked.done() {
                    self.state = State::End;
                }
                Ok(Some(match run {
                    Run::Frame(n) => Part::Frame(self.buffer.split_to(n).freeze()),
                    Run::Data(n) => Part::Body(self.buffer.split_to(n).freeze()),
                }))
            }
            State::Close | State::Raw => Ok(Some(Part::Body(self.buffer.split().freeze()))),
        }
    }

    /// The sender closed: the last part of a close-delimited message, `None` between messages.
    ///
    /// # Errors
    /// [`HttpError::Truncated`] when that was in the middle of a message.
    pub fn end(&mut self) -> Result<Option<Part>, HttpError> {
        match self.state {
            State::Close | State::Raw if self.buffer.is_empty() => {
                self.state = State::Head;
                Ok(Some(Part::End))
            }
            State::Head if self.buffer.is_empty() => Ok(None),
            _ => Err(HttpError::Truncated),
        }
    }

    fn next_head(&mut self) -> Result<Option<Part>, HttpError> {
        // Empty lines before a request are to be ignored (RFC 9112 §2.2); they are not forwarded.
        while self.requests && (self.buffer.starts_with(b"\r\n") || self.buffer.starts_with(b"\n")) {
            let taken = if self.buffer[0] == b'\r' { 2 } else { 1 };
            let _ = self.buffer.split_to(taken);
            self.scanned = 0;
        }
        if self.buffer.first().is_some_and(|b| !b.is_ascii_graphic() && *b != b'\r') {
            return Err(HttpError::BadHead("the start line is malformed"));
        }
        // Parsing only when a line end arrived keeps a head that comes byte by byte from costing quadratic time.
        let fresh = &self.buffer[self.scanned.min(self.buffer.len())..];
        let parsed = if fresh.contains(&b'\n') {
            if self.requests { Head::parse_request(&self.buffer)? } else { Head::parse_response(&self.buffer)? }
        } else {
            None
        };
        let Some(head) = parsed else {
            self.scanned = self.buffer.len();
            return if self.buffer.len() > MAX_HEAD { Err(HttpError::HeadTooLarge) } else { Ok(None) };
        };
        if head.raw().len() > MAX_HEAD {
            return Err(HttpError::HeadTooLarge);
        }
        self.scanned = 0;
        let _ = self.buffer.split_to(head.raw().len());
        self.state = match head.framing(self.to_head)? {
            Framing::None => State::End,
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::Close => State::Close,
        };
        Ok(Some(Part::Head(head)))
    }
}
