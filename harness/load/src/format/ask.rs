//! The same requests for the clients of other protocols. Must not send.

use super::{Base, Head, Ids, TRACEPARENT, Wire, digits, is_ours, target, unsendable};
use crate::compile::Talk;
use crate::cookies::Jar;
use crate::render::{Place, Text, Values};
use bytes::Bytes;
use http::Method;
use http::header::{CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use shakedown_protocols::{Ask, Part};

impl Head {
    /// A request without headers of its own and without a body, as a replay sends it. `keep`: its whole answer is wanted.
    ///
    /// # Errors
    /// In words, what cannot be sent.
    pub fn ask(&self, base: &Base, method: &str, path: &str, ids: &Ids, keep: bool) -> Result<Ask, String> {
        let mut headers = self.map()?;
        add(&mut headers, &TRACEPARENT, &parent(ids))?;
        let mut whole = String::new();
        target(&base.path, path, &mut whole)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is no method"))?;
        Ok(Ask { method, path: whole, headers, body: Bytes::new(), part: Part::Request, keep, within: None })
    }

    /// What the headers are where no connection is part of them.
    fn map(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers.iter().filter(|(n, _)| *n != HOST && *n != CONNECTION) {
            add(&mut headers, name, value)?;
        }
        Ok(headers)
    }
}

fn add(headers: &mut HeaderMap, name: &HeaderName, value: &str) -> Result<(), String> {
    headers.append(name.clone(), HeaderValue::from_str(value).map_err(|_| unsendable(name))?);
    Ok(())
}

/// Value of `traceparent`.
fn parent(ids: &Ids) -> String {
    format!("00-{}-{}-01", digits(&ids.trace), digits(&ids.span))
}

impl Wire<'_> {
    /// The same for the other protocols.
    ///
    /// # Errors
    /// In words, which value is missing or does not fit its place.
    pub fn ask(&self, base: &Base, values: &Values<'_>, jar: Option<&Jar>, ids: &Ids) -> Result<Ask, String> {
        let (r, targets) = (self.request, &base.targets);
        let mut part = String::new();
        let mut headers = self.head.map()?;
        let mut jar = jar.filter(|jar| !jar.is_empty());
        for (name, text) in r.headers.iter().filter(|(n, _)| !is_ours(n)) {
            part.clear();
            text.render(Place::Header, values, targets, &mut part)?;
            if name == COOKIE
                && let Some(jar) = jar.take()
            {
                part.push_str("; ");
                jar.write(&mut part);
            }
            add(&mut headers, name, &part)?;
        }
        if let Some(jar) = jar {
            part.clear();
            jar.write(&mut part);
            add(&mut headers, &COOKIE, &part)?;
        }
        add(&mut headers, &TRACEPARENT, &parent(ids))?;
        self.body(values, targets, &mut part)?;
        let body = Bytes::from(part.clone().into_bytes());
        let (mut path, raw) = (String::new(), matches!(r.talk, Talk::Tcp(_) | Talk::Udp));
        if !raw {
            part.clear();
            r.path.render(Place::Path, values, targets, &mut part)?;
            target(&base.path, &part, &mut path)?;
        }
        let method = if matches!(r.talk, Talk::Grpc) { Method::POST } else { r.method.clone() };
        let part = match &r.talk {
            Talk::Http | Talk::Grpc => Part::Request,
            Talk::WebSocket { send, receive, hold } => {
                let text = |t: &Text| {
                    let mut out = String::new();
                    t.render(Place::Body(t.escape()), values, targets, &mut out).map(|()| out)
                };
                Part::Messages { send: send.iter().map(text).collect::<Result<_, _>>()?, receive: *receive, hold: *hold }
            }
            Talk::Tcp(until) => Part::Until(until.clone()),
            Talk::Udp => Part::Datagram,
        };
        Ok(Ask { method, path, headers, body, part, keep: r.keep, within: None })
    }
}
