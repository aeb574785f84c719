//! Steps that are not plain HTTP: gRPC calls, WebSockets, bytes over TCP, datagrams. Their keys, and which of a step's
//! keys belong to which kind.

use crate::address::Speaks;
use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::expects::MAX_MESSAGES;
use crate::requests;
use crate::templates::{self, Scope};
use shakedown_core::plan::{Body, Escape, Exchange, Expect, Until};
use shakedown_core::template::Template;
use shakedown_core::tree::{Fields, Node, Tree};
use shakedown_core::units::Span;

/// Keys that say what is exchanged, besides the methods of HTTP.
pub const KEYS: [&str; 4] = ["grpc", "websocket", "tcp", "udp"];
/// Keys of a step that only some kinds of exchange have.
const OWN_KEYS: [&str; 9] = ["headers", "json", "text", "form", "message", "send", "receive", "hold", "until"];
/// Largest payload of a datagram over IPv4 (RFC 768, less the headers).
const MAX_DATAGRAM: usize = 65_507;
/// Most bytes awaited over a raw connection.
const MAX_AWAITED: u64 = 1 << 40;

/// What a step's own key says: how it appears in records, and what is sent.
pub struct Said {
    /// Method in records and on the wire.
    pub method: &'static str,
    /// Name when none is given.
    pub name: String,
    /// Path.
    pub path: Template,
    /// What is sent first.
    pub body: Option<Body>,
    /// The kind's own part.
    pub exchange: Exchange,
}

/// What is spoken by a step with this key.
pub fn speaks(key: &str) -> Speaks {
    match key {
        "grpc" => Speaks::Grpc,
        "websocket" => Speaks::WebSocket,
        "tcp" => Speaks::Tcp,
        "udp" => Speaks::Udp,
        _ => Speaks::Http,
    }
}

/// Reports keys that belong to another kind of exchange, and takes them.
pub fn misplaced(f: &mut Fields, speaks: Speaks, cx: &mut Cx) {
    let (what, own): (_, &[&str]) = match speaks {
        Speaks::Http => ("a request", &["headers", "json", "text", "form"]),
        Speaks::Grpc => ("a `grpc` step", &["headers", "message"]),
        Speaks::WebSocket => ("a `websocket` step", &["headers", "send", "receive", "hold"]),
        Speaks::Tcp => ("a `tcp` step", &["until"]),
        Speaks::Udp => ("a `udp` step", &[]),
    };
    for key in OWN_KEYS.into_iter().filter(|k| !own.contains(k)) {
        if f.take(key).is_some() {
            let hint = match own {
                [] => "it has its text, expect and capture".to_owned(),
                own => format!("it has {}, expect and capture", own.join(", ")),
            };
            cx.p.hint(&f.key_span(key), format!("`{key}` does not belong to {what}"), hint);
        }
    }
}

/// Reports a step that does not fit the target its stream names.
pub fn fits(key: &'static str, f: &Fields, scope: &Scope, cx: &mut Cx) {
    let (needed, Some(spoken)) = (speaks(key), scope.speaks) else { return };
    if needed == spoken {
        return;
    }
    let at = f.key_span(key);
    if scope.action {
        cx.p.hint(&at, format!("a `{key}` step belongs to traffic"), "setup and teardown make HTTP requests and run commands");
    } else {
        let message = format!("a `{key}` step needs a target that speaks {}, and this one speaks {}", needed.name(), spoken.name());
        cx.p.hint(&at, message, format!("write the target's url as {}, or give the step a stream of its own", needed.urls()));
    }
}

/// Decodes the step with this key, which is one of `KEYS`.
pub fn decode(key: &'static str, f: &mut Fields, scope: &Scope, cx: &mut Cx) -> Option<Said> {
    let node = f.take(key)?;
    let text = node.string(key, &mut cx.p)?;
    let raw = |cx: &mut Cx| {
        Some(Body { content_type: String::new(), text: templates::parse(&text, &node.span, scope, cx), escape: Escape::None })
    };
    match key {
        "grpc" => {
            method(&text, node, cx);
            let path = Template::text(&format!("/{text}"));
            let body = Some(message(f, scope, cx));
            Some(Said { method: "POST", name: format!("grpc {text}"), path, body, exchange: Exchange::Grpc })
        }
        "websocket" => {
            let path = requests::path(&text, &node.span, false, scope, cx);
            let exchange = websocket(f, scope, cx);
            Some(Said { method: "GET", name: format!("websocket {text}"), path, body: None, exchange })
        }
        "tcp" => {
            let until = f.take("until").and_then(|n| until(n, cx));
            if until.is_none() && f.take("until").is_none() {
                let hint = "write until: \"\\r\\n\", until: {bytes: 128}, until: close or, to await nothing, until: sent";
                cx.p.hint(&f.key_span("tcp"), "a `tcp` step needs `until`: where the answer ends", hint);
            }
            let exchange = Exchange::Tcp { until: until.unwrap_or(Until::Close) };
            Some(Said { method: "TCP", name: "tcp".into(), path: Template::default(), body: raw(cx), exchange })
        }
        _ => {
            if text.len() > MAX_DATAGRAM {
                cx.p.hint(&node.span, format!("{} bytes do not fit a datagram", text.len()), format!("at most {MAX_DATAGRAM} do"));
            }
            Some(Said { method: "UDP", name: "udp".into(), path: Template::default(), body: raw(cx), exchange: Exchange::Udp })
        }
    }
}

/// Checks `package.Service/Method`.
fn method(text: &str, node: &Node, cx: &mut Cx) {
    let word =
        |w: &str| w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && w.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let fine = text.split_once('/').is_some_and(|(service, method)| service.split('.').all(word) && word(method));
    if !fine {
        cx.p.hint(&node.span, format!("`{text}` is not a gRPC method"), "write package.Service/Method, like shop.Cart/Get");
    }
}

/// The message as JSON with holes; nothing said is an empty one.
fn message(f: &mut Fields, scope: &Scope, cx: &mut Cx) -> Body {
    let text = match f.take("message") {
        Some(node) => {
            if !matches!(node.tree, Tree::Map(_)) {
                cx.p.hint(&node.span, format!("message must be a map, not {}", node.describe()), "write its fields, like message: {id: 7}");
            }
            templates::parse(&node.to_json().to_string(), &node.span, scope, cx)
        }
        None => Template::text("{}"),
    };
    Body { content_type: "application/grpc".into(), text, escape: Escape::Json }
}

fn websocket(f: &mut Fields, scope: &Scope, cx: &mut Cx) -> Exchange {
    let send = f.take("send").map(|n| ask::texts(n, "send", &mut cx.p)).unwrap_or_default();
    let send = send.iter().map(|(text, n)| templates::parse(text, &n.span, scope, cx)).collect();
    let receive = f.whole("receive", 0..MAX_MESSAGES + 1, &mut cx.p).unwrap_or(0);
    let hold = f.duration("hold", &mut cx.p).unwrap_or(Span::ZERO);
    if let Some(timeout) = scope.timeout.filter(|t| hold >= *t) {
        cx.p.hint(
            &f.key_span("hold"),
            format!("a socket held for {hold} cannot be done within the stream's timeout, {timeout}"),
            "raise the stream's `timeout` above it",
        );
    }
    Exchange::WebSocket { send, receive: u32::try_from(receive).expect("bounded above"), hold }
}

fn until(node: &Node, cx: &mut Cx) -> Option<Until> {
    if let Tree::Map(_) = node.tree {
        let mut f = node.fields("until", &mut cx.p);
        f.need("bytes", &mut cx.p);
        let bytes = f.whole("bytes", 1..MAX_AWAITED + 1, &mut cx.p);
        f.finish(&mut cx.p);
        return bytes.map(Until::Bytes);
    }
    match node.string("until", &mut cx.p)?.as_str() {
        "close" => Some(Until::Close),
        "sent" => Some(Until::Sent),
        "" => {
            cx.p.hint(&node.span, "an empty text ends nothing", "write until: sent to await no answer");
            None
        }
        text => Some(Until::Text(text.to_owned())),
    }
}

/// What is awaited and what is expected must not contradict.
pub fn agree(exchange: &Exchange, expect: &Expect, f: &Fields, cx: &mut Cx) {
    match exchange {
        Exchange::WebSocket { receive, .. } => {
            if let Some((_, most)) = expect.messages.filter(|(_, most)| most < receive) {
                let hint = "expect at least what is awaited";
                cx.p.hint(&f.key_span("expect"), format!("{receive} messages are awaited and at most {most} expected"), hint);
            }
        }
        Exchange::Tcp { until: Until::Sent } if expect.body_contains.is_some() || !expect.json.is_empty() => {
            cx.p.hint(
                &f.key_span("expect"),
                "nothing is awaited, so nothing can be expected of it",
                "say where the answer ends in `until`",
            );
        }
        _ => {}
    }
}

/// Whether a capture can be taken from an answer's headers.
pub fn has_headers(speaks: Speaks) -> bool {
    !matches!(speaks, Speaks::Tcp | Speaks::Udp)
}
