//! The line from harness to guard: messages on a socket whose end of file says that the harness is dead.

use serde::{Deserialize, Serialize};
use shakedown_core::Fail;
use shakedown_core::seams::UndoRecord;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest wait for the guard to take a message.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// A message, one JSON line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    /// The run's entry in the state directory.
    Registered(PathBuf),
    /// A change is about to be made.
    AboutTo(UndoRecord),
    /// It is taken back.
    Undone(u64),
    /// The harness ends well: nothing is left to undo.
    Done,
}

/// The harness's end; `None` once closed.
#[derive(Clone, Debug)]
pub(crate) struct Link(Arc<Mutex<Option<UnixStream>>>);

impl Link {
    /// Both ends: ours, and the guard's standard input.
    pub(crate) fn pair() -> Result<(Link, UnixStream), Fail> {
        let pair = UnixStream::pair().and_then(|(ours, theirs)| ours.set_write_timeout(Some(TAKEN_WITHIN)).map(|()| (ours, theirs)));
        let (ours, theirs) = pair.map_err(|e| Fail::new(format!("cannot connect to a guard: {e}")))?;
        Ok((Link(Arc::new(Mutex::new(Some(ours)))), theirs))
    }

    /// Sends a message. What the kernel has taken is read by the guard even if the harness dies the next instant.
    pub(crate) fn send(&self, message: &Message) -> Result<(), Fail> {
        let gone = || Fail::new("the guard process is gone; no change is made without it");
        let mut link = self.0.lock().expect("no holder panics");
        let stream = link.as_mut().ok_or_else(gone)?;
        let mut text = serde_json::to_vec(message).map_err(|e| Fail::new(format!("cannot tell the guard: {e}")))?;
        text.push(b'\n');
        let sent = stream.write_all(&text);
        sent.map_err(|e| {
            // Half a message would spoil the next; closing makes the guard undo what is open.
            *link = None;
            if e.kind() == ErrorKind::BrokenPipe { gone() } else { Fail::new(format!("cannot tell the guard: {e}")) }
        })
    }

    /// Closes it: to the guard, the harness is dead.
    pub(crate) fn close(&self) {
        self.0.lock().expect("no holder panics").take();
    }
}
