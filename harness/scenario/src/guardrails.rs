//! What must hold across the whole scenario: what a class of environment demands, ceilings of weight and share, the
//! time box against the least possible length.

use crate::cx::Cx;
use crate::names::child;
use shakedown_core::plan::{EnvironmentClass, Indicator, Plan, Rehearse, When, WindowRef};
use shakedown_core::tree::{Node, Tree};
use shakedown_core::units::{Ppm, Span};
use std::ops::Range;

/// How long service must hold to count as restored: the least length of a rehearsal.
const RESTORED: Span = Span::secs(3);

/// Checks all of it.
pub fn check(root: &Node, plan: &Plan, cx: &mut Cx) {
    demands(root, plan, cx);
    ceilings(root, plan, cx);
    time_box(root, plan, cx);
    rehearsed(root, plan, cx);
}

fn place(root: &Node, path: &[&str]) -> Range<usize> {
    path.iter().try_fold(root, |node, key| child(node, key)).map_or(root.span.clone(), |n| n.span.clone())
}

fn demands(root: &Node, plan: &Plan, cx: &mut Cx) {
    let class = match plan.environment.class {
        EnvironmentClass::Local => return,
        EnvironmentClass::Shared => "shared",
        EnvironmentClass::Production => "production",
    };
    let mut missing = Vec::new();
    let mut demand = |given: bool, what: &'static str| {
        if !given {
            missing.push(what);
        }
    };
    // The raw tree is asked: what is there but wrong has a problem of its own.
    let given = |path: &[&str]| path.iter().try_fold(root, |node, key| child(node, key)).filter(|n| n.tree != Tree::Null);
    let aborts = |n: &Node| child(n, "then").and_then(Node::text) == Some("abort");
    let guards = given(&["guards"]).map(|n| &n.tree);
    demand(given(&["hypothesis"]).is_some(), "`hypothesis`");
    demand(given(&["owner"]).is_some(), "`owner`");
    demand(given(&["time_box"]).is_some(), "`time_box`");
    demand(given(&["environment", "limits"]).is_some_and(|n| n.tree != Tree::Map(Vec::new())), "`environment.limits`");
    demand(given(&["slos"]).is_some(), "an objective under `slos`");
    demand(matches!(guards, Some(Tree::Map(all)) if all.iter().any(|(.., n)| aborts(n))), "a guard with `then: abort`");
    if plan.environment.class == EnvironmentClass::Production {
        demand(given(&["environment", "limits", "max_weight"]).is_some(), "`environment.limits.max_weight`");
        demand(given(&["environment", "limits", "max_share"]).is_some(), "`environment.limits.max_share`");
    }
    let at = place(root, &["environment", "class"]);
    for what in missing {
        cx.p.hint(&at, format!("`class: {class}` needs {what}"), "others depend on this environment; say what bounds the run");
    }
    if plan.environment.class == EnvironmentClass::Production && cx.source.confirm != Some(plan.environment.name.as_str()) {
        let name = &plan.environment.name;
        cx.p.hint(&at, "`class: production` needs a confirmation", format!("run it with --confirm {name}"));
    }
}

fn ceilings(root: &Node, plan: &Plan, cx: &mut Cx) {
    let limits = &plan.environment.limits;
    let stages = child(root, "rollout").and_then(|r| child(r, "stages"));
    if let (Some(rollout), Some(max)) = (&plan.rollout, limits.max_weight) {
        for (i, stage) in rollout.stages.iter().enumerate().filter(|(_, s)| s.weight > max) {
            let node = stages.and_then(|s| if let Tree::Seq(items) = &s.tree { items.get(i) } else { None });
            let at = node.and_then(|n| child(n, "weight")).map_or(root.span.clone(), |n| n.span.clone());
            cx.p.hint(
                &at,
                format!("the stage `{}` has weight {}, more than limits.max_weight, {max}", stage.name, stage.weight),
                "lower the weight, or raise environment.limits.max_weight",
            );
        }
    }
    let Some(max) = limits.max_share else { return };
    for fault in plan.faults.iter().filter(|f| f.share > max) {
        let what = if fault.share == Ppm::ONE { "all of it".to_owned() } else { fault.share.to_string() };
        cx.p.hint(
            &place(root, &["faults", &fault.name]),
            format!("the fault `{}` hits {what}, more than limits.max_share, {max}", fault.name),
            "set its `share`, or raise environment.limits.max_share",
        );
    }
}

fn time_box(root: &Node, plan: &Plan, cx: &mut Cx) {
    let Some(time_box) = plan.time_box else { return };
    let least = least(plan);
    if time_box < least {
        cx.p.hint(
            &place(root, &["time_box"]),
            format!("the time box of {time_box} is below the least possible length, {least}"),
            format!("set at least time_box: {least}; leave room for `extend` and a rollback"),
        );
    }
}

/// The least possible length of a run.
pub fn least(plan: &Plan) -> Span {
    let after = |at: &When, length: Span| match at {
        When::At(at) => at.plus(length),
        // What waits for a stage or fault is counted with what it waits for, at least.
        _ => length,
    };
    let faults = plan.faults.iter().map(|f| after(&f.at, f.length)).max().unwrap_or_default();
    let Some(rollout) = &plan.rollout else {
        let traffic = plan.streams.iter().map(|s| after(&s.at, Plan::stream_length(s))).max().unwrap_or_default();
        return traffic.max(faults);
    };
    let rehearsals = match rollout.rehearse {
        Rehearse::Never => 0,
        Rehearse::LastStage => 1,
        Rehearse::EveryStage => rollout.stages.len() as u64,
    };
    let stages = rollout.stages.iter().fold(plan.first_stage(), |sum, s| sum.plus(s.hold));
    stages.plus(Span(RESTORED.0 * rehearsals)).max(faults)
}

/// An objective over a rollback that may never come is worth a word.
fn rehearsed(root: &Node, plan: &Plan, cx: &mut Cx) {
    let Some(rollout) = &plan.rollout else {
        for objective in plan.objectives.iter().filter(|o| o.indicator == Indicator::TimeToRestore) {
            cx.p.hint(&place(root, &["slos", &objective.name]), "`time_to_restore` needs a rollout", "without one nothing is rolled back");
        }
        return;
    };
    if rollout.rehearse != Rehearse::Never {
        return;
    }
    for objective in &plan.objectives {
        let restore = objective.indicator == Indicator::TimeToRestore;
        if restore || objective.window == WindowRef::Rollback {
            cx.warn(
                &place(root, &["slos", &objective.name]),
                format!("`{}` has data only when something is rolled back", objective.name),
                "set rollout.rehearse: {rollback: last-stage}",
            );
        }
    }
}
