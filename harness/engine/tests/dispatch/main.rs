//! The real dispatcher on tokio with in-memory seams: journal, halts, hanging and panicking calls, a full disk.

mod fakes;
#[path = "../../../../tests/sim/judge.rs"]
#[allow(dead_code)]
mod judge;
#[path = "../../../../tests/sim/plans.rs"]
#[allow(dead_code)]
mod plans;

use fakes::Fake;
use judge::{Script, Strict};
use serde_json::Value;
use shakedown_core::decision::{Decision, Exit};
use shakedown_core::event::{Event, Fact, HaltBy, Input};
use shakedown_core::plan::{Plan, Rehearse, When};
use shakedown_core::seams::{Cx, Injector, LoadMode, Owner};
use shakedown_core::units::{Offset, Span};
use shakedown_core::{AllowList, Ppm};
use shakedown_engine::{Wiring, decide_from, inbox, journal, run};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Bound of every test run.
const BOUND: Duration = Duration::from_secs(20);

fn plan(with_rollout: bool) -> Plan {
    let mut plan = plans::plain(Span::secs(2));
    plan.streams[0].warmup = Span::ZERO;
    if with_rollout {
        let mut rollout = plans::rollout(vec![plans::stage("canary", 10, 1, 2)]);
        rollout.baseline = Span::millis(100);
        rollout.rehearse = Rehearse::Never;
        plan.rollout = Some(rollout);
        let at = When::Stage { stage: "canary".into(), plus: Span::millis(100) };
        plan.faults = vec![plans::fault("slow", at, Span::millis(300))];
    }
    plan
}

type Seen = Arc<Mutex<Vec<Event>>>;

fn wiring(plan: &Arc<Plan>, fake: &Fake, dir: &Path, script: Script) -> (Wiring, Seen) {
    let seen = Seen::default();
    let watch = seen.clone();
    let kind: &'static Fake = fake.leak();
    let shared = Arc::new(fake.clone());
    let cx = Cx {
        endpoints: Default::default(),
        allow: AllowList::parse(&["127.0.0.0/8".to_owned()]).expect("a block"),
        services: shared.clone(),
        proxies: shared.clone(),
        seed: 7,
        owner: Owner::default(),
    };
    let records: Vec<_> = plan.teardown.iter().map(|_| ("command".to_owned(), "teardown".to_owned(), Value::Null)).collect();
    let wiring = Wiring {
        part: shakedown_engine::Part::Whole,
        epoch: None,
        load: shared.clone(),
        services: shared.clone(),
        injectors: BTreeMap::from([("latency".to_owned(), kind as &'static dyn Injector)]),
        driver: Some(kind),
        actions: shared.clone(),
        undo: shared,
        cx,
        teardown: Arc::new(move || Ok(records.clone())),
        assessor: Box::new(Strict::new(plan.clone(), script)),
        observer: Box::new(move |event| watch.lock().expect("no holder panics").push(event.clone())),
        dir: dir.to_owned(),
        run: "r".into(),
        plan_sha256: "p".into(),
        version: "v".into(),
        scaled: false,
        wall: || "2026-01-01T00:00:00Z".into(),
        redact: Arc::new(|text: &str| text.replace("hunter2", "***")),
        inbox: inbox().0,
    };
    (wiring, seen)
}

async fn go(plan: Plan, fake: &Fake, dir: &Path, script: Script, halts: mpsc::Receiver<HaltBy>) -> (Decision, Vec<Event>) {
    let plan = Arc::new(plan);
    let (wiring, seen) = wiring(&plan, fake, dir, script);
    let outcome = tokio::time::timeout(BOUND, run(plan, wiring, halts)).await.expect("runs end within their bound");
    let events = std::mem::take(&mut *seen.lock().expect("no holder panics"));
    (outcome.decision, events)
}

fn undone(fake: &Fake) {
    assert!(fake.all_undone(), "{:?}", fake.truth().records);
    let t = fake.truth();
    assert!(t.services.is_empty() && t.faults.is_empty() && t.weight == 0 && t.mode.is_none());
}

fn has(events: &[Event], fact: &Fact) -> bool {
    events.iter().any(|e| matches!(&e.what, Input::Fact(f) if f == fact))
}

/// Sends halts as soon as the condition holds.
async fn halt_when(fake: &Fake, halts: mpsc::Sender<HaltBy>, count: usize, when: impl Fn(&fakes::Truth) -> bool) -> Instant {
    let until = Instant::now() + BOUND;
    while !when(&fake.truth()) {
        assert!(Instant::now() < until, "the condition for the halt never held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..count {
        halts.send(HaltBy::Signal(2)).await.expect("the run takes halts");
    }
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_promotes_and_its_journal_gives_the_same_decision() {
    let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    let (_keep, halts) = mpsc::channel(1);
    let (decision, events) = go(plan(true), &fake, dir.path(), Script::default(), halts).await;
    assert_eq!(decision.exit, Exit::Promote, "{events:#?}");
    undone(&fake);
    let back: Vec<Event> = journal::read(dir.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(back, events, "the journal holds what happened, histograms included");
    assert!(back.iter().any(|e| matches!(&e.what, Input::Snapshot(s) if s.cells.iter().any(|(_, c)| !c.latency.is_empty()))));
    assert!(back.windows(2).all(|w| w[0].at <= w[1].at && w[0].seq + 1 == w[1].seq));
    let mut again = Strict::new(Arc::new(plan(true)), Script::default());
    assert_eq!(decide_from(dir.path(), &mut again).unwrap(), decision);
    let mut other = Strict::new(Arc::new(plan(true)), Script { harm: Some(0), ..Script::default() });
    assert!(decide_from(dir.path(), &mut other).unwrap_err().0.contains("internal error"), "a difference is noticed");
    let samples = std::fs::read_to_string(dir.path().join("samples.jsonl")).unwrap();
    assert!(samples.contains("GET /***") && !samples.contains("hunter2"), "{samples}");
    assert!(fake.truth().done.contains(&"undone command".to_owned()), "teardown ran");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn harm_rolls_back() {
    let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    let (_keep, halts) = mpsc::channel(1);
    let mut plan = plan(true);
    plan.rollout.as_mut().unwrap().stages[0].hold = Span::secs(5);
    let script = Script { harm: Some(0), ..Script::default() };
    let (decision, events) = go(plan, &fake, dir.path(), script, halts).await;
    assert_eq!(decision.exit, Exit::Rollback);
    let restored = events.iter().any(|e| matches!(&e.what, Input::Fact(Fact::RollbackEnded { restored: Some(_) })));
    assert!(restored, "load went on, so restoration was seen");
    undone(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_undoes_everything_and_a_second_one_hastens() {
    for count in [1, 2] {
        let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
        let (send, halts) = mpsc::channel(4);
        let go = go(plan(true), &fake, dir.path(), Script::default(), halts);
        let ((decision, events), halted) = tokio::join!(go, halt_when(&fake, send, count, |t| !t.faults.is_empty()));
        assert_eq!(decision.exit, Exit::Interrupted);
        let took = halted.elapsed();
        let bound = if count == 2 { Duration::from_secs(1) } else { Duration::from_secs(7) };
        assert!(took < bound, "{took:?}");
        assert!(has(&events, &Fact::FaultReverted("slow".into())));
        assert_eq!(fake.truth().done.contains(&format!("mode {:?}", LoadMode::Off)), count == 2);
        undone(&fake);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_during_a_hanging_start_does_not_wait_for_it() {
    let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    fake.truth().hang.insert("start");
    let (send, halts) = mpsc::channel(4);
    let go = go(plan(true), &fake, dir.path(), Script::default(), halts);
    let ((decision, _), halted) = tokio::join!(go, halt_when(&fake, send, 1, |t| t.done.contains(&"start".to_owned())));
    assert_eq!(decision.exit, Exit::Interrupted);
    assert!(halted.elapsed() < Duration::from_secs(2));
    assert!(fake.truth().done.contains(&"stop_all".to_owned()));
    undone(&fake);
}

async fn hanging_router(hang: &[&'static str]) -> Fake {
    let (fake, dir) = (Fake::default(), tempfile::tempdir().expect("a directory"));
    let (send, halts) = mpsc::channel(4);
    let go = go(plan(true), &fake, dir.path(), Script::default(), halts);
    let hangs = async {
        halt_when(&fake, send.clone(), 0, |t| !t.faults.is_empty()).await;
        fake.truth().hang.extend(hang);
        for _ in 0..2 {
            send.send(HaltBy::Signal(2)).await.expect("the run takes halts");
        }
    };
    let ((decision, events), ()) = tokio::join!(go, hangs);
    assert_eq!(decision.exit, Exit::RollbackFailed, "{events:#?}");
    let t = fake.truth();
    assert!(t.services.is_empty() && t.faults.is_empty() && t.mode.is_none());
    drop(t);
    fake
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_hangs_on_the_way_back_is_undone_by_its_record() {
    let fake = hanging_router(&["set", "restore"]).await;
    undone(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_cannot_be_undone_keeps_its_record_for_the_guard() {
    let fake = hanging_router(&["set", "restore", "undo"]).await;
    let t = fake.truth();
    assert!(t.weight > 0);
    assert!(t.records.values().any(|(kind, state)| kind == "fake-weight" && *state != "undone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_panics_or_cannot_be_reverted_is_undone_by_its_record() {
    let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    fake.truth().fail.insert("revert");
    let (_keep, halts) = mpsc::channel(1);
    let (decision, events) = go(plan(true), &fake, dir.path(), Script::default(), halts).await;
    assert_eq!(decision.exit, Exit::Promote, "its undo record took it back");
    assert!(has(&events, &Fact::FaultReverted("slow".into())));
    undone(&fake);

    let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    fake.truth().panic.insert("apply");
    let (_keep, halts) = mpsc::channel(1);
    let (decision, events) = go(plan(true), &fake, dir.path(), Script::default(), halts).await;
    assert_eq!(decision.exit, Exit::Invalid);
    assert!(events.iter().any(|e| matches!(&e.what, Input::Fact(Fact::FaultFailed { .. }))));
    undone(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_start_is_not_ready() {
    let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    fake.truth().fail.insert("start");
    let (_keep, halts) = mpsc::channel(1);
    let (decision, events) = go(plan(true), &fake, dir.path(), Script::default(), halts).await;
    assert_eq!(decision.exit, Exit::NotReady);
    assert!(has(&events, &Fact::NotReady { what: "service shop".into(), why: "start failed".into() }));
    undone(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_with_seventy_and_everything_undone() {
    for file in ["journal.jsonl", "histograms.hlog"] {
        let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink("/dev/full", dir.path().join(file)).unwrap();
        let (_keep, halts) = mpsc::channel(1);
        let (decision, _) = go(plan(true), &fake, dir.path(), Script::default(), halts).await;
        assert_eq!(decision.exit, Exit::Internal);
        assert!(decision.headline.contains("No space left"), "{}", decision.headline);
        undone(&fake);
    }
    let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    let (_keep, halts) = mpsc::channel(1);
    let (decision, _) = go(plan(true), &fake, &dir.path().join("missing"), Script::default(), halts).await;
    assert_eq!(decision.exit, Exit::Internal);
    assert!(fake.truth().done.is_empty(), "nothing was begun without a journal: {:?}", fake.truth().done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rollout_a_run_ends_with_its_traffic() {
    let (fake, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    let (_keep, halts) = mpsc::channel(1);
    let (decision, events) = go(plan(false), &fake, dir.path(), Script::default(), halts).await;
    assert_eq!(decision.exit, Exit::Promote);
    assert!(has(&events, &Fact::StreamEnded("shoppers".into())) && has(&events, &Fact::TrafficEnded));
    assert!(events.iter().all(|e| !matches!(&e.what, Input::Fact(Fact::WeightAsked(_)))));
    let ended = events.last().map(|e| e.at).unwrap_or_default();
    assert!(ended < Offset::ZERO.plus(Span::secs(5)), "{ended:?}");
    assert_eq!(fake.truth().weight, Ppm::ZERO.0);
    undone(&fake);
}
