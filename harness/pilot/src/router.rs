//! The weighted router: picks a release for every request and passes request and answer on. Must not add a header that
//! says who answered: only the shop knows.

use crate::client::{CallError, Pool};
use crate::server::{Answer, body_of, text};
use crate::split::{Side, Split, sticky};
use crate::weights::Weights;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use shakedown_core::plan::Sticky;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A release that does not answer within this gives a 504.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers of one connection only (RFC 9110 section 7.6.1), and `expect`, which the server already answered.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// The router.
pub(crate) struct Router {
    weights: Arc<Weights>,
    split: Split,
    sticky: Option<Sticky>,
    control: Pool,
    canary: Pool,
}

impl Router {
    /// In front of two releases.
    pub(crate) fn new(weights: Arc<Weights>, sticky: Option<Sticky>, control: SocketAddr, canary: SocketAddr) -> Router {
        Router { weights, split: Split::default(), sticky, control: Pool::new(control), canary: Pool::new(canary) }
    }

    /// Passes one request on.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        if self.weights.fails() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the router is changing its weights\n");
        }
        let (mut parts, body) = request.into_parts();
        let body = match body_of(body).await {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        strip(&mut parts.headers);
        // After the body, so that the weight in effect when the request is passed on decides.
        let side = self.pick(&parts.headers);
        self.weights.count(side);
        let backend = match side {
            Side::Control => &self.control,
            Side::Canary => &self.canary,
        };
        match backend.call(Request::from_parts(parts, Full::new(body)), BACKEND_TIMEOUT).await {
            Ok(answer) => passed_on(answer),
            Err(error @ CallError::Timeout(..)) => text(StatusCode::GATEWAY_TIMEOUT, format!("{error}\n")),
            Err(error) => text(StatusCode::BAD_GATEWAY, format!("{error}\n")),
        }
    }

    fn pick(&self, headers: &HeaderMap) -> Side {
        let canary = self.weights.effective();
        match self.sticky.as_ref().and_then(|by| key(headers, by)) {
            Some(key) => sticky(key, canary),
            None => self.split.next(canary),
        }
    }
}

fn key<'a>(headers: &'a HeaderMap, by: &Sticky) -> Option<&'a [u8]> {
    match by {
        Sticky::Header(name) => headers.get(name).map(http::HeaderValue::as_bytes),
        Sticky::Cookie(name) => {
            let pairs = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
            pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| key == name).map(|(_, value)| value.as_bytes())
        }
    }
}

fn passed_on(answer: http::Response<Bytes>) -> Answer {
    let (mut parts, body) = answer.into_parts();
    strip(&mut parts.headers);
    http::Response::from_parts(parts, Full::new(body))
}

fn strip(headers: &mut HeaderMap) {
    if let Some(connection) = headers.get(header::CONNECTION).cloned() {
        let named = connection.to_str().unwrap_or_default().split(',').map(str::trim);
        for name in named.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()) {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flaws::Flaws;
    use crate::server::{bind, serve};
    use http_body_util::BodyExt;
    use tokio::sync::watch;

    async fn a_port() -> (tokio::net::TcpListener, SocketAddr) {
        bind("test", "127.0.0.1:0".parse().expect("an address")).await.expect("a port")
    }

    /// Answers with the request's headers, and with headers that are only for the connection.
    async fn echo(request: Request<Incoming>) -> Answer {
        let names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        let mut answer = text(StatusCode::OK, names.join(" "));
        for (name, value) in [("connection", "x-secret"), ("x-secret", "1"), ("keep-alive", "timeout=5"), ("x-kept", "2")] {
            answer.headers_mut().insert(name, value.parse().expect("a value"));
        }
        answer
    }

    #[tokio::test]
    async fn passes_on_what_is_end_to_end_and_says_when_nobody_is_there() {
        let gone = a_port().await.1;
        let (backend, control) = a_port().await;
        let (_tell, told) = watch::channel(false);
        tokio::spawn(serve(backend, echo, told.clone()));
        let weights = Arc::new(Weights::new(Flaws::default()));
        let router = Arc::new(Router::new(weights.clone(), None, control, gone));
        let (front, addr) = a_port().await;
        tokio::spawn(serve(front, move |request| router.clone().answer(request), told));
        let client = Pool::new(addr);
        let request = || {
            let request =
                Request::get("/x").header("host", "test").header("connection", "x-mine").header("x-mine", "1").header("x-other", "2");
            request.body(Full::<Bytes>::default()).expect("a request")
        };
        let answer = client.call(request(), BACKEND_TIMEOUT).await.expect("an answer");
        assert_eq!(answer.headers().get("x-kept").map(|v| v.as_bytes()), Some(&b"2"[..]));
        assert!(answer.headers().get("x-secret").is_none() && answer.headers().get("keep-alive").is_none());
        let seen = Full::new(answer.into_body()).collect().await.expect("a body").to_bytes();
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(seen.contains("host") && seen.contains("x-other") && !seen.contains("x-mine"), "{seen}");
        assert!(weights.ask(shakedown_core::Ppm::ONE, None).is_ok());
        let answer = client.call(request(), BACKEND_TIMEOUT).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        assert!(answer.headers().get("x-release").is_none());
    }
}
