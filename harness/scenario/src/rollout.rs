//! `rollout`: driver, arms and how they are told apart, stages, rehearsal, rollback. Gates are resolved in `gates`.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::{actions, names, requests};
use serde_json::Value;
use shakedown_core::plan::{Afterwards, Identify, IdentifyBy, Rehearse, RollbackPlan, Rollout, Stage};
use shakedown_core::seams::Available;
use shakedown_core::tree::{Fields, Node, Tree};
use shakedown_core::units::{Ppm, Span};
use std::ops::Range;

/// The builtin driver's name; it says who answered in a header of its own.
const BUILTIN: &str = "builtin";
/// That header.
const RELEASE_HEADER: &str = "x-release";
const RESTORED_WITHIN: Span = Span::secs(10);
/// Most stages.
const MAX_STAGES: usize = 100;

/// What a stage's `gate` says, to be resolved once the objectives are known.
pub enum Gate<'a> {
    /// `all`, or nothing said; the place to complain at.
    All(Range<usize>),
    /// By name.
    Named(Vec<(String, &'a Node)>),
    /// The stage could not be read; nothing is said about its gate.
    Broken,
}

/// A rollout with what still has to be resolved.
pub struct Raw<'a> {
    /// The rollout; gates and `restored_when` still empty.
    pub rollout: Rollout,
    /// One per stage.
    pub gates: Vec<Gate<'a>>,
    /// `restored_when`, when given.
    pub restored_when: Option<Vec<(String, &'a Node)>>,
}

/// Decodes it.
pub fn decode<'a>(node: &'a Node, cx: &mut Cx) -> Raw<'a> {
    let mut f = node.fields("rollout", &mut cx.p);
    let driver = f.need("driver", &mut cx.p).and_then(|n| driver(n, cx));
    let control = f.need("control", &mut cx.p).and_then(|n| release(n, "control", cx)).unwrap_or_default();
    let (canary, artifact) = f.need("canary", &mut cx.p).map(|n| canary(n, cx)).unwrap_or_default();
    if control == canary && !control.is_empty() {
        cx.p.add(&f.key_span("canary"), format!("control and canary are both `{control}`"));
    }
    let builtin = driver.as_ref().is_some_and(|(name, _)| name == BUILTIN);
    if builtin {
        builtin_releases(node, &control, &canary, cx);
    }
    let identify = identify(&mut f, builtin, driver.is_some(), &control, &canary, cx);
    let baseline = f.duration("baseline", &mut cx.p).unwrap_or(Span::ZERO);
    let mut gates = Vec::new();
    let mut stages = Vec::new();
    if let Some(n) = f.need("stages", &mut cx.p) {
        for item in ask::items(n, "stages", &mut cx.p) {
            let (stage, gate) = stage(item, cx);
            stages.push(stage);
            gates.push(gate);
        }
        if matches!(n.tree, Tree::Seq(_)) && (stages.is_empty() || stages.len() > MAX_STAGES) {
            cx.p.add(&n.span, format!("a rollout has 1 to {MAX_STAGES} stages"));
        }
    }
    f.later("shadow", &mut cx.p);
    f.later("regions", &mut cx.p);
    let rehearse = f.take("rehearse").map_or(Rehearse::Never, |n| rehearse(n, cx));
    let (rollback, restored_when) = f.take("rollback").map_or_else(|| (usual_rollback(), None), |n| rollback(n, cx));
    let afterwards = match f.choice("afterwards", &["restore", "promoted"], &mut cx.p).as_deref() {
        Some("promoted") => Afterwards::Promoted,
        _ => Afterwards::Restore,
    };
    f.finish(&mut cx.p);
    let (driver, params) = driver.unwrap_or((String::new(), Value::Null));
    let rollout = Rollout { driver, params, control, canary, artifact, identify, baseline, stages, rehearse, rollback, afterwards };
    Raw { rollout, gates, restored_when }
}

fn driver(node: &Node, cx: &mut Cx) -> Option<(String, Value)> {
    let drivers = cx.source.kinds.drivers;
    let all: Vec<&str> = drivers.iter().filter(|d| d.available() == Available::Now).map(|d| d.name()).collect();
    if let Some(text) = node.text() {
        if drivers.iter().any(|d| d.name() == text && d.available() == Available::Later) {
            cx.p.later(&node.span, &format!("the driver `{text}`"));
            return None;
        }
        if !names::resolve("driver", text, all.iter().copied(), &node.span, &mut cx.p) {
            return None;
        }
        cx.p.hint(&node.span, format!("the driver `{text}` needs its settings"), format!("write driver: {{{text}: …}}"));
        return None;
    }
    let mut f = node.fields("driver", &mut cx.p);
    let given = f.take_one_of(drivers.iter().map(|d| d.name().to_owned()));
    // Without any known kind the unknown key has the better hint.
    let unknown = given.is_empty() && matches!(&node.tree, Tree::Map(all) if !all.is_empty());
    f.finish(&mut cx.p);
    let [(name, span, params)] = given.as_slice() else {
        if matches!(node.tree, Tree::Map(_)) && !unknown {
            cx.p.hint(&node.span, "`driver` names one kind", format!("there is: {}", all.join(", ")));
        }
        return None;
    };
    let kind = drivers.iter().find(|d| d.name() == name)?;
    if kind.available() == Available::Later {
        cx.p.later(span, &format!("the driver `{name}`"));
        return None;
    }
    let value = kind.parse(params, &mut cx.p)?;
    for missing in kind.missing(&value) {
        ask::with_hint(params, name, &missing, &mut cx.p);
    }
    Some((name.clone(), value))
}

fn release(node: &Node, what: &str, cx: &mut Cx) -> Option<String> {
    let text = node.string(what, &mut cx.p)?;
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        cx.p.add(&node.span, format!("`{text}` cannot be a release's name"));
    }
    Some(text)
}

fn canary(node: &Node, cx: &mut Cx) -> (String, Option<String>) {
    if !matches!(node.tree, Tree::Map(_)) {
        return (release(node, "canary", cx).unwrap_or_default(), None);
    }
    let mut f = node.fields("canary", &mut cx.p);
    let name = f.need("name", &mut cx.p).and_then(|n| release(n, "name", cx)).unwrap_or_default();
    let artifact = f.text("artifact", &mut cx.p);
    f.finish(&mut cx.p);
    (name, artifact)
}

/// With the builtin router the arms are releases of the shop it is part of.
fn builtin_releases(node: &Node, control: &str, canary: &str, cx: &mut Cx) {
    let Some(router) = names::child(node, "driver").and_then(|d| names::child(d, BUILTIN)) else { return };
    let service = router.text().unwrap_or_default();
    if !names::resolve("embedded shop", service, cx.releases.keys().map(String::as_str), &router.span, &mut cx.p) {
        return;
    }
    for (key, name) in [("control", control), ("canary", canary)] {
        let Some(at) = names::child(node, key).filter(|_| !name.is_empty()) else { continue };
        let known = cx.releases.get(service).into_iter().flatten().map(String::as_str);
        names::resolve(&format!("release of `{service}`"), name, known, &at.span, &mut cx.p);
    }
}

fn identify(f: &mut Fields, builtin: bool, known_driver: bool, control: &str, canary: &str, cx: &mut Cx) -> Identify {
    let names = |n: &str| vec![n.to_owned()];
    let usual = Identify { by: IdentifyBy::Header(RELEASE_HEADER.into()), control: names(control), canary: names(canary) };
    let Some(node) = f.take("identify") else {
        if !builtin && known_driver {
            cx.p.hint(
                &f.key_span("driver"),
                "rollout needs `identify`: comparisons need to know who answered",
                "write identify: {header: NAME}, {cookie: NAME}, {json: $.path} or {target: {control: T, canary: T}}",
            );
        }
        return usual;
    };
    let mut f = node.fields("identify", &mut cx.p);
    let header = f.take("header").and_then(|n| {
        let text = n.string("header", &mut cx.p)?;
        requests::header_name(&text, &n.span, &mut cx.p);
        Some(IdentifyBy::Header(text))
    });
    let cookie = f.text("cookie", &mut cx.p).map(IdentifyBy::Cookie);
    let json = f.take("json").and_then(|n| {
        let text = n.string("json", &mut cx.p)?;
        requests::json_path(&text, &n.span, &mut cx.p).then_some(IdentifyBy::Json(text))
    });
    let target = f.take("target").and_then(|n| targets(n, cx));
    let mut given: Vec<IdentifyBy> = [header, cookie, json, target].into_iter().flatten().collect();
    let mut identify = usual;
    if let Some(n) = f.take("values") {
        for (name, span, value) in ask::entries(n, "values", &mut cx.p) {
            let patterns: Vec<String> = ask::one_or_more(value, "values", &mut cx.p).into_iter().map(|(t, _)| t).collect();
            if !names::resolve("release", name, [control, canary], span, &mut cx.p) {
                continue;
            }
            if patterns.is_empty() {
                cx.p.add(&value.span, format!("no pattern says who `{name}` is"));
            }
            *(if name == control { &mut identify.control } else { &mut identify.canary }) = patterns;
        }
    }
    if identify.control.iter().any(|c| identify.canary.contains(c)) && control != canary {
        cx.p.add(&node.span, "the same pattern names both control and canary");
    }
    f.finish(&mut cx.p);
    if given.len() != 1 {
        cx.p.hint(&node.span, "`identify` names one place", "one of `header`, `cookie`, `json` and `target`");
    }
    identify.by = given.pop().unwrap_or(identify.by);
    identify
}

fn targets(node: &Node, cx: &mut Cx) -> Option<IdentifyBy> {
    let mut f = node.fields("target", &mut cx.p);
    let mut one = |key| {
        let n = f.need(key, &mut cx.p)?;
        let text = n.string(key, &mut cx.p)?;
        names::resolve("target", &text, cx.names.targets.iter().map(String::as_str), &n.span, &mut cx.p).then_some(text)
    };
    let (control, canary) = (one("control"), one("canary"));
    f.finish(&mut cx.p);
    let (control, canary) = (control?, canary?);
    if control == canary {
        cx.p.add(&node.span, "control and canary are the same target");
    }
    Some(IdentifyBy::Target { control, canary })
}

fn stage<'a>(node: &'a Node, cx: &mut Cx) -> (Stage, Gate<'a>) {
    let mut f = node.fields("stage", &mut cx.p);
    let name = f.need("name", &mut cx.p).and_then(|n| {
        let text = n.string("name", &mut cx.p)?;
        names::check(&text, &n.span, &mut cx.p).then_some(text)
    });
    let later = f.later("cohort", &mut cx.p) | f.later("region", &mut cx.p);
    let weight = if later { f.take("weight") } else { f.need("weight", &mut cx.p) };
    let weight = weight.and_then(|n| ask::share(n, "weight", &mut cx.p));
    f.need("hold", &mut cx.p);
    let hold = f.positive("hold", &mut cx.p);
    let extend = f.duration("extend", &mut cx.p).unwrap_or(Span::ZERO);
    let min_samples = f.whole("min_samples", 1..1_000_000_001, &mut cx.p);
    f.later("before", &mut cx.p);
    let gate = match f.take("gate") {
        Some(n) if n.text() != Some("all") => {
            let named = ask::one_or_more(n, "gate", &mut cx.p);
            if named.is_empty() && matches!(n.tree, Tree::Seq(_)) {
                cx.p.hint(&n.span, "a gate without objectives lets everything through", "name objectives, or write `gate: all`");
            }
            Gate::Named(named)
        }
        Some(n) => Gate::All(n.span.clone()),
        None => Gate::All(node.span.clone()),
    };
    f.finish(&mut cx.p);
    let gate = if weight.is_some() && hold.is_some() { gate } else { Gate::Broken };
    let (name, weight, hold) = (name.unwrap_or_default(), weight.unwrap_or(Ppm::ZERO), hold.unwrap_or_default());
    (Stage { name, weight, hold, extend, min_samples, gate: Vec::new() }, gate)
}

fn rehearse(node: &Node, cx: &mut Cx) -> Rehearse {
    let mut f = node.fields("rehearse", &mut cx.p);
    let rollback = f.choice("rollback", &["last-stage", "every-stage", "never"], &mut cx.p);
    f.later("detect", &mut cx.p);
    f.finish(&mut cx.p);
    match rollback.as_deref() {
        Some("last-stage") => Rehearse::LastStage,
        Some("every-stage") => Rehearse::EveryStage,
        _ => Rehearse::Never,
    }
}

/// A rollback and the objectives its `restored_when` names.
type Rollback<'a> = (RollbackPlan, Option<Vec<(String, &'a Node)>>);

fn rollback<'a>(node: &'a Node, cx: &mut Cx) -> Rollback<'a> {
    let mut f = node.fields("rollback", &mut cx.p);
    let before = f.take("before").map(|n| actions::decode(n, "before", cx)).unwrap_or_default();
    let restored_when = f.take("restored_when").map(|n| ask::one_or_more(n, "restored_when", &mut cx.p));
    let restored_within = f.positive("restored_within", &mut cx.p).unwrap_or(RESTORED_WITHIN);
    let failed_requests = f.share("failed_requests", &mut cx.p);
    f.later("lost_writes", &mut cx.p);
    f.finish(&mut cx.p);
    (RollbackPlan { before, restored_when: Vec::new(), restored_within, failed_requests }, restored_when)
}

fn usual_rollback() -> RollbackPlan {
    RollbackPlan { before: Vec::new(), restored_when: Vec::new(), restored_within: RESTORED_WITHIN, failed_requests: None }
}
