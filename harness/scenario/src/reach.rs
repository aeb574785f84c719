//! How connections to a target are made: `unix`, `proxy`, `sources`, `pin`, `resolve_every`. What contradicts is refused
//! here, so that nobody has to choose between two settings later.

use crate::address::{self, Speaks};
use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::targets::At;
use shakedown_core::plan::Reach;
use shakedown_core::tree::{Fields, Node};
use std::net::IpAddr;

/// Most source addresses.
const MAX_SOURCES: usize = 256;
/// Longest path of a Unix socket (`sun_path` of Linux, less its end).
const MAX_UNIX: usize = 107;

/// Decodes the keys of a target that say how it is reached.
pub fn decode(f: &mut Fields, at: &At, speaks: Option<Speaks>, cx: &mut Cx) -> Reach {
    let unix = f.take("unix").and_then(|n| unix(n, cx));
    let proxy = f.take("proxy").and_then(|n| proxy(n, cx));
    let sources = f.take("sources").map(|n| sources(n, cx)).unwrap_or_default();
    let pin = f.take("pin").and_then(|n| {
        let ip = address(n, "pin", cx)?;
        cx.judge_host(&ip.to_string(), at.host.as_ref().map_or(0, |(_, port)| *port), &n.span);
        Some(ip)
    });
    let resolve_every = f.positive("resolve_every", &mut cx.p);
    let reach = Reach { unix, proxy, sources, pin, resolve_every };
    contradictions(f, &reach, at, speaks, cx);
    reach
}

/// Reports every setting that another one leaves nothing to do.
fn contradictions(f: &Fields, reach: &Reach, at: &At, speaks: Option<Speaks>, cx: &mut Cx) {
    let udp = speaks == Some(Speaks::Udp);
    let named = if at.endpoint { "an endpoint" } else { "an address" };
    let fixed = at.endpoint || at.literal.is_some();
    let rules = [
        (reach.unix.is_some() && at.endpoint, "unix", "an endpoint", "write url: http://localhost"),
        (reach.unix.is_some() && udp, "unix", "UDP", "remove it"),
        (reach.proxy.is_some() && udp, "proxy", "UDP", "remove it"),
        (reach.unix.is_some() && reach.proxy.is_some(), "proxy", "`unix`", "remove one of them"),
        (reach.unix.is_some() && !reach.sources.is_empty(), "sources", "`unix`", "remove one of them"),
        (reach.unix.is_some() && reach.pin.is_some(), "pin", "`unix`", "remove one of them"),
        (reach.unix.is_some() && reach.resolve_every.is_some(), "resolve_every", "`unix`", "remove one of them"),
        (reach.proxy.is_some() && reach.pin.is_some(), "pin", "`proxy`", "the proxy connects to the target; write its address as url"),
        (reach.proxy.is_some() && reach.resolve_every.is_some(), "resolve_every", "`proxy`", "the proxy resolves the name"),
        (reach.pin.is_some() && reach.resolve_every.is_some(), "resolve_every", "`pin`", "remove one of them"),
        (reach.pin.is_some() && fixed, "pin", named, "only a name can be pinned to an address"),
        (reach.resolve_every.is_some() && fixed, "resolve_every", named, "only a name is resolved"),
    ];
    for (_, key, with, hint) in rules.into_iter().filter(|(broken, ..)| *broken) {
        cx.p.hint(&f.key_span(key), format!("`{key}` has no meaning with {with}"), hint);
    }
    // Through a proxy the connection goes to the proxy's family, which the run will see.
    let to = reach.pin.or(at.literal).filter(|_| reach.proxy.is_none());
    if let Some(source) = to.and_then(|to| reach.sources.iter().find(|s| s.is_ipv4() != to.is_ipv4())) {
        cx.p.hint(
            &f.key_span("sources"),
            format!("nothing connects from {source} to the target's address"),
            "use one family, IPv4 or IPv6",
        );
    }
}

fn unix(node: &Node, cx: &mut Cx) -> Option<String> {
    let path = node.string("unix", &mut cx.p)?;
    if path.is_empty() || path.len() > MAX_UNIX || path.contains('\0') {
        cx.p.hint(&node.span, format!("`{path}` is not a socket's path"), format!("write 1 to {MAX_UNIX} characters, like ./app.sock"));
    }
    Some(path)
}

fn proxy(node: &Node, cx: &mut Cx) -> Option<String> {
    let text = node.string("proxy", &mut cx.p)?;
    match address::url(&text) {
        Ok(url) if url.scheme.tls || text.matches('/').count() > 2 => {
            cx.p.hint(&node.span, format!("`{text}` is not a proxy load can use"), "write http://host:port, without a path");
        }
        Ok(url) => cx.judge_host(url.host, url.port, &node.span),
        Err(why) => ask::with_hint(node, "proxy", &why, &mut cx.p),
    }
    Some(text)
}

fn sources(node: &Node, cx: &mut Cx) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    let items = ask::items(node, "sources", &mut cx.p);
    for item in items {
        let Some(ip) = address(item, "sources", cx) else { continue };
        if all.contains(&ip) {
            cx.p.hint(&item.span, format!("the source address {ip} is given twice"), "each is used in turn; remove one");
        }
        all.push(ip);
    }
    if items.is_empty() || items.len() > MAX_SOURCES {
        cx.p.hint(&node.span, format!("sources must name 1 to {MAX_SOURCES} addresses"), "like sources: [127.0.0.2, 127.0.0.3]");
    }
    all
}

fn address(node: &Node, what: &str, cx: &mut Cx) -> Option<IpAddr> {
    let text = node.string(what, &mut cx.p)?;
    let ip = text.parse().ok();
    if ip.is_none() {
        cx.p.hint(&node.span, format!("{what}: `{text}` is not an address"), "write 127.0.0.2, without a port");
    }
    ip
}
