//! HTTP/1.1 connections forwarded request by request: the policy sees each head and says where it goes. Messages pass
//! byte for byte; only heads may be amended. Must not choose upstreams or delays.

use super::exchange::{Outcome, Pool, run};
use super::lane::Flow;
use super::pump::{Broken, Source, fill};
use super::{DIAL_WITHIN, Direction, Ending, Report, arm_reset, dial, half_close};
use crate::http1::{Framer, Head, HttpError, Part};
use crate::timer::Timer;
use bytes::Bytes;
use shakedown_core::seams::Boxed;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// From a head's first byte to its last (slow-loris).
pub const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Longest wait for a client to take an answer of ours.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Most of an unwanted request body that is read before the connection is closed instead.
const MAX_DRAIN: usize = 1024 * 1024;
/// Longest time spent draining.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);

/// Which request this is.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The client.
    pub peer: SocketAddr,
    /// Number of its connection on this listener.
    pub connection: u64,
    /// Number of the request on its connection.
    pub request: u64,
}

/// Decides about HTTP requests.
pub trait HttpPolicy: Send + Sync + 'static {
    /// A request's head was read. The answer may take its time; the head may be amended. Dropped when the server stops.
    fn request<'a>(&'a self, origin: &'a Origin, head: &'a mut Head) -> Boxed<'a, Verdict>;
    /// Connects to an upstream; must be bounded.
    fn dial(&self, upstream: SocketAddr) -> Boxed<'_, io::Result<TcpStream>> {
        Box::pin(dial(upstream, DIAL_WITHIN))
    }
    /// A client sent what is no HTTP request; it gets 400 or 431 and is closed.
    fn malformed(&self, _origin: &Origin, _error: HttpError) {}
    /// Tells flows that the policy changed; `None` for one that never does.
    fn changed(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

/// What happens to a request.
pub enum Verdict {
    /// It goes to an upstream.
    Forward(Forward),
    /// It is answered here.
    Answer(Answer),
    /// The connection ends without an answer.
    End(Ending),
    /// Whatever the client sends is swallowed until this resolves or the client leaves.
    Swallow(Boxed<'static, Ending>),
}

/// Where a request goes.
pub struct Forward {
    /// The upstream.
    pub upstream: SocketAddr,
    /// Watches and shapes what passes.
    pub exchange: Box<dyn Exchange>,
}

/// An answer made here. Content-Length is added; the body is left out for HEAD.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

/// A policy's part in one exchange of request and answer.
pub trait Exchange: Send {
    /// Times the bytes of one direction, heads included; `None` passes them at once.
    fn flow(&mut self, _direction: Direction) -> Option<Box<dyn Flow>> {
        None
    }
    /// The answer's head was read: it may be amended, and held by taking time.
    fn response<'a>(&'a mut self, _head: &'a mut Head) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
    /// Ends the exchange and its connections when it resolves. Asked for once, at the start; `None` for never.
    fn ending(&mut self) -> Option<Boxed<'static, Ending>> {
        None
    }
    /// The upstream cannot be reached or gave no answer: what the client gets.
    fn unreachable(&mut self, why: &str) -> Answer {
        Answer::text(502, &format!("upstream unreachable: {why}\n"))
    }
    /// How it went.
    fn end(self: Box<Self>, _report: Report) {}
}

impl Answer {
    /// A plain text answer.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Answer {
        let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        Answer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As bytes on the wire. Headers that would break the framing are left out.
    fn render(&self, to_head: bool, keep: bool) -> Vec<u8> {
        let reason = http::StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Status");
        let mut out = format!("HTTP/1.1 {} {reason}\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            let name_ok = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
            if name_ok && http::HeaderValue::from_str(value).is_ok() && !name.eq_ignore_ascii_case("content-length") {
                out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        out.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        if !keep {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if !to_head {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// Forwards a client's requests one after another until either side closes or the policy ends the connection.
pub async fn serve_http(stream: TcpStream, connection: u64, peer: SocketAddr, policy: &dyn HttpPolicy, timer: &Timer) {
    let mut client = Client { stream, framer: Framer::requests() };
    let mut pool = Pool::default();
    let mut origin = Origin { peer, connection, request: 0 };
    loop {
        let head = match client.head().await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(error) => {
                policy.malformed(&origin, error);
                let status = if error == HttpError::HeadTooLarge { 431 } else { 400 };
                client.answer(&Answer::text(status, &format!("{error}\n")), false, false).await;
                return client.linger().await;
            }
        };
        match client.one(head, &origin, policy, &mut pool, timer).await {
            Next::Request => origin.request += 1,
            Next::Linger => return client.linger().await,
            Next::End(Ending::Close) => return,
            Next::End(Ending::Reset) => {
                arm_reset(&client.stream);
                pool.reset();
                return;
            }
        }
    }
}

/// What comes after a request.
enum Next {
    Request,
    /// Close, but let the client read what was sent.
    Linger,
    End(Ending),
}

pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) framer: Framer,
}

impl Client {
    /// The next request's head; `None` when the client closed between requests or left in the middle of a head.
    async fn head(&mut self) -> Result<Option<Head>, HttpError> {
        if self.framer.idle() && !matches!(fill(&self.stream, &mut self.framer).await, Ok(true)) {
            return Ok(None);
        }
        let rest = async {
            loop {
                match self.framer.next_part()? {
                    Some(Part::Head(head)) => return Ok(Some(head)),
                    Some(_) => return Err(HttpError::BadHead("a body where a head should be")),
                    None => {
                        if !matches!(fill(&self.stream, &mut self.framer).await, Ok(true)) {
                            return Ok(None);
                        }
                    }
                }
            }
        };
        tokio::time::timeout(HEAD_WITHIN, rest).await.unwrap_or(Err(HttpError::BadHead("it took longer than 30 s to arrive")))
    }

    async fn one(&mut self, mut head: Head, origin: &Origin, policy: &dyn HttpPolicy, pool: &mut Pool, timer: &Timer) -> Next {
        let (to_head, keep) = (head.method() == "HEAD", head.keep_alive());
        if head.method() == "CONNECT" {
            self.answer(&Answer::text(501, "CONNECT is not supported here\n"), false, false).await;
            return Next::Linger;
        }
        let mut forward = match policy.request(origin, &mut head).await {
            Verdict::Forward(forward) => forward,
            Verdict::Answer(answer) => return self.answer_drained(&answer, to_head, keep).await,
            Verdict::End(ending) => return Next::End(ending),
            Verdict::Swallow(until) => return Next::End(self.swallow(until).await),
        };
        let mut report = Report::default();
        let outcome = run(self, &head, &mut forward, policy, pool, timer, &mut report).await;
        // The policy hears how it went before the client can act on an answer of ours.
        match outcome {
            Outcome::Done { reusable } => {
                forward.exchange.end(report);
                if reusable && keep { Next::Request } else { Next::Linger }
            }
            Outcome::NoAnswer { why } => {
                let answer = forward.exchange.unreachable(&why);
                report.failure = Some(why);
                forward.exchange.end(report);
                self.answer_drained(&answer, to_head, keep).await
            }
            Outcome::Ended(ending) => {
                forward.exchange.end(report);
                Next::End(ending)
            }
        }
    }

    /// Answers after reading the rest of the request, so that the connection can go on.
    async fn answer_drained(&mut self, answer: &Answer, to_head: bool, keep: bool) -> Next {
        let keep = self.drain().await && keep;
        if self.answer(answer, to_head, keep).await && keep { Next::Request } else { Next::Linger }
    }

    /// Reads the rest of the current request and forgets it; `false` when there is too much of it.
    async fn drain(&mut self) -> bool {
        if !self.framer.in_message() {
            return true;
        }
        let drained = async {
            let mut source = Source::framed(&self.stream, &mut self.framer, None);
            let mut seen = 0;
            loop {
                match source.next().await {
                    Ok(Some(bytes)) => seen += bytes.len(),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
                if seen > MAX_DRAIN {
                    return false;
                }
            }
        };
        tokio::time::timeout(DRAIN_WITHIN, drained).await.unwrap_or(false)
    }

    /// Writes an answer; `false` when the client did not take it.
    async fn answer(&mut self, answer: &Answer, to_head: bool, keep: bool) -> bool {
        let bytes = answer.render(to_head, keep);
        let written = async {
            let mut left = &bytes[..];
            while !left.is_empty() {
                if self.stream.writable().await.is_err() {
                    return false;
                }
                match self.stream.try_write(left) {
                    Ok(count) => left = &left[count..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return false,
                }
            }
            true
        };
        tokio::time::timeout(ANSWER_WITHIN, written).await.unwrap_or(false)
    }

    async fn swallow(&mut self, mut until: Boxed<'static, Ending>) -> Ending {
        let mut source = Source::raw(&self.stream);
        loop {
            tokio::select! {
                biased;
                ending = &mut until => return ending,
                got = source.next() => match got {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(Broken::Source(..) | Broken::Sink(_) | Broken::Stopped) => return Ending::Close,
                },
            }
        }
    }

    /// Closes so that the client can still read what was sent: a close with unread bytes would reset the connection.
    async fn linger(self) {
        half_close(&self.stream);
        let mut source = Source::raw(&self.stream);
        let drained = async {
            let mut seen = 0;
            while let Ok(Some(bytes)) = source.next().await {
                seen += bytes.len();
                if seen > MAX_DRAIN {
                    return;
                }
            }
        };
        // Late or early: either way the connection is closed now.
        let _in_time = tokio::time::timeout(DRAIN_WITHIN, drained).await.is_ok();
    }
}
