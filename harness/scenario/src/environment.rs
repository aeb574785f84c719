//! `environment`: class, allow list, limits, and the maps of services, targets and proxies. What its class demands of
//! the rest is in `guardrails`.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::{names, proxies, services, targets};
use shakedown_core::allowed::AllowList;
use shakedown_core::plan::{Environment, EnvironmentClass, Limits};
use shakedown_core::tree::Node;
use std::net::IpAddr;

/// Blocks that are always harmless: this machine.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// Decodes it.
pub fn decode(node: &Node, cx: &mut Cx) -> Environment {
    let mut f = node.fields("environment", &mut cx.p);
    let name = f.need("name", &mut cx.p).and_then(|n| {
        let text = n.string("name", &mut cx.p)?;
        names::check(&text, &n.span, &mut cx.p).then_some(text)
    });
    let class = match f.choice("class", &["local", "shared", "production"], &mut cx.p).as_deref() {
        Some("shared") => EnvironmentClass::Shared,
        Some("production") => EnvironmentClass::Production,
        _ => EnvironmentClass::Local,
    };
    let allow = f.take("allow").map_or_else(|| LOOPBACK.map(str::to_owned).to_vec(), |n| allow(n, class, cx));
    cx.allow = AllowList::parse(&allow).ok();
    let limits = f.take("limits").map(|n| limits(n, cx)).unwrap_or_default();
    for key in ["prices", "conflicts_with", "fingerprint", "lock"] {
        f.later(key, &mut cx.p);
    }
    let services = f.named("services", &mut cx.p).into_iter().map(|(name, span, n)| services::decode(name, span, n, cx)).collect();
    let proxies = f.named("proxies", &mut cx.p);
    let proxies = proxies::decode(&proxies, class == EnvironmentClass::Local, cx);
    let targets = f.named("targets", &mut cx.p);
    let targets = targets.into_iter().map(|(name, _, n)| (name.to_owned(), targets::decode(name, n, cx))).collect();
    f.finish(&mut cx.p);
    Environment { name: name.unwrap_or_default(), class, allow, limits, services, targets, proxies }
}

fn allow(node: &Node, class: EnvironmentClass, cx: &mut Cx) -> Vec<String> {
    let mut blocks = Vec::new();
    for (text, item) in ask::texts(node, "allow", &mut cx.p) {
        if let Err(why) = AllowList::parse(std::slice::from_ref(&text)) {
            ask::with_hint(item, "allow", &why, &mut cx.p);
        } else if class == EnvironmentClass::Local && !loopback(&text) {
            cx.p.hint(
                &item.span,
                format!("`{text}` is outside loopback, which `class: local` does not allow"),
                "set `class: shared` (or production) and what it demands",
            );
        } else {
            blocks.push(text);
        }
    }
    if blocks.is_empty() && cx.p.is_empty() {
        cx.p.add(&node.span, "an empty allow list allows nothing");
    }
    blocks
}

fn loopback(block: &str) -> bool {
    let (addr, bits) = block.split_once('/').unwrap_or((block, ""));
    match (addr.parse::<IpAddr>(), bits) {
        (Ok(ip @ IpAddr::V4(_)), "") => ip.is_loopback(),
        (Ok(ip @ IpAddr::V4(_)), bits) => ip.is_loopback() && bits.parse::<u8>().is_ok_and(|b| b >= 8),
        (Ok(ip @ IpAddr::V6(_)), bits) => ip.is_loopback() && (bits.is_empty() || bits == "128"),
        _ => false,
    }
}

fn limits(node: &Node, cx: &mut Cx) -> Limits {
    let mut f = node.fields("limits", &mut cx.p);
    let rate = f.rate("rate", &mut cx.p);
    let requests = f.whole("requests", 1..1_000_000_000_001, &mut cx.p);
    let in_flight = f.whole("in_flight", 1..1_000_001, &mut cx.p);
    let max_weight = f.share("max_weight", &mut cx.p);
    let max_share = f.share("max_share", &mut cx.p);
    f.later("cost", &mut cx.p);
    f.finish(&mut cx.p);
    Limits { rate, requests, in_flight, max_weight, max_share }
}
