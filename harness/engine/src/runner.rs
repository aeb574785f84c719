//! Runs calls as tasks: each ends in exactly one `Done`, at the latest at its deadline, whatever the call does. Must not
//! know what calls mean.

use serde_json::Value;
use shakedown_core::event::{EffectId, Input};
use shakedown_core::seams::Sink;
use shakedown_core::units::Span;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// An aborted call gets this long to let go of what it holds.
const LET_GO: Duration = Duration::from_secs(1);

/// The running calls.
pub(crate) struct Runner {
    sink: Arc<dyn Sink>,
    cancels: BTreeMap<EffectId, oneshot::Sender<()>>,
    cap: watch::Sender<Option<Instant>>,
}

impl Runner {
    pub(crate) fn new(sink: Arc<dyn Sink>) -> Runner {
        Runner { sink, cancels: BTreeMap::new(), cap: watch::Sender::new(None) }
    }

    /// Starts a call.
    pub(crate) fn start(&mut self, id: EffectId, deadline: Span, call: impl Future<Output = Result<Value, String>> + Send + 'static) {
        let (cancel, cancelled) = oneshot::channel();
        self.cancels.insert(id, cancel);
        let (sink, cap) = (self.sink.clone(), self.cap.subscribe());
        let task = tokio::spawn(call);
        tokio::spawn(async move {
            let outcome = supervise(task, deadline, cancelled, cap).await;
            sink.send(Input::Done { effect: id, outcome });
        });
    }

    /// Aborts a call; its `Done` still comes.
    pub(crate) fn cancel(&mut self, id: EffectId) {
        if let Some(cancel) = self.cancels.remove(&id) {
            // The call may have ended meanwhile: its `Done` is on its way then.
            let _ = cancel.send(());
        }
    }

    /// A call's `Done` has arrived.
    pub(crate) fn ended(&mut self, id: EffectId) {
        self.cancels.remove(&id);
    }

    /// Running calls end at the latest this long from now.
    pub(crate) fn hurry(&self, within: Span) {
        self.cap.send_replace(Some(Instant::now() + within.duration()));
    }
}

async fn supervise(
    mut task: JoinHandle<Result<Value, String>>,
    deadline: Span,
    mut cancelled: oneshot::Receiver<()>,
    mut cap: watch::Receiver<Option<Instant>>,
) -> Result<Value, String> {
    let started = Instant::now();
    let latest = started + deadline.duration();
    let why = loop {
        // A cap from before this call began does not concern it: it has its own, shortened deadline.
        let capped = cap.borrow_and_update().filter(|at| *at > started);
        let until = capped.map_or(latest, |at| at.min(latest));
        tokio::select! {
            ended = &mut task => return ended.unwrap_or_else(|e| Err(format!("internal error: {e}"))),
            _ = sleep_until(until) => break format!("no answer within {}", Span(u64::try_from((until - started).as_nanos()).unwrap_or(u64::MAX))),
            Ok(()) = &mut cancelled => break "cancelled".to_owned(),
            Ok(()) = cap.changed() => {}
        }
    };
    task.abort();
    match timeout(LET_GO, task).await {
        // It came through in the very last moment: then it is done, and that must be known.
        Ok(Ok(outcome)) => outcome,
        _ => Err(why),
    }
}
