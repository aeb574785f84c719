//! `expect`: what counts as success, for every kind of exchange. Defaults that differ from HTTP's are written out here,
//! so that whoever sends needs none.

use crate::address::Speaks;
use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::names;
use crate::requests::json_path;
use shakedown_core::plan::Expect;
use shakedown_core::tree::{Fields, Node, Problems};
use std::ops::Range;

/// gRPC status codes by number (<https://grpc.io/docs/guides/status-codes/>).
const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// Most messages that can be expected of one exchange.
pub const MAX_MESSAGES: u64 = 1_000_000;
/// Answer of a server that opens a WebSocket (RFC 6455 §4.2.2).
const SWITCHING: u16 = 101;

/// Decodes what counts as success of an exchange over `speaks`; without an `expect` its defaults.
pub fn decode(node: Option<&Node>, speaks: Speaks, cx: &mut Cx) -> Expect {
    let mut expect = node.map(|n| written(n, speaks, cx)).unwrap_or_default();
    if expect.status.is_empty() {
        match speaks {
            Speaks::Grpc => expect.status = vec![(0, 0)],
            Speaks::WebSocket => expect.status = vec![(SWITCHING, SWITCHING)],
            Speaks::Http | Speaks::Tcp | Speaks::Udp => {}
        }
    }
    expect
}

fn written(node: &Node, speaks: Speaks, cx: &mut Cx) -> Expect {
    let mut f = node.fields("expect", &mut cx.p);
    let mut expect = Expect::default();
    let mut misplaced = |f: &Fields, key: &str, hint: &str| {
        cx.p.hint(&f.key_span(key), format!("`{key}` has no meaning for {}", speaks.name()), hint);
    };
    let status = f.take("status");
    if status.is_some() && !matches!(speaks, Speaks::Http | Speaks::WebSocket) {
        let grpc = speaks == Speaks::Grpc;
        misplaced(&f, "status", if grpc { "write grpc_status, like grpc_status: OK" } else { "an answer is bytes; write body or json" });
    }
    let grpc = f.take("grpc_status");
    if grpc.is_some() && speaks != Speaks::Grpc {
        misplaced(&f, "grpc_status", "it belongs to `grpc` steps");
    }
    let messages = f.take("messages");
    if messages.is_some() && !matches!(speaks, Speaks::Grpc | Speaks::WebSocket) {
        misplaced(&f, "messages", "it counts the messages of `grpc` and `websocket` steps");
    }
    let headers = f.take("headers");
    if headers.is_some() && matches!(speaks, Speaks::Tcp | Speaks::Udp) {
        misplaced(&f, "headers", "an answer is bytes; write body or json");
    }
    match speaks {
        Speaks::Grpc => expect.status = grpc.map(|n| grpc_statuses(n, &mut cx.p)).unwrap_or_default(),
        _ => expect.status = status.map(|n| statuses(n, &mut cx.p)).unwrap_or_default(),
    }
    expect.messages = messages.and_then(|n| n.scalar("messages", &mut cx.p, counts));
    if let Some(n) = f.take("json") {
        for (path, span, value) in ask::entries(n, "json", &mut cx.p) {
            json_path(path, span, &mut cx.p);
            expect.json.push((path.to_owned(), value.to_json()));
        }
    }
    for (name, _, value) in headers.map(|n| ask::entries(n, "headers", &mut cx.p)).unwrap_or_default() {
        expect.headers.push((name.to_owned(), value.string(name, &mut cx.p).unwrap_or_default()));
    }
    expect.body_contains = f.text("body", &mut cx.p);
    f.finish(&mut cx.p);
    expect
}

/// `200`, `2xx`, or a list of these.
fn statuses(node: &Node, p: &mut Problems) -> Vec<(u16, u16)> {
    ask::one_or_more(node, "status", p).into_iter().filter_map(|(text, n)| status(&text, &n.span, p)).collect()
}

/// Statuses of any kind of answer: `200`, `2xx`, `UNAVAILABLE`, or a list of these.
pub fn any_statuses(node: &Node, p: &mut Problems) -> Vec<(u16, u16)> {
    let all = ask::one_or_more(node, "status", p).into_iter();
    all.filter_map(|(text, n)| grpc_code(&text).map(|c| (c, c)).or_else(|| status(&text, &n.span, p))).collect()
}

fn status(text: &str, span: &Range<usize>, p: &mut Problems) -> Option<(u16, u16)> {
    let class = text.strip_suffix("xx").and_then(|c| c.parse::<u16>().ok()).filter(|c| (1..6).contains(c));
    let one = text.parse::<u16>().ok().filter(|s| (100..600).contains(s));
    let range = class.map(|c| (c * 100, c * 100 + 99)).or(one.map(|s| (s, s)));
    if range.is_none() {
        p.hint(span, format!("`{text}` is not a status"), "write 200, 2xx or a list of these");
    }
    range
}

fn grpc_statuses(node: &Node, p: &mut Problems) -> Vec<(u16, u16)> {
    let all = ask::one_or_more(node, "grpc_status", p);
    all.into_iter().filter_map(|(text, n)| grpc_status(&text, &n.span, p)).map(|code| (code, code)).collect()
}

/// The code of a gRPC status by its name.
pub fn grpc_code(name: &str) -> Option<u16> {
    GRPC.iter().position(|n| *n == name).and_then(|code| u16::try_from(code).ok())
}

fn grpc_status(text: &str, span: &Range<usize>, p: &mut Problems) -> Option<u16> {
    let code = grpc_code(text);
    if code.is_none() {
        let by_number = text.parse::<usize>().ok().and_then(|n| GRPC.get(n));
        let hint = by_number.map_or_else(|| names::suggest(&text.to_ascii_uppercase(), GRPC), |name| format!("write {name}"));
        p.hint(span, format!("`{text}` is not a gRPC status"), hint);
    }
    code
}

/// `3`, or `1..5`.
fn counts(text: &str) -> Result<(u32, u32), String> {
    let count = |text: &str| text.trim().parse::<u32>().ok().filter(|n| u64::from(*n) <= MAX_MESSAGES);
    let (fewest, most) = text.split_once("..").unwrap_or((text, text));
    match (count(fewest), count(most)) {
        (Some(fewest), Some(most)) if fewest <= most => Ok((fewest, most)),
        (Some(_), Some(_)) => Err(format!("`{text}` ends before it begins")),
        _ => Err(format!("`{text}` is not a number of messages; write 3 or 1..5, at most {MAX_MESSAGES}")),
    }
}
