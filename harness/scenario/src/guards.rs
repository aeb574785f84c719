//! `guards`: judged on every snapshot, strongest first; and `verdict` and `preflight`, which name objectives too.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::indicators::{self, Read};
use crate::limits;
use crate::names;
use crate::slos::{self, Against};
use shakedown_core::plan::{ArmChoice, Guard, GuardAction, Indicator, LimitValue, Objective, Reference, VerdictRule};
use shakedown_core::tree::{Node, Tree};
use shakedown_core::units::{Ppm, Span};
use std::ops::Range;

/// Samples below which a guard is silent when nobody says.
const MIN_SAMPLES: u64 = 20;
/// Shortest and longest stretch a guard looks at.
const OVER: (Span, Span) = (Span::millis(100), Span::secs(3600));
/// Actions that need a rollout.
const STEERING: [&str; 3] = ["rollback", "pause", "reduce"];

/// Decodes all guards, strongest first (equal ones in file order).
pub fn decode(
    all: &[(&str, &Range<usize>, &Node)],
    objectives: &[(Objective, Range<usize>)],
    against: &Against,
    cx: &mut Cx,
) -> Vec<Guard> {
    let mut guards: Vec<Guard> = all.iter().filter_map(|(name, span, node)| guard(name, span, node, objectives, against, cx)).collect();
    guards.sort_by_key(|g| strength(g.then));
    guards
}

fn strength(action: GuardAction) -> (u8, Ppm) {
    match action {
        GuardAction::Abort => (0, Ppm::ZERO),
        GuardAction::Rollback => (1, Ppm::ZERO),
        GuardAction::Reduce(to) => (2, to),
        GuardAction::Pause => (3, Ppm::ZERO),
        GuardAction::Warn => (4, Ppm::ZERO),
    }
}

fn guard(
    name: &str,
    span: &Range<usize>,
    node: &Node,
    objectives: &[(Objective, Range<usize>)],
    against: &Against,
    cx: &mut Cx,
) -> Option<Guard> {
    let what = format!("guard `{name}`");
    let mut f = node.fields(&what, &mut cx.p);
    f.need("over", &mut cx.p);
    let over = f.positive("over", &mut cx.p);
    if over.is_some_and(|o| o < OVER.0 || o > OVER.1) {
        cx.p.add(&f.key_span("over"), format!("over is {} to {}", OVER.0, OVER.1));
    }
    let read = indicators::decode(&mut f, Some(over.unwrap_or_default()), cx);
    let min_samples = f.whole("min_samples", 1..1_000_000_001, &mut cx.p).unwrap_or(MIN_SAMPLES);
    let chosen = f.choice("arm", &["canary", "control", "all"], &mut cx.p);
    let stream = f.take("stream").and_then(|n| slos::stream(n, cx));
    let lasting = f.duration("for", &mut cx.p).unwrap_or(Span::ZERO);
    let then = f.need("then", &mut cx.p).and_then(|n| then(n, against, cx));
    let mut indicator = match read {
        Read::Now(indicator) => indicator,
        Read::Later => return None,
        Read::Wrong => {
            for key in ["min", "max", "floor", "quantile", "of", "status"] {
                f.take(key);
            }
            f.finish(&mut cx.p);
            return None;
        }
    };
    if !guardable(&indicator) {
        cx.p.hint(
            &f.key_span("indicator"),
            "a guard cannot watch this indicator",
            "rates, latency and burn_rate are judged on every snapshot",
        );
    }
    let limit = limits::decode(node, &mut f, &indicator, against.arms, cx);
    if let (Indicator::BurnRate { of, windows }, Some(limit)) = (&mut indicator, &limit) {
        if let LimitValue::Fixed(factor) = limit.value {
            windows.iter_mut().for_each(|w| w.2 = (factor * 1e3).round() as u64);
        }
        if let Some((of, _)) = objectives.iter().find(|(o, _)| o.name == *of) {
            slos::of_fits(of, true, span, cx);
        }
    }
    let control = limit.as_ref().and_then(limits::reference) == Some(&Reference::Control);
    let arm = match chosen.as_deref() {
        Some("canary") => ArmChoice::Canary,
        Some("control") => ArmChoice::Control,
        None if control => ArmChoice::Canary,
        _ => ArmChoice::All,
    };
    slos::check_arm(arm, chosen.is_some(), control, &f, &indicator, against, cx);
    f.finish(&mut cx.p);
    Some(Guard { name: name.to_owned(), indicator, over: over?, min_samples, limit: limit?, arm, stream, lasting, then: then? })
}

fn guardable(indicator: &Indicator) -> bool {
    use Indicator as I;
    matches!(
        indicator,
        I::SuccessRate | I::ErrorRate | I::TimeoutRate | I::RetryRate | I::StatusShare(_) | I::Latency(_) | I::BurnRate { .. }
    )
}

fn then(node: &Node, against: &Against, cx: &mut Cx) -> Option<GuardAction> {
    let (word, to) = if let Tree::Map(_) = node.tree {
        let mut f = node.fields("then", &mut cx.p);
        let to = f.need("reduce", &mut cx.p).and_then(|n| ask::share(n, "reduce", &mut cx.p));
        f.finish(&mut cx.p);
        ("reduce".to_owned(), to?)
    } else {
        (ask::choice(node, "then", &["abort", "rollback", "pause", "warn"], &mut cx.p)?, Ppm::ZERO)
    };
    if STEERING.contains(&word.as_str()) && !against.arms.rollout {
        cx.p.hint(&node.span, format!("`{word}` needs a rollout"), "without one a guard can abort or warn");
    }
    Some(match word.as_str() {
        "abort" => GuardAction::Abort,
        "rollback" => GuardAction::Rollback,
        "pause" => GuardAction::Pause,
        "reduce" => GuardAction::Reduce(to),
        _ => GuardAction::Warn,
    })
}

/// Decodes `verdict`.
pub fn verdict(node: &Node, cx: &mut Cx) -> VerdictRule {
    let mut f = node.fields("verdict", &mut cx.p);
    let mandatory = f.take("mandatory").map(|n| objectives(n, "mandatory", cx)).unwrap_or_default();
    let most = cx.names.objectives.len() as u64;
    let at_least = f.whole("at_least", 1..most.max(1) + 1, &mut cx.p).and_then(|n| u32::try_from(n).ok());
    f.finish(&mut cx.p);
    VerdictRule { mandatory, at_least }
}

fn objectives(node: &Node, what: &str, cx: &mut Cx) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (name, n) in ask::one_or_more(node, what, &mut cx.p) {
        if !names::resolve("objective", &name, cx.names.objectives.iter().map(String::as_str), &n.span, &mut cx.p) {
            continue;
        }
        if found.contains(&name) {
            cx.p.add(&n.span, format!("`{name}` is named twice"));
        }
        found.push(name);
    }
    found
}

/// Decodes `preflight`: load objectives, judged on the baseline.
pub fn preflight(node: &Node, all: &[(Objective, Range<usize>)], against: &Against, cx: &mut Cx) -> Vec<String> {
    let mut names = Vec::new();
    for item in ask::items(node, "preflight", &mut cx.p) {
        if matches!(item.tree, Tree::Map(_)) {
            cx.p.later(&item.span, "a preflight check by a signal");
            continue;
        }
        let name = objectives(item, "preflight", cx).pop();
        let found = name.as_ref().and_then(|n| all.iter().find(|(o, _)| o.name == *n));
        if let Some((objective, _)) = found
            && !(indicators::over_load(&objective.indicator) && limits::reference(&objective.limit).is_none())
        {
            cx.p.hint(
                &item.span,
                format!("`{}` cannot be judged before the first change", objective.name),
                "preflight names objectives over load with a fixed limit",
            );
        }
        names.extend(name);
    }
    if !names.is_empty() && !against.arms.baseline {
        cx.p.hint(&node.span, "preflight is judged on the baseline, and there is none", "set rollout.baseline, like baseline: 10s");
    }
    names
}
