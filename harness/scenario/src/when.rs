//! When something starts: an offset, after a stage's clock, after a fault; and that no fault waits for itself.

use crate::ask::Ask;
use crate::cx::Cx;
use crate::names;
use shakedown_core::plan::{FaultPlan, When};
use shakedown_core::tree::{Node, Tree};
use shakedown_core::units::Span;
use std::ops::Range;

/// Decodes `at`.
pub fn decode(node: &Node, cx: &mut Cx) -> Option<When> {
    if !matches!(node.tree, Tree::Map(_)) {
        return node.duration("at", &mut cx.p).map(When::At);
    }
    let mut f = node.fields("at", &mut cx.p);
    if f.later("recorded", &mut cx.p) {
        f.take("of");
        f.finish(&mut cx.p);
        return None;
    }
    let stage = f.take("stage");
    let after = f.take("after");
    let plus = f.duration("plus", &mut cx.p).unwrap_or(Span::ZERO);
    f.finish(&mut cx.p);
    match (stage, after) {
        (Some(n), None) => {
            let stage = n.string("stage", &mut cx.p)?;
            names::resolve("stage", &stage, cx.names.stages.iter().map(String::as_str), &n.span, &mut cx.p);
            Some(When::Stage { stage, plus })
        }
        (None, Some(n)) => {
            let fault = n.string("after", &mut cx.p)?;
            names::resolve("fault", &fault, cx.names.faults.iter().map(String::as_str), &n.span, &mut cx.p);
            Some(When::After { fault, plus })
        }
        _ => {
            cx.p.hint(
                &node.span,
                "`at` is an offset, {stage: …} or {after: …}",
                "like 60s, {stage: canary-25, plus: 10s} or {after: other-fault}",
            );
            None
        }
    }
}

/// Reports faults that wait for themselves.
pub fn cycles(faults: &[FaultPlan], spans: &[Range<usize>], cx: &mut Cx) {
    let next = |name: &str| {
        faults.iter().find(|f| f.name == name).and_then(|f| match &f.at {
            When::After { fault, .. } => Some(fault.as_str()),
            _ => None,
        })
    };
    for (fault, span) in faults.iter().zip(spans) {
        let mut at = fault.name.as_str();
        // A chain longer than there are faults has met one twice.
        for _ in 0..faults.len() {
            match next(at) {
                Some(n) if n == fault.name => {
                    cx.p.hint(
                        span,
                        format!("the fault `{}` waits for itself", fault.name),
                        "follow its `after`; one fault must start at an offset or stage",
                    );
                    break;
                }
                Some(n) => at = n,
                None => break,
            }
        }
    }
}
