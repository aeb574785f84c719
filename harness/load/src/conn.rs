//! One HTTP/1.1 connection over which requests go one after another, and how an answer is read from it. Must not know
//! what the request was for.

use crate::links::{Linked, Links, NONE};
use crate::samples::BODY;
use shakedown_core::snapshot::Failure;
use shakedown_net::Direct;
use shakedown_wire::http1::{AnswerScan, HeadInfo, HttpError, SeenHead, Step};
use std::io;
use std::ops::Range;

/// Largest body; a larger one is a protocol failure.
pub const MAX_BODY: u64 = 16 << 20;
/// Bytes read at once.
pub const READ: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub struct Conn {
    direct: Direct,
    /// Its stream.
    pub lane: u32,
    /// Whose answer it carries, if any.
    pub trip: Option<u32>,
    /// Which of those that were in its place.
    pub life: u32,
    /// Requests it has carried.
    pub served: u32,
    /// Idle since.
    pub since: i64,
    scan: AnswerScan,
    keep: bool,
    /// Writing the newest request failed.
    refused: bool,
    out: Vec<u8>,
    rest: Vec<u8>,
    partial: Option<Box<Partial>>,
    links: Links,
}

/// An answer that did not come in one piece.
#[derive(Debug)]
pub struct Partial {
    /// Its head.
    pub head: Vec<u8>,
    /// What the head says.
    pub info: HeadInfo,
    /// The kept bytes of its body.
    pub body: Vec<u8>,
    /// Bytes of the body.
    pub length: u64,
}

/// What reading came to.
#[derive(Debug)]
pub enum Read {
    /// Nothing was there.
    Nothing,
    /// Part of an answer: more has to come.
    More,
    /// A whole answer lies in the buffer.
    Whole {
        /// Its head.
        head: Range<usize>,
        /// Its body.
        body: Range<usize>,
        /// Facts.
        info: HeadInfo,
    },
    /// A whole answer was collected: [`Conn::partial`].
    Collected,
    /// The connection ended before a byte of an answer came.
    Gone(String),
    /// The answer is no good.
    Broken(Failure, String),
}

impl Linked<0> for Conn {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Conn {
    /// A fresh connection.
    #[must_use]
    pub fn new(direct: Direct, lane: u32, life: u32, now: i64) -> Conn {
        Conn {
            direct,
            lane,
            trip: None,
            life,
            served: 0,
            since: now,
            scan: AnswerScan::new(false),
            keep: false,
            refused: false,
            out: Vec::new(),
            rest: Vec::new(),
            partial: None,
            links: Links::default(),
        }
    }

    /// Writes a request, as much of it as fits; the rest follows when there is room. `to_head`: its answer has no body;
    /// `keep`: the whole body is wanted.
    ///
    /// # Errors
    /// The system's.
    #[inline]
    pub fn begin(&mut self, request: &[u8], to_head: bool, keep: bool) -> io::Result<()> {
        (self.scan, self.keep, self.refused) = (AnswerScan::new(to_head), keep, false);
        let written = match self.direct.try_write(request) {
            Ok(n) => n,
            Err(e) if would_block(&e) => 0,
            Err(e) => {
                self.refused = true;
                return Err(e);
            }
        };
        if written < request.len() {
            self.out.extend_from_slice(&request[written..]);
        }
        Ok(())
    }

    /// Writes on.
    ///
    /// # Errors
    /// The system's.
    pub fn write_on(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.out.len() {
            match self.direct.try_write(&self.out[written..]) {
                Ok(0) => break,
                Ok(n) => written += n,
                Err(e) if would_block(&e) => break,
                Err(e) => return Err(e),
            }
        }
        self.out.drain(..written);
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        match self.direct.try_flush() {
            Err(e) if !would_block(&e) => Err(e),
            _ => Ok(()),
        }
    }

    /// Not a byte of the newest request could be written.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.refused
    }

    /// The whole request is written.
    #[must_use]
    pub fn written(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether nothing has come where nothing is asked; a server that closes or talks without being asked ends it.
    pub fn quiet(&mut self, buffer: &mut [u8]) -> bool {
        matches!(self.direct.try_read(buffer), Err(e) if would_block(&e))
    }

    /// Whether the server has already said something: for a connection that has carried no request. What it said is
    /// lost; such a connection is of no use.
    pub fn talked_first(&mut self, buffer: &mut [u8]) -> bool {
        matches!(self.direct.try_read(buffer), Ok(1..))
    }

    /// What came of an answer that is not whole.
    pub fn take_partial(&mut self) -> Option<Box<Partial>> {
        self.partial.take()
    }

    /// Reads what is there now.
    #[inline]
    pub fn read(&mut self, buffer: &mut Vec<u8>, seen: &mut SeenHead) -> Read {
        let mut came = false;
        loop {
            let before = self.rest.len();
            if before > 0 {
                if buffer.len() < before + READ / 2 {
                    buffer.resize(before + READ, 0);
                }
                buffer[..before].copy_from_slice(&self.rest);
            }
            let read = match self.direct.try_read(&mut buffer[before..]) {
                Ok(0) => return self.ended(),
                Ok(n) => n,
                Err(e) if would_block(&e) => return if came { Read::More } else { Read::Nothing },
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::InvalidData => return Read::Broken(Failure::Tls, e.to_string()),
                Err(e) => return if self.blank() { Read::Gone(e.to_string()) } else { Read::Broken(Failure::Reset, e.to_string()) },
            };
            came = true;
            match self.take(&buffer[..before + read], seen) {
                Read::More => {}
                other => return other,
            }
        }
    }

    /// Nothing of an answer has come.
    #[must_use]
    pub fn blank(&self) -> bool {
        self.scan.in_head() && self.rest.is_empty() && self.partial.is_none()
    }

    #[inline]
    fn take(&mut self, bytes: &[u8], seen: &mut SeenHead) -> Read {
        if self.partial.is_none() {
            match self.scan.advance_seen(bytes, seen) {
                Ok(Step::Head(info)) => {
                    if let Some(all) = info.whole(bytes.len()) {
                        if all < bytes.len() {
                            return surplus();
                        }
                        self.rest = Vec::new();
                        return Read::Whole { head: 0..info.length, body: info.length..all, info };
                    }
                    self.head(info, bytes);
                    return self.collect(bytes, info.length);
                }
                Ok(Step::Interim(info)) => return self.collect(bytes, info.length),
                Ok(_) => {
                    self.keep_rest(bytes);
                    return Read::More;
                }
                Err(e) => return protocol(&e),
            }
        }
        self.collect(bytes, 0)
    }

    fn head(&mut self, info: HeadInfo, bytes: &[u8]) {
        let head = bytes[..info.length].to_vec();
        self.partial = Some(Box::new(Partial { head, info, body: Vec::new(), length: 0 }));
    }

    /// Goes on from `at` with an answer that does not come in one piece.
    fn collect(&mut self, bytes: &[u8], mut at: usize) -> Read {
        loop {
            match self.scan.advance(&bytes[at..]) {
                Ok(Step::Head(info)) => {
                    self.head(info, &bytes[at..]);
                    at += info.length;
                }
                Ok(Step::Interim(info)) => at += info.length,
                Ok(Step::Body { from, to }) => {
                    if let Some(partial) = &mut self.partial {
                        partial.length += (to - from) as u64;
                        if partial.length > MAX_BODY {
                            return Read::Broken(Failure::Protocol, format!("the body is larger than {MAX_BODY} bytes"));
                        }
                        let room = if self.keep { usize::MAX } else { BODY.saturating_sub(partial.body.len()) };
                        partial.body.extend_from_slice(&bytes[at + from..at + to.min(from.saturating_add(room))]);
                    }
                    at += to;
                }
                Ok(Step::More { consumed }) => {
                    self.keep_rest(&bytes[at + consumed..]);
                    return Read::More;
                }
                Ok(Step::Done { consumed }) => {
                    self.rest = Vec::new();
                    return if at + consumed < bytes.len() { surplus() } else { Read::Collected };
                }
                Err(e) => return protocol(&e),
            }
        }
    }

    fn keep_rest(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.rest = Vec::new();
        } else {
            self.rest.clear();
            self.rest.extend_from_slice(bytes);
        }
    }

    fn ended(&mut self) -> Read {
        match self.scan.end() {
            Ok(()) if self.partial.is_some() => Read::Collected,
            _ if self.blank() => Read::Gone("the connection was closed before an answer came".to_owned()),
            _ => Read::Broken(Failure::Reset, "the connection was closed in the middle of an answer".to_owned()),
        }
    }
}

/// How a connection is named where it is registered.
#[must_use]
pub fn token(index: u32, life: u32) -> u64 {
    u64::from(life & 0x3fff_ffff) << 32 | u64::from(index)
}

/// Takes a name apart again: the place, and whether `life` is what it was given for.
#[must_use]
pub fn named(token: u64) -> (u32, u32) {
    ((token & u64::from(NONE)) as u32, (token >> 32) as u32)
}

fn would_block(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::WouldBlock
}

#[cold]
fn surplus() -> Read {
    Read::Broken(Failure::Protocol, "bytes came after the end of the answer".to_owned())
}

#[cold]
fn protocol(e: &HttpError) -> Read {
    Read::Broken(Failure::Protocol, e.to_string())
}
