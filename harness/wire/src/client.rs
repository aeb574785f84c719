//! A tiny HTTP/1.1 client for admin calls: one request, one answer, one connection, everything bounded. Not for load.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use shakedown_core::Fail;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest answer body.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Sends one request and reads the whole answer within `within`. `path` is the request target; a `Host` header is
/// added unless one is given. The body's length is sent, whether empty or not.
///
/// # Errors
/// A sentence that names the request and what went wrong: no connection, no answer in time, no HTTP, too long.
pub async fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
    within: Duration,
) -> Result<(u16, http::HeaderMap, Bytes), Fail> {
    let named = |why: String| Fail::new(format!("{method} http://{addr}{path}: {why}"));
    let mut builder = http::Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        builder = builder.header("host", addr.to_string());
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let request = builder.body(Full::new(Bytes::copy_from_slice(body.as_ref()))).map_err(|e| named(format!("not a valid request: {e}")))?;
    let exchange = async {
        let stream = TcpStream::connect(addr).await.map_err(|e| format!("cannot connect: {e}"))?;
        stream.set_nodelay(true).map_err(|e| format!("cannot set up the connection: {e}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| format!("no HTTP connection: {e}"))?;
        let talk = async move {
            let answer = sender.send_request(request).await.map_err(|e| format!("no answer: {e}"))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|e| format!("the answer broke off: {e}"))?;
            Ok((parts.status.as_u16(), parts.headers, body.to_bytes()))
        };
        tokio::pin!(talk, connection);
        tokio::select! {
            biased;
            answer = &mut talk => answer,
            // The connection may end first when the server closes after its answer; the answer is then complete.
            ended = &mut connection => match ended {
                Ok(()) => talk.await,
                Err(error) => Err(format!("the connection broke: {error}")),
            },
        }
    };
    match tokio::time::timeout(within, exchange).await {
        Ok(answer) => answer.map_err(named),
        Err(_) => Err(named(format!("no answer within {within:?}"))),
    }
}
