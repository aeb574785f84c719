//! HTTP/2 (RFC 9113) with `h2`: one exchange on a stream of a pooled connection. Must not know how connections are made.

mod broken;
mod lane;
mod pool;

use crate::answer::Answer;
use crate::face::{Ask, Broken, Client, Local, NewConnection, Progress, Reply};
pub(crate) use broken::broken_io;
use bytes::Bytes;
use h2::RecvStream;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri, header};
use pool::{Pool, Slot, Unanswered};
use shakedown_core::plan::Connections;
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connector, Handle};
use std::cell::RefCell;
use std::rc::Rc;

/// Most connections a request is moved to after servers said that they did not process it (GOAWAY, REFUSED_STREAM).
const MOVES: usize = 5;

/// A client of one target; clones share its connections. Without TLS it speaks HTTP/2 with prior knowledge.
#[derive(Clone)]
pub struct Http2(Rc<Shared>);

struct Shared {
    pool: Rc<Pool>,
    secure: bool,
    authority: String,
    /// The last path and what it became: most load asks for few.
    last: RefCell<Option<(String, Uri)>>,
}

/// A request without its body.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

impl Http2 {
    /// A client on a loop. Over TLS the connector has to offer `h2` by ALPN.
    #[must_use]
    pub fn new(connector: Connector, policy: &Connections) -> Http2 {
        let (secure, authority) = (connector.route().is_secure(), connector.route().authority().to_owned());
        let pool = Pool::new(connector, policy);
        Http2(Rc::new(Shared { pool, secure, authority, last: RefCell::default() }))
    }

    /// The loop it is on.
    pub(crate) fn handle(&self) -> &Handle {
        self.0.pool.handle()
    }

    /// The address of a request: a `host` header takes the authority's place.
    ///
    /// # Errors
    /// When path or host are none.
    pub(crate) fn uri(&self, path: &str, headers: &mut HeaderMap) -> Result<Uri, Broken> {
        let host = if headers.is_empty() { None } else { headers.remove(header::HOST) };
        if host.is_none()
            && let Some((last, uri)) = &*self.0.last.borrow()
            && last == path
        {
            return Ok(uri.clone());
        }
        let bad = |e: &dyn std::fmt::Display| (Failure::Protocol, format!("{path} cannot be asked for: {e}"));
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.0.secure { Scheme::HTTPS } else { Scheme::HTTP });
        parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|e| bad(&e))?);
        let authority = host.as_ref().map_or(self.0.authority.as_bytes(), |h| h.as_bytes());
        parts.authority = Some(Authority::try_from(authority).map_err(|e| bad(&e))?);
        let uri = Uri::from_parts(parts).map_err(|e| bad(&e))?;
        if host.is_none() {
            *self.0.last.borrow_mut() = Some((path.to_owned(), uri.clone()));
        }
        Ok(uri)
    }

    /// Sends a request; what comes back holds its place on the connection until it is dropped.
    ///
    /// # Errors
    /// Why there is no head of an answer.
    pub(crate) async fn call(&self, head: Head, body: Bytes, progress: &Progress) -> Result<(Response<RecvStream>, Slot), Broken> {
        // A connection that served others and has ended costs nothing but itself, and there are only so many of them. One
        // that never answered anybody is the server's refusal.
        let (mut moves, mut ended) = (0, 0);
        loop {
            let slot = self.0.pool.slot(progress).await?;
            let mut request = Request::new(());
            *request.method_mut() = head.method.clone();
            *request.uri_mut() = head.uri.clone();
            request.headers_mut().clone_from(&head.headers);
            let e = match slot.send(request, body.clone(), progress).await {
                Ok(response) => return Ok((response, slot)),
                Err(Unanswered::Broken(broken)) => return Err(broken),
                Err(Unanswered::Unsent(e)) if slot.answered() => {
                    ended += 1;
                    e
                }
                Err(Unanswered::Unsent(e) | Unanswered::Unprocessed(e)) => {
                    moves += 1;
                    e
                }
            };
            if moves > MOVES || ended > MOVES + self.0.pool.max() {
                return Err((Failure::Reset, format!("not processed on {} connections: {e}", moves + ended)));
            }
            // A refused stream may only mean too many at once; a server that goes away wants none.
            if !e.is_reset() {
                slot.take_no_more();
            }
        }
    }

    async fn run(self, mut ask: Ask, progress: Rc<Progress>) -> Result<Reply, Broken> {
        let uri = self.uri(&ask.path, &mut ask.headers)?;
        if !ask.body.is_empty() && !ask.headers.contains_key(header::CONTENT_LENGTH) {
            ask.headers.insert(header::CONTENT_LENGTH, ask.body.len().into());
        }
        let head = Head { method: ask.method, uri, headers: ask.headers };
        let mut answer = Answer::new(Rc::clone(&progress), ask.keep);
        let (response, _slot) = self.call(head, ask.body, &progress).await?;
        let (parts, mut body) = response.into_parts();
        answer.head(parts.status.as_u16(), parts.headers);
        while let Some(chunk) = next(&mut body).await? {
            answer.bytes(&chunk)?;
        }
        if let Some(trailers) = trailers(&mut body).await? {
            answer.trailers(trailers);
        }
        Ok(answer.complete())
    }
}

/// The next piece of a body, its room in the flow-control windows given back at once.
pub(crate) async fn next(body: &mut RecvStream) -> Result<Option<Bytes>, Broken> {
    if body.is_end_stream() {
        return Ok(None);
    }
    match body.data().await {
        None => Ok(None),
        Some(Err(e)) => Err(broken::kind(&e)),
        Some(Ok(chunk)) => {
            body.flow_control().release_capacity(chunk.len()).map_err(|e| broken::kind(&e))?;
            Ok(Some(chunk))
        }
    }
}

/// What follows the body.
pub(crate) async fn trailers(body: &mut RecvStream) -> Result<Option<HeaderMap>, Broken> {
    if body.is_end_stream() {
        return Ok(None);
    }
    body.trailers().await.map_err(|e| broken::kind(&e))
}

impl Client for Http2 {
    fn prewarm(&self, count: u32) -> Local<'_, Result<Vec<NewConnection>, Broken>> {
        Box::pin(self.0.pool.prewarm(count))
    }

    fn exchange(&self, ask: Ask, progress: Rc<Progress>) -> Local<'static, Result<Reply, Broken>> {
        Box::pin(self.clone().run(ask, progress))
    }
}
