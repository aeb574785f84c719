//! The undo journal's file: one JSON line per step, on disk before it counts. Must not decide what to undo.

use serde::{Deserialize, Serialize};
use shakedown_core::Fail;
use shakedown_core::seams::{Owner, UndoRecord, UndoState};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name in the run directory.
pub(crate) const FILE: &str = "undo.jsonl";
/// Longest wait for another process that is undoing the same journal.
const LOCK_WITHIN: Duration = Duration::from_secs(30);
/// Between two tries for the lock.
const LOCK_EVERY: Duration = Duration::from_millis(20);

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// First line: whose journal it is.
    Run(Owner),
    /// A change is about to be made.
    AboutTo(UndoRecord),
    /// It is made.
    Active(u64),
    /// It is taken back.
    Undone { id: u64, state: UndoState, by: By },
}

/// Who took it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    Harness,
    Guard,
    Recover,
}

/// The file, open for appending.
#[derive(Debug)]
pub(crate) struct Appender {
    file: File,
    path: PathBuf,
}

/// What a journal says.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) owner: Option<Owner>,
    /// Not marked undone, by number: "about to" and active alike.
    pub(crate) open: BTreeMap<u64, UndoRecord>,
    /// Lines (from 1) that are no journal lines.
    pub(crate) unreadable: Vec<usize>,
}

impl Appender {
    /// A new journal.
    pub(crate) fn create(path: &Path, owner: &Owner) -> Result<Appender, Fail> {
        let fail = |e: std::io::Error| Fail::new(format!("cannot make the undo journal {}: {e}", path.display()));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
        let mut journal = Appender { file, path: path.to_owned() };
        journal.append(&Line::Run(owner.clone()))?;
        path.parent().map_or(Ok(()), |dir| File::open(dir).and_then(|d| d.sync_all())).map_err(fail)?;
        Ok(journal)
    }

    /// One that is there already.
    pub(crate) fn open(path: &Path) -> Result<Appender, Fail> {
        let file = OpenOptions::new().append(true).open(path);
        let file = file.map_err(|e| Fail::new(format!("cannot open the undo journal {}: {e}", path.display())))?;
        Ok(Appender { file, path: path.to_owned() })
    }

    /// Appends a line; it is on disk when this returns.
    pub(crate) fn append(&mut self, line: &Line) -> Result<(), Fail> {
        let write = || -> std::io::Result<()> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            let before = self.file.metadata()?.len();
            let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
            if written.is_err() {
                // Half a line would spoil the next one. When even this fails, readers skip what is no line.
                let _ = self.file.set_len(before);
            }
            written
        };
        let mut write = write;
        write().map_err(|e| Fail::new(format!("cannot write the undo journal {}: {e}", self.path.display())))
    }

    /// Keeps other undoers off this journal until dropped. `false` when another one still is at it after 30 s.
    pub(crate) fn lock(&self) -> Result<bool, Fail> {
        let tries = LOCK_WITHIN.as_millis() / LOCK_EVERY.as_millis();
        for _ in 0..tries {
            match self.file.try_lock() {
                Ok(()) => return Ok(true),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_EVERY),
                Err(TryLockError::Error(e)) => return Err(Fail::new(format!("cannot lock {}: {e}", self.path.display()))),
            }
        }
        Ok(false)
    }
}

/// Reads a journal. A last line without its end was never acknowledged, so its change was never made: it is skipped.
pub(crate) fn read(path: &Path) -> Result<Contents, Fail> {
    let bytes = std::fs::read(path).map_err(|e| Fail::new(format!("cannot read the undo journal {}: {e}", path.display())))?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

fn parse(text: &str) -> Contents {
    let mut contents = Contents::default();
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let Some(line) = line.strip_suffix('\n') else { break };
        match serde_json::from_str(line) {
            Ok(Line::Run(owner)) => contents.owner = Some(owner),
            Ok(Line::AboutTo(record)) => drop(contents.open.insert(record.id, record)),
            Ok(Line::Active(_)) => {}
            Ok(Line::Undone { id, .. }) => drop(contents.open.remove(&id)),
            Err(_) => contents.unreadable.push(at + 1),
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn record(id: u64) -> UndoRecord {
        UndoRecord { id, kind: "k".into(), what: "w".into(), data: Value::Null, owner: Owner::default(), deadline: 0 }
    }

    #[test]
    fn about_to_counts_and_a_torn_last_line_does_not() {
        let line = |l: Line| serde_json::to_string(&l).unwrap() + "\n";
        let mut text = line(Line::Run(Owner::default())) + &line(Line::AboutTo(record(1))) + &line(Line::AboutTo(record(2)));
        text += &line(Line::Active(2));
        text += &line(Line::Undone { id: 1, state: UndoState::Undone, by: By::Harness });
        text += "nonsense\n";
        text += line(Line::AboutTo(record(3))).trim_end();
        let contents = parse(&text);
        assert_eq!(contents.open.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(contents.unreadable, [6]);
        assert_eq!(contents.owner, Some(Owner::default()));
    }
}
