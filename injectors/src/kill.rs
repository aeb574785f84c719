//! `kill`: a service is killed with SIGKILL, all its processes. Nobody takes that back: the fault's end starts the
//! service again and waits until it is ready.

use crate::params;
use crate::pause::service_of;
use serde_json::Value;
use shakedown_core::Fail;
use shakedown_core::event::Attestation;
use shakedown_core::plan::FaultPlan;
use shakedown_core::seams::{Boxed, Class, Cx, Fault, Injector, Kind, Prepared, Services};
use shakedown_core::tree::{Node, Problems};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The kind.
#[derive(Debug)]
pub struct Kill;

impl Kind for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }
    fn about(&self) -> &'static str {
        "kills a service; when the fault ends it is started again and must get ready"
    }
    fn schema(&self) -> Value {
        params::schema_none()
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        params::none("kill", node, problems)
    }
}

impl Injector for Kill {
    fn class(&self, _params: &Value) -> Class {
        Class::Irreversible
    }
    fn conflicts(&self, _params: &Value) -> &'static str {
        // A paused service cannot be killed and started under the pause's feet.
        "pause"
    }
    fn sits_on(&self) -> &'static [&'static str] {
        &["service"]
    }
    fn prepare<'a>(&'a self, fault: &'a FaultPlan, cx: &'a Cx) -> Boxed<'a, Result<Prepared, Fail>> {
        Box::pin(async move {
            let service = service_of(fault)?;
            let killed = Killed { service, services: Arc::clone(&cx.services), hits: AtomicU64::new(0), applied: AtomicBool::new(false) };
            Ok(Prepared { fault: Box::new(killed), undo: None })
        })
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

struct Killed {
    service: String,
    services: Arc<dyn Services>,
    hits: AtomicU64,
    applied: AtomicBool,
}

impl Fault for Killed {
    fn apply<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move {
            // Set first: a kill that failed half-way is followed by a start as well.
            self.applied.store(true, Ordering::SeqCst);
            let hits = self.services.kill(&self.service).await?;
            self.hits.fetch_add(hits, Ordering::SeqCst);
            Ok(())
        })
    }
    fn revert<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move {
            if !self.applied.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.services.start(&self.service).await?;
            self.applied.store(false, Ordering::SeqCst);
            Ok(())
        })
    }
    fn attest(&self) -> Attestation {
        let hits = self.hits.load(Ordering::SeqCst);
        Attestation { hits, seen: hits, bytes: 0 }
    }
}
