//! `environment.services`: programs, builtins and what is already there; readiness, stopping, restart.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::{address, names, stub};
use shakedown_core::plan::{Probe, Ready, Service, ServiceKind, Sticky};
use shakedown_core::tree::{Fields, Node};
use shakedown_core::units::Span;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

const WITHIN_READY: Span = Span::secs(10);
const WITHIN_STOP: Span = Span::secs(5);
const SIGNALS: [&str; 7] = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"];
/// Most releases of the embedded shop: control and canary, and a few to choose from.
const MAX_RELEASES: usize = 20;

/// Keys that belong to a builtin service.
const KIND_KEYS: [&str; 5] = ["releases", "payments", "sticky", "answers", "listen"];

/// Decodes one service.
pub fn decode(name: &str, span: &Range<usize>, node: &Node, cx: &mut Cx) -> Service {
    if name == "proxy" {
        cx.p.hint(span, "`proxy` is a reserved word", "endpoints of proxies are called proxy.<name>; rename the service");
    }
    let what = format!("service `{name}`");
    let mut f = node.fields(&what, &mut cx.p);
    let given: Vec<&str> = ["builtin", "command", "attach"].into_iter().filter(|k| names::child(node, k).is_some()).collect();
    if given.len() != 1 {
        cx.p.hint(span, format!("{what} needs exactly one of `builtin`, `command` and `attach`"), found(&given));
    }
    if given.is_empty() {
        // A kind that is missing or misspelt is the mistake, not the keys and endpoints that would go with it.
        for key in KIND_KEYS {
            f.take(key);
        }
        if let Some(releases) = names::child(node, "releases") {
            let all = ask::entries(releases, "releases", &mut cx.p);
            cx.releases.insert(name.to_owned(), all.iter().map(|(k, ..)| (*k).to_owned()).collect());
        }
    }
    let command = f.take("command").map(|n| command(n, cx));
    let attach = f.take("attach").and_then(|n| attach(n, cx));
    let builtin = f.take("builtin").and_then(|n| builtin(n, &mut f, cx));
    if let Some(ServiceKind::Shop { releases, .. }) = &builtin {
        cx.releases.insert(name.to_owned(), releases.keys().cloned().collect());
    }
    let started = command.is_some();
    let kind = command.map(ServiceKind::Command).or(attach).or(builtin).unwrap_or(ServiceKind::Command(Vec::new()));
    let attached = matches!(kind, ServiceKind::AttachPidFile(_));
    if attached {
        for key in ["env", "stop", "restart"].into_iter().filter(|k| names::child(node, k).is_some()) {
            cx.p.hint(&f.key_span(key), format!("`{key}` has no meaning for an attached service"), "the run neither starts nor stops it");
        }
    }
    let env = f.take("env").map(|n| env(n, cx)).unwrap_or_default();
    let ready = f.take("ready").map(|n| ready(n, cx)).or(started.then_some(Ready { probe: Probe::Started, within: WITHIN_READY }));
    let (stop_signal, stop_within) = f.take("stop").map_or_else(|| ("TERM".into(), WITHIN_STOP), |n| stop(n, cx));
    let restart = f.choice("restart", &["never", "always"], &mut cx.p).as_deref() == Some("always");
    f.finish(&mut cx.p);
    Service { name: name.to_owned(), kind, env, ready, stop_signal, stop_within, restart }
}

fn found(given: &[&str]) -> String {
    if given.is_empty() { "none is given".into() } else { format!("given: {}", given.join(", ")) }
}

/// A program and its arguments.
pub fn command(node: &Node, cx: &mut Cx) -> Vec<String> {
    let words: Vec<String> = ask::texts(node, "command", &mut cx.p).into_iter().map(|(t, _)| t).collect();
    if words.first().is_none_or(String::is_empty) && matches!(node.tree, shakedown_core::tree::Tree::Seq(_)) {
        cx.p.hint(&node.span, "command names no program", "write [program, argument, …]");
    }
    words
}

fn env(node: &Node, cx: &mut Cx) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (key, span, value) in ask::entries(node, "env", &mut cx.p) {
        if key.is_empty() || key.contains(['=', '\0']) {
            cx.p.add(span, format!("`{key}` is not an environment variable's name"));
        }
        env.insert(key.to_owned(), value.string(key, &mut cx.p).unwrap_or_default());
    }
    env
}

fn attach(node: &Node, cx: &mut Cx) -> Option<ServiceKind> {
    let mut f = node.fields("attach", &mut cx.p);
    let later = f.later("container", &mut cx.p) | f.later("unit", &mut cx.p);
    let file = if later { f.take("pid_file") } else { f.need("pid_file", &mut cx.p) };
    let file = file.and_then(|n| n.string("pid_file", &mut cx.p));
    f.finish(&mut cx.p);
    file.map(ServiceKind::AttachPidFile)
}

fn builtin(node: &Node, f: &mut Fields, cx: &mut Cx) -> Option<ServiceKind> {
    let Some(name) = ask::choice(node, "builtin", &["shop", "stub"], &mut cx.p) else {
        // The name is the mistake, not the keys that would go with the right one.
        for key in KIND_KEYS {
            f.take(key);
        }
        return None;
    };
    match name.as_str() {
        "shop" => {
            let releases = f.need("releases", &mut cx.p).map(|n| releases(n, cx)).unwrap_or_default();
            let payments = f.take("payments").and_then(|n| {
                let text = n.string("payments", &mut cx.p)?;
                cx.names.endpoint(&text, &n.span, &mut cx.p).then_some(text)
            });
            let sticky = f.take("sticky").and_then(|n| sticky(n, cx));
            Some(ServiceKind::Shop { releases, payments, sticky })
        }
        _ => {
            let answers = f.need("answers", &mut cx.p).and_then(|n| {
                let path = n.string("answers", &mut cx.p)?;
                let bytes = cx.read(n, &path, crate::yaml::MAX_BYTES)?;
                stub::answers(n, &path, &bytes, cx)
            });
            let listen = f.take("listen").and_then(|n| {
                let text = n.string("listen", &mut cx.p)?;
                let addr: Option<SocketAddr> = text.parse().ok();
                match addr {
                    Some(addr) => cx.judge_host(&addr.ip().to_string(), addr.port(), &n.span),
                    None => cx.p.hint(&n.span, format!("`{text}` is not an address"), "write 127.0.0.1:19001, or port 0 to draw one"),
                }
                addr
            });
            let listen = listen.map_or_else(|| "127.0.0.1:0".to_owned(), |a| a.to_string());
            Some(ServiceKind::Stub { answers: answers?, listen })
        }
    }
}

fn sticky(node: &Node, cx: &mut Cx) -> Option<Sticky> {
    let mut f = node.fields("sticky", &mut cx.p);
    let header = f.take("header").and_then(|n| n.string("header", &mut cx.p));
    let cookie = f.take("cookie").and_then(|n| n.string("cookie", &mut cx.p));
    f.finish(&mut cx.p);
    match (header, cookie) {
        (Some(name), None) => Some(Sticky::Header(name)),
        (None, Some(name)) => Some(Sticky::Cookie(name)),
        _ => {
            cx.p.hint(&node.span, "sticky needs exactly one of `header` and `cookie`", "write sticky: {header: x-user}");
            None
        }
    }
}

fn releases(node: &Node, cx: &mut Cx) -> BTreeMap<String, Vec<String>> {
    let all = ask::entries(node, "releases", &mut cx.p);
    if all.is_empty() || all.len() > MAX_RELEASES {
        cx.p.add(&node.span, format!("releases must name 1 to {MAX_RELEASES} releases"));
    }
    let mut releases = BTreeMap::new();
    for (name, _, flaws) in all {
        let mut known = Vec::new();
        for (flaw, at) in ask::texts(flaws, "flaws", &mut cx.p) {
            if names::resolve("flaw", &flaw, cx.source.kinds.shop_flaws.iter().copied(), &at.span, &mut cx.p) {
                known.push(flaw);
            }
        }
        releases.insert(name.to_owned(), known);
    }
    releases
}

fn ready(node: &Node, cx: &mut Cx) -> Ready {
    let mut f = node.fields("ready", &mut cx.p);
    let http = f.take("http").and_then(|n| {
        let text = n.string("http", &mut cx.p)?;
        let base = text.split(['?', '#']).next().unwrap_or_default();
        if let Err(why) = address::url(base) {
            ask::with_hint(n, "http", &why, &mut cx.p);
        }
        Some(Probe::Http(text))
    });
    let tcp = f.take("tcp").and_then(|n| {
        let text = n.string("tcp", &mut cx.p)?;
        if let Err(why) = address::host_port(&text, 0) {
            ask::with_hint(n, "tcp", &why, &mut cx.p);
        }
        Some(Probe::Tcp(text))
    });
    let log = f.text("log", &mut cx.p).map(Probe::Log);
    let within = f.positive("within", &mut cx.p).unwrap_or(WITHIN_READY);
    f.finish(&mut cx.p);
    let mut probes: Vec<Probe> = [http, tcp, log].into_iter().flatten().collect();
    if probes.len() > 1 {
        cx.p.add(&node.span, "ready takes one of `http`, `tcp` and `log`");
    }
    Ready { probe: probes.pop().unwrap_or(Probe::Started), within }
}

fn stop(node: &Node, cx: &mut Cx) -> (String, Span) {
    let mut f = node.fields("stop", &mut cx.p);
    let signal = f.choice("signal", &SIGNALS, &mut cx.p).unwrap_or_else(|| "TERM".into());
    let within = f.positive("within", &mut cx.p).unwrap_or(WITHIN_STOP);
    f.finish(&mut cx.p);
    (signal, within)
}
