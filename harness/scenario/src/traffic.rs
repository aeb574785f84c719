//! `traffic`: streams and their models (open, closed, replayed), retries, connections.

use crate::address::Speaks;
use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::templates::Scope;
use crate::{connections, expects, feeds, journeys, names, requests, shapes, when};
use shakedown_core::plan::{Cookies, Model, Replay, Retry, RetryOn, Stream, When};
use shakedown_core::tree::{Node, Problems, Tree};
use shakedown_core::units::{Rate, Span};
use std::ops::Range;

const TIMEOUT: Span = Span::secs(5);
const BACKOFF: Span = Span::millis(50);
const MAX_USERS: u64 = 100_000;
/// Most streams: an index into them has 16 bits.
const MAX_STREAMS: usize = 1000;
/// Largest recording.
const MAX_RECORDING: usize = 512 << 20;
/// Fastest replay.
const MAX_SPEED: f64 = 1000.0;
/// How a gzip file begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Recordings that can be read later.
const LATER_FORMATS: [&str; 10] = ["nginx-json", "envoy", "gor", "vegeta", "vegeta-csv", "har", "curl", "openapi", "k6", "pcap"];

/// Decodes all streams.
pub fn decode(node: &Node, cx: &mut Cx) -> Vec<Stream> {
    let all = ask::entries(node, "traffic", &mut cx.p);
    if (all.is_empty() && matches!(node.tree, Tree::Map(_))) || all.len() > MAX_STREAMS {
        cx.p.add(&node.span, format!("traffic must name 1 to {MAX_STREAMS} streams"));
    }
    let mut streams = Vec::new();
    for (name, span, node) in all {
        names::check(name, span, &mut cx.p);
        streams.push(stream(name, span, node, cx));
    }
    streams
}

fn stream(name: &str, span: &Range<usize>, node: &Node, cx: &mut Cx) -> Stream {
    let what = format!("stream `{name}`");
    let mut f = node.fields(&what, &mut cx.p);
    let target = f.need("target", &mut cx.p).and_then(|n| target(n, cx)).unwrap_or_default();
    let at = f.take("at").and_then(|n| when::decode(n, cx)).unwrap_or(When::At(Span::ZERO));
    let poisson = f.choice("arrivals", &["constant", "poisson"], &mut cx.p).as_deref() == Some("poisson");
    let models: Vec<&str> = ["shape", "users", "replay"].into_iter().filter(|k| names::child(node, k).is_some()).collect();
    if models.len() != 1 && matches!(node.tree, Tree::Map(_)) {
        let given = if models.is_empty() { "none is given".into() } else { format!("given: {}", models.join(", ")) };
        cx.p.hint(span, format!("{what} needs exactly one of `shape`, `users` and `replay`"), given);
    }
    if names::child(node, "arrivals").is_some() && !models.contains(&"shape") {
        cx.p.hint(&f.key_span("arrivals"), "`arrivals` belongs to a `shape`", "users and recordings have their own timing");
    }
    let shape = f.take("shape").map(|n| Model::Open { poisson, shape: shapes::decode(n, cx) });
    let users = f.take("users").map(|n| users(n, cx));
    let replay = f.take("replay").map(|n| Model::Replay(replay(n, cx)));
    let model = shape.or(users).or(replay).unwrap_or(Model::Open { poisson, shape: Vec::new() });
    let warmup = f.duration("warmup", &mut cx.p).unwrap_or(Span::ZERO);
    let timeout = f.positive("timeout", &mut cx.p).unwrap_or(TIMEOUT);
    let known = cx.targets.get(&target).cloned();
    let speaks = known.as_ref().map(|k| k.speaks);
    let retry = f.take("retry").map(|n| retry(n, speaks, &mut cx.p));
    let users = if let Model::Closed { users, .. } = model { Some(users) } else { None };
    let connections = connections::decode(f.take("connections"), users, known.as_ref(), cx);
    let cookies = match f.choice("cookies", &["journey", "user", "none"], &mut cx.p).as_deref() {
        Some("user") => Cookies::User,
        Some("none") => Cookies::None,
        _ => Cookies::Journey,
    };
    if cookies == Cookies::User && !matches!(model, Model::Closed { .. }) {
        cx.p.hint(&f.key_span("cookies"), "`cookies: user` needs `users`", "open traffic has journeys, no users");
    }
    let mut scope = Scope { request: true, speaks, timeout: Some(timeout), ..Scope::default() };
    let mut own = Vec::new();
    for (name, span, n) in f.named("data", &mut cx.p) {
        let feed = feeds::decode(name, span, n, cx);
        scope.feeds.insert(name.to_owned(), feed.as_ref().map(|f| f.columns.clone()));
        own.extend(feed);
    }
    let recorded = matches!(model, Model::Replay(_));
    if let Some(other) = speaks.filter(|s| recorded && *s != Speaks::Http) {
        let hint = "a recording holds HTTP requests; give it a target with an http:// or https:// url";
        cx.p.hint(&f.key_span("replay"), format!("a recording cannot be replayed over {}", other.name()), hint);
    }
    let journeys = journeys::decode(node, &mut f, &what, recorded, retry.is_some(), &scope, cx);
    f.finish(&mut cx.p);
    Stream { name: name.to_owned(), target, at, model, warmup, timeout, retry, connections, cookies, feeds: own, journeys }
}

fn target(node: &Node, cx: &mut Cx) -> Option<String> {
    let text = node.string("target", &mut cx.p)?;
    let found = names::resolve("target", &text, cx.names.targets.iter().map(String::as_str), &node.span, &mut cx.p);
    found.then_some(text)
}

fn users(node: &Node, cx: &mut Cx) -> Model {
    let mut f = node.fields("users", &mut cx.p);
    f.need("count", &mut cx.p);
    let count = f.whole("count", 1..MAX_USERS + 1, &mut cx.p).unwrap_or(1);
    let think = f.take("think").and_then(|n| journeys::think(n, &mut cx.p)).unwrap_or_default();
    f.need("for", &mut cx.p);
    let length = f.positive("for", &mut cx.p).unwrap_or_default();
    f.finish(&mut cx.p);
    Model::Closed { users: u32::try_from(count).expect("bounded above"), think, length }
}

fn replay(node: &Node, cx: &mut Cx) -> Replay {
    let mut f = node.fields("replay", &mut cx.p);
    let file = f.need("file", &mut cx.p).and_then(|n| {
        let path = n.string("file", &mut cx.p)?;
        let bytes = cx.read(n, &path, MAX_RECORDING)?;
        if bytes.starts_with(&GZIP) || path.ends_with(".gz") {
            cx.p.hint(&n.span, "a compressed recording is not available yet", format!("unpack `{path}` with gunzip"));
        } else if bytes.is_empty() {
            cx.p.add(&n.span, format!("`{path}` is empty"));
        }
        Some(path)
    });
    let format = f.need("format", &mut cx.p).and_then(|n| match n.text() {
        Some(text) if LATER_FORMATS.contains(&text) => {
            cx.p.later(&n.span, &format!("`format: {text}`"));
            None
        }
        _ => ask::choice(n, "format", &["access-log"], &mut cx.p),
    });
    let speed = f.take("speed").and_then(|n| n.scalar("speed", &mut cx.p, speed)).unwrap_or(1_000_000);
    let between = f.take("between").and_then(|n| between(n, cx));
    let gaps = f.duration("gaps", &mut cx.p);
    let methods = f.list("methods", &mut cx.p).iter().filter_map(|n| requests::method(n, &mut cx.p)).collect();
    let expect_recorded = f.choice("expect", &["recorded"], &mut cx.p).is_some();
    f.finish(&mut cx.p);
    let (file, format) = (file.unwrap_or_default(), format.unwrap_or_default());
    Replay { file, format, speed_ppm: speed, between, gaps, methods, expect_recorded }
}

fn between(node: &Node, cx: &mut Cx) -> Option<(Span, Span)> {
    let mut f = node.fields("between", &mut cx.p);
    let later = f.later("to", &mut cx.p);
    let from = f.need("from", &mut cx.p).and_then(|n| {
        if n.text().is_some_and(|t| t.contains('T') || t.matches('-').count() == 2) {
            cx.p.later(&n.span, "`between` by time of day");
            return None;
        }
        n.duration("from", &mut cx.p)
    });
    let length = if later { f.take("for") } else { f.need("for", &mut cx.p) };
    let length = length.and_then(|n| n.duration("for", &mut cx.p));
    f.finish(&mut cx.p);
    Some((from?, length?))
}

fn speed(text: &str) -> Result<u64, String> {
    let value = text.strip_suffix('x').and_then(|n| n.parse::<f64>().ok()).filter(|v| *v >= 0.001 && *v <= MAX_SPEED);
    value.map(|v| (v * 1e6).round() as u64).ok_or_else(|| format!("`{text}` is not a speed; write 2x, 0.001x to {MAX_SPEED}x"))
}

fn retry(node: &Node, speaks: Option<Speaks>, p: &mut Problems) -> Retry {
    let mut f = node.fields("retry", p);
    let attempts = f.whole("attempts", 2..11, p).unwrap_or(2);
    let mut on = Vec::new();
    if let Some(n) = f.need("on", p) {
        for (text, n) in ask::one_or_more(n, "on", p) {
            on.extend(retry_on(&text, speaks, &n.span, p));
        }
        if on.is_empty() && p.is_empty() {
            p.add(&n.span, "`on` names nothing to retry on");
        }
    }
    let backoff = f.duration("backoff", p).unwrap_or(BACKOFF);
    f.finish(p);
    Retry { attempts: u32::try_from(attempts).expect("bounded above"), on, backoff }
}

fn retry_on(text: &str, speaks: Option<Speaks>, span: &Range<usize>, p: &mut Problems) -> Option<RetryOn> {
    let status = match speaks {
        Some(Speaks::Grpc) => expects::grpc_code(text),
        Some(Speaks::Tcp | Speaks::Udp) => None,
        _ => text.parse::<u16>().ok().filter(|s| (100..600).contains(s)),
    };
    match (text, status) {
        ("connect", _) => Some(RetryOn::Connect),
        ("reset", _) => Some(RetryOn::Reset),
        ("timeout", _) => Some(RetryOn::Timeout),
        (_, Some(status)) => Some(RetryOn::Status(status)),
        _ => {
            let hint = match speaks {
                Some(Speaks::Grpc) => "write connect, reset, timeout or a status like UNAVAILABLE",
                Some(Speaks::Tcp | Speaks::Udp) => "write connect, reset or timeout",
                _ => "write connect, reset, timeout or a status like 503",
            };
            p.hint(span, format!("`{text}` is nothing to retry on"), hint);
            None
        }
    }
}

/// The peaks of all open shapes together, held against `limits.rate`.
pub fn check_peaks(node: &Node, streams: &[Stream], limit: Option<Rate>, cx: &mut Cx) {
    let peaks = streams.iter().map(|s| match &s.model {
        Model::Open { shape, .. } => shapes::peak(shape).0,
        _ => 0,
    });
    let sum = Rate(peaks.fold(0, u64::saturating_add));
    if let Some(limit) = limit.filter(|l| sum > *l) {
        cx.p.hint(
            &node.span,
            format!("the shapes reach {sum} together, more than limits.rate, {limit}"),
            "lower the shapes, or raise environment.limits.rate if the environment can take it",
        );
    }
}

/// Arrivals expected from `from` to `to` (seconds from the epoch), as far as they can be told; `None`: they cannot.
pub fn expected(stream: &Stream, start: f64, from: f64, to: f64) -> Option<f64> {
    let (from, to) = ((from - start).max(0.0), (to - start).max(0.0));
    match &stream.model {
        Model::Open { shape, .. } => Some(shapes::expected(shape, from, to)),
        Model::Closed { .. } | Model::Replay(_) => None,
    }
}
