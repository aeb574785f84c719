//! What the generator says against itself makes a run invalid, and what it only explains does not.

use super::plan::quickstart;
use super::world::{Run, World};
use shakedown_core::decision::{Decision, Exit};
use shakedown_core::event::Input;
use shakedown_core::snapshot::Vitals;
use shakedown_core::{Arm, Cell, CellKey, Dim, Offset, Snapshot};

/// A good run, with one more report of its last moments.
fn good_with(more: Snapshot) -> Decision {
    let mut r = Run::new(quickstart(), World::default(), 1);
    r.start();
    r.rollout();
    r.input(Input::Snapshot(more));
    r.finish()
}

/// Requests of these seconds, which lie past the run's own, all taken up late.
fn late(seconds: std::ops::Range<u32>) -> Snapshot {
    let mut cell = Cell::default();
    (0..20).for_each(|_| cell.lag.record(200_000_000));
    let key = |slice| CellKey { slice, stream: 0, arm: Arm::All, dim: Dim::Whole };
    Snapshot { as_of: Offset(0), cells: seconds.map(|s| (key(s), cell.clone())).collect(), ..Snapshot::default() }
}

fn said(d: &Decision) -> (Exit, &str, &str) {
    d.reasons.first().map_or((d.exit, "", ""), |r| (d.exit, r.code.as_str(), r.text.as_str()))
}

#[test]
fn a_few_bad_seconds_are_named_and_more_are_too_many() {
    let few = good_with(late(500..502));
    assert_eq!((few.exit, few.validity.ok), (Exit::Promote, true), "{:?}", few.reasons);
    assert_eq!((few.validity.generator.seconds.bad, few.validity.generator.seconds.ranges.len()), (2, 1));
    let many = good_with(late(500..504));
    let (exit, code, text) = said(&many);
    assert_eq!((exit, code), (Exit::Invalid, "generator-behind"), "{text}");
    assert!(text.contains("500–503 s") && text.contains("at most 3"), "{text}");
    assert!(many.next.iter().any(|n| n.contains("processor time")), "{:?}", many.next);
}

#[test]
fn descriptors_and_ports_that_ran_out_are_doubts() {
    let vitals = |vitals| Snapshot { vitals, ..Snapshot::default() };
    let none = good_with(vitals(Vitals { workers: 2, run_queue: 1 << 40, steal: 1 << 40, ..Vitals::default() }));
    assert_eq!(none.exit, Exit::Promote, "a busy machine alone is no doubt: {:?}", none.reasons);
    let files = good_with(vitals(Vitals { no_descriptor: 3, descriptors_max: 1024, ..Vitals::default() }));
    assert_eq!(said(&files), (Exit::Invalid, "no-descriptors", said(&files).2));
    assert!(said(&files).2.contains("1,024"), "{}", said(&files).2);
    let ports = good_with(vitals(Vitals { no_port: 1, ..Vitals::default() }));
    assert_eq!((said(&ports).0, said(&ports).1), (Exit::Invalid, "no-ports"));
}
