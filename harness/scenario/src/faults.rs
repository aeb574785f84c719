//! `faults`: one kind each, where it sits, when and how long, what does not compose.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::{names, requests, when};
use serde_json::Value;
use shakedown_core::plan::{FaultPlan, Match, On, When};
use shakedown_core::seams::{Available, Injector};
use shakedown_core::tree::{Fields, Node, Tree};
use shakedown_core::units::{Ppm, Span};
use std::ops::Range;

/// Decodes all faults.
pub fn decode(all: &[(&str, &Range<usize>, &Node)], cx: &mut Cx) -> Vec<FaultPlan> {
    let mut faults = Vec::new();
    let mut spans = Vec::new();
    for (name, span, node) in all {
        if let Some(fault) = fault(name, node, cx) {
            faults.push(fault);
            spans.push((*span).clone());
        }
    }
    when::cycles(&faults, &spans, cx);
    overlaps(&faults, &spans, cx);
    faults
}

fn fault(name: &str, node: &Node, cx: &mut Cx) -> Option<FaultPlan> {
    let what = format!("fault `{name}`");
    let mut f = node.fields(&what, &mut cx.p);
    let at = f.need("at", &mut cx.p).and_then(|n| when::decode(n, cx));
    f.need("for", &mut cx.p);
    let length = f.positive("for", &mut cx.p);
    f.later("until", &mut cx.p);
    let on = f.need("on", &mut cx.p).and_then(|n| on(n, cx));
    let share = f.take("share").and_then(|n| {
        let share = ask::share(n, "share", &mut cx.p)?;
        if share == Ppm::ZERO {
            cx.p.add(&n.span, "a share of 0% hits nothing");
        }
        Some(share)
    });
    let matches = f.take("match").map(|n| matching(n, cx)).unwrap_or_default();
    let during_rollback = f.flag("during_rollback", &mut cx.p).unwrap_or(false);
    let kind = kind(node, &mut f, &what, on.as_ref(), cx);
    match &on {
        Some(On::Service(_)) if share.is_some_and(|s| s < Ppm::ONE) => {
            cx.p.hint(&f.key_span("share"), "a service has no share", "`share` counts connections or requests of a proxy");
        }
        Some(On::Proxy(proxy)) if cx.names.proxies.get(proxy) != Some(&true) && matches != Match::default() => {
            cx.p.hint(
                &f.key_span("match"),
                "`match` needs a proxy that understands HTTP",
                format!("set `protocol: http` on the proxy `{proxy}`"),
            );
        }
        Some(On::Service(_)) if matches != Match::default() => {
            cx.p.hint(&f.key_span("match"), "`match` needs a proxy that understands HTTP", "put the fault on a proxy before the service");
        }
        _ => {}
    }
    f.finish(&mut cx.p);
    let (kind, params) = kind?;
    let share = share.unwrap_or(Ppm::ONE);
    Some(FaultPlan { name: name.to_owned(), at: at?, length: length?, on: on?, share, matches, kind, params, during_rollback })
}

fn on(node: &Node, cx: &mut Cx) -> Option<On> {
    let mut f = node.fields("on", &mut cx.p);
    let later = ["target", "host", "network"].map(|k| f.later(k, &mut cx.p)).contains(&true);
    let proxy = f.take("proxy");
    let service = f.take("service");
    f.finish(&mut cx.p);
    match (proxy, service) {
        (Some(n), None) => {
            let name = n.string("proxy", &mut cx.p)?;
            names::resolve("proxy", &name, cx.names.proxies.keys().map(String::as_str), &n.span, &mut cx.p).then_some(On::Proxy(name))
        }
        (None, Some(n)) => {
            let name = n.string("service", &mut cx.p)?;
            names::resolve("service", &name, cx.names.services.keys().map(String::as_str), &n.span, &mut cx.p).then_some(On::Service(name))
        }
        (None, None) if later || !matches!(node.tree, Tree::Map(_)) => None,
        _ => {
            cx.p.hint(&node.span, "`on` names one thing", "write {proxy: NAME} or {service: NAME}");
            None
        }
    }
}

fn matching(node: &Node, cx: &mut Cx) -> Match {
    let mut f = node.fields("match", &mut cx.p);
    let method = f.take("method").and_then(|n| requests::method(n, &mut cx.p));
    let path = f.take("path").and_then(|n| {
        let text = n.string("path", &mut cx.p)?;
        if let Err(why) = globset::Glob::new(&text) {
            cx.p.hint(&n.span, format!("`{text}` is not a pattern: {}", why.kind()), "`*` stands for anything, like /charge/*");
        }
        Some(text)
    });
    f.finish(&mut cx.p);
    Match { method, path }
}

/// The one key that is an injector's name, and its parameters.
fn kind(node: &Node, f: &mut Fields, what: &str, on: Option<&On>, cx: &mut Cx) -> Option<(String, Value)> {
    let injectors = cx.source.kinds.injectors;
    let given = f.take_one_of(injectors.iter().map(|i| i.name().to_owned()));
    let [(name, span, params)] = given.as_slice() else {
        if matches!(node.tree, Tree::Map(_)) {
            let all: Vec<&str> = injectors.iter().filter(|i| i.available() == Available::Now).map(|i| i.name()).collect();
            let several: Vec<&str> = given.iter().map(|(n, ..)| n.as_str()).collect();
            let hint = if given.is_empty() { format!("one of: {}", all.join(", ")) } else { format!("given: {}", several.join(", ")) };
            cx.p.hint(&node.span, format!("{what} needs exactly one kind"), hint);
        }
        return None;
    };
    let injector = injectors.iter().find(|i| i.name() == name)?;
    if injector.available() == Available::Later {
        cx.p.later(span, &format!("the fault `{name}`"));
        return None;
    }
    if let Some(on) = on {
        sits(*injector, on, span, cx);
    }
    let params = injector.parse(params, &mut cx.p)?;
    for missing in injector.missing(&params) {
        ask::with_hint(node, name, &missing, &mut cx.p);
    }
    Some((name.clone(), params))
}

fn sits(injector: &dyn Injector, on: &On, span: &Range<usize>, cx: &mut Cx) {
    let places = injector.sits_on();
    let (fits, place) = match on {
        On::Service(_) => (places.contains(&"service"), "a service"),
        On::Proxy(name) if cx.names.proxies.get(name) == Some(&true) => {
            (places.contains(&"proxy") || places.contains(&"http-proxy"), "an HTTP proxy")
        }
        On::Proxy(_) => (places.contains(&"proxy"), "a TCP proxy"),
    };
    if !fits {
        let hint = if places == ["http-proxy"] {
            "set `protocol: http` on the proxy".to_owned()
        } else {
            format!("it sits on: {}", places.join(", "))
        };
        cx.p.hint(span, format!("the fault `{}` cannot sit on {place}", injector.name()), hint);
    }
}

/// Two faults with the same answer to `conflicts` on the same thing at the same time do not compose.
fn overlaps(faults: &[FaultPlan], spans: &[Range<usize>], cx: &mut Cx) {
    let group = |fault: &FaultPlan| {
        let injector = cx.source.kinds.injectors.iter().find(|i| i.name() == fault.kind);
        injector.map_or("", |i| i.conflicts(&fault.params))
    };
    let groups: Vec<&str> = faults.iter().map(group).collect();
    for (j, later) in faults.iter().enumerate() {
        for (i, earlier) in faults.iter().enumerate().take(j) {
            let same = later.on == earlier.on && groups[i] == groups[j] && !groups[i].is_empty();
            let (Some((from, to)), Some((start, end))) = (fixed(earlier), fixed(later)) else { continue };
            if same && from < end && start < to {
                cx.p.hint(
                    &spans[j],
                    format!("the faults `{}` and `{}` change the same thing at the same time", earlier.name, later.name),
                    "start one after the other ends, like {after: NAME}, or put it elsewhere",
                );
            }
        }
    }
}

fn fixed(fault: &FaultPlan) -> Option<(Span, Span)> {
    match fault.at {
        When::At(at) => Some((at, at.plus(fault.length))),
        _ => None,
    }
}
