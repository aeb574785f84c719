//! One request: method, path, headers, body, what counts as success, captures. The same for steps, setup and teardown.

use crate::address::{self, Speaks};
use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::exchanges::{self, Said};
use crate::templates::{self, Scope};
use crate::{expects, names};
use shakedown_core::plan::{Body, Capture, CaptureFrom, Escape, Exchange, RequestPlan};
use shakedown_core::template::{Part, Template};
use shakedown_core::tree::{Fields, Node, Problems, Tree};
use std::fmt::Write;
use std::ops::Range;

/// Keys that are methods.
pub const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];
/// The same on the wire.
const WIRE_METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
/// Headers the harness writes itself.
const OWN_HEADERS: [&str; 5] = ["content-length", "transfer-encoding", "connection", "upgrade", "expect"];
/// Characters a URL's path may not hold as they are.
const NOT_IN_PATH: [char; 8] = [' ', '"', '<', '>', '\\', '^', '`', '\x7f'];

/// Decodes the request whose keys are in `f`; the caller takes keys of its own (`weight`) and finishes the map.
pub fn decode(node: &Node, f: &mut Fields, absolute: bool, scope: &mut Scope, cx: &mut Cx) -> Option<RequestPlan> {
    let kinds = || METHODS.into_iter().chain(exchanges::KEYS);
    let given: Vec<&'static str> = kinds().filter(|k| names::child(node, k).is_some()).collect();
    for key in kinds() {
        f.take(key);
    }
    if given.len() != 1 && matches!(node.tree, Tree::Map(_)) {
        let all: Vec<&str> = kinds().filter(|k| !absolute || METHODS.contains(k)).collect();
        let hint = if given.is_empty() { format!("write one of {}", all.join(", ")) } else { format!("given: {}", given.join(", ")) };
        cx.p.hint(&node.span, "a request needs exactly one method", hint);
    }
    let key = given.first().copied().unwrap_or_default();
    let speaks = exchanges::speaks(key);
    if !key.is_empty() {
        exchanges::fits(key, f, scope, cx);
        exchanges::misplaced(f, speaks, cx);
    }
    let mut headers = f.take("headers").map(|n| self::headers(n, scope, cx)).unwrap_or_default();
    let said = if exchanges::KEYS.contains(&key) {
        exchanges::decode(key, f, scope, cx)
    } else {
        http(key, node, f, absolute, &mut headers, scope, cx)
    };
    let name = f.take("name").map(|n| n.string("name", &mut cx.p).filter(|t| names::check(t, &n.span, &mut cx.p)));
    let expect = expects::decode(f.take("expect"), speaks, cx);
    let capture = f.take("capture").map(|n| capture(n, speaks, scope, cx)).unwrap_or_default();
    f.later("ledger", &mut cx.p);
    let said = said?;
    exchanges::agree(&said.exchange, &expect, f, cx);
    let Said { method, name: usual, path, body, exchange } = said;
    let name = name.unwrap_or(Some(usual))?;
    Some(RequestPlan { name, method: method.to_owned(), path, headers, body, expect, capture, exchange })
}

/// A plain HTTP request.
fn http(
    key: &'static str,
    node: &Node,
    f: &mut Fields,
    absolute: bool,
    headers: &mut Vec<(String, Template)>,
    scope: &mut Scope,
    cx: &mut Cx,
) -> Option<Said> {
    let target = if key.is_empty() { None } else { f.take(key) };
    let text = target.and_then(|n| n.string("path", &mut cx.p));
    let path = target.zip(text.as_ref()).map(|(n, text)| path(text, &n.span, absolute, scope, cx)).unwrap_or_default();
    let body = body(node, f, headers, scope, cx);
    let method = WIRE_METHODS[METHODS.iter().position(|m| *m == key).unwrap_or_default()];
    Some(Said { method, name: format!("{method} {}", text.unwrap_or_default()), path, body, exchange: Exchange::Http })
}

/// A path with holes; a whole URL where `absolute`.
pub fn path(text: &str, span: &Range<usize>, absolute: bool, scope: &Scope, cx: &mut Cx) -> Template {
    let template = templates::parse(text, span, scope, cx);
    let first = template.0.first();
    let plain = match first {
        Some(Part::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    if absolute {
        let literal = plain.filter(|t| t.starts_with("http://") || t.starts_with("https://"));
        if let Some(url) = literal {
            let base: String = url.split(['?', '#']).next().unwrap_or_default().to_owned();
            match address::url(&base) {
                Ok(url) => cx.judge_host(url.host, url.port, span),
                Err(why) => cx.p.add(span, why),
            }
        } else if let Some(Part::Target(name)) = first {
            reachable(name, span, cx);
        } else {
            cx.p.hint(span, format!("`{text}` is not a whole URL"), "outside traffic write \"{{ targets.NAME }}/path\" or http://…");
        }
    } else if plain.is_some_and(|t| !t.starts_with('/')) || text.is_empty() {
        cx.p.hint(
            span,
            format!("`{text}` is not a path"),
            format!("a path starts with `/`; the stream's target goes before it: `/{text}`"),
        );
    }
    let bad = |c: char| c.is_control() || NOT_IN_PATH.contains(&c) || !c.is_ascii();
    let odd = template.0.iter().find_map(|part| match part {
        Part::Text(text) => text.chars().find(|c| bad(*c)),
        _ => None,
    });
    if let Some(c) = odd {
        cx.p.hint(span, format!("{c:?} cannot stand in a path"), "write it percent-encoded, like %20");
    }
    template
}

/// Setup and teardown make plain requests to the target's address: what is reached in another way is out of their reach.
fn reachable(name: &str, span: &Range<usize>, cx: &mut Cx) {
    let Some(known) = cx.targets.get(name) else { return };
    let hint = "write the address of something that takes HTTP requests, or run a command";
    if known.speaks != Speaks::Http {
        cx.p.hint(span, format!("the target `{name}` speaks {}; outside traffic only HTTP is spoken", known.speaks.name()), hint);
    } else if let Some(by) = known.hidden {
        cx.p.hint(span, format!("the target `{name}` is reached by {by}, which works in traffic only"), hint);
    }
}

/// A method name, upper-cased.
pub fn method(node: &Node, p: &mut Problems) -> Option<String> {
    let text = node.string("method", p)?;
    let upper = text.to_ascii_uppercase();
    if METHODS.contains(&upper.to_ascii_lowercase().as_str()) {
        return Some(upper);
    }
    p.hint(&node.span, format!("`{text}` is not a method load can use"), "GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS");
    None
}

/// Checks a header's name.
pub fn header_name(name: &str, span: &Range<usize>, p: &mut Problems) {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        p.add(span, format!("`{name}` is not a header's name"));
    } else if OWN_HEADERS.iter().any(|h| name.eq_ignore_ascii_case(h)) {
        p.hint(span, format!("`{name}` is written by shakedown itself"), "remove it");
    }
}

/// A map of headers.
pub fn headers(node: &Node, scope: &mut Scope, cx: &mut Cx) -> Vec<(String, Template)> {
    let mut headers: Vec<(String, Template)> = Vec::new();
    for (name, span, value) in ask::entries(node, "headers", &mut cx.p) {
        header_name(name, span, &mut cx.p);
        if headers.iter().any(|(h, _)| h.eq_ignore_ascii_case(name)) {
            cx.p.add(span, format!("the header `{name}` is given twice"));
        }
        let Some(text) = value.string(name, &mut cx.p) else { continue };
        if text.chars().any(|c| c.is_control() && c != '\t') {
            cx.p.add(&value.span, format!("the header `{name}` holds a line break or control character"));
        }
        headers.push((name.to_owned(), templates::parse(&text, &value.span, scope, cx)));
    }
    headers
}

fn body(node: &Node, f: &mut Fields, headers: &mut Vec<(String, Template)>, scope: &Scope, cx: &mut Cx) -> Option<Body> {
    let kinds = ["json", "text", "form"];
    let nodes = kinds.map(|k| names::child(node, k));
    for key in kinds {
        f.take(key);
    }
    if nodes.iter().flatten().count() > 1 {
        cx.p.add(&node.span, "a request has one body: `json`, `text` or `form`");
    }
    let (text, escape, kind) = match nodes {
        [Some(json), ..] => (templates::parse(&json.to_json().to_string(), &json.span, scope, cx), Escape::Json, "application/json"),
        [_, Some(text), _] => {
            let written = text.string("text", &mut cx.p)?;
            (templates::parse(&written, &text.span, scope, cx), Escape::None, "text/plain; charset=utf-8")
        }
        [.., Some(form)] => (self::form(form, scope, cx), Escape::Url, "application/x-www-form-urlencoded"),
        _ => return None,
    };
    // A content type of the author's own replaces the usual one.
    let own = headers.iter().position(|(h, v)| h.eq_ignore_ascii_case("content-type") && v.as_text().is_some());
    let own = own.and_then(|i| headers.remove(i).1.as_text().map(str::to_owned));
    Some(Body { content_type: own.unwrap_or_else(|| kind.to_owned()), text, escape })
}

fn form(node: &Node, scope: &Scope, cx: &mut Cx) -> Template {
    let mut parts = Vec::new();
    let mut plain = String::new();
    for (name, _, value) in ask::entries(node, "form", &mut cx.p) {
        if !(parts.is_empty() && plain.is_empty()) {
            plain.push('&');
        }
        encode(name, &mut plain);
        plain.push('=');
        let text = value.string(name, &mut cx.p).unwrap_or_default();
        for part in templates::parse(&text, &value.span, scope, cx).0 {
            if let Part::Text(text) = &part {
                encode(text, &mut plain);
                continue;
            }
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(part);
        }
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Template(parts)
}

/// Percent-encoding of form values (RFC 3986 unreserved characters stay).
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// Checks a JSONPath.
pub fn json_path(path: &str, span: &Range<usize>, p: &mut Problems) -> bool {
    match serde_json_path::JsonPath::parse(path) {
        Ok(_) => true,
        Err(why) => {
            p.hint(span, format!("`{path}` is not a JSONPath: {}", why.message()), "write $.id or $.items[0].name (RFC 9535)");
            false
        }
    }
}

fn capture(node: &Node, speaks: Speaks, scope: &mut Scope, cx: &mut Cx) -> Vec<Capture> {
    let mut captures = Vec::new();
    for (name, span, value) in ask::entries(node, "capture", &mut cx.p) {
        let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !valid || matches!(name, "uuid" | "key" | "targets") {
            cx.p.hint(span, format!("`{name}` cannot name a capture"), "use letters, digits, `_` and `-`; not uuid, key or targets");
        }
        let from = match &value.tree {
            Tree::Scalar { text, .. } => {
                json_path(text, &value.span, &mut cx.p);
                CaptureFrom::Json(text.clone())
            }
            _ => {
                let mut f = value.fields("capture", &mut cx.p);
                let header = f.need("header", &mut cx.p).and_then(|n| {
                    let text = n.string("header", &mut cx.p)?;
                    header_name(&text, &n.span, &mut cx.p);
                    if !exchanges::has_headers(speaks) {
                        let hint = "an answer is bytes; capture a JSONPath, like {id: $.id}";
                        cx.p.hint(&n.span, format!("an answer over {} has no headers", speaks.name()), hint);
                    }
                    Some(text)
                });
                f.finish(&mut cx.p);
                CaptureFrom::Header(header.unwrap_or_default())
            }
        };
        scope.captures.insert(name.to_owned());
        captures.push(Capture { name: name.to_owned(), from });
    }
    captures
}
