//! Listening, accepting and answering over HTTP/1.1, the same for every server here. Must not know what is served.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use shakedown_core::Fail;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Largest body read, of requests and of answers.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// Open connections of one listener; more wait in the kernel's accept queue.
const MAX_CONNECTIONS: usize = 4096;

/// Pause after a failed accept (out of descriptors, for one), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// An answer with its whole body, sent with `content-length`.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Says to every accept loop and connection that the servers shall end.
pub(crate) type Stop = watch::Receiver<bool>;

/// Listens, and gives the address with its real port.
pub(crate) async fn bind(endpoint: &str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), Fail> {
    let cannot = |why| Fail::new(format!("{endpoint} cannot listen on {addr}: {why}; free the port, or let it listen on port 0"));
    let listener = TcpListener::bind(addr).await.map_err(cannot)?;
    let real = listener.local_addr().map_err(cannot)?;
    Ok((listener, real))
}

/// Accepts until `stop`; every connection is its own task.
pub(crate) async fn serve<H, F>(listener: TcpListener, handle: H, mut stop: Stop)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
            _ = stop.changed() => return,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match stream {
            Ok((stream, _)) => {
                let (handle, stop) = (handle.clone(), stop.clone());
                tokio::spawn(async move {
                    connection(stream, handle, stop).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<H, F>(stream: TcpStream, handle: H, mut stop: Stop)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = service_fn(|request| {
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// A body in full.
///
/// # Errors
/// The answer to give: 413 beyond [`MAX_BODY`], 400 when it breaks off.
pub(crate) async fn body_of(body: Incoming) -> Result<Bytes, Answer> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(all) => Ok(all.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {MAX_BODY} bytes\n")))
        }
        Err(error) => Err(text(StatusCode::BAD_REQUEST, format!("the body broke off: {error}\n"))),
    }
}

/// An answer of plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body.into())
}

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    with_type(status, "application/json", value.to_string().into())
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
