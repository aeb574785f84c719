//! Simulated runs: the engine whole against virtual time and a world that fails, hangs, lies and dies at any step.
//! A failing seed prints itself with its trace; `SIM_SEED=n` runs that one alone, `SIM_SEEDS=n` so many.

mod check;
mod judge;
mod plans;
mod sim;
mod virtual_time;
mod world;

use judge::Script;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shakedown_core::decision::Exit;
use shakedown_core::event::{Fact, HaltBy, StageEnd};
use shakedown_core::plan::{Afterwards, GuardAction, Indicator, Limit, LimitValue, Objective, Plan, Rehearse, When, WindowRef};
use shakedown_core::units::{Offset, Ppm, Span};
use sim::{Run, Setting, run};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use world::Mood;

/// Seeds in an ordinary test run.
const SEEDS: u64 = 8_000;

type Rng = ChaCha8Rng;

fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

/// A random setting.
fn setting(seed: u64) -> Setting {
    let mut rng = Rng::seed_from_u64(seed);
    let plan = plan(&mut rng);
    let length = 40_000_000_000_u64;
    let bad = chance(&mut rng, 80);
    let mut percent = |of: u32| if bad && chance(&mut rng, of) { rng.random_range(1..35) } else { 0 };
    let mood = Mood { fail: percent(50), hang: percent(40), lie_set: percent(30), lie_read: percent(15), from: 0 };
    let mood = Mood { from: if chance(&mut rng, 60) { rng.random_range(0..length) } else { 0 }, ..mood };
    let stages = plan.rollout.as_ref().map_or(0, |r| r.stages.len()).max(1);
    let pick = |rng: &mut Rng, percent| chance(rng, percent).then(|| rng.random_range(0..stages));
    let actions = [GuardAction::Abort, GuardAction::Rollback, GuardAction::Reduce(Ppm(10_000)), GuardAction::Pause, GuardAction::Warn];
    let guards = (0..if chance(&mut rng, 30) { rng.random_range(1..4) } else { 0 }).map(|_| {
        let from = rng.random_range(0..length as i64);
        (Offset(from), Offset(from + rng.random_range(100_000_000..8_000_000_000)), actions[rng.random_range(0..actions.len())])
    });
    let guards = guards.collect();
    let script = Script {
        harm: pick(&mut rng, 20),
        undecided: pick(&mut rng, 10),
        unhealthy: chance(&mut rng, 5),
        never_recovers: chance(&mut rng, 10),
        guards,
    };
    let how_many = if chance(&mut rng, 35) { rng.random_range(1..4) } else { 0 };
    let whose = |rng: &mut Rng| if chance(rng, 85) { HaltBy::Signal(2) } else { HaltBy::Internal("disk full".into()) };
    let halts = (0..how_many).map(|_| (rng.random_range(0..length), whose(&mut rng))).collect();
    let mut sometime = |percent| chance(&mut rng, percent).then(|| rng.random_range(0..length));
    let (exit, load_dies) = (sometime(8), sometime(8));
    let found = if chance(&mut rng, 85) { Ppm::ZERO } else { Ppm(50_000) };
    Setting { seed, plan: Arc::new(plan), mood, script, found, halts, exit, load_dies }
}

fn plan(rng: &mut Rng) -> Plan {
    let mut plan = plans::plain(Span::secs(rng.random_range(8..30)));
    for i in 0..rng.random_range(0..3) {
        plan.environment.services.push(plans::service(&format!("extra-{i}")));
        plan.teardown.push(plans::command("more"));
    }
    if chance(rng, 30) {
        plan.preflight.push("availability".into());
    }
    if chance(rng, 30) {
        plan.time_box = Some(Span::secs(rng.random_range(5..120)));
    }
    if chance(rng, 5) {
        plan.environment.limits.requests = Some(rng.random_range(100..3000));
    }
    if chance(rng, 75) {
        let count = rng.random_range(1..4);
        let stage = |rng: &mut Rng, i| {
            plans::stage(&format!("stage-{i}"), rng.random_range(0..=100), rng.random_range(2..6), rng.random_range(0..5))
        };
        let mut rollout = plans::rollout((0..count).map(|i| stage(rng, i)).collect());
        rollout.rehearse = [Rehearse::Never, Rehearse::LastStage, Rehearse::EveryStage][rng.random_range(0..3)];
        rollout.afterwards = if chance(rng, 50) { Afterwards::Restore } else { Afterwards::Promoted };
        // A stage nobody reaches has no canary samples for a gate.
        rollout.stages.iter_mut().filter(|s| s.weight == Ppm::ZERO).for_each(|s| s.gate.clear());
        plan.rollout = Some(rollout);
        if chance(rng, 20) {
            let at = When::Stage { stage: "stage-0".into(), plus: Span::secs(1) };
            plan.streams.push(plans::stream("late", at, Span::secs(3)));
        }
    }
    for i in 0..rng.random_range(0..3_u32) {
        let at = fault_time(rng, &plan, i);
        let mut fault = plans::fault(&format!("fault-{i}"), at, Span::millis(rng.random_range(500..6000)));
        fault.during_rollback = chance(rng, 20);
        fault.kind = if chance(rng, 30) { "kill".into() } else { "latency".into() };
        plan.faults.push(fault);
        if chance(rng, 30) {
            plan.objectives.push(recovery(&format!("fault-{i}")));
        }
    }
    plan
}

fn fault_time(rng: &mut Rng, plan: &Plan, i: u32) -> When {
    match rng.random_range(0..3) {
        0 if plan.rollout.is_some() => When::Stage { stage: "stage-0".into(), plus: Span::millis(rng.random_range(0..4000)) },
        1 if i > 0 => When::After { fault: format!("fault-{}", i - 1), plus: Span::millis(rng.random_range(0..3000)) },
        _ => When::At(Span::millis(rng.random_range(1000..12000))),
    }
}

fn recovery(fault: &str) -> Objective {
    Objective {
        name: format!("recovery-{fault}"),
        indicator: Indicator::TimeToRecover { of: "availability".into(), after: fault.into() },
        limit: Limit { min: false, value: LimitValue::Fixed(5e9), floor: None, text: "5s".into() },
        arm: shakedown_core::plan::ArmChoice::All,
        stream: None,
        journey: None,
        step: None,
        window: WindowRef::Default,
        every: None,
        confidence: Ppm(950_000),
        min_samples: None,
        condition: None,
        by_header: None,
    }
}

fn trace(setting: &Setting, run: &Run) -> String {
    let mut lines = vec![format!("{setting:#?}")];
    for event in &run.events {
        let quiet =
            matches!(event.what, shakedown_core::Input::Tick | shakedown_core::Input::Snapshot(_) | shakedown_core::Input::Assessed(_));
        if !quiet {
            lines.push(format!("{:>6} {:>12.3} {:?}", event.seq, event.at.seconds(), event.what));
        }
    }
    let calls = run.calls.iter().map(|(at, id, call)| format!("call {id} at {:.3}: {call:?}", at.seconds()));
    lines.extend(calls);
    lines.push(format!("exit {:?}", run.decision.exit));
    lines.join("\n")
}

/// Runs one seed; what was broken, with its trace.
fn broken(seed: u64) -> Option<String> {
    let setting = setting(seed);
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let run = run(&setting);
        check::check(&setting, &run).err().map(|why| format!("{why}\n{}\n{why}", trace(&setting, &run)))
    }));
    match checked {
        Ok(None) => None,
        Ok(Some(why)) => Some(format!("SIM_SEED={seed}: {why}")),
        Err(panic) => {
            let why = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Some(format!("SIM_SEED={seed}: panicked: {}\n{setting:#?}", why.unwrap_or_default()))
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}

#[test]
fn invariants_hold_for_every_seed() {
    let seeds = match number("SIM_SEED") {
        Some(one) => one..one + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let failures: Vec<String> = seeds.filter_map(broken).collect();
    let names: Vec<&str> = failures.iter().map(|f| f.lines().next().unwrap_or_default()).collect();
    assert!(failures.is_empty(), "{}\n\n{} of {count} seeds failed:\n{}", failures[0], failures.len(), names.join("\n"));
}

#[test]
fn the_seeds_reach_every_kind_of_end() {
    let mut exits: Vec<Exit> = (0..400).map(|seed| run(&setting(seed)).decision.exit).collect();
    exits.sort();
    exits.dedup();
    for wanted in [
        Exit::Promote,
        Exit::NotReady,
        Exit::Invalid,
        Exit::Rollback,
        Exit::RollbackFailed,
        Exit::Inconclusive,
        Exit::Halted,
        Exit::Internal,
        Exit::Interrupted,
    ] {
        assert!(exits.contains(&wanted), "no seed ends with {wanted:?}: {exits:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_events() {
    for seed in 0..100 {
        let (a, b) = (run(&setting(seed)), run(&setting(seed)));
        assert_eq!(a.events, b.events, "seed {seed}");
        assert_eq!(a.decision, b.decision, "seed {seed}");
    }
}

/// A good world for a rollout of two stages.
fn good() -> Setting {
    let mut plan = plans::plain(Span::secs(20));
    plan.rollout = Some(plans::rollout(vec![plans::stage("canary", 10, 3, 3), plans::stage("full", 100, 3, 3)]));
    let at = When::Stage { stage: "canary".into(), plus: Span::secs(1) };
    plan.faults = vec![plans::fault("slow", at, Span::secs(1))];
    let script = Script::default();
    Setting {
        seed: 1,
        plan: Arc::new(plan),
        mood: Mood::default(),
        script,
        found: Ppm::ZERO,
        halts: Vec::new(),
        exit: None,
        load_dies: None,
    }
}

fn has(run: &Run, what: impl Fn(&Fact) -> bool) -> bool {
    run.facts().any(|(_, f)| what(f))
}

fn checked(setting: &Setting) -> Run {
    let run = run(setting);
    if let Err(why) = check::check(setting, &run) {
        panic!("{why}\n{}", trace(setting, &run));
    }
    run
}

#[test]
fn a_good_world_promotes_and_leaves_what_was_asked_for() {
    let mut setting = good();
    let run = checked(&setting);
    assert_eq!((run.decision.exit, run.world.weight), (Exit::Promote, Ppm::ZERO), "{}", trace(&setting, &run));
    let plan = Arc::make_mut(&mut setting.plan);
    plan.rollout.as_mut().unwrap().afterwards = Afterwards::Promoted;
    let run = checked(&setting);
    assert_eq!((run.decision.exit, run.world.weight), (Exit::Promote, Ppm::ONE), "{}", trace(&setting, &run));
}

#[test]
fn harm_goes_back_at_once() {
    let mut setting = good();
    setting.script.harm = Some(1);
    let run = checked(&setting);
    assert_eq!((run.decision.exit, run.world.weight), (Exit::Rollback, Ppm::ZERO));
    let ended = run.facts().find(|(_, f)| matches!(f, Fact::StageEnded { end: StageEnd::Harm, .. })).unwrap().0;
    let back = run.facts().find(|(_, f)| matches!(f, Fact::RollbackStarted { rehearsal: false, .. })).unwrap().0;
    let clock = run.facts().find(|(_, f)| **f == Fact::StageStarted("full".into())).unwrap().0;
    assert_eq!(ended, back);
    assert!(ended.since(clock) < Span::secs(3), "harm was proven before the hold was over");
}

#[test]
fn a_halt_at_any_instant_is_prompt_and_undone() {
    let whole = run(&good()).events.last().unwrap().at;
    for at in (0..whole.0 as u64).step_by(173_000_000) {
        for second in [false, true] {
            let mut setting = good();
            setting.halts = vec![(at, HaltBy::Signal(2))];
            if second {
                setting.halts.push((at + 50_000_000, HaltBy::Signal(2)));
            }
            let run = checked(&setting);
            let Some((halted, _)) = run.facts().find(|(_, f)| matches!(f, Fact::Halted(_))) else { continue };
            assert_eq!(run.decision.exit, Exit::Interrupted, "at {at}");
            let took = run.events.last().unwrap().at.since(halted);
            let bound = if second { Span::secs(2) } else { Span::secs(7) };
            assert!(took <= bound, "at {at}: {took}\n{}", trace(&setting, &run));
        }
    }
}

#[test]
fn pause_holds_the_ramp_and_reduce_lowers_it() {
    let mut setting = good();
    setting.script.guards = vec![(Offset(4_000_000_000), Offset(6_000_000_000), GuardAction::Pause)];
    let run = checked(&setting);
    assert_eq!(run.decision.exit, Exit::Promote);
    let clock = |name: &str| run.facts().find(|(_, f)| **f == Fact::StageStarted(name.into())).unwrap().0;
    let plain = sim::run(&good());
    let free = plain.facts().find(|(_, f)| **f == Fact::StageStarted("full".into())).unwrap().0;
    assert!(clock("full") >= free);
    setting.script.guards = vec![(Offset(4_000_000_000), Offset(60_000_000_000), GuardAction::Pause)];
    assert!(has(&checked(&setting), |f| matches!(f, Fact::RollbackStarted { rehearsal: false, .. })));
    setting.script.guards = vec![(Offset(4_000_000_000), Offset(6_000_000_000), GuardAction::Reduce(Ppm(10_000)))];
    let run = checked(&setting);
    assert!(has(&run, |f| *f == Fact::WeightRead(Ppm(10_000))));
    assert_eq!(run.decision.exit, Exit::Promote);
}

#[test]
fn a_router_that_does_not_go_back_ends_with_eleven() {
    let mut setting = good();
    setting.script.harm = Some(1);
    setting.mood = Mood { lie_set: 100, from: 7_500_000_000, ..Mood::default() };
    let run = checked(&setting);
    assert!(has(&run, |f| matches!(f, Fact::RollbackFailed(_))), "{}", trace(&setting, &run));
    assert_eq!(run.decision.exit, Exit::RollbackFailed);
}

#[test]
fn a_service_that_exits_halts_the_run_unless_a_fault_killed_it() {
    let mut setting = good();
    setting.exit = Some(5_000_000_000);
    assert!(has(&checked(&setting), |f| matches!(f, Fact::Halted(HaltBy::Limit(_)))));
    Arc::make_mut(&mut setting.plan).faults[0].kind = "kill".into();
    let run = checked(&setting);
    assert!(!has(&run, |f| matches!(f, Fact::Halted(_))), "{}", trace(&setting, &run));
}

/// Every tenth seed again with the judge that runs use: what it must never say, whatever happens.
#[test]
fn the_real_judge_never_promotes_what_did_not_happen() {
    let ran = (0..SEEDS).step_by(10).map(|seed| {
        let setting = setting(seed);
        let judge = Box::new(shakedown_judge::Judge::new(setting.plan.clone()));
        let run = sim::run_with(&setting, judge);
        let proven = check::promoted(&setting, &run);
        if let Err(why) = proven {
            panic!("SIM_SEED={seed}: {why}\n{}", trace(&setting, &run));
        }
        run.decision.exit
    });
    assert!(ran.count() > 0);
}

#[test]
fn the_real_judge_promotes_a_good_world() {
    for afterwards in [Afterwards::Restore, Afterwards::Promoted] {
        let mut setting = good();
        Arc::make_mut(&mut setting.plan).rollout.as_mut().unwrap().afterwards = afterwards;
        let judge = Box::new(shakedown_judge::Judge::new(setting.plan.clone()));
        let run = sim::run_with(&setting, judge);
        assert_eq!(run.decision.exit, Exit::Promote, "{:#?}\n{}", run.decision, trace(&setting, &run));
        let left = if afterwards == Afterwards::Promoted { Ppm::ONE } else { Ppm::ZERO };
        assert_eq!(run.world.weight, left, "{afterwards:?}");
    }
}
