//! What the proxy asks of a network fault, and the fault that puts one on a proxy. Must not know sockets.

use crate::{abort, bandwidth, blackhole, latency, reset, rolls};
use serde_json::Value;
use shakedown_core::event::Attestation;
use shakedown_core::plan::{FaultPlan, On};
use shakedown_core::seams::{Boxed, Cx, Fault, Prepared, Proxies, Toxic};
use shakedown_core::{Fail, Span};
use shakedown_wire::{Answer, Direction, Ending, Piece};
use std::sync::Arc;

/// What a fault does to traffic that matches and was rolled for. Each default does nothing. Later kinds extend this
/// with defaults, so that a new one is still one file.
pub trait Behaviour: Send + Sync {
    /// HTTP: what happens to a request before it is forwarded.
    fn request(&self, _rolls: &mut rolls::Rolls) -> Act {
        Act::Pass
    }
    /// HTTP: how long an answer is held before it goes to the client.
    fn answer(&self, _rolls: &mut rolls::Rolls) -> Span {
        Span::ZERO
    }
    /// HTTP: shapes one direction of an exchange.
    fn exchange_shaper(&self, _direction: Direction) -> Option<Box<dyn Shaper>> {
        None
    }
    /// TCP: shapes one direction of a connection.
    fn shaper(&self, _direction: Direction, _rolls: rolls::Rolls) -> Option<Box<dyn Shaper>> {
        None
    }
    /// TCP: ends the connection so long after it was opened or the fault came.
    fn ending(&self) -> Option<(Span, Ending)> {
        None
    }
    /// TCP: swallows everything; the connection closes when the fault goes.
    fn swallows(&self) -> bool {
        false
    }
}

/// What happens to a request.
pub enum Act {
    /// Nothing.
    Pass,
    /// It waits, then goes on.
    Hold(Span),
    /// It is answered without the upstream.
    Answer(Answer),
    /// The connection ends, after a wait.
    End(Span, Ending),
    /// It is swallowed: no answer until the fault goes, then the connection closes.
    Swallow,
}

/// The state of one fault in one direction.
pub trait Shaper: Send {
    /// Times or cuts pieces by adding holds named `holder`. Pieces come in the order in which they leave.
    fn shape(&mut self, holder: u64, pieces: Vec<Piece>) -> Vec<Piece>;
}

/// The behaviour of a kind with canonical parameters.
///
/// # Errors
/// When it is no kind for proxies, or the parameters are not its own.
pub fn behaviour(kind: &str, params: &Value) -> Result<Arc<dyn Behaviour>, Fail> {
    match kind {
        "latency" => latency::behaviour(params),
        "abort" => abort::behaviour(params),
        "reset" => reset::behaviour(params),
        "blackhole" => Ok(blackhole::behaviour()),
        "bandwidth" => bandwidth::behaviour(params),
        other => Err(Fail::new(format!("`{other}` is no fault for a proxy"))),
    }
}

/// Prepares any fault that sits on a proxy. Reads only; the kernel takes it back, since the proxy is in this process.
pub fn prepare<'a>(fault: &'a FaultPlan, cx: &'a Cx) -> Boxed<'a, Result<Prepared, Fail>> {
    Box::pin(async move {
        let On::Proxy(proxy) = &fault.on else {
            return Err(Fail::new(format!("fault {}: `{}` sits on a proxy; write `on: {{proxy: NAME}}`", fault.name, fault.kind)));
        };
        // Whatever is wrong with the parameters is said now, not when the fault is due.
        behaviour(&fault.kind, &fault.params)?;
        let toxic = Toxic {
            name: fault.name.clone(),
            kind: fault.kind.clone(),
            params: fault.params.clone(),
            share: fault.share,
            matches: fault.matches.clone(),
            seed: rolls::named(cx.seed, &fault.name),
        };
        let fault = ProxyFault { proxy: proxy.clone(), toxic, proxies: Arc::clone(&cx.proxies) };
        Ok(Prepared { fault: Box::new(fault), undo: None })
    })
}

struct ProxyFault {
    proxy: String,
    toxic: Toxic,
    proxies: Arc<dyn Proxies>,
}

impl Fault for ProxyFault {
    fn apply<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        self.proxies.add(&self.proxy, self.toxic.clone())
    }
    fn revert<'a>(&'a self) -> Boxed<'a, Result<(), Fail>> {
        self.proxies.remove(&self.proxy, &self.toxic.name)
    }
    fn attest(&self) -> Attestation {
        self.proxies.attest(&self.proxy, &self.toxic.name)
    }
}

/// Implements `Injector` for a kind that sits on proxies.
macro_rules! proxy_kind {
    ($kind:ty, $composes:expr, $on:expr) => {
        impl shakedown_core::seams::Injector for $kind {
            fn class(&self, _params: &serde_json::Value) -> shakedown_core::seams::Class {
                shakedown_core::seams::Class::Kernel
            }
            fn conflicts(&self, _params: &serde_json::Value) -> &'static str {
                $composes
            }
            fn sits_on(&self) -> &'static [&'static str] {
                $on
            }
            fn prepare<'a>(
                &'a self,
                fault: &'a shakedown_core::plan::FaultPlan,
                cx: &'a shakedown_core::Cx,
            ) -> shakedown_core::seams::Boxed<'a, Result<shakedown_core::seams::Prepared, shakedown_core::Fail>> {
                crate::toxic::prepare(fault, cx)
            }
            fn as_kind(&self) -> &dyn shakedown_core::seams::Kind {
                self
            }
        }
    };
}
pub(crate) use proxy_kind;
