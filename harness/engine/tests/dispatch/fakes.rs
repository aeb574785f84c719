//! In-memory seams for runs of the real dispatcher. Each does what it is told at once, unless it is told to hang or fail.

use serde_json::Value;
use shakedown_core::event::{Attestation, Input};
use shakedown_core::plan::{Action, FaultPlan};
use shakedown_core::seams::{
    Actions, Boxed, Class, Driver, DriverKind, Epoch, Fail, Fault, Found, Injector, Kind, Load, LoadMode, Prepared, Proxies, Services,
    Sink, Toxic, UndoLog, UndoState,
};
use shakedown_core::snapshot::{Arm, Cell, CellKey, Dim, Sample, Snapshot, StreamTotals};
use shakedown_core::tree::{Node, Problems};
use shakedown_core::units::{Offset, Ppm};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The truth all fakes share.
#[derive(Default)]
pub struct Truth {
    pub weight: u32,
    pub services: BTreeSet<String>,
    pub faults: BTreeSet<String>,
    pub done: Vec<String>,
    pub records: BTreeMap<u64, (String, &'static str)>,
    pub mode: Option<LoadMode>,
    /// Calls that hang, by name.
    pub hang: BTreeSet<&'static str>,
    pub fail: BTreeSet<&'static str>,
    pub panic: BTreeSet<&'static str>,
}

/// A handle on the truth that is every seam at once.
#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<Truth>>);

impl Fake {
    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A fake that lives as long as the test process, for kinds.
    pub fn leak(&self) -> &'static Fake {
        Box::leak(Box::new(self.clone()))
    }

    /// Every record is closed.
    pub fn all_undone(&self) -> bool {
        self.truth().records.values().all(|(_, state)| *state == "undone")
    }

    fn act<'a, T: Send + 'a>(&'a self, name: &'static str, f: impl FnOnce(&mut Truth) -> T + Send + 'a) -> Boxed<'a, Result<T, Fail>> {
        Box::pin(async move {
            let (hang, fail, panic) = {
                let mut t = self.truth();
                t.done.push(name.to_owned());
                (t.hang.contains(name), t.fail.contains(name), t.panic.contains(name))
            };
            assert!(!panic, "told to panic in {name}");
            if hang {
                std::future::pending::<()>().await;
            }
            if fail { Err(Fail::new(format!("{name} failed"))) } else { Ok(f(&mut self.truth())) }
        })
    }
}

impl Services for Fake {
    fn start<'a>(&'a self, name: &'a str) -> Boxed<'a, Result<(), Fail>> {
        self.act("start", move |t| {
            t.services.insert(name.to_owned());
        })
    }
    fn stop_all<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        self.act("stop_all", |t| t.services.clear())
    }
    fn pause<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<u64, Fail>> {
        self.act("pause", |_| 1)
    }
    fn resume<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<(), Fail>> {
        self.act("resume", |_| ())
    }
    fn kill<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<u64, Fail>> {
        self.act("kill", |_| 1)
    }
}

impl Proxies for Fake {
    fn add<'a>(&'a self, _: &'a str, _: Toxic) -> Boxed<'a, Result<(), Fail>> {
        self.act("add", |_| ())
    }
    fn remove<'a>(&'a self, _: &'a str, _: &'a str) -> Boxed<'a, Result<(), Fail>> {
        self.act("remove", |_| ())
    }
    fn attest(&self, _: &str, _: &str) -> Attestation {
        Attestation::default()
    }
}

impl Actions for Fake {
    fn run<'a>(&'a self, action: &'a Action) -> Boxed<'a, Result<(), Fail>> {
        let name = format!("{action:?}");
        self.act("action", move |t| t.done.push(name))
    }
}

impl Kind for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn about(&self) -> &'static str {
        "in memory"
    }
    fn schema(&self) -> Value {
        Value::Bool(true)
    }
    fn parse(&self, _: &Node, _: &mut Problems) -> Option<Value> {
        None
    }
}

impl Injector for Fake {
    fn class(&self, _: &Value) -> Class {
        Class::Guard
    }
    fn conflicts(&self, _: &Value) -> &'static str {
        "fake"
    }
    fn sits_on(&self) -> &'static [&'static str] {
        &["service"]
    }
    fn prepare<'a>(&'a self, fault: &'a FaultPlan, _: &'a shakedown_core::Cx) -> Boxed<'a, Result<Prepared, Fail>> {
        let ready = FakeFault { fake: self.clone(), name: fault.name.clone() };
        let undo = Some(("fake".to_owned(), fault.name.clone(), Value::from(fault.name.clone())));
        self.act("prepare", move |_| Prepared { fault: Box::new(ready), undo })
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

struct FakeFault {
    fake: Fake,
    name: String,
}

impl Fault for FakeFault {
    fn apply<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        self.fake.act("apply", |t| {
            t.faults.insert(self.name.clone());
        })
    }
    fn revert<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        self.fake.act("revert", |t| {
            t.faults.remove(&self.name);
        })
    }
    fn attest(&self) -> Attestation {
        Attestation { hits: 3, seen: 4, bytes: 5 }
    }
}

impl DriverKind for Fake {
    fn connect<'a>(&'a self, _: &'a Value, _: &'a shakedown_core::Cx) -> Boxed<'a, Result<Arc<dyn Driver>, Fail>> {
        let driver: Arc<dyn Driver> = Arc::new(self.clone());
        self.act("connect", move |_| driver)
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

impl Driver for Fake {
    fn found(&self) -> Boxed<'_, Result<Found, Fail>> {
        self.act("found", |t| Found { canary: Ppm(t.weight), data: Value::Null })
    }
    fn set(&self, canary: Ppm) -> Boxed<'_, Result<(), Fail>> {
        self.act("set", move |t| t.weight = canary.0)
    }
    fn read(&self) -> Boxed<'_, Result<Ppm, Fail>> {
        self.act("read", |t| Ppm(t.weight))
    }
    fn restore<'a>(&'a self, found: &'a Found) -> Boxed<'a, Result<(), Fail>> {
        self.act("restore", |t| t.weight = found.canary.0)
    }
    fn undo(&self, found: &Found) -> (String, String, Value) {
        ("fake-weight".to_owned(), "router".to_owned(), Value::from(found.canary.0))
    }
}

impl UndoLog for Fake {
    fn about_to(&self, kind: &str, _: &str, _: Value) -> Result<u64, Fail> {
        let mut t = self.truth();
        let id = t.records.len() as u64 + 1;
        t.records.insert(id, (kind.to_owned(), "about to"));
        Ok(id)
    }
    fn active(&self, id: u64) -> Result<(), Fail> {
        self.truth().records.get_mut(&id).expect("known").1 = "active";
        Ok(())
    }
    fn undone(&self, id: u64) -> Result<(), Fail> {
        self.truth().records.get_mut(&id).expect("known").1 = "undone";
        Ok(())
    }
    fn undo(&self, id: u64) -> Boxed<'_, Result<UndoState, Fail>> {
        self.act("undo", move |t| {
            match t.records[&id].0.as_str() {
                "fake" => t.faults.clear(),
                "fake-weight" => t.weight = 0,
                other => t.done.push(format!("undone {other}")),
            }
            UndoState::Undone
        })
    }
}

impl Load for Fake {
    fn prepare(&self) -> Boxed<'_, Result<(), Fail>> {
        self.act("prepare load", |_| ())
    }
    fn start(&self, epoch: Epoch, sink: Arc<dyn Sink>) {
        self.truth().mode = Some(LoadMode::Full);
        let fake = self.clone();
        sink.send(Input::Samples(vec![sample()]));
        tokio::spawn(async move {
            let mut last = Offset::ZERO;
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let Some(mode) = fake.truth().mode else { return };
                let now = epoch.offset(Instant::now());
                if mode != LoadMode::Off && now >= Offset::ZERO {
                    let weight = fake.truth().weight;
                    sink.send(Input::Snapshot(snapshot(last, now, weight, now.seconds() > 2.0)));
                    last = now;
                }
            }
        });
        self.truth().done.push("load started".into());
    }
    fn start_stream(&self, stream: &str, _: Offset) {
        self.truth().done.push(format!("stream {stream}"));
    }
    fn mode(&self, mode: LoadMode) {
        let mut t = self.truth();
        if t.mode.is_some() {
            t.mode = Some(mode);
        }
        t.done.push(format!("mode {mode:?}"));
    }
    fn stop(&self) -> Boxed<'_, Result<(), Fail>> {
        self.act("stop load", |t| t.mode = None)
    }
}

fn sample() -> Sample {
    Sample {
        at: Offset::ZERO,
        stream: "shoppers".into(),
        step: "s".into(),
        trace: "t".into(),
        arm: Arm::All,
        status: None,
        failure: None,
        detail: String::new(),
        latency: 1,
        dispatch: 1,
        service: 1,
        request: "GET /hunter2".into(),
        answer: String::new(),
    }
}

fn snapshot(from: Offset, to: Offset, weight: u32, ended: bool) -> Snapshot {
    let key = |arm| CellKey { slice: (to.0.max(0) / 1_000_000_000) as u32, stream: 0, arm, dim: Dim::Whole };
    let mut cell = Cell { due: 5, ok: 5, ..Cell::default() };
    cell.latency.record(1_234_567);
    let mut s =
        Snapshot { as_of: to, cells: vec![(key(Arm::All), cell.clone()), (key(Arm::Control), cell.clone())], ..Snapshot::default() };
    s.streams.insert(0, StreamTotals { asked: 5, sent: 5, ended, ..StreamTotals::default() });
    if weight > 0 {
        s.cells.push((key(Arm::Canary), cell));
        s.first_answer.insert(Arm::Canary, from);
        s.last_answer.insert(Arm::Canary, to);
    }
    s
}
