//! `environment.proxies`: where faults can sit. What they forward to is judged against the allow list.

use crate::address;
use crate::ask;
use crate::cx::Cx;
use shakedown_core::plan::ProxyPlan;
use shakedown_core::tree::Node;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

/// Decodes all proxies.
pub fn decode(all: &[(&str, &Range<usize>, &Node)], local: bool, cx: &mut Cx) -> Vec<ProxyPlan> {
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
            match address::host_port(&text, 0) {
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
