//! One HTTP/2 connection: made, driven by one task, counted. Must not choose between connections.

use super::broken;
use crate::face::{Broken, NewConnection};
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connector, Stream, TaskId};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

/// What a server may send on one stream before it has to wait for us.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for a whole connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Longest list of headers we take; longer ones break their stream.
const MAX_HEADERS: u32 = 64 << 10;
/// Streams we gave up of which late frames are still expected.
const GIVEN_UP: usize = 1000;

/// A connection in the pool.
pub(crate) struct Lane {
    sender: RefCell<Option<SendRequest<Bytes>>>,
    /// Its driver.
    pub(crate) task: Cell<Option<TaskId>>,
    /// Where it stands in the pool's list.
    pub(crate) place: Cell<usize>,
    /// Requests on it now.
    pub(crate) active: Cell<u32>,
    /// Requests it has carried.
    pub(crate) carried: Cell<u32>,
    /// One of them was answered.
    pub(crate) answered: Cell<bool>,
    /// Most at once that the server allows.
    pub(crate) allowed: Cell<u32>,
    /// It takes no more requests.
    pub(crate) closing: Cell<bool>,
    /// Since when nothing is on it; meaningful while `active` is 0.
    pub(crate) idle_since: Cell<Instant>,
    /// How it was made, until an exchange has reported it.
    pub(crate) made: Cell<Option<NewConnection>>,
}

/// A connection that nobody drives yet.
pub(crate) struct Made {
    pub(crate) lane: Lane,
    pub(crate) connection: Connection<Stream, Bytes>,
}

/// Makes a connection and waits for the server's first SETTINGS, so that its limit on streams holds from the first request.
/// Has no time limit of its own.
pub(crate) async fn make(connector: &Connector) -> Result<Made, Broken> {
    let connected = connector.connect().await.map_err(|e| (e.kind, e.why))?;
    if connected.tls.is_some() && connected.alpn.as_deref() != Some(b"h2") {
        let taken = connected.alpn.map_or_else(|| "nothing".to_owned(), |a| String::from_utf8_lossy(&a).into_owned());
        return Err((Failure::Tls, format!("the server does not take HTTP/2 by ALPN (it took {taken})")));
    }
    let made = NewConnection { connect: connected.connect, tls: connected.tls, resumed: connected.resumed };
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADERS)
        .max_concurrent_reset_streams(GIVEN_UP)
        .initial_max_send_streams(0)
        .enable_push(false);
    let (sender, mut connection) = builder.handshake(connected.stream).await.map_err(|e| broken::kind(&e))?;
    // None may be sent before the server's SETTINGS say how many.
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err((Failure::Reset, "closed before the server's SETTINGS".to_owned()))),
        Poll::Ready(Err(e)) => Poll::Ready(Err(broken::kind(&e))),
        Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    let lane = Lane {
        sender: RefCell::new(Some(sender)),
        task: Cell::new(None),
        place: Cell::new(0),
        active: Cell::new(0),
        carried: Cell::new(0),
        answered: Cell::new(false),
        allowed: Cell::new(streams(&connection)),
        closing: Cell::new(false),
        idle_since: Cell::new(Instant::now()),
        made: Cell::new(Some(made)),
    };
    Ok(Made { lane, connection })
}

/// Most requests at once that the server allows now.
pub(crate) fn streams(connection: &Connection<Stream, Bytes>) -> u32 {
    u32::try_from(connection.max_concurrent_send_streams()).unwrap_or(u32::MAX)
}

impl Lane {
    /// To send one request with; `None` once the connection is closed. A clone, since a sender whose last stream still
    /// waits to be opened refuses another.
    pub(crate) fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.sender.borrow().clone()
    }

    /// Nobody can send on it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.borrow().is_none()
    }

    /// It takes no more; with nothing on it, it is closed in good order: `h2` does so when nobody can send any more.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        if self.active.get() == 0 {
            let sender = self.sender.take();
            drop(sender);
        }
    }
}
