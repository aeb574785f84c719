//! What an exchange is made of, whatever its protocol, and the trait its client has. Must not know a protocol.

use bytes::Bytes;
use http::{HeaderMap, Method};
use shakedown_core::Span;
use shakedown_core::plan::Until;
use shakedown_core::snapshot::Failure;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A future that stays on its thread.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Method (`GET` for a WebSocket, `POST` for gRPC; unused on raw connections).
    pub method: Method,
    /// Path and query; unused on raw connections.
    pub path: String,
    /// Headers, gRPC metadata included; without what the protocol sets itself. A `host` becomes the authority.
    pub headers: HeaderMap,
    /// Body: of HTTP, the gRPC message as JSON, the bytes of a raw connection.
    pub body: Bytes,
    /// The protocol's own part.
    pub part: Part,
    /// The whole answer is kept, not only its first bytes; a longer one than [`crate::MAX_BODY`] is broken.
    pub keep: bool,
    /// Time the exchange has left, where the protocol can tell the server (gRPC's `grpc-timeout`). Nobody here holds it.
    pub within: Option<Duration>,
}

/// The part of an exchange that only its protocol knows.
#[derive(Clone, Debug)]
pub enum Part {
    /// HTTP/2 or gRPC: nothing more.
    Request,
    /// A WebSocket's messages.
    Messages {
        /// Sent in order, as text.
        send: Vec<String>,
        /// How many are awaited.
        receive: u32,
        /// Kept open for this long afterwards.
        hold: Span,
    },
    /// Where a raw answer ends.
    Until(Until),
    /// One datagram for one.
    Datagram,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// HTTP status, or gRPC status code; `None` where the protocol has none.
    pub status: Option<u16>,
    /// Headers; trailers are added to them.
    pub headers: HeaderMap,
    /// The body, or its first bytes.
    pub body: Vec<u8>,
    /// Bytes of the body as received (of gRPC and WebSocket messages: their payloads).
    pub length: u64,
    /// Bytes of the head: names and values, as compression hides what was on the wire.
    pub head: u64,
    /// Messages received (streams and WebSockets).
    pub messages: u32,
}

/// Why there is no complete answer, in words too.
pub type Broken = (Failure, String);

/// What is known of an exchange while it runs, also when it is given up. Shared between whoever waits and the task.
#[derive(Debug, Default)]
pub struct Progress {
    /// When the request was first given to a connection.
    pub sent: Cell<Option<Instant>>,
    /// When the first byte of the answer came.
    pub first_byte: Cell<Option<Instant>>,
    /// Connections made for it.
    pub connected: RefCell<Vec<NewConnection>>,
    /// It went over a connection that had carried one before.
    pub reused: Cell<bool>,
    /// It had to wait because every connection was taken.
    pub waited: Cell<bool>,
    /// What came of the answer before it was given up or broke.
    pub partial: RefCell<Option<Reply>>,
}

impl Progress {
    /// The request is given to a connection now; the first time counts.
    pub(crate) fn sends(&self) {
        if self.sent.get().is_none() {
            self.sent.set(Some(Instant::now()));
        }
    }

    /// Something of the answer is there now; the first time counts.
    pub(crate) fn receives(&self) {
        if self.first_byte.get().is_none() {
            self.first_byte.set(Some(Instant::now()));
        }
    }
}

/// A connection that was made.
#[derive(Clone, Copy, Debug)]
pub struct NewConnection {
    /// Time to connect.
    pub connect: Duration,
    /// Time for the TLS handshake.
    pub tls: Option<Duration>,
    /// The handshake resumed a session.
    pub resumed: bool,
}

/// Connections to one target that speak one protocol.
pub trait Client {
    /// Opens connections in advance; those without a use for it open none.
    fn prewarm(&self, count: u32) -> Local<'_, Result<Vec<NewConnection>, Broken>>;
    /// One exchange, to its last byte. Has no time limit of its own: dropped, it is given up (an HTTP/2 stream is reset, a
    /// raw connection closed) and leaves nothing behind.
    fn exchange(&self, ask: Ask, progress: Rc<Progress>) -> Local<'static, Result<Reply, Broken>>;
}
