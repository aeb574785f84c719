//! `environment.targets` and `environment.proxies`: endpoints and URLs, judged against the allow list.

use crate::ask::{self, Ask};
use crate::cx::{self, Cx};
use crate::{requests, templates};
use shakedown_core::plan::{GrpcSchema, HttpVersion, ProxyPlan, Reach, Target, Tls};
use shakedown_core::tree::{Node, Tree};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

/// Largest TLS file.
const MAX_PEM: usize = 4 << 20;

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
    if !matches!(node.tree, Tree::Map(_)) {
        target.at = at(node, cx).0;
        return target;
    }
    let what = format!("target `{name}`");
    let mut f = node.fields(&what, &mut cx.p);
    let (address, secure) = f.need("url", &mut cx.p).map(|n| at(n, cx)).unwrap_or_default();
    if let Some(http) = f.take("http") {
        match http.text() {
            Some("1.1") => {}
            Some("2" | "3") => cx.p.later(&http.span, &format!("`http: {}`", http.text().unwrap_or_default())),
            _ => cx.p.hint(&http.span, format!("{} is not a version of HTTP", http.describe()), "write 1.1 or 2"),
        }
    }
    if let Some(tls) = f.take("tls") {
        target.tls = decode_tls(tls, cx);
        if !secure {
            cx.p.hint(&f.key_span("tls"), "`tls` without an https URL", "write the target's url as https://…");
        }
    }
    if let Some(headers) = f.take("headers") {
        target.headers = requests::headers(headers, &mut templates::Scope::target(), cx);
    }
    f.finish(&mut cx.p);
    target.at = address;
    target
}

/// An endpoint or URL, and whether it is https.
fn at(node: &Node, cx: &mut Cx) -> (String, bool) {
    let Some(text) = node.string("target", &mut cx.p) else { return Default::default() };
    if !text.contains("://") {
        if text.contains(':') {
            cx.p.hint(&node.span, format!("`{text}` is not an endpoint"), format!("write http://{text}"));
        } else {
            cx.names.endpoint(&text, &node.span, &mut cx.p);
        }
        return (text, false);
    }
    if let Some((scheme @ ("grpc" | "dns" | "ws" | "wss" | "kafka" | "redis" | "postgres" | "mqtt" | "amqp"), _)) = text.split_once("://") {
        cx.p.later(&node.span, &format!("load over `{scheme}`"));
        return Default::default();
    }
    match cx::url(&text) {
        Ok(url) => {
            cx.judge_host(url.host, url.port, &node.span);
            let secure = url.tls;
            (text, secure)
        }
        Err(why) => {
            ask::with_hint(node, "target", &why, &mut cx.p);
            (text.clone(), text.starts_with("https"))
        }
    }
}

fn decode_tls(node: &Node, cx: &mut Cx) -> Tls {
    let mut f = node.fields("tls", &mut cx.p);
    let mut file = |key| {
        let node = f.take(key)?;
        let path = node.string(key, &mut cx.p)?;
        let bytes = cx.read(node, &path, MAX_PEM)?;
        let wanted = if key == "key" { "PRIVATE KEY-----" } else { "-----BEGIN CERTIFICATE-----" };
        if !bytes.windows(wanted.len()).any(|w| w == wanted.as_bytes()) {
            let what = if key == "key" { "private key" } else { "certificate" };
            cx.p.hint(&node.span, format!("`{path}` holds no {what}"), "a PEM file is wanted, with -----BEGIN … lines");
        }
        Some(path)
    };
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    let insecure = f.flag("insecure", &mut cx.p).unwrap_or(false);
    f.finish(&mut cx.p);
    if cert.is_some() != key.is_some() && cx.p.is_empty() {
        cx.p.add(&node.span, "`cert` and `key` are given together or not at all");
    }
    Tls { ca, cert, key, insecure, ..Tls::default() }
}

/// Decodes all proxies.
pub fn proxies(all: &[(&str, &Range<usize>, &Node)], local: bool, cx: &mut Cx) -> Vec<ProxyPlan> {
    let mut taken: BTreeMap<SocketAddr, String> = BTreeMap::new();
    let mut proxies = Vec::new();
    for (name, span, node) in all {
        let proxy = proxy(name, node, local, cx);
        if proxy.listen.port() != 0
            && let Some(other) = taken.insert(proxy.listen, (*name).to_owned())
        {
            cx.p.hint(
                span,
                format!("proxies `{other}` and `{name}` listen on the same address"),
                "give one another port, or 0 to draw one",
            );
        }
        proxies.push(proxy);
    }
    for (name, span, _) in all {
        if circular(name, &proxies) {
            cx.p.hint(span, format!("the proxy `{name}` forwards to itself"), "follow its `upstream`: some proxy must reach a service");
        }
    }
    proxies
}

fn proxy(name: &str, node: &Node, local: bool, cx: &mut Cx) -> ProxyPlan {
    let what = format!("proxy `{name}`");
    let mut f = node.fields(&what, &mut cx.p);
    let mut listen = SocketAddr::from(([127, 0, 0, 1], 0));
    if let Some(n) = f.take("listen") {
        match n.text().and_then(|t| t.parse().ok()) {
            Some(addr) => listen = addr,
            None => {
                cx.p.hint(&n.span, format!("listen: {} is not an address", n.describe()), "write 127.0.0.1:19001, or port 0 to draw one")
            }
        }
        if local && !listen.ip().is_loopback() {
            cx.p.hint(&n.span, format!("`{listen}` is outside loopback, which `class: local` does not allow"), "listen on 127.0.0.1");
        }
    }
    let upstream = f.need("upstream", &mut cx.p).and_then(|n| {
        let text = n.string("upstream", &mut cx.p)?;
        if text.contains(':') {
            match cx::host_port(&text, 0) {
                Ok((host, port)) => cx.judge_host(host, port, &n.span),
                Err(why) => ask::with_hint(n, "upstream", &why, &mut cx.p),
            }
        } else {
            cx.names.endpoint(&text, &n.span, &mut cx.p);
        }
        Some(text)
    });
    let mut http = false;
    if let Some(n) = f.take("protocol") {
        match n.text() {
            Some("http2" | "grpc" | "dns" | "redis" | "postgres" | "udp") => {
                cx.p.later(&n.span, &format!("`protocol: {}`", n.text().unwrap_or_default()))
            }
            _ => http = ask::choice(n, "protocol", &["tcp", "http"], &mut cx.p).as_deref() == Some("http"),
        }
    }
    f.finish(&mut cx.p);
    ProxyPlan { name: name.to_owned(), listen, upstream: upstream.unwrap_or_default(), http }
}

fn circular(name: &str, proxies: &[ProxyPlan]) -> bool {
    let next = |name: &str| proxies.iter().find(|p| p.name == name)?.upstream.strip_prefix("proxy.");
    let mut at = name;
    // A chain longer than there are proxies has met one twice.
    for _ in 0..proxies.len() {
        match next(at) {
            Some(n) if n == name => return true,
            Some(n) => at = n,
            None => return false,
        }
    }
    false
}
