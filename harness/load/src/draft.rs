//! A request with everything filled in but what differs between attempts. Must not send.

use crate::compile::Request;
use crate::cookies::Jar;
use crate::render::{Place, Text, Values};
use crate::world::{Lane, World};
use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use http_body_util::Full;

/// What the harness calls itself.
const AGENT: &str = concat!("shakedown/", env!("CARGO_PKG_VERSION"));
/// The header that names the run.
pub const RUN_HEADER: HeaderName = HeaderName::from_static("x-shakedown-run");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request that can be sent again and again.
#[derive(Debug)]
pub struct Draft {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Draft {
    /// Fills in a compiled request.
    ///
    /// # Errors
    /// In words, which value is missing or does not fit its place.
    pub fn new(world: &World, lane: &Lane, request: &Request, values: &Values, jar: &Jar) -> Result<Draft, String> {
        let feeds = &lane.spec().feeds;
        let render = |text: &Text, place| text.render(place, feeds, values, &world.targets);
        let mut draft = Draft::bare(world, lane, &request.method, &render(&request.path, Place::Path)?)?;
        let mut own: Vec<&HeaderName> = Vec::new();
        for (name, text) in &request.headers {
            let value = header(name, &render(text, Place::Header)?)?;
            if own.contains(&name) {
                draft.headers.append(name, value);
            } else {
                draft.headers.insert(name, value);
                own.push(name);
            }
        }
        if let Some(value) = jar.header() {
            let joined = match draft.headers.get(COOKIE) {
                Some(own) => HeaderValue::from_bytes(&[own.as_bytes(), b"; ", value.as_bytes()].concat()).map_err(|e| e.to_string())?,
                None => value,
            };
            draft.headers.insert(COOKIE, joined);
        }
        draft.headers.insert(RUN_HEADER, world.run.clone());
        if let Some((text, escape)) = &request.body {
            draft.body = Bytes::from(render(text, Place::Body(*escape))?);
        }
        Ok(draft)
    }

    /// A request without headers of its own, as a replay sends it.
    ///
    /// # Errors
    /// In words, why the path cannot be sent.
    pub fn bare(world: &World, lane: &Lane, method: &Method, path: &str) -> Result<Draft, String> {
        let dest = lane.pool.dest();
        let target = match path.split_once("://") {
            // A whole URL (a captured Location, say) stays on this target: only its path is taken.
            Some(("http" | "https", rest)) => rest.find('/').map_or("/".to_owned(), |i| rest[i..].to_owned()),
            _ => format!("{}{path}", dest.base),
        };
        let uri: Uri = target.parse().map_err(|e| format!("`{path}` cannot be sent: {e}"))?;
        if !target.starts_with('/') {
            return Err(format!("`{path}` does not begin with `/`"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(HOST, dest.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(RUN_HEADER, world.run.clone());
        if !lane.pool.reuses() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, text) in &dest.headers {
            let value = text.render(Place::Header, &[], &Values::default(), &world.targets)?;
            headers.append(name, header(name, &value)?);
        }
        Ok(Draft { method: method.clone(), uri, headers, body: Bytes::new() })
    }

    /// The request of one attempt.
    #[must_use]
    pub fn attempt(&self, trace: &str, span: &str) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Ok(value) = HeaderValue::try_from(format!("00-{trace}-{span}-01")) {
            request.headers_mut().insert(TRACEPARENT, value);
        }
        request
    }
}

fn header(name: &HeaderName, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| format!("the value of header {name} cannot be sent"))
}
