//! A small HTTP/1.1 client for admin endpoints: one kept connection, every call bounded. Must not know a router.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Longest time a call may take, connecting included.
pub(crate) const CALL_BOUND: Duration = Duration::from_secs(2);

/// Largest answer read.
const MAX_ANSWER: usize = 1 << 20;

type Sender = SendRequest<Full<Bytes>>;

/// The client of one address. Calls go one after another.
pub(crate) struct Client {
    addr: SocketAddr,
    kept: Mutex<Option<Sender>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody listens there.
    #[error("{0} refuses connections")]
    Refused(SocketAddr),
    /// No connection for another reason.
    #[error("{0} is not reachable: {1}")]
    Unreachable(SocketAddr, io::Error),
    /// Not answered within [`CALL_BOUND`].
    #[error("{0} did not answer within {CALL_BOUND:?}")]
    Timeout(SocketAddr),
    /// The connection broke, or the answer is too large.
    #[error("{0} broke off: {1}")]
    Broken(SocketAddr, String),
}

impl Client {
    /// A client of this address; opens nothing yet.
    pub(crate) fn new(addr: SocketAddr) -> Client {
        Client { addr, kept: Mutex::new(None) }
    }

    /// The address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// One call; a body is sent as JSON. Only for idempotent requests: when the kept connection turns out to be broken
    /// the request is sent once more on a new one.
    pub(crate) async fn call(&self, method: Method, path: &str, body: &str) -> Result<(StatusCode, Bytes), CallError> {
        let exchange = async {
            let mut kept = self.kept.lock().await;
            if let Some(sender) = kept.take().filter(|sender| !sender.is_closed()) {
                match self.exchange(sender, &method, path, body).await {
                    Ok((sender, answer)) => {
                        *kept = Some(sender);
                        return Ok(answer);
                    }
                    Err(error) => tracing::debug!(%error, "the kept connection is gone; opening another"),
                }
            }
            let (sender, answer) = self.exchange(self.connect().await?, &method, path, body).await?;
            *kept = Some(sender);
            Ok(answer)
        };
        tokio::time::timeout(CALL_BOUND, exchange).await.map_err(|_| CallError::Timeout(self.addr))?
    }

    async fn connect(&self) -> Result<Sender, CallError> {
        let stream = TcpStream::connect(self.addr).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => CallError::Refused(self.addr),
            _ => CallError::Unreachable(self.addr, error),
        })?;
        stream.set_nodelay(true).map_err(|error| CallError::Unreachable(self.addr, error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "admin connection ended early");
            }
        });
        Ok(sender)
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        method: &Method,
        path: &str,
        body: &str,
    ) -> Result<(Sender, (StatusCode, Bytes)), CallError> {
        sender.ready().await.map_err(|error| self.broken(&error))?;
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.addr.to_string());
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).map_err(|error| self.broken(&error))?;
        let (parts, body) = sender.send_request(request).await.map_err(|error| self.broken(&error))?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| self.broken(&*error))?;
        Ok((sender, (parts.status, body.to_bytes())))
    }

    fn broken(&self, error: &dyn std::error::Error) -> CallError {
        CallError::Broken(self.addr, error.to_string())
    }
}
