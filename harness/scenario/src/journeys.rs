//! Journeys and their steps; `requests:` becomes journeys of one step.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::names;
use crate::requests;
use crate::templates::Scope;
use shakedown_core::plan::{Journey, RequestPlan, Step};
use shakedown_core::tree::{Fields, Node, Problems};
use shakedown_core::units::Span;
use std::collections::BTreeSet;

/// Highest weight.
const MAX_WEIGHT: u64 = 1_000_000;
/// Most steps of a journey.
const MAX_STEPS: usize = 1000;

/// Decodes `journeys` or `requests` of a stream.
pub fn decode(node: &Node, f: &mut Fields, what: &str, recorded: bool, retried: bool, scope: &Scope, cx: &mut Cx) -> Vec<Journey> {
    let named = f.named("journeys", &mut cx.p);
    let requests = f.list("requests", &mut cx.p);
    let given = ["journeys", "requests"].into_iter().filter(|k| names::child(node, k).is_some()).count();
    if given != usize::from(!recorded) && matches!(node.tree, shakedown_core::tree::Tree::Map(_)) {
        if recorded {
            cx.p.hint(&node.span, format!("{what} replays a recording"), "it has neither `journeys` nor `requests`");
        } else {
            cx.p.hint(&node.span, format!("{what} needs either `journeys` or `requests`"), "like requests: [{get: /}]");
        }
    }
    let mut journeys: Vec<Journey> = named.into_iter().map(|(name, _, n)| journey(name, n, retried, scope, cx)).collect();
    for item in requests {
        journeys.extend(single(item, retried, scope, cx));
    }
    if !recorded && given == 1 && journeys.is_empty() && cx.p.is_empty() {
        cx.p.hint(&node.span, format!("{what} needs at least one request"), "like requests: [{get: /}]");
    }
    let mut seen = BTreeSet::new();
    for (item, journey) in requests.iter().zip(&journeys) {
        if !seen.insert(&journey.name) {
            cx.p.hint(&item.span, format!("a second request called `{}`", journey.name), "give one of them a `name`");
        }
    }
    journeys
}

fn journey(name: &str, node: &Node, retried: bool, scope: &Scope, cx: &mut Cx) -> Journey {
    let what = format!("journey `{name}`");
    let mut f = node.fields(&what, &mut cx.p);
    let weight = weight(&mut f, &mut cx.p);
    f.need("steps", &mut cx.p);
    let items = f.list("steps", &mut cx.p);
    let mut scope = scope.clone();
    let mut seen = BTreeSet::new();
    let mut steps = Vec::new();
    for item in items {
        let Some(step) = step(item, retried, &mut scope, cx) else { continue };
        if let Step::Request(request) = &step
            && !seen.insert(request.name.clone())
        {
            cx.p.hint(&item.span, format!("a second step called `{}`", request.name), "give one of them a `name`");
        }
        steps.push(step);
    }
    if names::child(node, "steps").is_some() && (seen.is_empty() || items.len() > MAX_STEPS) && cx.p.is_empty() {
        cx.p.add(&f.key_span("steps"), format!("a journey has at least one request and at most {MAX_STEPS} steps"));
    }
    f.finish(&mut cx.p);
    Journey { name: name.to_owned(), weight, steps }
}

fn weight(f: &mut Fields, p: &mut Problems) -> u32 {
    let weight = f.whole("weight", 1..MAX_WEIGHT + 1, p).unwrap_or(1);
    u32::try_from(weight).expect("bounded above")
}

fn step(node: &Node, retried: bool, scope: &mut Scope, cx: &mut Cx) -> Option<Step> {
    let mut f = node.fields("step", &mut cx.p);
    if let Some(n) = f.take("think") {
        f.finish(&mut cx.p);
        return think(n, &mut cx.p).map(|(a, b)| Step::Think(a, b));
    }
    let request = request(node, &mut f, retried, scope, cx);
    f.finish(&mut cx.p);
    request.map(|r| Step::Request(Box::new(r)))
}

fn single(node: &Node, retried: bool, scope: &Scope, cx: &mut Cx) -> Option<Journey> {
    let mut f = node.fields("request", &mut cx.p);
    let weight = weight(&mut f, &mut cx.p);
    let request = request(node, &mut f, retried, &mut scope.clone(), cx);
    f.finish(&mut cx.p);
    request.map(|r| Journey { name: r.name.clone(), weight, steps: vec![Step::Request(Box::new(r))] })
}

fn request(node: &Node, f: &mut Fields, retried: bool, scope: &mut Scope, cx: &mut Cx) -> Option<RequestPlan> {
    let request = requests::decode(node, f, false, scope, cx)?;
    if retried && request.method == "POST" && request.exchange.is_http() {
        cx.warn(
            &node.span,
            format!("`{}` is retried and writes", request.name),
            "a retried POST may be done twice, and without a ledger nobody would notice",
        );
    }
    Some(request)
}

/// `200ms..1s`, or one duration.
pub fn think(node: &Node, p: &mut Problems) -> Option<(Span, Span)> {
    let text = node.string("think", p)?;
    let Some((from, to)) = text.split_once("..") else {
        return node.duration("think", p).map(|s| (s, s));
    };
    match (Span::parse(from.trim()), Span::parse(to.trim())) {
        (Ok(from), Ok(to)) if from <= to => Some((from, to)),
        (Ok(_), Ok(_)) => {
            p.add(&node.span, format!("think: `{text}` ends before it begins"));
            None
        }
        (Err(why), _) | (_, Err(why)) => {
            ask::with_hint(node, "think", &why, p);
            None
        }
    }
}
