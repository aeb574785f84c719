//! `precision`: how exactly arrivals are sent, and what that may cost. Must not choose what is left to the run.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use shakedown_core::plan::Precision;
use shakedown_core::tree::{Fields, Node, Problems, Tree};
use shakedown_core::units::Span;

/// Coarsest quantum: more would be visible in the finest slices.
const MAX_QUANTUM: Span = Span::millis(100);
/// Longest spin before a send.
const MAX_SPIN: Span = Span::millis(1);
/// Most worker threads.
const MAX_WORKERS: u64 = 64;

/// Decodes `auto` or the settings that are not left to the run.
pub fn decode(node: &Node, cx: &mut Cx) -> Precision {
    if !matches!(node.tree, Tree::Map(_)) {
        ask::choice(node, "precision", &["auto"], &mut cx.p);
        return Precision::default();
    }
    let mut f = node.fields("precision", &mut cx.p);
    let quantum = at_most(&mut f, "quantum", MAX_QUANTUM, &mut cx.p);
    let spin = at_most(&mut f, "spin", MAX_SPIN, &mut cx.p);
    let workers = f.whole("workers", 1..MAX_WORKERS + 1, &mut cx.p).and_then(|n| u16::try_from(n).ok());
    f.finish(&mut cx.p);
    Precision { quantum, spin, workers }
}

fn at_most(f: &mut Fields, key: &'static str, most: Span, p: &mut Problems) -> Option<Span> {
    let node = f.take(key)?;
    let span = node.duration(key, p)?;
    if span > most {
        p.hint(&node.span, format!("{key} is {span}, which is too long"), format!("it is 0s to {most}, like {key}: 100us"));
    }
    Some(span)
}
