//! What calls do: the seams behind them, prepared faults, the driver, undo records. Every change is written to the undo
//! log before it is made. Must not decide what is called when.

use crate::dispatch::TeardownRecords;
use crate::effect::Call;
use serde_json::Value;
use shakedown_core::Plan;
use shakedown_core::event::Attestation;
use shakedown_core::seams::{Actions, Cx, Driver, DriverKind, Fail, Fault, Found, Injector, Load, Services, UndoLog};
use shakedown_core::units::{Ppm, Span};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Everything calls work on.
pub(crate) struct World {
    pub plan: Arc<Plan>,
    pub load: Arc<dyn Load>,
    pub services: Arc<dyn Services>,
    pub injectors: BTreeMap<String, &'static dyn Injector>,
    pub driver: Option<&'static dyn DriverKind>,
    pub actions: Arc<dyn Actions>,
    pub undo: Arc<dyn UndoLog>,
    pub cx: Cx,
    pub teardown: TeardownRecords,
    pub held: Mutex<Held>,
}

/// What was made during the run.
#[derive(Default)]
pub(crate) struct Held {
    router: Option<Router>,
    faults: BTreeMap<usize, Ready>,
    teardown: BTreeMap<usize, u64>,
}

#[derive(Clone)]
struct Router {
    driver: Arc<dyn Driver>,
    found: Found,
    record: Option<u64>,
}

#[derive(Clone)]
struct Ready {
    fault: Arc<dyn Fault>,
    undo: Option<(String, String, Value)>,
    record: Option<u64>,
}

type Answer = Result<Value, Fail>;

impl World {
    /// Does one call that must end within `deadline`: where there are two ways to undo, each gets half of it.
    pub(crate) async fn call(self: Arc<World>, call: Call, deadline: Span) -> Result<Value, String> {
        let half = deadline.duration() / 2;
        let done = match call {
            Call::StartService(i) => self.services.start(&self.plan.environment.services[i].name).await.map(nothing),
            Call::PrepareLoad => self.load.prepare().await.map(nothing),
            Call::RegisterTeardown => self.register_teardown().await,
            Call::Setup(i) => self.actions.run(&self.plan.setup[i]).await.map(nothing),
            Call::Connect => self.connect().await,
            Call::PrepareFault(i) => self.prepare(i).await,
            Call::ApplyFault(i) => self.apply(i).await,
            Call::RevertFault(i) => self.revert(i, half).await,
            Call::SetWeight(to) => self.set(to).await,
            Call::ReadWeight => self.read().await,
            Call::Before(i) => self.before(i).await,
            Call::StopLoad => self.load.stop().await.map(nothing),
            Call::RestoreWeight => self.restore(half).await,
            Call::KeepWeight => self.keep().await,
            Call::Teardown(i) => self.teardown(i).await,
            Call::StopServices => self.services.stop_all().await.map(nothing),
            Call::Judge => Err(Fail::new("internal error: the judge is asked by the dispatcher")),
        };
        done.map_err(|Fail(why)| why)
    }

    /// What a fault hit so far.
    pub(crate) fn attest(&self, i: usize) -> Attestation {
        let fault = self.held().faults.get(&i).map(|r| r.fault.clone());
        fault.map(|f| f.attest()).unwrap_or_default()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no holder panics")
    }

    /// Uses the undo log off the async threads: every call of it waits for the disk.
    async fn log<T: Send + 'static>(&self, f: impl FnOnce(&dyn UndoLog) -> Result<T, Fail> + Send + 'static) -> Result<T, Fail> {
        let undo = self.undo.clone();
        let done = tokio::task::spawn_blocking(move || f(undo.as_ref())).await;
        done.unwrap_or_else(|e| Err(Fail::new(format!("internal error in the undo journal: {e}"))))
    }

    /// Writes a record and keeps its number even when the call is cancelled meanwhile.
    async fn about_to(
        self: &Arc<World>,
        record: (String, String, Value),
        keep: impl FnOnce(&mut Held, u64) + Send + 'static,
    ) -> Result<u64, Fail> {
        let world = self.clone();
        self.log(move |undo| {
            let id = undo.about_to(&record.0, &record.1, record.2)?;
            keep(&mut world.held(), id);
            Ok(id)
        })
        .await
    }

    async fn register_teardown(self: &Arc<World>) -> Answer {
        let records = (self.teardown)()?;
        // Last first: the guard undoes the newest first, and teardown runs in the plan's order there as well.
        for (i, record) in records.into_iter().enumerate().rev() {
            self.about_to(record, move |held, id| {
                held.teardown.insert(i, id);
            })
            .await?;
        }
        Ok(Value::Null)
    }

    async fn teardown(&self, i: usize) -> Answer {
        let Some(id) = self.held().teardown.get(&i).copied() else {
            return Err(Fail::new("it was never registered in the undo journal, so it is not run"));
        };
        self.undo.undo(id).await?;
        self.log(move |undo| undo.undone(id)).await.map(nothing)
    }

    async fn before(&self, i: usize) -> Answer {
        let rollout = self.plan.rollout.as_ref().ok_or_else(|| Fail::new("internal error: no rollout"))?;
        self.actions.run(&rollout.rollback.before[i]).await.map(nothing)
    }

    async fn connect(&self) -> Answer {
        let (Some(kind), Some(rollout)) = (self.driver, &self.plan.rollout) else {
            return Err(Fail::new("internal error: the rollout has no driver"));
        };
        let driver = kind.connect(&rollout.params, &self.cx).await?;
        let found = driver.found().await?;
        let canary = found.canary;
        self.held().router = Some(Router { driver, found, record: None });
        Ok(Value::from(canary.0))
    }

    fn router(&self) -> Result<Router, Fail> {
        self.held().router.clone().ok_or_else(|| Fail::new("internal error: the driver is not connected"))
    }

    async fn set(self: &Arc<World>, to: Ppm) -> Answer {
        let router = self.router()?;
        if router.record.is_none() {
            let record = router.driver.undo(&router.found);
            let keep = |held: &mut Held, id| {
                if let Some(router) = &mut held.router {
                    router.record = Some(id);
                }
            };
            let id = self.about_to(record, keep).await?;
            router.driver.set(to).await?;
            self.log(move |undo| undo.active(id)).await?;
        } else {
            router.driver.set(to).await?;
        }
        Ok(Value::Null)
    }

    async fn read(&self) -> Answer {
        self.router()?.driver.read().await.map(|w| Value::from(w.0))
    }

    async fn restore(&self, half: Duration) -> Answer {
        let router = self.router()?;
        match (within(half, router.driver.restore(&router.found)).await, router.record) {
            (Ok(()), _) => Ok(Value::Null),
            // The connection may be gone: the undo record needs none.
            (Err(Fail(why)), Some(id)) => match self.undo.undo(id).await {
                Ok(_) => Ok(Value::Null),
                Err(Fail(also)) => Err(Fail::new(format!("{why}; its undo record: {also}"))),
            },
            (Err(why), None) => Err(why),
        }
    }

    async fn keep(&self) -> Answer {
        match self.router()?.record {
            Some(id) => self.log(move |undo| undo.undone(id)).await.map(nothing),
            None => Ok(Value::Null),
        }
    }

    async fn prepare(&self, i: usize) -> Answer {
        let plan = &self.plan.faults[i];
        let injector = self.injectors.get(&plan.kind);
        let injector = injector.ok_or_else(|| Fail::new(format!("no injector of kind `{}`", plan.kind)))?;
        let prepared = injector.prepare(plan, &self.cx).await?;
        let ready = Ready { fault: Arc::from(prepared.fault), undo: prepared.undo, record: None };
        self.held().faults.insert(i, ready);
        Ok(Value::Null)
    }

    fn fault(&self, i: usize) -> Result<Ready, Fail> {
        self.held().faults.get(&i).cloned().ok_or_else(|| Fail::new("internal error: the fault is not prepared"))
    }

    async fn apply(self: &Arc<World>, i: usize) -> Answer {
        let ready = self.fault(i)?;
        let mut record = None;
        if let Some(undo) = ready.undo.clone() {
            let keep = move |held: &mut Held, id| {
                if let Some(ready) = held.faults.get_mut(&i) {
                    ready.record = Some(id);
                }
            };
            record = Some(self.about_to(undo, keep).await?);
        }
        ready.fault.apply().await?;
        if let Some(id) = record {
            self.log(move |undo| undo.active(id)).await?;
        }
        Ok(Value::Null)
    }

    async fn revert(&self, i: usize, half: Duration) -> Answer {
        let ready = self.fault(i)?;
        if let Err(Fail(why)) = within(half, ready.fault.revert()).await {
            let Some(id) = ready.record else { return Err(Fail(why)) };
            self.undo.undo(id).await.map_err(|Fail(also)| Fail::new(format!("{why}; its undo record: {also}")))?;
        }
        if let Some(id) = ready.record {
            self.log(move |undo| undo.undone(id)).await?;
        }
        Ok(Value::Null)
    }
}

async fn within<T>(bound: Duration, work: impl Future<Output = Result<T, Fail>>) -> Result<T, Fail> {
    tokio::time::timeout(bound, work).await.unwrap_or_else(|_| Err(Fail::new(format!("no answer within {bound:?}"))))
}

fn nothing<T>(_: T) -> Value {
    Value::Null
}
