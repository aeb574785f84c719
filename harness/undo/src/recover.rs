//! Undoes what harness and guard could not: both killed, or a reboot. "About to" records count like active ones.

use crate::lines::{self, Appender, By, FILE, Line};
use crate::owner::is_alive;
use crate::{attempt, state};
use shakedown_core::Fail;
use shakedown_core::seams::{Undo, UndoState};
use std::path::Path;

/// What became of one change.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered {
    /// Run that made it.
    pub run: String,
    /// The change, in words.
    pub what: String,
    /// Nothing of it is left; or why it could not be undone (it stays in the journal for another try).
    pub state: Result<UndoState, Fail>,
}

/// Undoes everything that runs on this machine have left. Runs whose harness is alive are left alone, and not in the
/// answer. With `force` they are undone too, and a run is forgotten even if something of it could not be undone.
///
/// # Errors
/// When the state directory cannot be read.
pub async fn recover(kinds: &[&'static dyn Undo], force: bool) -> Result<Vec<Recovered>, Fail> {
    let mut all = Vec::new();
    for (file, entry) in state::remembered()? {
        let run = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let failed = |why: Fail| Recovered { run: run.clone(), what: "its undo journal".into(), state: Err(why) };
        let entry = match entry {
            Ok(entry) => entry,
            Err(why) => {
                all.push(failed(why));
                if force {
                    state::forget(&file)?;
                }
                continue;
            }
        };
        if is_alive(&entry.owner) && !force {
            tracing::warn!("run {run} still goes on (process {}); it is left alone", entry.owner.pid);
            continue;
        }
        match one(&entry.journal, kinds, force).await {
            Ok(done) => {
                let clean = done.iter().all(|r| r.state.is_ok());
                all.extend(done);
                if clean || force {
                    state::forget(&file)?;
                }
            }
            Err(why) => {
                all.push(failed(why));
                if force {
                    state::forget(&file)?;
                }
            }
        }
    }
    Ok(all)
}

/// Undoes what the run of this directory has left; `force` even if its harness is alive.
///
/// # Errors
/// When its undo journal cannot be read, its harness is alive, or another process is undoing it.
pub async fn recover_dir(dir: &Path, kinds: &[&'static dyn Undo], force: bool) -> Result<Vec<Recovered>, Fail> {
    one(&dir.join(FILE), kinds, force).await
}

async fn one(path: &Path, kinds: &[&'static dyn Undo], force: bool) -> Result<Vec<Recovered>, Fail> {
    // A journal on a full or read-only disk can still be read and undone; it is only not marked.
    let mut journal = Appender::open(path);
    if let Ok(file) = &journal
        && !file.lock()?
    {
        return Err(Fail::new(format!("{} is being undone by another process; try again when it is done", path.display())));
    }
    let contents = lines::read(path)?;
    let run = contents.owner.as_ref().map(|o| o.run.clone()).unwrap_or_default();
    let of = |what: &str, state| Recovered { run: run.clone(), what: what.to_owned(), state };
    if let Some(owner) = contents.owner.as_ref().filter(|o| is_alive(o) && !force) {
        return Err(Fail::new(format!("run {run} still goes on (process {}); it is left alone", owner.pid)));
    }
    let mut all = Vec::new();
    for line in &contents.unreadable {
        let why = format!("line {line} of {} cannot be read; what it changed is not known", path.display());
        all.push(of("an unreadable record", Err(Fail::new(why))));
    }
    let done = |record: &shakedown_core::seams::UndoRecord, state| {
        if let Ok(file) = &mut journal
            && let Err(why) = file.append(&Line::Undone { id: record.id, state, by: By::Recover })
        {
            tracing::warn!("{} is undone, but: {why}", record.what);
        }
        all.push(Recovered { run: run.clone(), what: record.what.clone(), state: Ok(state) });
    };
    let left = attempt::all(kinds, contents.open.into_values().collect(), done).await;
    all.extend(left.into_iter().map(|(record, why)| of(&record.what, Err(why))));
    Ok(all)
}
