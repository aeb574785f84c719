//! One direction: source → flow → lane → sink, one task, bounded, every wait interruptible. Must not know protocols
//! beyond where a message ends.

use super::lane::{Flow, LANE_LIMIT, Lane};
use crate::http1::{Framer, HttpError, Part};
use crate::timer::Timer;
use bytes::{Bytes, BytesMut};
use std::io;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Bytes read at once.
const READ: usize = 64 * 1024;
/// Below so much room a fresh buffer is taken.
const ROOM: usize = 8 * 1024;

/// Why a pump stopped before its source ended.
#[derive(Debug)]
pub(super) enum Broken {
    /// The source failed or broke its framing.
    Source(String, bool),
    /// The sink failed.
    Sink(io::Error),
    /// The policy is gone: everything closes.
    Stopped,
}

/// Told when the policy changes; `None` for one that never does.
pub(super) type Changed = Option<watch::Receiver<u64>>;

/// Where bytes come from.
pub(super) struct Source<'a> {
    stream: &'a TcpStream,
    /// With a framer: the rest of its current message. Without: until end of file.
    framer: Option<&'a mut Framer>,
    /// Bytes that come before.
    first: Option<Bytes>,
    /// Nothing comes after `first`.
    only: bool,
    buffer: BytesMut,
}

impl<'a> Source<'a> {
    pub(super) fn raw(stream: &'a TcpStream) -> Source<'a> {
        Source { stream, framer: None, first: None, only: false, buffer: BytesMut::new() }
    }

    pub(super) fn framed(stream: &'a TcpStream, framer: &'a mut Framer, first: Option<Bytes>) -> Source<'a> {
        Source { stream, framer: Some(framer), first, only: false, buffer: BytesMut::new() }
    }

    pub(super) fn only(stream: &'a TcpStream, first: Bytes) -> Source<'a> {
        Source { stream, framer: None, first: Some(first), only: true, buffer: BytesMut::new() }
    }

    /// The next bytes, `None` at the end. May be dropped at any time without losing any.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match &mut self.framer {
            None if self.only => Ok(None),
            None => next_raw(self.stream, &mut self.buffer).await,
            Some(framer) => next_framed(self.stream, framer).await,
        }
    }
}

async fn next_raw(stream: &TcpStream, buffer: &mut BytesMut) -> Result<Option<Bytes>, Broken> {
    loop {
        if buffer.capacity() < ROOM {
            buffer.reserve(READ);
        }
        match stream.try_read_buf(buffer) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(buffer.split().freeze())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // An idle connection holds no buffer.
                *buffer = BytesMut::new();
                stream.readable().await.map_err(|e| failed(&e))?;
            }
            Err(error) => return Err(failed(&error)),
        }
    }
}

async fn next_framed(stream: &TcpStream, framer: &mut Framer) -> Result<Option<Bytes>, Broken> {
    loop {
        if let Some(bytes) = take_message_bytes(framer)? {
            return Ok(bytes);
        }
        if !fill(stream, framer).await? {
            return match framer.end().map_err(malformed)? {
                Some(_) => Ok(None),
                None => Err(malformed(HttpError::Truncated)),
            };
        }
    }
}

/// All bytes of the current message that are there: `Some(None)` when it has ended, `None` when more must be read.
fn take_message_bytes(framer: &mut Framer) -> Result<Option<Option<Bytes>>, Broken> {
    // Bounded by what is buffered. The end is yielded by a call of its own, so it stays in the framer until asked for.
    let mut single: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    while framer.buffered() > 0 || single.is_none() {
        match framer.next_part().map_err(malformed)? {
            Some(Part::Body(bytes) | Part::Frame(bytes)) => match single.take() {
                None if joined.is_empty() => single = Some(bytes),
                None => joined.extend_from_slice(&bytes),
                Some(before) => {
                    joined.extend_from_slice(&before);
                    joined.extend_from_slice(&bytes);
                }
            },
            Some(Part::End) if single.is_none() && joined.is_empty() => return Ok(Some(None)),
            Some(Part::End | Part::Head(_)) | None => break,
        }
        if framer.at_end() {
            break;
        }
    }
    let bytes = single.or_else(|| (!joined.is_empty()).then(|| joined.freeze()));
    Ok(bytes.map(Some))
}

/// Reads once into the framer, waiting as long as it takes; `false` at the end of the file.
pub(super) async fn fill(stream: &TcpStream, framer: &mut Framer) -> Result<bool, Broken> {
    loop {
        let space = framer.space();
        if space.capacity() - space.len() < ROOM {
            space.reserve(READ / 4);
        }
        match stream.try_read_buf(space) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if space.is_empty() {
                    *space = BytesMut::new();
                }
                stream.readable().await.map_err(|e| failed(&e))?;
            }
            Err(error) => return Err(failed(&error)),
        }
    }
}

fn failed(error: &io::Error) -> Broken {
    Broken::Source(error.to_string(), error.kind() == io::ErrorKind::ConnectionReset)
}

fn malformed(error: HttpError) -> Broken {
    Broken::Source(error.to_string(), false)
}

/// Moves bytes until the source has ended and the lane is empty; adds what was written to `passed` as it goes.
pub(super) async fn pump(
    mut source: Source<'_>,
    sink: &TcpStream,
    flow: &mut dyn Flow,
    mut changed: Changed,
    timer: &Timer,
    passed: &mut u64,
) -> Result<(), Broken> {
    let mut lane = Lane::default();
    let mut open = true;
    while open || !lane.is_empty() {
        // A connection that always has something to do must still let others run.
        tokio::task::consume_budget().await;
        let due = lane.due();
        let ready = due.is_some_and(|due| due <= Instant::now());
        if ready && write(sink, &mut lane, flow, passed)? {
            continue;
        }
        tokio::select! {
            biased;
            told = next_change(&mut changed) => {
                told?;
                flow.changed(Instant::now(), &mut lane);
            }
            writable = sink.writable(), if ready => writable.map_err(Broken::Sink)?,
            () = timer.until(due.unwrap_or_else(Instant::now)), if due.is_some() && !ready => {}
            got = source.next(), if open && lane.bytes() < LANE_LIMIT => match got? {
                Some(data) => flow.chunk(data, Instant::now(), &mut lane),
                None => open = false,
            },
        }
    }
    Ok(())
}

/// Writes what the sink takes of the first piece; `false` when it takes nothing now.
fn write(sink: &TcpStream, lane: &mut Lane, flow: &mut dyn Flow, passed: &mut u64) -> Result<bool, Broken> {
    match sink.try_write(lane.front()) {
        Ok(count) => {
            lane.advance(count);
            flow.passed(count);
            *passed += count as u64;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(Broken::Sink(error)),
    }
}

async fn next_change(changed: &mut Changed) -> Result<(), Broken> {
    match changed {
        Some(receiver) => receiver.changed().await.map_err(|_| Broken::Stopped),
        None => std::future::pending().await,
    }
}
