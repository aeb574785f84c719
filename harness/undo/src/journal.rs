//! The undo journal of a run: every change on disk and with the guard before it is made. Implements core's `UndoLog`.

use crate::guard::Guard;
use crate::lines::{Appender, By, FILE, Line};
use crate::link::{Link, Message};
use crate::{attempt, state};
use serde_json::Value;
use shakedown_core::Fail;
use shakedown_core::seams::{Boxed, Owner, Undo, UndoLog, UndoRecord, UndoState};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Most changes of one run.
const RECORDS: u64 = 100_000;

/// The undo journal of a run.
pub struct UndoJournal {
    kinds: Vec<&'static dyn Undo>,
    owner: Owner,
    deadline: u64,
    guard: Option<Link>,
    entry: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: Appender,
    next: u64,
    open: BTreeMap<u64, UndoRecord>,
}

impl UndoJournal {
    /// Makes `undo.jsonl` in the run directory and remembers the run in the state directory, so that `recover` finds it.
    /// `deadline` (seconds after 1970): the guard undoes everything then at the latest. Without a guard (nothing of
    /// class G in the run) only `recover` takes back what a killed harness left.
    ///
    /// # Errors
    /// When either place cannot be written or the guard is gone: no change may be made.
    pub fn create(
        dir: &Path,
        owner: Owner,
        kinds: Vec<&'static dyn Undo>,
        deadline: u64,
        guard: Option<&Guard>,
    ) -> Result<Arc<UndoJournal>, Fail> {
        let dir = dir.canonicalize().map_err(|e| Fail::new(format!("cannot find {}: {e}", dir.display())))?;
        let journal = dir.join(FILE);
        let file = Appender::create(&journal, &owner)?;
        let entry = state::register(&state::Entry { journal, owner: owner.clone() })?;
        let guard = guard.map(Guard::link);
        if let Some(link) = &guard {
            link.send(&Message::Registered(entry.clone()))?;
        }
        let inner = Mutex::new(Inner { file, next: 1, open: BTreeMap::new() });
        Ok(Arc::new(UndoJournal { kinds, owner, deadline, guard, entry, inner }))
    }

    /// What is not undone, in words, oldest first.
    #[must_use]
    pub fn outstanding(&self) -> Vec<String> {
        self.inner().open.values().map(|r| r.what.clone()).collect()
    }

    /// Undoes everything that is not undone yet, newest first, with retries.
    ///
    /// # Errors
    /// Names what could not be undone; the guard and `recover` try again.
    pub async fn undo_all(&self) -> Result<(), Fail> {
        let open: Vec<UndoRecord> = self.inner().open.values().cloned().collect();
        let mut failed = Vec::new();
        let left = attempt::all(&self.kinds, open, |record, state| failed.extend(self.mark(record.id, state).err())).await;
        failed.extend(left.into_iter().map(|(_, why)| why));
        if failed.is_empty() {
            return Ok(());
        }
        Err(Fail::new(failed.into_iter().map(|f| f.0).collect::<Vec<_>>().join("; ")))
    }

    /// The clean end: forgets the run.
    pub(crate) fn forget(&self) -> Result<(), Fail> {
        state::forget(&self.entry)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder panics")
    }

    /// The change is gone whether or not that can be written down; an error says only that it could not be.
    fn mark(&self, id: u64, state: UndoState) -> Result<(), Fail> {
        let mut inner = self.inner();
        if inner.open.remove(&id).is_none() {
            return Ok(());
        }
        let written = inner.file.append(&Line::Undone { id, state, by: By::Harness });
        let told = self.guard.as_ref().map_or(Ok(()), |link| link.send(&Message::Undone(id)));
        written.and(told)
    }
}

impl UndoLog for UndoJournal {
    fn about_to(&self, kind: &str, what: &str, data: Value) -> Result<u64, Fail> {
        if !self.kinds.iter().any(|k| k.kind() == kind) {
            return Err(Fail::new(format!("internal error: nothing can undo the kind `{kind}` ({what})")));
        }
        let mut inner = self.inner();
        let id = inner.next;
        if id > RECORDS {
            return Err(Fail::new(format!("more than {RECORDS} changes in one run")));
        }
        inner.next += 1;
        let record =
            UndoRecord { id, kind: kind.to_owned(), what: what.to_owned(), data, owner: self.owner.clone(), deadline: self.deadline };
        inner.file.append(&Line::AboutTo(record.clone()))?;
        if let Some(link) = &self.guard
            && let Err(why) = link.send(&Message::AboutTo(record.clone()))
        {
            // The change is not made. Should this line not get written either, undoing what was not made does no harm.
            let _ = inner.file.append(&Line::Undone { id, state: UndoState::Already, by: By::Harness });
            return Err(why);
        }
        inner.open.insert(id, record);
        Ok(id)
    }

    fn active(&self, id: u64) -> Result<(), Fail> {
        self.inner().file.append(&Line::Active(id))
    }

    fn undone(&self, id: u64) -> Result<(), Fail> {
        self.mark(id, UndoState::Undone)
    }

    fn undo(&self, id: u64) -> Boxed<'_, Result<UndoState, Fail>> {
        Box::pin(async move {
            let record = self.inner().open.get(&id).cloned();
            let Some(record) = record else { return Ok(UndoState::Already) };
            let state = attempt::once(&self.kinds, &record).await?;
            if let Err(why) = self.mark(id, state) {
                // The change itself is gone; undoing it again does no harm.
                tracing::warn!("{} is undone, but: {why}", record.what);
            }
            Ok(state)
        })
    }
}
