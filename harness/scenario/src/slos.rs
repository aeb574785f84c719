//! `slos` and `windows`: objectives with whose traffic they judge, where, and against what.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::indicators::{self, Read};
use crate::limits::{self, Around};
use crate::names;
use shakedown_core::plan::{
    ArmChoice, Condition, Indicator, Limit, LimitValue, NamedWindow, Objective, Reference, Step, Stream, WindowRef,
};
use shakedown_core::tree::{Fields, Node, Problems, Tree};
use shakedown_core::units::{Ppm, Span};
use std::ops::Range;

const CONFIDENCE: Ppm = Ppm(950_000);
/// Lowest and highest confidence: half is a coin, and beyond the other nothing is ever proven.
const CONFIDENCES: (Ppm, Ppm) = (Ppm(500_000), Ppm(999_900));

/// What objectives and guards are decoded against.
pub struct Against<'a> {
    /// Rollout and baseline.
    pub arms: Around,
    /// Streams.
    pub streams: &'a [Stream],
    /// Every stream could be read, so that journeys and steps are known.
    pub complete: bool,
    /// Longest warm-up.
    pub warmup: Span,
}

/// Decodes all objectives; with each, where its name stands.
pub fn decode(node: &Node, against: &Against, cx: &mut Cx) -> Vec<(Objective, Range<usize>)> {
    let all = ask::entries(node, "slos", &mut cx.p);
    if all.is_empty() && matches!(node.tree, Tree::Map(_)) {
        cx.p.hint(&node.span, "a scenario without objectives proves nothing", "name at least one under slos");
    }
    let mut objectives = Vec::new();
    for (name, span, node) in all {
        names::check(name, span, &mut cx.p);
        if let Some(objective) = objective(name, node, against, cx) {
            objectives.push((objective, span.clone()));
        }
    }
    references(&objectives, cx);
    objectives
}

fn objective(name: &str, node: &Node, against: &Against, cx: &mut Cx) -> Option<Objective> {
    let what = format!("objective `{name}`");
    let mut f = node.fields(&what, &mut cx.p);
    let read = indicators::decode(&mut f, None, cx);
    let window = f.take("window").and_then(|n| window(n, against, cx)).unwrap_or(WindowRef::Default);
    let (stream, journey, step) = scope(&mut f, against, cx);
    let every = f.positive("every", &mut cx.p);
    if every.is_some_and(|e| e < Span::secs(1)) {
        cx.p.add(&f.key_span("every"), "every is at least 1s");
    }
    let confidence = f.take("confidence").and_then(|n| confidence(n, &mut cx.p)).unwrap_or(CONFIDENCE);
    let min_samples = f.whole("min_samples", 1..1_000_000_001, &mut cx.p);
    let condition = f.take("condition").and_then(|n| condition(n, &mut cx.p));
    let by_header = f.take("by").and_then(|n| by(n, cx));
    let chosen = f.choice("arm", &["canary", "control", "all"], &mut cx.p);
    let indicator = match read {
        Read::Now(indicator) => indicator,
        Read::Later => return None,
        Read::Wrong => {
            // The limit's keys are known even when its unit is not.
            for key in ["min", "max", "floor", "quantile", "of", "after", "status", "windows"] {
                f.take(key);
            }
            f.finish(&mut cx.p);
            return None;
        }
    };
    if matches!(indicator, Indicator::JourneySuccess | Indicator::JourneyDuration(_)) && names::child(node, "journey").is_none() {
        cx.p.hint(&node.span, format!("{what} needs `journey`"), "name the journey it judges");
    }
    let limit = match &indicator {
        Indicator::BurnRate { windows, .. } => windows.first().map(|w| burn_limit(w.2)),
        _ => limits::decode(node, &mut f, &indicator, against.arms, cx),
    };
    let arm = arm(&f, chosen.as_deref(), &indicator, limit.as_ref(), &window, against, cx);
    f.finish(&mut cx.p);
    let name = name.to_owned();
    let limit = limit?;
    Some(Objective { name, indicator, limit, arm, stream, journey, step, window, every, confidence, min_samples, condition, by_header })
}

/// The limit of a burn rate: its first window's factor; every window is held against its own.
fn burn_limit(millis: u64) -> Limit {
    let factor = millis as f64 / 1e3;
    Limit { min: false, value: LimitValue::Fixed(factor), floor: None, text: shakedown_core::units::trimmed(factor) }
}

/// `stream`, `journey` and `step`.
fn scope(f: &mut Fields, against: &Against, cx: &mut Cx) -> (Option<String>, Option<String>, Option<String>) {
    let stream = f.take("stream").and_then(|n| self::stream(n, cx));
    let known = |s: &&Stream| stream.as_ref().is_none_or(|name| *name == s.name);
    let journeys: Vec<_> = against.streams.iter().filter(known).flat_map(|s| &s.journeys).collect();
    let journey = f.take("journey").and_then(|n| {
        let text = n.string("journey", &mut cx.p)?;
        let fine = !against.complete || names::resolve("journey", &text, journeys.iter().map(|j| j.name.as_str()), &n.span, &mut cx.p);
        fine.then_some(text)
    });
    let step = f.take("step").and_then(|n| {
        let text = n.string("step", &mut cx.p)?;
        let Some(journey) = &journey else {
            cx.p.hint(&n.span, "`step` needs `journey`", "name the journey whose step it is");
            return None;
        };
        let steps = journeys.iter().filter(|j| j.name == *journey).flat_map(|j| &j.steps);
        let steps = steps.filter_map(|s| if let Step::Request(r) = s { Some(r.name.as_str()) } else { None });
        let fine = !against.complete || names::resolve("step", &text, steps, &n.span, &mut cx.p);
        fine.then_some(text)
    });
    (stream, journey, step)
}

/// A stream by name.
pub fn stream(node: &Node, cx: &mut Cx) -> Option<String> {
    let text = node.string("stream", &mut cx.p)?;
    names::resolve("stream", &text, cx.names.streams.iter().map(String::as_str), &node.span, &mut cx.p).then_some(text)
}

fn confidence(node: &Node, p: &mut Problems) -> Option<Ppm> {
    let share = ask::share(node, "confidence", p)?;
    if share < CONFIDENCES.0 || share > CONFIDENCES.1 {
        p.add(&node.span, format!("confidence is {} to {}", CONFIDENCES.0, CONFIDENCES.1));
    }
    Some(share)
}

fn condition(node: &Node, p: &mut Problems) -> Option<Condition> {
    let mut f = node.fields("condition", p);
    let mut text = |key| f.need(key, p).and_then(|n| n.string(key, p));
    let (owner, ready_when) = (text("owner"), text("ready_when"));
    let by = f.need("by", p).and_then(|n| {
        let text = n.string("by", p)?;
        let shape = |(i, c): (usize, char)| if matches!(i, 4 | 7) { c == '-' } else { c.is_ascii_digit() };
        let part = |r: Range<usize>| text.get(r).and_then(|t| t.parse::<u32>().ok()).unwrap_or(0);
        if text.len() != 10 || !text.char_indices().all(shape) || !(1..=12).contains(&part(5..7)) || !(1..=31).contains(&part(8..10)) {
            p.hint(&n.span, format!("`{text}` is not a date"), "write 2026-12-01");
        }
        Some(text)
    });
    f.finish(p);
    Some(Condition { owner: owner?, by: by?, ready_when: ready_when? })
}

fn by(node: &Node, cx: &mut Cx) -> Option<String> {
    let mut f = node.fields("by", &mut cx.p);
    let header = f.need("header", &mut cx.p).and_then(|n| {
        let text = n.string("header", &mut cx.p)?;
        crate::requests::header_name(&text, &n.span, &mut cx.p);
        Some(text)
    });
    f.finish(&mut cx.p);
    header
}

fn window(node: &Node, against: &Against, cx: &mut Cx) -> Option<WindowRef> {
    let text = node.string("window", &mut cx.p)?;
    let fault = text.strip_prefix("after.").unwrap_or(&text);
    let (why, found) = match text.as_str() {
        "default" => (None, WindowRef::Default),
        "run" => (None, WindowRef::Run),
        "steady" => (None, WindowRef::Steady),
        "warmup" => ((against.warmup == Span::ZERO).then_some("no stream has a `warmup`"), WindowRef::Warmup),
        "baseline" => ((!against.arms.baseline).then_some("there is no rollout with a `baseline`"), WindowRef::Baseline),
        "rollback" => ((!against.arms.rollout).then_some("there is no rollout"), WindowRef::Rollback),
        "recovery" => ((!against.arms.rollout).then_some("there is no rollout"), WindowRef::Recovery),
        _ if cx.names.faults.contains(&text) => (None, WindowRef::Fault(text.clone())),
        _ if fault != text && cx.names.faults.contains(fault) => (None, WindowRef::AfterFault(fault.to_owned())),
        _ if cx.names.stages.contains(&text) => (None, WindowRef::Stage(text.clone())),
        _ if cx.names.windows.contains(&text) => (None, WindowRef::Named(text.clone())),
        _ => {
            let own = [&cx.names.faults, &cx.names.stages, &cx.names.windows].into_iter().flatten().map(String::as_str);
            let hint = names::suggest(&text, names::WINDOWS.into_iter().chain(own));
            cx.p.hint(&node.span, format!("there is no window `{text}`"), hint);
            return None;
        }
    };
    if let Some(why) = why {
        cx.p.hint(&node.span, format!("the window `{text}` never comes: {why}"), "choose another window");
        return None;
    }
    Some(found)
}

fn arm(
    f: &Fields,
    chosen: Option<&str>,
    indicator: &Indicator,
    limit: Option<&Limit>,
    window: &WindowRef,
    against: &Against,
    cx: &mut Cx,
) -> ArmChoice {
    let stages = matches!(window, WindowRef::Default | WindowRef::Stage(_));
    let relative = limit.and_then(limits::reference);
    let arm = match chosen {
        Some("canary") => ArmChoice::Canary,
        Some("control") => ArmChoice::Control,
        Some(_) => ArmChoice::All,
        None if indicators::logical(indicator) || !against.arms.rollout => ArmChoice::All,
        None if relative == Some(&Reference::Control) || stages => ArmChoice::Canary,
        None => ArmChoice::All,
    };
    check_arm(arm, chosen.is_some(), relative == Some(&Reference::Control), f, indicator, against, cx);
    if arm == ArmChoice::Canary && *window == WindowRef::Baseline {
        cx.p.hint(&f.key_span("window"), "the baseline has no canary", "write arm: all or control");
    }
    arm
}

/// Reports an arm that the indicator or limit cannot have.
pub fn check_arm(arm: ArmChoice, chosen: bool, control: bool, f: &Fields, indicator: &Indicator, against: &Against, cx: &mut Cx) {
    let at = f.key_span(if chosen { "arm" } else { "indicator" });
    if arm != ArmChoice::All && !against.arms.rollout {
        // A relative limit without a rollout has been reported already.
        if !control {
            cx.p.hint(&at, "an arm needs a rollout", "without one there is only `arm: all`");
        }
    } else if arm != ArmChoice::All && indicators::logical(indicator) {
        if !control {
            cx.p.hint(&at, "this indicator cannot be told by arm", "it counts logical requests: write arm: all");
        }
    } else if control && arm != ArmChoice::Canary {
        cx.p.hint(&at, "only the canary can be compared with the control", "write arm: canary");
    }
}

/// What `of` refers to must be something that can be judged over any seconds.
fn references(all: &[(Objective, Range<usize>)], cx: &mut Cx) {
    for (objective, span) in all {
        let (of, budget) = match &objective.indicator {
            Indicator::TimeToRecover { of, .. } => (of, false),
            Indicator::BurnRate { of, .. } | Indicator::ErrorBudget { of } => (of, true),
            _ => continue,
        };
        let Some((found, _)) = all.iter().find(|(o, _)| o.name == *of) else { continue };
        of_fits(found, budget, span, cx);
    }
}

/// Reports an `of` that does not fit.
pub fn of_fits(of: &Objective, budget: bool, span: &Range<usize>, cx: &mut Cx) {
    let fixed = limits::reference(&of.limit).is_none();
    let fits = if budget { indicators::has_budget(&of.indicator) } else { indicators::over_load(&of.indicator) } && fixed;
    if fits {
        return;
    }
    if budget {
        cx.p.hint(span, format!("`{}` has no error budget", of.name), "`of` names a success_rate or error_rate with a fixed limit");
    } else {
        cx.p.hint(span, format!("`{}` cannot say when service is back", of.name), "`of` names an objective over load with a fixed limit");
    }
}

/// Decodes `windows`.
pub fn windows(all: &[(&str, &Range<usize>, &Node)], cx: &mut Cx) -> Vec<NamedWindow> {
    let mut windows = Vec::new();
    for (name, _, node) in all {
        let what = format!("window `{name}`");
        let mut f = node.fields(&what, &mut cx.p);
        let from = f.need("from", &mut cx.p).and_then(|n| n.duration("from", &mut cx.p));
        let to = f.need("to", &mut cx.p).and_then(|n| n.duration("to", &mut cx.p));
        f.finish(&mut cx.p);
        let (Some(from), Some(to)) = (from, to) else { continue };
        if from >= to {
            cx.p.add(&node.span, format!("{what} ends before it begins"));
        }
        windows.push(NamedWindow { name: (*name).to_owned(), from, to });
    }
    windows
}
