//! The HTTP/1.1 client: a pool of connections of its own on hyper's `client::conn`. The one module that knows hyper, so
//! that a hand-written path can take its place. Must not record, retry or judge.

use crate::answer::Answer;
use crate::samples::BODY;
use crate::target::Dest;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use shakedown_core::plan::Connections;
use shakedown_core::snapshot::Failure;
use std::cell::RefCell;
use std::error::Error as _;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Largest body; a larger one is a protocol failure.
pub const MAX_BODY: u64 = 16 << 20;
/// Idle connections older than this are not used again.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// How often a request is moved from a kept connection that turns out to be closed before any of it was written.
const MAX_STALE: usize = 8;

/// Why there is no complete answer, in words too.
pub type Broken = (Failure, String);
type Sender = SendRequest<Full<Bytes>>;

/// Connections to one target.
pub struct Pool {
    dest: Rc<Dest>,
    reuse: bool,
    slots: Semaphore,
    idle: RefCell<Vec<(Sender, Instant)>>,
}

/// What is known of an exchange, also when it is given up.
#[derive(Debug, Default)]
pub struct Progress {
    /// When the request was given to its connection.
    pub sent: Option<Instant>,
    /// The answer as far as it came.
    pub answer: Option<Answer>,
}

/// Who wants to know what happens while it happens.
pub struct Notice<'a> {
    /// A request is going on the wire; at most once an exchange.
    pub sent: &'a dyn Fn(),
    /// A connection was opened (and its handshake done) in this time.
    pub connected: &'a dyn Fn(Duration),
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(dest: Rc<Dest>, policy: &Connections) -> Pool {
        let slots = Semaphore::new((policy.max as usize).clamp(1, Semaphore::MAX_PERMITS));
        Pool { dest, reuse: policy.reuse, slots, idle: RefCell::default() }
    }

    /// Where it leads.
    #[must_use]
    pub fn dest(&self) -> &Rc<Dest> {
        &self.dest
    }

    /// Whether connections are kept.
    #[must_use]
    pub fn reuses(&self) -> bool {
        self.reuse
    }

    /// Opens connections in advance, at most as many as may be kept.
    ///
    /// # Errors
    /// Why one could not be opened.
    pub async fn prewarm(&self, count: u32, connected: &dyn Fn(Duration)) -> Result<(), Broken> {
        let count = if self.reuse { (count as usize).min(self.slots.available_permits()) } else { 0 };
        for _ in 0..count {
            let sender = self.connect(connected).await?;
            self.idle.borrow_mut().push((sender, Instant::now()));
        }
        Ok(())
    }

    /// Sends one request and reads its answer to the end; `keep` keeps the whole body.
    ///
    /// # Errors
    /// Why there is no complete answer.
    pub async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        keep: bool,
        progress: &mut Progress,
        notice: &Notice<'_>,
    ) -> Result<(), Broken> {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        for _ in 0..MAX_STALE {
            let kept = self.take_idle();
            let reused = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect(notice.connected).await?,
            };
            if let Err(e) = sender.ready().await {
                if reused {
                    continue;
                }
                return Err(broken(&e));
            }
            if progress.sent.is_none() {
                (notice.sent)();
            }
            progress.sent = Some(Instant::now());
            match sender.try_send_request(request).await {
                Ok(response) => {
                    read(response, keep, progress).await?;
                    if self.reuse && !sender.is_closed() {
                        self.idle.borrow_mut().push((sender, Instant::now()));
                    }
                    return Ok(());
                }
                Err(mut e) => match e.take_message() {
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(broken(e.error())),
                },
            }
        }
        Err((Failure::Reset, format!("{MAX_STALE} kept connections in a row were closed")))
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        while let Some((sender, since)) = idle.pop() {
            if !sender.is_closed() && since.elapsed() < MAX_IDLE {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self, connected: &dyn Fn(Duration)) -> Result<Sender, Broken> {
        let started = Instant::now();
        let address = self.dest.address().map_err(|e| (Failure::Connect, e.0))?.addr();
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::ConnectionRefused => (Failure::Refused, format!("{address}: {e}")),
            _ => (Failure::Connect, format!("{address}: {e}")),
        };
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let sender = match &self.dest.tls {
            None => speak(stream).await?,
            Some((connector, name)) => {
                let secured = connector.connect(name.clone(), stream).await;
                speak(secured.map_err(|e| (Failure::Tls, format!("{address}: {e}")))?).await?
            }
        };
        connected(started.elapsed());
        Ok(sender)
    }
}

/// Begins HTTP/1.1 on a stream; the connection's own task ends with the stream or the last sender.
async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Result<Sender, Broken> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    // Its error is the sender's too, and is counted there.
    tokio::task::spawn_local(async move { connection.await.ok() });
    Ok(sender)
}

async fn read(response: http::Response<hyper::body::Incoming>, keep: bool, progress: &mut Progress) -> Result<(), Broken> {
    let (head, mut body) = response.into_parts();
    let answer = progress.answer.insert(Answer::new(head.status, head.headers));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|e| broken(&e))?.into_data() else { continue };
        let before = answer.length;
        answer.length += data.len() as u64;
        if answer.length > MAX_BODY {
            return Err((Failure::Protocol, format!("the body is larger than {MAX_BODY} bytes")));
        }
        if keep || before < BODY as u64 {
            answer.body.push(data);
        }
    }
    Ok(())
}

/// What hyper's error means.
fn broken(error: &hyper::Error) -> Broken {
    let text = error.source().map_or_else(|| error.to_string(), |s| format!("{error}: {s}"));
    let source = error.source().and_then(|s| s.downcast_ref::<io::Error>());
    let malformed = source.is_some_and(|e| matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
    let kind = if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() || malformed {
        Failure::Protocol
    } else {
        Failure::Reset
    };
    (kind, text)
}
