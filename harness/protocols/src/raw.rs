//! Bytes over a connection: sent, then read until the answer's end. Connections are kept as their policy says. Must not
//! interpret bytes.

use crate::answer::{Answer, MAX_BODY};
use crate::face::{Ask, Broken, Client, Local, NewConnection, Part, Progress, Reply};
use crate::gate::Gate;
use crate::http2::broken_io;
use bytes::Bytes;
use shakedown_core::plan::{Connections, Until};
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connector, Stream};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once.
const READ: usize = 16 << 10;
/// Reads of one turn; the rest waits for the next, so that one fast server does not hold up the loop.
const READS: usize = 64;

/// A client of one target, over TCP, a Unix socket or TLS, as its connector says; clones share its connections.
#[derive(Clone)]
pub struct Tcp(Rc<Shared>);

struct Shared {
    connector: Connector,
    gate: Gate,
    reuse: bool,
    most: usize,
    per_connection: u32,
    idle: Duration,
    /// Idle connections, the last used at the end. A new one is made only when there are none, so with those in use they
    /// are at most as many as the gate lets in.
    kept: RefCell<Vec<Kept>>,
    /// For reading; borrowed only while a read is tried.
    buffer: RefCell<Box<[u8]>>,
}

struct Kept {
    stream: Stream,
    carried: u32,
    since: Instant,
}

impl Tcp {
    /// A client.
    #[must_use]
    pub fn new(connector: Connector, policy: &Connections) -> Tcp {
        Tcp(Rc::new(Shared {
            connector,
            gate: Gate::new(policy.max),
            reuse: policy.reuse,
            most: policy.max.max(1) as usize,
            per_connection: policy.max_requests.unwrap_or(u32::MAX).max(1),
            idle: Duration::from_nanos(policy.idle.0),
            kept: RefCell::default(),
            buffer: RefCell::new(vec![0; READ].into()),
        }))
    }

    async fn run(self, ask: Ask, progress: Rc<Progress>) -> Result<Reply, Broken> {
        let Part::Until(until) = ask.part else {
            return Err((Failure::Protocol, "bytes are sent where an answer's end is known".to_owned()));
        };
        let closes = until == Until::Close;
        let shared = &self.0;
        let _inside = shared.gate.enter(&progress).await?;
        let mut kept = match shared.kept_one().await {
            Some(kept) => kept,
            None => {
                let (kept, made) = shared.connect().await?;
                progress.connected.borrow_mut().push(made);
                kept
            }
        };
        progress.reused.set(kept.carried > 0);
        progress.sends();
        let answer = Answer::new(progress, ask.keep);
        let mut talk = Talk { unsent: ask.body, flushed: false, ended: false, end: End::new(until), answer };
        talk.advance_empty();
        poll_fn(|cx| talk.poll(&mut kept.stream, &mut shared.buffer.borrow_mut(), cx)).await?;
        kept.carried += 1;
        if shared.reuse && !closes && kept.carried < shared.per_connection {
            kept.since = Instant::now();
            shared.kept.borrow_mut().push(kept);
        }
        Ok(talk.answer.complete())
    }
}

impl Shared {
    /// An idle connection that the server has neither closed nor sent anything more on.
    async fn kept_one(&self) -> Option<Kept> {
        loop {
            let mut kept = self.kept.borrow_mut().pop()?;
            if kept.since.elapsed() > self.idle {
                continue;
            }
            let quiet = poll_fn(|cx| {
                let mut byte = [0u8; 1];
                Poll::Ready(Pin::new(&mut kept.stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending())
            });
            if quiet.await {
                return Some(kept);
            }
        }
    }

    async fn connect(&self) -> Result<(Kept, NewConnection), Broken> {
        let new = self.connector.connect().await.map_err(|e| (e.kind, e.why))?;
        let made = NewConnection { connect: new.connect, tls: new.tls, resumed: new.resumed };
        Ok((Kept { stream: new.stream, carried: 0, since: Instant::now() }, made))
    }
}

/// One exchange on a connection: both directions at once, since a server may answer before it has read everything.
struct Talk {
    unsent: Bytes,
    flushed: bool,
    ended: bool,
    end: End,
    answer: Answer,
}

impl Talk {
    /// An answer of no bytes ends at once.
    fn advance_empty(&mut self) {
        self.ended = self.end.after(&[]).is_some();
    }

    fn poll(&mut self, stream: &mut Stream, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let sent = self.poll_write(stream, cx)?.is_ready();
        if !self.ended {
            ready!(self.poll_read(stream, buffer, cx))?;
        }
        if sent { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while !self.unsent.is_empty() {
            let wrote = ready!(Pin::new(&mut *stream).poll_write(cx, &self.unsent)).map_err(|e| broken_io(&e))?;
            if wrote == 0 {
                return Poll::Ready(Err((Failure::Reset, "the connection takes no more bytes".to_owned())));
            }
            drop(self.unsent.split_to(wrote));
        }
        if !self.flushed {
            ready!(Pin::new(stream).poll_flush(cx)).map_err(|e| broken_io(&e))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, stream: &mut Stream, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        for _ in 0..READS {
            let mut into = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut into)).map_err(|e| broken_io(&e))?;
            let bytes = into.filled();
            if bytes.is_empty() {
                return Poll::Ready(self.closed());
            }
            let end = self.end.after(bytes);
            self.answer.bytes(&bytes[..end.unwrap_or(bytes.len())])?;
            if self.answer.reply().length > MAX_BODY {
                return Poll::Ready(Err((Failure::Protocol, format!("the answer is larger than {MAX_BODY} bytes"))));
            }
            if let Some(end) = end {
                if end < bytes.len() {
                    let surplus = bytes.len() - end;
                    return Poll::Ready(Err((Failure::Protocol, format!("{surplus} bytes follow the answer's end"))));
                }
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The server closed.
    fn closed(&mut self) -> Result<(), Broken> {
        if self.end.until == Until::Close && self.flushed {
            self.ended = true;
            return Ok(());
        }
        Err((Failure::Reset, format!("closed after {} bytes, before the answer's end", self.answer.reply().length)))
    }
}

/// Where an answer ends, and what has been seen of it.
struct End {
    until: Until,
    seen: u64,
    /// The last bytes seen, as many as may begin the text that ends the answer.
    tail: Vec<u8>,
}

impl End {
    fn new(until: Until) -> End {
        End { until, seen: 0, tail: Vec::new() }
    }

    /// Where in these further bytes the answer ends, if it does.
    fn after(&mut self, bytes: &[u8]) -> Option<usize> {
        match &self.until {
            Until::Sent => Some(0),
            Until::Close => None,
            Until::Bytes(count) => {
                let left = usize::try_from(count - self.seen).unwrap_or(usize::MAX);
                self.seen += bytes.len().min(left) as u64;
                (left <= bytes.len()).then_some(left)
            }
            Until::Text(text) => after_text(text.as_bytes(), &mut self.tail, bytes),
        }
    }
}

fn after_text(text: &[u8], tail: &mut Vec<u8>, bytes: &[u8]) -> Option<usize> {
    let Some(first) = text.first() else { return Some(0) };
    let held = tail.len();
    // The text may have begun in what came before: only its seam is looked at twice.
    tail.extend_from_slice(&bytes[..bytes.len().min(text.len() - 1)]);
    if let Some(at) = tail.windows(text.len()).position(|w| w == text) {
        return Some(at + text.len() - held);
    }
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| b == first) {
        from += at;
        if bytes[from..].starts_with(text) {
            return Some(from + text.len());
        }
        from += 1;
    }
    // What may begin it: the last bytes of all that was seen, one fewer than it has.
    if bytes.len() >= text.len() - 1 {
        tail.clear();
        tail.extend_from_slice(&bytes[bytes.len() - (text.len() - 1)..]);
    } else {
        let surplus = tail.len().saturating_sub(text.len() - 1);
        tail.drain(..surplus);
    }
    None
}

impl Client for Tcp {
    fn prewarm(&self, count: u32) -> Local<'_, Result<Vec<NewConnection>, Broken>> {
        Box::pin(async move {
            let missing = (count as usize).min(self.0.most).saturating_sub(self.0.kept.borrow().len());
            let mut all = Vec::with_capacity(missing);
            for _ in 0..missing {
                let (kept, made) = self.0.connect().await?;
                self.0.kept.borrow_mut().push(kept);
                all.push(made);
            }
            Ok(all)
        })
    }

    fn exchange(&self, ask: Ask, progress: Rc<Progress>) -> Local<'static, Result<Reply, Broken>> {
        Box::pin(self.clone().run(ask, progress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_however_it_is_cut() {
        let whole = b"aab aaab\r\n.\r\nxy\r\n.\r";
        let text = "\r\n.\r\n";
        let end = 13;
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let mut seeker = End::new(Until::Text(text.into()));
                let mut at = 0;
                let mut found = None;
                for piece in [&whole[..first], &whole[first..second], &whole[second..]] {
                    if let Some(end) = seeker.after(piece) {
                        found = Some(at + end);
                        break;
                    }
                    at += piece.len();
                }
                assert_eq!(found, Some(end), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn counted_bytes_end_exactly() {
        let mut end = End::new(Until::Bytes(5));
        assert_eq!(end.after(b"abc"), None);
        assert_eq!(end.after(b"defg"), Some(2));
    }
}
