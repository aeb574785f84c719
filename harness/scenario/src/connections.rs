//! `connections` of a stream: how many, for how long, for how much. Must not know how they are made: that is `reach`.

use crate::address::{Known, Speaks};
use crate::ask::Ask;
use crate::cx::Cx;
use crate::names;
use shakedown_core::plan::{Connections, HttpVersion};
use shakedown_core::tree::{Fields, Node};

/// Most connections of a stream.
const MAX_CONNECTIONS: u64 = 100_000;
/// Most requests a connection may be held to.
const MAX_REQUESTS: u64 = 1_000_000_000;
/// Most streams of an HTTP/2 connection (RFC 9113 §5.1.1: identifiers have 31 bits, a client's are odd).
const MAX_STREAMS: u64 = 1 << 30;

/// Decodes it; every user of a closed model has a connection to itself when nobody says otherwise, so that users wait
/// for answers and not for each other.
pub fn decode(node: Option<&Node>, users: Option<u32>, target: Option<&Known>, cx: &mut Cx) -> Connections {
    let usual = Connections { max: users.unwrap_or(Connections::default().max), ..Connections::default() };
    let Some(node) = node else { return usual };
    let mut f = node.fields("connections", &mut cx.p);
    let mut count = |key, range| f.whole(key, range, &mut cx.p).map(|n| u32::try_from(n).expect("bounded above"));
    let max = count("max", 1..MAX_CONNECTIONS + 1).unwrap_or(usual.max);
    let prewarm = count("prewarm", 0..MAX_CONNECTIONS + 1).unwrap_or(usual.prewarm);
    let max_requests = count("max_requests", 1..MAX_REQUESTS + 1);
    let streams = count("streams", 1..MAX_STREAMS + 1).unwrap_or(usual.streams);
    let reuse = f.flag("reuse", &mut cx.p).unwrap_or(usual.reuse);
    let idle = f.positive("idle", &mut cx.p).unwrap_or(usual.idle);
    if prewarm > max {
        cx.p.add(&f.key_span("prewarm"), format!("prewarm is {prewarm}, more than max, {max}"));
    }
    let connections = Connections { max, prewarm, reuse, idle, max_requests, streams };
    contradictions(node, &f, &connections, target, cx);
    f.finish(&mut cx.p);
    connections
}

fn contradictions(node: &Node, f: &Fields, connections: &Connections, target: Option<&Known>, cx: &mut Cx) {
    let given = |key| names::child(node, key).is_some();
    if connections.max_requests == Some(1) {
        cx.p.hint(&f.key_span("max_requests"), "a connection for one request is not used again", "write reuse: false");
    }
    for key in ["idle", "max_requests", "streams"].into_iter().filter(|k| !connections.reuse && given(k)) {
        cx.p.hint(&f.key_span(key), format!("`{key}` has no meaning with `reuse: false`"), "remove one of them");
    }
    let Some(target) = target else { return };
    if given("streams") && target.http != HttpVersion::Two {
        let hint = match target.speaks {
            Speaks::Http => "set the target's http: 2, or remove it",
            _ => "remove it",
        };
        cx.p.hint(&f.key_span("streams"), "`streams` share a connection of HTTP/2 only", hint);
    }
}
