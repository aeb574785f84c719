//! The invariants, each a sentence that says what was broken. Must not know how the engine works inside.

use crate::sim::{Run, Setting};
use shakedown_core::decision::Exit;
use shakedown_core::event::{Fact, HaltBy, Input, StageEnd};
use shakedown_core::plan::{Afterwards, Rehearse};
use shakedown_core::units::{Offset, Ppm, Span};
use shakedown_engine::Call;

/// Checks a run; the first broken invariant in words.
pub fn check(setting: &Setting, run: &Run) -> Result<(), String> {
    bounded(run)?;
    ordered(run)?;
    stages_in_order(setting, run)?;
    nothing_new_after_a_halt(run)?;
    undone(setting, run)?;
    way_back(setting, run)?;
    preflight(setting, run)?;
    promoted(setting, run)
}

fn ensure(holds: bool, what: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn any(run: &Run, what: impl Fn(&Fact) -> bool) -> bool {
    run.facts().any(|(_, f)| what(f))
}

fn bounded(run: &Run) -> Result<(), String> {
    ensure(run.ended, "the run did not end within its bound")?;
    ensure(run.running == 0, "calls were still under way at the end")
}

fn ordered(run: &Run) -> Result<(), String> {
    let facts: Vec<_> = run.facts().collect();
    ensure(matches!(facts.first(), Some((_, Fact::Started { .. }))), "the first fact is not Started")?;
    ensure(matches!(facts.last(), Some((_, Fact::Ended))), "the last fact is not Ended")?;
    ensure(facts.iter().filter(|(_, f)| *f == &Fact::Ended).count() == 1, "Ended more than once")?;
    ensure(run.events.windows(2).all(|w| w[0].at <= w[1].at && w[0].seq + 1 == w[1].seq), "events are out of order")?;
    ensure(facts.iter().filter(|(_, f)| matches!(f, Fact::Halted(HaltBy::Signal(_)))).count() <= 1, "an interrupt halted twice")?;
    let mut on: Option<bool> = None;
    for (_, fact) in &facts {
        match fact {
            Fact::RollbackStarted { rehearsal, .. } => {
                ensure(on.is_none(), "a way back began within another")?;
                on = Some(*rehearsal);
            }
            Fact::RollbackEnded { .. } => ensure(on.take().is_some(), "a way back ended that had not begun")?,
            Fact::StageStarted(_) | Fact::Ended => ensure(on.is_none(), "a way back was not ended")?,
            _ => {}
        }
    }
    Ok(())
}

fn stages_in_order(setting: &Setting, run: &Run) -> Result<(), String> {
    let Some(rollout) = &setting.plan.rollout else { return Ok(()) };
    let mut next = 0;
    let mut open: Option<(usize, Offset)> = None;
    let mut read = None;
    for (at, fact) in run.facts() {
        match fact {
            Fact::WeightRead(w) => read = Some(*w),
            Fact::WeightAsked(_) => read = None,
            Fact::StageStarted(name) => {
                ensure(rollout.stages.get(next).is_some_and(|s| &s.name == name), format!("stage {name} began out of order"))?;
                ensure(read == Some(rollout.stages[next].weight), format!("stage {name} began without its weight having been read back"))?;
                ensure(open.is_none(), "a stage began before the last one ended")?;
                open = Some((next, at));
                next += 1;
            }
            Fact::StageEnded { stage, end, .. } => {
                let Some((index, since)) = open.take() else { return Err(format!("stage {stage} ended without having begun")) };
                let plan = &rollout.stages[index];
                ensure(&plan.name == stage, "another stage ended")?;
                let passed = *end == StageEnd::Passed;
                ensure(!passed || at.since(since) >= plan.hold, format!("stage {stage} passed before its hold"))?;
                ensure(*end != StageEnd::Undecided || at.since(since) >= plan.hold.plus(plan.extend), "undecided before hold + extend")?;
                let latest = plan.hold.plus(plan.extend).plus(plan.extend).plus(Span::secs(20));
                ensure(at.since(since) <= latest, format!("stage {stage} went on for too long"))?;
            }
            _ => {}
        }
    }
    ensure(open.is_none(), "a stage never ended")
}

fn nothing_new_after_a_halt(run: &Run) -> Result<(), String> {
    let stop = |f: &Fact| matches!(f, Fact::Halted(_) | Fact::RollbackStarted { rehearsal: false, .. } | Fact::NotReady { .. });
    let Some(since) = run.events.iter().position(|e| matches!(&e.what, Input::Fact(f) if stop(f))) else { return Ok(()) };
    let seq = run.events[since].seq;
    for event in &run.events[since..] {
        match &event.what {
            Input::Fact(Fact::StageStarted(name)) => return Err(format!("stage {name} began after the run was stopped")),
            Input::Fact(Fact::WeightAsked(w)) if *w > Ppm::ZERO => {
                return Err(format!("weight {w} was asked for at event {} after the run was stopped at {seq}", event.seq));
            }
            _ => {}
        }
    }
    let at = run.events[since].at;
    let new =
        run.calls.iter().find(|(when, _, call)| *when > at && matches!(call, Call::ApplyFault(_) | Call::Setup(_) | Call::StartService(_)));
    ensure(new.is_none(), format!("{new:?} began after the run was stopped"))
}

fn undone(setting: &Setting, run: &Run) -> Result<(), String> {
    let undo_failed = |what: &str| any(run, |f| matches!(f, Fact::UndoFailed { what: w, .. } if w.starts_with(what)));
    for i in &run.world.in_place {
        let name = &setting.plan.faults[*i].name;
        ensure(
            any(run, |f| matches!(f, Fact::RevertFailed { fault, .. } if fault == name)),
            format!("fault {name} is still in place, unsaid"),
        )?;
        ensure(
            matches!(run.decision.exit, Exit::RollbackFailed | Exit::Internal),
            format!("fault {name} is in place, exit {:?}", run.decision.exit),
        )?;
    }
    ensure(run.world.services.is_empty() || undo_failed("services"), "services still run, unsaid")?;
    ensure(run.world.load.is_none() || undo_failed("load"), "load still runs, unsaid")?;
    let torn = (0..setting.plan.teardown.len()).all(|i| run.world.teardowns.contains(&i));
    ensure(!run.world.setup_begun || torn || undo_failed("teardown"), "teardown was left out, unsaid")?;
    for (i, fault) in setting.plan.faults.iter().enumerate() {
        let applied = run.calls.iter().any(|(_, _, c)| *c == Call::ApplyFault(i));
        let ended = any(run, |f| match f {
            Fact::FaultReverted(name) => *name == fault.name,
            Fact::FaultFailed { fault: name, .. } | Fact::RevertFailed { fault: name, .. } => *name == fault.name,
            _ => false,
        });
        ensure(!applied || ended, format!("fault {} has no end", fault.name))?;
    }
    let said = undo_failed("") || any(run, |f| matches!(f, Fact::RollbackFailed(_)));
    ensure(!run.world.record_open || said, "the router's undo record is open, unsaid")
}

fn way_back(setting: &Setting, run: &Run) -> Result<(), String> {
    if setting.plan.rollout.is_none() {
        return Ok(());
    }
    let touched = run.calls.iter().any(|(_, _, c)| matches!(c, Call::SetWeight(_)));
    // A signal after the evidence is complete does not halt; what was decided stands then.
    let stopped = any(run, |f| matches!(f, Fact::Halted(by) if !matches!(by, HaltBy::Internal(_))))
        || any(run, |f| matches!(f, Fact::RollbackStarted { rehearsal: false, .. }));
    let failed = any(run, |f| matches!(f, Fact::RollbackFailed(_)));
    let passed = run.facts().filter(|(_, f)| matches!(f, Fact::StageEnded { end: StageEnd::Passed, .. })).count();
    let through = setting.plan.rollout.as_ref().is_some_and(|r| r.stages.len() == passed);
    let back = any(run, |f| matches!(f, Fact::RollbackStarted { .. }));
    ensure(!stopped || !touched || through || back, "stopped in the middle of the rollout, and nothing went back")?;
    let right = run.world.weight == if touched { Ppm::ZERO } else { run.world.found };
    // A router that answers what it was told to is seen through by the canary's answers only.
    let fooled = run.world.lied_read;
    ensure(!stopped || right || failed || fooled, format!("stopped, and the canary has {}, unsaid", run.world.weight))?;
    ensure(!failed || matches!(run.decision.exit, Exit::RollbackFailed | Exit::Internal), "a failed way back without exit 11")?;
    let harm = any(run, |f| matches!(f, Fact::StageEnded { end, .. } if *end != StageEnd::Passed));
    ensure(
        !harm || any(run, |f| matches!(f, Fact::RollbackStarted { rehearsal: false, .. })),
        "a stage was not passed and nothing went back",
    )
}

fn preflight(setting: &Setting, run: &Run) -> Result<(), String> {
    let change = |c: &Call| matches!(c, Call::ApplyFault(_) | Call::SetWeight(_));
    let early = any(run, |f| matches!(f, Fact::PreflightMissed { .. } | Fact::NotReady { .. }));
    let changed = run.calls.iter().find(|(_, _, c)| change(c));
    ensure(!early || changed.is_none(), format!("{changed:?} although the run was not ready"))?;
    let unseen = !setting.plan.preflight.is_empty() && (setting.script.unhealthy || setting.load_dies == Some(0));
    ensure(!unseen || changed.is_none(), format!("{changed:?} although preflight did not hold"))
}

/// Promote only what was wholly seen.
pub fn promoted(setting: &Setting, run: &Run) -> Result<(), String> {
    if run.decision.exit != Exit::Promote {
        return Ok(());
    }
    let plan = &setting.plan;
    let snapshots = run.events.iter().filter(|e| matches!(e.what, Input::Snapshot(_))).count();
    ensure(snapshots > 0, "promoted without a snapshot")?;
    ensure(run.world.in_place.is_empty() && run.world.services.is_empty(), "promoted with something left behind")?;
    for fault in &plan.faults {
        let hit = run.events.iter().any(|e| matches!(&e.what, Input::Attested { fault: f, hits } if *f == fault.name && hits.hits > 0));
        ensure(hit, format!("promoted although fault {} hit nothing", fault.name))?;
    }
    let Some(rollout) = &plan.rollout else { return Ok(()) };
    for stage in &rollout.stages {
        let passed = any(run, |f| matches!(f, Fact::StageEnded { stage: s, end: StageEnd::Passed, .. } if *s == stage.name));
        ensure(passed, format!("promoted although stage {} was not passed", stage.name))?;
    }
    let rehearsals = run.facts().filter(|(_, f)| matches!(f, Fact::RollbackEnded { restored: Some(_) })).count();
    let due = match rollout.rehearse {
        Rehearse::Never => 0,
        Rehearse::LastStage => 1,
        Rehearse::EveryStage => rollout.stages.len(),
    };
    ensure(rehearsals == due, format!("promoted with {rehearsals} of {due} rehearsals"))?;
    let left = match rollout.afterwards {
        Afterwards::Restore => run.world.found,
        Afterwards::Promoted => rollout.stages.last().map_or(Ppm::ZERO, |s| s.weight),
    };
    ensure(
        run.world.weight == left || run.world.lied_read,
        format!("promoted, and the canary has {} instead of {left}", run.world.weight),
    )?;
    ensure(!any(run, |f| matches!(f, Fact::Halted(_))), "promoted although halted")
}
