//! `environment.targets`: endpoints and URLs, judged against the allow list, and the version of HTTP they speak. How they
//! are reached is in `reach`, their TLS in `tls`, their messages in `protos`.

use crate::address::{self, Known, Speaks, Url};
use crate::ask;
use crate::cx::Cx;
use crate::{protos, reach, requests, templates, tls};
use shakedown_core::plan::{GrpcSchema, HttpVersion, Reach, Target, Tls};
use shakedown_core::tree::{Fields, Node, Tree};
use std::net::IpAddr;

/// Schemes that load can use later.
const LATER_SCHEMES: [&str; 6] = ["dns", "kafka", "redis", "postgres", "mqtt", "amqp"];

/// Where a target is, as far as it could be read.
#[derive(Default)]
pub struct At {
    /// As written.
    text: String,
    /// What it speaks; `None`: that could not be read, which is a problem of its own.
    speaks: Option<Speaks>,
    /// Over TLS.
    tls: bool,
    /// An endpoint of this run, no URL.
    pub endpoint: bool,
    /// Its address when it is written as one.
    pub literal: Option<IpAddr>,
    /// Host and port of a URL.
    pub host: Option<(String, u16)>,
}

/// Decodes one target.
pub fn decode(name: &str, node: &Node, cx: &mut Cx) -> Target {
    let mut target = Target {
        name: name.to_owned(),
        at: String::new(),
        http: HttpVersion::default(),
        tls: Tls::default(),
        headers: Vec::new(),
        reach: Reach::default(),
        grpc: GrpcSchema::default(),
    };
    let what = format!("target `{name}`");
    let at;
    if let Tree::Map(_) = node.tree {
        let mut f = node.fields(&what, &mut cx.p);
        let url = f.need("url", &mut cx.p);
        at = url.map(|n| self::at(n, cx)).unwrap_or_default();
        target.http = http(&mut f, &at, cx);
        target.tls = secured(&mut f, &at, cx);
        target.headers = headers(&mut f, &at, cx);
        target.reach = reach::decode(&mut f, &at, at.speaks, cx);
        target.grpc = schema(&mut f, &at, cx);
        f.finish(&mut cx.p);
        judge(url, &at, &target.reach, cx);
    } else {
        at = self::at(node, cx);
        target.http = implied(&at);
        judge(Some(node), &at, &target.reach, cx);
    }
    if let Some(speaks) = at.speaks {
        let hidden = target.reach.unix.as_ref().map(|_| "a Unix socket").or(target.reach.proxy.as_ref().map(|_| "a proxy"));
        cx.targets.insert(name.to_owned(), Known { speaks, http: target.http, hidden });
    }
    target.at = at.text;
    target
}

/// An endpoint or URL.
fn at(node: &Node, cx: &mut Cx) -> At {
    let Some(text) = node.string("target", &mut cx.p) else { return At::default() };
    if !text.contains("://") {
        if text.contains(':') {
            cx.p.hint(&node.span, format!("`{text}` is not an endpoint"), format!("write http://{text}"));
        } else {
            cx.names.endpoint(&text, &node.span, &mut cx.p);
        }
        return At { text, speaks: Some(Speaks::Http), endpoint: true, ..At::default() };
    }
    if let Some((scheme, _)) = text.split_once("://").filter(|(s, _)| LATER_SCHEMES.contains(s)) {
        cx.p.later(&node.span, &format!("load over `{scheme}`"));
        return At::default();
    }
    match address::target(&text) {
        Ok(url) => {
            let Url { scheme, host, port } = url;
            let (literal, host) = (url.literal(), Some((host.to_owned(), port)));
            At { speaks: Some(scheme.speaks), tls: scheme.tls, endpoint: false, literal, host, text }
        }
        Err(why) => {
            ask::with_hint(node, "target", &why, &mut cx.p);
            At::default()
        }
    }
}

/// What is connected to must be in the allow list: the URL's own address, unless another one is said.
fn judge(url: Option<&Node>, at: &At, reach: &Reach, cx: &mut Cx) {
    let (Some(node), Some((host, port))) = (url, &at.host) else { return };
    if reach.unix.is_none() && reach.pin.is_none() {
        cx.judge_host(host, *port, &node.span);
    }
    if reach.proxy.is_some() && at.literal.is_none() && host != "localhost" {
        cx.p.hint(
            &node.span,
            format!("behind a proxy nobody could judge `{host}` against environment.allow"),
            "the proxy resolves names; write the address, with tls.server_name where a certificate is checked",
        );
    }
}

fn implied(at: &At) -> HttpVersion {
    if at.speaks == Some(Speaks::Grpc) { HttpVersion::Two } else { HttpVersion::One }
}

fn http(f: &mut Fields, at: &At, cx: &mut Cx) -> HttpVersion {
    let Some(node) = f.take("http") else { return implied(at) };
    let version = match node.text() {
        Some("1.1") => HttpVersion::One,
        Some("2") => HttpVersion::Two,
        Some("3") => {
            let hint = "write http: 2; who serves HTTP/3 nearly always serves that too, on the same port over TCP";
            cx.p.hint(&node.span, "HTTP/3 is not spoken yet", hint);
            return HttpVersion::Two;
        }
        _ => {
            cx.p.hint(&node.span, format!("{} is not a version of HTTP", node.describe()), "write 1.1 or 2");
            // What was meant is unknown; this one brings no second mistake with it.
            return HttpVersion::Two;
        }
    };
    // A TCP proxy passes on what it does not understand; the builtin services and HTTP proxies speak 1.1 only.
    let tcp_proxy = |text: &str| text.strip_prefix("proxy.").is_some_and(|p| cx.names.proxies.get(p) == Some(&false));
    let at_key = f.key_span("http");
    match at.speaks {
        Some(Speaks::Grpc) if version == HttpVersion::One => {
            cx.p.hint(&node.span, "gRPC is spoken over HTTP/2", "leave `http` out");
        }
        Some(Speaks::Http) if version == HttpVersion::Two && at.endpoint && !tcp_proxy(&at.text) => {
            cx.p.hint(&node.span, format!("`{}` speaks HTTP/1.1 only", at.text), "leave `http` out");
        }
        Some(Speaks::Http | Speaks::Grpc) | None => {}
        Some(other) => cx.p.hint(&at_key, format!("`http` has no meaning for {}", other.name()), "remove it"),
    }
    if at.speaks == Some(Speaks::Http) { version } else { implied(at) }
}

fn secured(f: &mut Fields, at: &At, cx: &mut Cx) -> Tls {
    let Some(node) = f.take("tls") else { return Tls::default() };
    let settings = tls::decode(node, cx);
    if let Some(speaks) = at.speaks.filter(|_| !at.tls) {
        let secure = match speaks {
            Speaks::Http => "https://…",
            Speaks::WebSocket => "wss://…",
            Speaks::Grpc => "grpcs://…",
            Speaks::Tcp => "tls://…",
            Speaks::Udp => "",
        };
        let key = f.key_span("tls");
        if secure.is_empty() {
            cx.p.hint(&key, "`tls` has no meaning for UDP", "remove it");
        } else {
            cx.p.hint(&key, "`tls` without a URL that says so", format!("write the target's url as {secure}"));
        }
    }
    settings
}

fn headers(f: &mut Fields, at: &At, cx: &mut Cx) -> Vec<(String, shakedown_core::template::Template)> {
    let Some(node) = f.take("headers") else { return Vec::new() };
    if let Some(speaks) = at.speaks.filter(|s| matches!(s, Speaks::Tcp | Speaks::Udp)) {
        cx.p.hint(&f.key_span("headers"), format!("`headers` have no meaning for {}", speaks.name()), "remove them");
    }
    requests::headers(node, &mut templates::Scope::target(), cx)
}

fn schema(f: &mut Fields, at: &At, cx: &mut Cx) -> GrpcSchema {
    let Some(node) = f.take("proto") else { return GrpcSchema::default() };
    if let Some(speaks) = at.speaks.filter(|s| *s != Speaks::Grpc) {
        cx.p.hint(
            &f.key_span("proto"),
            format!("`proto` has no meaning for {}", speaks.name()),
            "write the target's url as grpc:// or grpcs://, or remove it",
        );
        return GrpcSchema::default();
    }
    protos::decode(node, cx)
}
