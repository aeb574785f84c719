//! A keep-alive client for one address: idle connections are kept and reused, newest first. Must not retry a request
//! that may have reached the other side.

use crate::server::MAX_BODY;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::TcpStream;

/// Idle connections kept; more are closed. Open ones are bounded by the requests in flight.
const MAX_IDLE: usize = 256;

type Sender = SendRequest<Full<Bytes>>;

/// The client.
pub(crate) struct Pool {
    addr: SocketAddr,
    idle: Mutex<Vec<Sender>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No connection.
    #[error("{0} is not reachable: {1}")]
    Unreachable(SocketAddr, std::io::Error),
    /// Not answered within the bound.
    #[error("{0} did not answer within {1:?}")]
    Timeout(SocketAddr, Duration),
    /// The connection broke, or the answer is too large.
    #[error("{0} broke off: {1}")]
    Broken(SocketAddr, String),
}

impl Pool {
    /// A client of this address; opens nothing yet.
    pub(crate) fn new(addr: SocketAddr) -> Pool {
        Pool { addr, idle: Mutex::new(Vec::new()) }
    }

    /// Sends a request in origin form (its `host` is the caller's) and reads the whole answer within `bound`.
    pub(crate) async fn call(&self, request: Request<Full<Bytes>>, bound: Duration) -> Result<Response<Bytes>, CallError> {
        tokio::time::timeout(bound, self.exchange(request)).await.map_err(|_| CallError::Timeout(self.addr, bound))?
    }

    /// Ends: every turn uses up one idle connection, then one new connection decides.
    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, CallError> {
        while let Some(mut sender) = self.take() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return self.finish(sender, response).await,
                // Given back: it was never written, because the other side had closed this idle connection.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.broken(error.error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        self.finish(sender, response).await
    }

    async fn connect(&self) -> Result<Sender, CallError> {
        let unreachable = |error| CallError::Unreachable(self.addr, error);
        let stream = TcpStream::connect(self.addr).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream connection ended early");
            }
        });
        Ok(sender)
    }

    async fn finish(&self, sender: Sender, response: Response<hyper::body::Incoming>) -> Result<Response<Bytes>, CallError> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| self.broken(&*error))?.to_bytes();
        self.give_back(sender);
        Ok(Response::from_parts(parts, body))
    }

    fn take(&self) -> Option<Sender> {
        self.idle.lock().expect("no holder panics").pop()
    }

    fn give_back(&self, sender: Sender) {
        let mut idle = self.idle.lock().expect("no holder panics");
        if !sender.is_closed() && idle.len() < MAX_IDLE {
            idle.push(sender);
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> CallError {
        CallError::Broken(self.addr, error.to_string())
    }
}
