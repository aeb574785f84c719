//! A WebSocket (RFC 6455): opened, messages sent and awaited, held, closed. A connection is one exchange. Must not
//! interpret messages.

use crate::answer::Answer;
use crate::face::{Ask, Broken, Client, Local, NewConnection, Part, Progress, Reply};
use crate::gate::{Gate, Pass, let_others_go};
use crate::http2::broken_io;
use futures_util::{SinkExt, Stream as _};
use http::{HeaderName, Request, header};
use shakedown_core::plan::Connections;
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connector, Stream};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Longest message taken.
const MAX_MESSAGE: usize = 4 << 20;
/// Most bytes that wait to be written: a message of ours, or answers to the pings of a peer that does not read.
const MAX_UNSENT: usize = MAX_MESSAGE + FLUSH_AT;
/// With more bytes than this the peer has to take some before another message is added.
const FLUSH_AT: usize = 256 << 10;
/// Most messages taken in a row before others have their turn.
const FRAMES: u32 = 32;
/// How long the closing handshake may take; the answer is complete by then.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// What the handshake sets itself.
const OWN: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// A client of one target.
#[derive(Clone)]
pub struct WebSocket(Rc<Shared>);

struct Shared {
    connector: Connector,
    gate: Gate,
}

impl WebSocket {
    /// A client; at most `policy.max` connections are open at once, closing ones included.
    #[must_use]
    pub fn new(connector: Connector, policy: &Connections) -> WebSocket {
        WebSocket(Rc::new(Shared { connector, gate: Gate::new(policy.max) }))
    }

    async fn run(self, ask: Ask, progress: Rc<Progress>) -> Result<Reply, Broken> {
        let request = self.0.request(&ask)?;
        let Part::Messages { send, receive, hold } = ask.part else {
            return Err((Failure::Protocol, "a WebSocket exchanges messages".to_owned()));
        };
        let inside = self.0.gate.enter(&progress).await?;
        let new = self.0.connector.connect().await.map_err(|e| (e.kind, e.why))?;
        let made = NewConnection { connect: new.connect, tls: new.tls, resumed: new.resumed };
        progress.connected.borrow_mut().push(made);
        progress.sends();
        let mut answer = Answer::new(progress, ask.keep);
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let config = config.max_write_buffer_size(MAX_UNSENT);
        let (mut socket, response) = match client_async_with_config(request, new.stream, Some(config)).await {
            Ok(opened) => opened,
            Err(Error::Http(refusal)) => {
                let (parts, body) = refusal.into_parts();
                answer.head(parts.status.as_u16(), parts.headers);
                answer.bytes(&body.unwrap_or_default())?;
                return Ok(answer.complete());
            }
            Err(e) => return Err(broken(e)),
        };
        answer.head(response.status().as_u16(), response.into_parts().0.headers);
        let mut unsent = 0;
        for text in send {
            unsent += text.len();
            if unsent > FLUSH_AT {
                socket.flush().await.map_err(broken)?;
                unsent = text.len();
            }
            socket.feed(Message::Text(Utf8Bytes::from(text))).await.map_err(broken)?;
        }
        socket.flush().await.map_err(broken)?;
        while answer.reply().messages < receive {
            if !take(&mut socket, &mut answer).await? {
                let why = format!("closed after {} of {receive} messages", answer.reply().messages);
                return Err((Failure::Reset, why));
            }
        }
        if hold.0 > 0 {
            self.0.hold(&mut socket, &mut answer, Duration::from_nanos(hold.0)).await?;
        }
        self.0.close(socket, inside);
        Ok(answer.complete())
    }
}

impl Shared {
    fn request(&self, ask: &Ask) -> Result<Request<()>, Broken> {
        let (scheme, authority) = (if self.connector.route().is_secure() { "wss" } else { "ws" }, self.connector.route().authority());
        let host = ask.headers.get(header::HOST).map_or(authority.as_bytes(), |h| h.as_bytes());
        let mut request = Request::get(format!("{scheme}://{authority}{}", ask.path))
            .header(header::HOST, host)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key());
        for (name, value) in &ask.headers {
            if !OWN.contains(name) {
                request = request.header(name, value);
            }
        }
        request.body(()).map_err(|e| (Failure::Protocol, format!("{} cannot be opened: {e}", ask.path)))
    }

    /// Keeps the connection open, answering pings; messages that come meanwhile belong to the answer.
    async fn hold(&self, socket: &mut WebSocketStream<Stream>, answer: &mut Answer, time: Duration) -> Result<(), Broken> {
        let started = Instant::now();
        let mut over = pin!(self.connector.handle().sleep_until(started + time));
        loop {
            let next = {
                let mut coming = pin!(take(socket, answer));
                poll_fn(|cx| match over.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => coming.as_mut().poll(cx).map(Some),
                })
                .await
            };
            match next {
                None => return Ok(()),
                Some(Ok(true)) => {}
                Some(Ok(false)) => return Err((Failure::Reset, format!("closed {:?} into {time:?}", started.elapsed()))),
                Some(Err(broken)) => return Err(broken),
            }
        }
    }

    /// Closes in a task of its own: the answer is complete, and its latency must not hold the server's goodbye.
    fn close(&self, mut socket: WebSocketStream<Stream>, inside: Pass) {
        let handle = self.connector.handle().clone();
        self.connector.handle().spawn(async move {
            let closing = async {
                socket.close(None).await?;
                // Whatever still comes before the server's own Close is of no interest.
                let mut passed = 0u32;
                while poll_fn(|cx| Pin::new(&mut socket).poll_next(cx)).await.transpose()?.is_some() {
                    passed += 1;
                    if passed.is_multiple_of(FRAMES) {
                        let_others_go().await;
                    }
                }
                Ok::<(), Error>(())
            };
            match handle.before(Instant::now() + CLOSED_WITHIN, closing).await {
                Some(Ok(())) => {}
                Some(Err(e)) => tracing::debug!("a WebSocket was not closed in good order: {e}"),
                None => tracing::debug!("a WebSocket was not closed within {CLOSED_WITHIN:?}"),
            }
            drop(inside);
        });
    }
}

/// Takes one message; `false` when the server closed. Each is a line of the body.
async fn take(socket: &mut WebSocketStream<Stream>, answer: &mut Answer) -> Result<bool, Broken> {
    let mut passed = answer.reply().messages;
    loop {
        passed += 1;
        if passed.is_multiple_of(FRAMES) {
            let_others_go().await;
        }
        let message = match poll_fn(|cx| Pin::new(&mut *socket).poll_next(cx)).await {
            None | Some(Ok(Message::Close(_))) => return Ok(false),
            Some(Ok(message)) => message,
            Some(Err(e)) => return Err(broken(e)),
        };
        let data = match message {
            Message::Text(text) => bytes::Bytes::from(text),
            Message::Binary(data) => data,
            _ => continue,
        };
        answer.counted(data.len())?;
        answer.reply().messages += 1;
        answer.text(String::from_utf8_lossy(&data).as_bytes());
        answer.text(b"\n");
        return Ok(true);
    }
}

/// The kind of a WebSocket error, in words too.
fn broken(e: Error) -> Broken {
    match e {
        Error::Io(e) => broken_io(&e),
        Error::ConnectionClosed | Error::AlreadyClosed => (Failure::Reset, "the connection was closed".to_owned()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete) => {
            (Failure::Reset, "the connection ended without a closing handshake".to_owned())
        }
        e => (Failure::Protocol, format!("the answer was no WebSocket's: {e}")),
    }
}

impl Client for WebSocket {
    fn prewarm(&self, _count: u32) -> Local<'_, Result<Vec<NewConnection>, Broken>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn exchange(&self, ask: Ask, progress: Rc<Progress>) -> Local<'static, Result<Reply, Broken>> {
        Box::pin(self.clone().run(ask, progress))
    }
}
