//! Requests as bytes: everything that is the same for all of them is written once, the rest is filled in for each. Must
//! not send.

mod ask;

use crate::compile::{Request, Talk};
use crate::cookies::Jar;
use crate::render::{Place, Text, Values, allowed_in_path};
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, TRANSFER_ENCODING, USER_AGENT};
use std::collections::BTreeMap;

/// What the harness calls itself.
const AGENT: &str = concat!("shakedown/", env!("CARGO_PKG_VERSION"));
/// The header that names the run.
pub const RUN_HEADER: HeaderName = HeaderName::from_static("x-shakedown-run");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Digits of a trace ID, of a span ID, and the dash between them.
const IDS: usize = 32 + 1 + 16;

/// What every request to one target has in common.
#[derive(Clone, Debug)]
pub struct Base {
    /// `Host` header.
    pub host: String,
    /// Base path without a trailing slash, often empty.
    pub path: String,
    /// Scheme and authority in front of the path, where a proxy wants them; else empty.
    pub origin: String,
    /// Headers of the target, filled in.
    pub headers: Vec<(HeaderName, String)>,
    /// Connections are kept.
    pub keep: bool,
    /// The run ID.
    pub run: String,
    /// Base URLs by target name.
    pub targets: BTreeMap<String, String>,
}

/// The IDs of one attempt, in hex.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// Of the logical request.
    pub trace: [u8; 32],
    /// Of the attempt.
    pub span: [u8; 16],
}

/// One compiled request towards one target.
#[derive(Debug)]
pub struct Wire<'a> {
    /// The whole request, where only its IDs differ.
    fixed: Option<Result<Fixed, String>>,
    request: &'a Request,
    head: Head,
}

/// A whole request and where its IDs stand.
#[derive(Debug)]
struct Fixed {
    bytes: Vec<u8>,
    ids: usize,
}

/// Everything between the request target and the IDs.
#[derive(Debug)]
pub struct Head {
    lines: String,
    headers: Vec<(HeaderName, String)>,
}

/// Buffers that are used again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The request.
    pub out: String,
    part: String,
}

impl Head {
    /// The head of requests whose own headers are these.
    #[must_use]
    pub fn new<'n>(base: &Base, own: impl Iterator<Item = &'n HeaderName> + Clone) -> Head {
        let mut headers = vec![(HOST, base.host.clone()), (USER_AGENT, AGENT.to_owned())];
        if !base.keep {
            headers.push((CONNECTION, "close".to_owned()));
        }
        for (name, _) in &base.headers {
            headers.retain(|(n, _)| n != name || !matches!(*name, HOST | USER_AGENT | CONNECTION));
        }
        headers.extend(base.headers.iter().filter(|(n, _)| !is_ours(n)).cloned());
        headers.retain(|(name, _)| !own.clone().any(|n| n == name));
        headers.push((RUN_HEADER, base.run.clone()));
        let mut lines = " HTTP/1.1\r\n".to_owned();
        for (name, value) in &headers {
            line(name, value, &mut lines);
        }
        lines.push_str("traceparent: 00-");
        Head { lines, headers }
    }

    /// Writes a request without headers of its own and without a body, as a replay sends it.
    ///
    /// # Errors
    /// In words, why the path cannot be sent.
    pub fn bare(&self, base: &Base, method: &str, path: &str, ids: &Ids, out: &mut String) -> Result<(), String> {
        out.clear();
        self.begin(base, method, path, ids, out)?;
        out.push_str(if bodiless(method) { "\r\n" } else { "content-length: 0\r\n\r\n" });
        Ok(())
    }

    fn begin(&self, base: &Base, method: &str, path: &str, ids: &Ids, out: &mut String) -> Result<(), String> {
        out.push_str(method);
        out.push(' ');
        out.push_str(&base.origin);
        target(&base.path, path, out)?;
        out.push_str(&self.lines);
        out.push_str(digits(&ids.trace));
        out.push('-');
        out.push_str(digits(&ids.span));
        out.push_str("-01\r\n");
        Ok(())
    }
}

impl<'a> Wire<'a> {
    /// Writes everything that is the same for every request.
    #[must_use]
    pub fn new(request: &'a Request, base: &Base) -> Wire<'a> {
        let head = Head::new(base, request.headers.iter().map(|(n, _)| n));
        let mut wire = Wire { fixed: None, request, head };
        wire.fixed = wire.is_fixed(base).then(|| wire.fix(base));
        wire
    }

    /// Whether all of it but its IDs is written already.
    ///
    /// # Errors
    /// In words, why it can never be sent.
    #[inline]
    pub fn fits(&self, jar: Option<&Jar>) -> Result<bool, String> {
        match &self.fixed {
            Some(Err(why)) => Err(why.clone()),
            Some(Ok(_)) => Ok(jar.is_none_or(Jar::is_empty)),
            None => Ok(false),
        }
    }

    fn is_fixed(&self, base: &Base) -> bool {
        let constant = |text: &Text| text.constant(Place::Header, &base.targets).is_some();
        let r = self.request;
        matches!(r.talk, Talk::Http)
            && constant(&r.path)
            && r.headers.iter().all(|(_, t)| constant(t))
            && r.body.as_ref().is_none_or(|(t, _)| constant(t))
    }

    fn fix(&self, base: &Base) -> Result<Fixed, String> {
        let mut scratch = Scratch::default();
        self.fill(base, &Values::none(), None, &Ids { trace: [b'0'; 32], span: [b'0'; 16] }, &mut scratch)?;
        let bytes = scratch.out.into_bytes();
        let needle = &self.head.lines.as_bytes()[self.head.lines.len() - 16..];
        let ids = bytes.windows(needle.len()).position(|w| w == needle).ok_or("its head is not where it was written")? + needle.len();
        Ok(Fixed { bytes, ids })
    }

    /// The request of one attempt: bytes that are valid until the next call.
    ///
    /// # Errors
    /// In words, which value is missing or does not fit its place.
    #[inline]
    pub fn render<'o>(
        &'o mut self,
        base: &Base,
        values: &Values<'_>,
        jar: Option<&Jar>,
        ids: &Ids,
        scratch: &'o mut Scratch,
    ) -> Result<&'o [u8], String> {
        if !self.fits(jar)? {
            self.fill(base, values, jar, ids, scratch)?;
            return Ok(scratch.out.as_bytes());
        }
        if let Some(Ok(fixed)) = &mut self.fixed {
            let place = &mut fixed.bytes[fixed.ids..fixed.ids + IDS];
            place[..32].copy_from_slice(&ids.trace);
            place[33..].copy_from_slice(&ids.span);
            return Ok(&fixed.bytes);
        }
        Ok(&[])
    }

    fn fill(&self, base: &Base, values: &Values<'_>, jar: Option<&Jar>, ids: &Ids, scratch: &mut Scratch) -> Result<(), String> {
        let (r, targets) = (self.request, &base.targets);
        let Scratch { out, part } = scratch;
        out.clear();
        part.clear();
        r.path.render(Place::Path, values, targets, part)?;
        self.head.begin(base, r.method.as_str(), part, ids, out)?;
        let mut jar = jar.filter(|jar| !jar.is_empty());
        for (name, text) in r.headers.iter().filter(|(n, _)| !is_ours(n)) {
            part.clear();
            text.render(Place::Header, values, targets, part)?;
            if name == COOKIE
                && let Some(jar) = jar.take()
            {
                part.push_str("; ");
                jar.write(part);
            }
            sendable(name, part)?;
            line(name, part, out);
        }
        if let Some(jar) = jar {
            part.clear();
            jar.write(part);
            line(&COOKIE, part, out);
        }
        self.body(values, targets, part)?;
        if !part.is_empty() || !bodiless(r.method.as_str()) {
            out.push_str("content-length: ");
            decimal(part.len(), out);
            out.push_str("\r\n");
        }
        out.push_str("\r\n");
        out.push_str(part);
        Ok(())
    }

    fn body(&self, values: &Values<'_>, targets: &BTreeMap<String, String>, part: &mut String) -> Result<(), String> {
        part.clear();
        match &self.request.body {
            Some((text, escape)) => text.render(Place::Body(*escape), values, targets, part),
            None => Ok(()),
        }
    }

    /// Method and path, for a sample.
    #[must_use]
    pub fn shown(&self, base: &Base, values: &Values<'_>) -> String {
        let (mut part, mut path) = (String::new(), String::new());
        let rendered = self.request.path.render(Place::Path, values, &base.targets, &mut part);
        if rendered.is_err() || target(&base.path, &part, &mut path).is_err() {
            path = part;
        }
        format!("{} {path}", self.request.method)
    }
}

/// Headers that only the harness itself may set: they say which run it is, and how long the body is.
fn is_ours(name: &HeaderName) -> bool {
    [RUN_HEADER, TRACEPARENT, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}

/// Methods whose requests have no length when they have no body (RFC 9110 §8.6).
fn bodiless(method: &str) -> bool {
    !matches!(method, "POST" | "PUT" | "PATCH")
}

/// Appends the request target: the path behind the base path, without a fragment.
///
/// # Errors
/// In words, why it cannot be sent.
pub fn target(base: &str, path: &str, out: &mut String) -> Result<(), String> {
    let whole = path.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    // A whole URL (a captured Location, say) stays on this target: only its path is taken.
    let (base, own) = whole.map_or((base, path), |(_, rest)| ("", rest.find('/').map_or("/", |i| &rest[i..])));
    let own = own.split('#').next().unwrap_or(own);
    let wrong = |b: u8| !allowed_in_path(b) && !matches!(b, b'"' | b'{' | b'}' | b'\\' | b'^' | b'`');
    if let Some(b) = own.bytes().find(|&b| b.is_ascii() && wrong(b)) {
        return Err(format!("`{path}` cannot be sent: no path may hold the byte 0x{b:02x}"));
    }
    if !base.starts_with('/') && !own.starts_with('/') {
        return Err(format!("`{path}` does not begin with `/`"));
    }
    out.push_str(base);
    out.push_str(own);
    Ok(())
}

/// Checks that a header may have this value.
///
/// # Errors
/// Names the header.
pub fn sendable(name: &HeaderName, value: &str) -> Result<(), String> {
    let fine = |b: u8| b == b'\t' || (b >= b' ' && b != 0x7f);
    if value.bytes().all(fine) { Ok(()) } else { Err(unsendable(name)) }
}

fn unsendable(name: &HeaderName) -> String {
    format!("the value of header {name} cannot be sent")
}

fn line(name: &HeaderName, value: &str, out: &mut String) {
    out.push_str(name.as_str());
    out.push_str(": ");
    out.push_str(value);
    out.push_str("\r\n");
}

fn digits(hex: &[u8]) -> &str {
    std::str::from_utf8(hex).expect("hex digits are ASCII")
}

fn decimal(n: usize, out: &mut String) {
    let (mut place, mut left, mut text) = (20, n, [b'0'; 20]);
    loop {
        place -= 1;
        text[place] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.push_str(digits(&text[place..]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::Checks;
    use crate::render::Scope;
    use crate::seeds::Seed;
    use http::Method;
    use shakedown_core::Secrets;
    use shakedown_core::plan::Escape;
    use shakedown_core::template::Template;

    fn base() -> Base {
        let headers = vec![(HeaderName::from_static("x-team"), "a".to_owned()), (USER_AGENT, "me".to_owned())];
        let (host, path) = ("shop:80".to_owned(), "/base".to_owned());
        Base { host, path, origin: String::new(), headers, keep: true, run: "r1".into(), targets: BTreeMap::new() }
    }

    fn request(method: Method, path: &str, headers: &[(&'static str, &str)], body: Option<&str>) -> Request {
        let captures = ["cart".to_owned()];
        let secrets = Secrets::default();
        let scope = Scope { feeds: &[], captures: &captures, secrets: &secrets, place: "x" };
        let text = |t: &str| Text::compile(&Template::parse(t).unwrap(), &scope).unwrap();
        let headers = headers.iter().map(|(n, v)| (HeaderName::from_static(n), text(v))).collect();
        let body = body.map(|b| (text(b), Escape::Json));
        let (checks, path, name) = (Checks::default(), text(path), String::new());
        Request { name, method, path, headers, body, talk: Talk::Http, checks, takers: vec![], keep: false, dim: None }
    }

    fn rendered(request: &Request, captured: &str, jar: Option<&Jar>) -> Result<String, String> {
        let captures = [Some(captured.to_owned())];
        let values = Values { captures: &captures, ..Values::none() };
        let ids = Ids { trace: Seed::of(1).hex32(), span: Seed::of(1).hex16() };
        let mut wire = Wire::new(request, &base());
        let mut scratch = Scratch::default();
        wire.render(&base(), &values, jar, &ids, &mut scratch).map(|b| String::from_utf8(b.to_vec()).unwrap())
    }

    #[test]
    fn fixed_requests_differ_in_their_ids_only() {
        let get = request(Method::GET, "/p?x=1", &[("x-a", "1"), ("x-shakedown-run", "forged")], None);
        let text = rendered(&get, "", None).unwrap();
        let (trace, span) = (Seed::of(1).hex32(), Seed::of(1).hex16());
        let wanted = format!(
            "GET /base/p?x=1 HTTP/1.1\r\nhost: shop:80\r\nx-team: a\r\nuser-agent: me\r\nx-shakedown-run: r1\r\ntraceparent: 00-{}-{}-01\r\nx-a: 1\r\n\r\n",
            digits(&trace),
            digits(&span)
        );
        assert_eq!(text, wanted);
        assert!(Wire::new(&get, &base()).fixed.is_some());
    }

    #[test]
    fn holes_cookies_and_bodies_are_filled_in() {
        let mut jar = Jar::default();
        let head = b"HTTP/1.1 200 OK\r\nset-cookie: s=1\r\n\r\n";
        jar.take(&crate::answer::Answer::new(Some(200), crate::answer::Head::Raw(head), 0));
        let post = request(Method::POST, "/c/{{ cart }}", &[("cookie", "own=2"), ("host", "other")], Some("{\"c\": \"{{ cart }}\"}"));
        let text = rendered(&post, "a \"b", Some(&jar)).unwrap();
        assert!(text.starts_with("POST /base/c/a%20%22b HTTP/1.1\r\nx-team: a\r\n"), "{text}");
        assert!(text.contains("\r\nhost: other\r\n") && text.contains("\r\ncookie: own=2; s=1\r\n") && !text.contains("shop:80"));
        assert!(text.ends_with("\r\ncontent-length: 14\r\n\r\n{\"c\": \"a \\\"b\"}"), "{text}");
        let empty = rendered(&request(Method::POST, "/", &[], None), "", None).unwrap();
        assert!(empty.ends_with("content-length: 0\r\n\r\n"));
    }

    #[test]
    fn nothing_is_smuggled() {
        let header = request(Method::GET, "/", &[("x-a", "{{ cart }}")], None);
        assert!(rendered(&header, "a\r\nx-b: 1", None).unwrap_err().contains("header x-a"));
        let path = request(Method::GET, "{{ cart }}", &[], None);
        assert!(rendered(&path, "/a b\r\n", None).unwrap().starts_with("GET /base/a%20b%0D%0A HTTP/1.1\r\n"));
        assert!(rendered(&path, "http://other/x?y", None).unwrap().starts_with("GET /x?y HTTP/1.1\r\nhost: shop:80\r\n"));
        let plain = request(Method::GET, "/a b", &[], None);
        assert!(rendered(&plain, "", None).unwrap_err().contains("0x20"));
    }
}
