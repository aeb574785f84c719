//! Where this machine remembers runs and locks: one small file per run that points to its undo journal, removed at the
//! clean end. Must not read journals.

use serde::{Deserialize, Serialize};
use shakedown_core::Fail;
use shakedown_core::seams::Owner;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Overrides the place.
const OVERRIDE: &str = "SHAKEDOWN_STATE";

/// A run's entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) journal: PathBuf,
    pub(crate) owner: Owner,
}

/// The state directory: `$SHAKEDOWN_STATE`; `/var/lib/shakedown` for root; `$XDG_STATE_HOME/shakedown` or
/// `~/.local/state/shakedown`. Made when missing, for its owner only.
///
/// # Errors
/// When there is no such place or it cannot be made.
pub fn state_dir() -> Result<PathBuf, Fail> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let dir = set(OVERRIDE)
        .or_else(|| nix::unistd::geteuid().is_root().then(|| PathBuf::from("/var/lib/shakedown")))
        .or_else(|| set("XDG_STATE_HOME").filter(|p| p.is_absolute()).map(|p| p.join("shakedown")))
        .or_else(|| set("HOME").map(|p| p.join(".local/state/shakedown")))
        .ok_or_else(|| Fail::new(format!("there is no place to remember runs; set {OVERRIDE} to a directory")))?;
    make(&dir)?;
    Ok(dir)
}

/// A directory below the state directory.
pub(crate) fn below(name: &str) -> Result<PathBuf, Fail> {
    let dir = state_dir()?.join(name);
    make(&dir)?;
    Ok(dir)
}

fn make(dir: &Path) -> Result<(), Fail> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|e| Fail::new(format!("cannot make {}: {e}; set {OVERRIDE} to a directory that can be written", dir.display())))
}

/// Remembers a run; gives the file to remove at its clean end.
pub(crate) fn register(entry: &Entry) -> Result<PathBuf, Fail> {
    let run = &entry.owner.run;
    if run.is_empty() || !run.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(Fail::new(format!("`{run}` is no run ID")));
    }
    let dir = below("runs")?;
    let file = dir.join(format!("{run}.json"));
    let text = serde_json::to_string(entry).map_err(|e| Fail::new(format!("cannot remember the run: {e}")))?;
    let write = || -> std::io::Result<()> {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        // The name must last as well.
        File::open(&dir)?.sync_all()
    };
    write().map_err(|e| Fail::new(format!("cannot remember the run in {}: {e}; no change is made without that", file.display())))?;
    Ok(file)
}

/// Forgets a run; fine when it is forgotten already.
pub(crate) fn forget(file: &Path) -> Result<(), Fail> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Fail::new(format!("cannot remove {}: {e}", file.display()))),
        _ => Ok(()),
    }
}

/// An entry's file and what it says.
pub(crate) type Remembered = (PathBuf, Result<Entry, Fail>);

/// Every remembered run, by file; an entry that cannot be read is an error of its own.
pub(crate) fn remembered() -> Result<Vec<Remembered>, Fail> {
    let dir = below("runs")?;
    let fail = |e: std::io::Error| Fail::new(format!("cannot read {}: {e}", dir.display()));
    let mut all = Vec::new();
    for item in fs::read_dir(&dir).map_err(fail)? {
        let file = item.map_err(fail)?.path();
        if file.extension().is_some_and(|e| e == "json") {
            let why = |e: &dyn std::fmt::Display| Fail::new(format!("cannot read {}: {e}", file.display()));
            let entry = fs::read_to_string(&file).map_err(|e| why(&e)).and_then(|t| serde_json::from_str(&t).map_err(|e| why(&e)));
            all.push((file, entry));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}
