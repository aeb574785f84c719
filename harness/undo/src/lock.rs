//! One run at a time per environment: a `flock` on a file in the state directory that names its holder. The kernel lets go
//! of it when the holder ends, however it ends.

use crate::state;
use serde::{Deserialize, Serialize};
use shakedown_core::Fail;
use shakedown_core::seams::Owner;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Holds an environment until dropped.
#[derive(Debug)]
pub struct EnvLock {
    // Close-on-exec: nothing this process starts can keep the lock.
    _file: File,
}

#[derive(Serialize, Deserialize)]
struct Holder {
    run: String,
    pid: u32,
    since: u64,
}

impl EnvLock {
    /// Takes the environment.
    ///
    /// # Errors
    /// Names the holder when it is in use; says what is wrong when the state directory cannot be written.
    pub fn acquire(environment: &str, owner: &Owner) -> Result<EnvLock, Fail> {
        if environment.is_empty() || !environment.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            return Err(Fail::new(format!("`{environment}` is not an environment name")));
        }
        let path = state::below("locks")?.join(format!("{environment}.lock"));
        let fail = |e: std::io::Error| Fail::new(format!("cannot lock environment {environment} at {}: {e}", path.display()));
        // Never removed: another process may hold or await it.
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(fail(e)),
            Err(TryLockError::WouldBlock) => return Err(in_use(environment, &mut file)),
        }
        let holder = Holder { run: owner.run.clone(), pid: owner.pid, since: now() };
        let text = serde_json::to_string(&holder).map_err(|e| fail(e.into()))?;
        // Cut after writing, not before: emptying a file that holds something may wait for the disk. Who reads in between
        // finds no JSON, and says so.
        file.write_all(text.as_bytes()).and_then(|()| file.set_len(text.len() as u64)).map_err(fail)?;
        Ok(EnvLock { _file: file })
    }
}

fn in_use(environment: &str, file: &mut File) -> Fail {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let who = match read.ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok()) {
        Some(h) => format!("run {} (process {}) for {} s", h.run, h.pid, now().saturating_sub(h.since)),
        None => "another run that is just starting".into(),
    };
    Fail::new(format!("environment {environment} is held by {who}; wait for it to end, or end it"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
