//! `pause`: every thread of a service stands still. The kernel lets them go when the harness ends, since a pause is
//! held by a tracer and not by a stop signal.

use crate::params;
use serde_json::Value;
use shakedown_core::Fail;
use shakedown_core::event::Attestation;
use shakedown_core::plan::{FaultPlan, On};
use shakedown_core::seams::{Boxed, Class, Cx, Fault, Injector, Kind, Prepared, Services};
use shakedown_core::tree::{Node, Problems};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The kind.
#[derive(Debug)]
pub struct Pause;

impl Kind for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }
    fn about(&self) -> &'static str {
        "stops every thread of a service until the fault goes"
    }
    fn schema(&self) -> Value {
        params::schema_none()
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        params::none("pause", node, problems)
    }
}

impl Injector for Pause {
    fn class(&self, _params: &Value) -> Class {
        Class::Kernel
    }
    fn conflicts(&self, _params: &Value) -> &'static str {
        "pause"
    }
    fn sits_on(&self) -> &'static [&'static str] {
        &["service"]
    }
    fn prepare<'a>(&'a self, fault: &'a FaultPlan, cx: &'a Cx) -> Boxed<'a, Result<Prepared, Fail>> {
        Box::pin(async move {
            let service = service_of(fault)?;
            let paused = Paused { service, services: Arc::clone(&cx.services), hits: AtomicU64::new(0), applied: AtomicBool::new(false) };
            Ok(Prepared { fault: Box::new(paused), undo: None })
        })
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

/// The service a fault is on.
///
/// # Errors
/// When it is on something else.
pub fn service_of(fault: &FaultPlan) -> Result<String, Fail> {
    match &fault.on {
        On::Service(name) => Ok(name.clone()),
        On::Proxy(_) => Err(Fail::new(format!("fault {}: `{}` sits on a service; write `on: {{service: NAME}}`", fault.name, fault.kind))),
    }
}

struct Paused {
    service: String,
    services: Arc<dyn Services>,
    hits: AtomicU64,
    applied: AtomicBool,
}

impl Fault for Paused {
    fn apply<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move {
            // Set first: a pause that failed half-way is resumed by revert as well.
            self.applied.store(true, Ordering::SeqCst);
            let hits = self.services.pause(&self.service).await?;
            self.hits.fetch_add(hits, Ordering::SeqCst);
            Ok(())
        })
    }
    fn revert<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move {
            if !self.applied.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.services.resume(&self.service).await?;
            // Only now: a resume that failed may be tried again.
            self.applied.store(false, Ordering::SeqCst);
            Ok(())
        })
    }
    fn attest(&self) -> Attestation {
        let hits = self.hits.load(Ordering::SeqCst);
        Attestation { hits, seen: hits, bytes: 0 }
    }
}
