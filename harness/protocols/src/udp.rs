//! One datagram for one. Each exchange in flight has a connected socket to itself, and a socket whose exchange was given
//! up is closed, so that no other's late answer is taken for its own. Must not interpret bytes.
//!
//! An answer that comes twice is the last way to be fooled: idle sockets are used longest-idle first and closed when
//! anything has come in meanwhile.

use crate::answer::Answer;
use crate::face::{Ask, Broken, Client, Local, NewConnection, Part, Progress, Reply};
use crate::gate::Gate;
use shakedown_core::plan::Connections;
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connector, Socket};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest datagram.
const DATAGRAM: usize = 65_535;

/// A client of one target; clones share its sockets.
#[derive(Clone)]
pub struct Udp(Rc<Shared>);

struct Shared {
    connector: Connector,
    gate: Gate,
    per_socket: u32,
    idle: Duration,
    /// Idle sockets, the longest idle first; a new one is made only when there are none.
    kept: RefCell<VecDeque<Kept>>,
    /// For reading; borrowed only while a read is tried.
    buffer: RefCell<Box<[u8]>>,
}

struct Kept {
    socket: Socket,
    carried: u32,
    since: Instant,
}

impl Udp {
    /// A client.
    #[must_use]
    pub fn new(connector: Connector, policy: &Connections) -> Udp {
        Udp(Rc::new(Shared {
            connector,
            gate: Gate::new(policy.max),
            per_socket: if policy.reuse { policy.max_requests.unwrap_or(u32::MAX).max(1) } else { 1 },
            idle: Duration::from_nanos(policy.idle.0),
            kept: RefCell::default(),
            buffer: RefCell::new(vec![0; DATAGRAM].into()),
        }))
    }

    async fn run(self, ask: Ask, progress: Rc<Progress>) -> Result<Reply, Broken> {
        if !matches!(ask.part, Part::Datagram) {
            return Err((Failure::Protocol, "UDP exchanges one datagram for one".to_owned()));
        }
        let shared = &self.0;
        let _inside = shared.gate.enter(&progress).await?;
        let mut kept = match shared.kept_one().await {
            Some(kept) => kept,
            None => {
                let socket = shared.connector.datagram().await.map_err(|e| (e.kind, e.why))?;
                Kept { socket, carried: 0, since: Instant::now() }
            }
        };
        progress.reused.set(kept.carried > 0);
        progress.sends();
        let mut answer = Answer::new(progress, ask.keep);
        let sent = poll_fn(|cx| Pin::new(&mut kept.socket).poll_write(cx, &ask.body)).await;
        sent.map_err(|e| shared.broken(&e))?;
        poll_fn(|cx| {
            let mut buffer = shared.buffer.borrow_mut();
            let mut into = ReadBuf::new(&mut buffer);
            match Pin::new(&mut kept.socket).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) => Poll::Ready(answer.bytes(into.filled())),
                Poll::Ready(Err(e)) => Poll::Ready(Err(shared.broken(&e))),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        kept.carried += 1;
        if kept.carried < shared.per_socket {
            kept.since = Instant::now();
            shared.kept.borrow_mut().push_back(kept);
        }
        Ok(answer.complete())
    }
}

impl Shared {
    /// An idle socket on which nothing has come in since.
    async fn kept_one(&self) -> Option<Kept> {
        loop {
            let mut kept = self.kept.borrow_mut().pop_front()?;
            if kept.since.elapsed() > self.idle {
                continue;
            }
            let quiet = poll_fn(|cx| {
                let mut byte = [0u8; 1];
                Poll::Ready(Pin::new(&mut kept.socket).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending())
            });
            if quiet.await {
                return Some(kept);
            }
        }
    }
}

impl Shared {
    /// The kind of an error on a socket: a closed port is told by ICMP, at the next call. Then the target may have moved,
    /// so sockets connected to where it was are closed.
    fn broken(&self, e: &io::Error) -> Broken {
        let kind = match e.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            // A datagram that is too long: the server has no part in it.
            _ if e.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => Failure::Protocol,
            _ => Failure::Connect,
        };
        self.kept.borrow_mut().clear();
        (kind, format!("{}: {e}", self.connector.route().url()))
    }
}

impl Client for Udp {
    fn prewarm(&self, _count: u32) -> Local<'_, Result<Vec<NewConnection>, Broken>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn exchange(&self, ask: Ask, progress: Rc<Progress>) -> Local<'static, Result<Reply, Broken>> {
        Box::pin(self.clone().run(ask, progress))
    }
}
