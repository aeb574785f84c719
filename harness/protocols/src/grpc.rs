//! gRPC over HTTP/2 (the "gRPC over HTTP2" protocol document): unary and server-streaming calls, messages as JSON, status
//! as outcome. Must not know connections.

mod frames;
mod outcome;
mod reflect;
mod schema;

use crate::answer::Answer;
use crate::face::{Ask, Broken, Client, Local, NewConnection, Progress, Reply};
use crate::http2::{self, Head, Http2};
use bytes::Bytes;
use frames::Frames;
use http::{HeaderMap, HeaderValue, Method as Verb, header};
pub use schema::{Method, Schema};
use shakedown_core::snapshot::Failure;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// A client of one target; clones share its connections.
#[derive(Clone)]
pub struct Grpc(Rc<Shared>);

struct Shared {
    http: Http2,
    schema: Schema,
    /// Methods called so far: at most as many as the schema has.
    known: RefCell<HashMap<String, Rc<Known>>>,
}

struct Known {
    method: Method,
    /// The last message, as JSON and as sent: most load sends few.
    last: RefCell<Option<(Bytes, Bytes)>>,
}

impl Grpc {
    /// A client that calls what the schema describes.
    #[must_use]
    pub fn new(http: Http2, schema: Schema) -> Grpc {
        Grpc(Rc::new(Shared { http, schema, known: RefCell::default() }))
    }

    fn known(&self, path: &str) -> Result<Rc<Known>, Broken> {
        if let Some(known) = self.0.known.borrow().get(path) {
            return Ok(Rc::clone(known));
        }
        let method = self.0.schema.method(path).map_err(|e| (Failure::Protocol, e.0))?;
        let known = Rc::new(Known { method, last: RefCell::default() });
        self.0.known.borrow_mut().insert(path.to_owned(), Rc::clone(&known));
        Ok(known)
    }

    async fn run(self, mut ask: Ask, progress: Rc<Progress>) -> Result<Reply, Broken> {
        let known = self.known(&ask.path)?;
        let message = known.message(&ask.body)?;
        if let Some(within) = ask.within {
            ask.headers.insert("grpc-timeout", timeout(within));
        }
        let streams = known.method.streams();
        let mut answer = Answer::new(Rc::clone(&progress), ask.keep);
        let whole = call(&self.0.http, &ask.path, ask.headers, message, &progress, &mut answer, |answer, message| {
            let json = known.method.decode(message, answer.keeps())?;
            if answer.keeps() {
                let before: &[u8] = match answer.reply().messages {
                    _ if !streams => b"",
                    1 => b"[",
                    _ => b",",
                };
                answer.text(before);
                answer.text(&json);
            }
            Ok(())
        });
        whole.await?;
        if streams && ask.keep {
            let end: &[u8] = if answer.reply().messages == 0 { b"[]" } else { b"]" };
            answer.text(end);
        }
        let (status, messages) = (answer.reply().status, answer.reply().messages);
        if !streams && status == Some(outcome::OK) && messages != 1 {
            return Err((Failure::Protocol, format!("the call succeeded with {messages} messages instead of one")));
        }
        Ok(answer.complete())
    }
}

impl Known {
    /// A message as it is sent.
    fn message(&self, json: &Bytes) -> Result<Bytes, Broken> {
        if let Some((last, sent)) = &*self.last.borrow()
            && last == json
        {
            return Ok(sent.clone());
        }
        let encoded = self.method.encode(json).map_err(|e| (Failure::Protocol, format!("not sent: {}", e.0)))?;
        let sent = frames::frame(&encoded);
        *self.last.borrow_mut() = Some((json.clone(), sent.clone()));
        Ok(sent)
    }
}

/// One call: sends one message, hands over each that comes, and leaves status and trailers in `answer`.
async fn call(
    http: &Http2,
    path: &str,
    mut headers: HeaderMap,
    message: Bytes,
    progress: &Progress,
    answer: &mut Answer,
    mut each: impl FnMut(&mut Answer, Bytes) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let uri = http.uri(path, &mut headers)?;
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    let (response, _slot) = http.call(Head { method: Verb::POST, uri, headers }, message, progress).await?;
    let (parts, mut body) = response.into_parts();
    let is_grpc = outcome::is_grpc(&parts);
    let http_status = parts.status.as_u16();
    answer.head(outcome::UNKNOWN, parts.headers);
    let mut frames = Frames::default();
    while let Some(chunk) = http2::next(&mut body).await? {
        if !is_grpc {
            answer.bytes(&chunk)?;
            continue;
        }
        frames.push(&chunk);
        while let Some(message) = frames.next(&answer.reply().headers)? {
            answer.counted(message.len())?;
            answer.reply().messages += 1;
            each(answer, message)?;
        }
    }
    if let Some(trailers) = http2::trailers(&mut body).await? {
        answer.trailers(trailers);
    }
    let status = outcome::of(http_status, is_grpc, &answer.reply().headers);
    answer.reply().status = Some(status);
    if status == outcome::OK && !frames.is_empty() {
        return Err((Failure::Protocol, "the call succeeded in the middle of a message".to_owned()));
    }
    Ok(())
}

/// `grpc-timeout`: at most eight digits and a unit, rounded up.
fn timeout(within: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let text = match (within.as_nanos().div_ceil(1_000), within.as_nanos().div_ceil(1_000_000)) {
        (micros, _) if micros <= MOST => format!("{micros}u"),
        (_, millis) if millis <= MOST => format!("{millis}m"),
        _ => format!("{}S", u128::from(within.as_secs()).min(MOST)),
    };
    HeaderValue::try_from(text).expect("digits and a letter")
}

impl Client for Grpc {
    fn prewarm(&self, count: u32) -> Local<'_, Result<Vec<NewConnection>, Broken>> {
        self.0.http.prewarm(count)
    }

    fn exchange(&self, ask: Ask, progress: Rc<Progress>) -> Local<'static, Result<Reply, Broken>> {
        Box::pin(self.clone().run(ask, progress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_fit_into_eight_digits() {
        assert_eq!(timeout(Duration::from_nanos(1)), "1u");
        assert_eq!(timeout(Duration::from_millis(1500)), "1500000u");
        assert_eq!(timeout(Duration::from_secs(100)), "100000m");
        assert_eq!(timeout(Duration::from_secs(200_000)), "200000S");
    }
}
