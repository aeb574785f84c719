//! The harness's side of the guard: starting it, waiting for "armed", letting it go.

use crate::journal::UndoJournal;
use crate::lines::FILE;
use crate::link::{Link, Message};
use shakedown_core::Fail;
use shakedown_process::{Isolation, Keeper, Proc, Spawn};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// What the guard says when it is ready.
pub(crate) const ARMED: &[u8] = b"armed\n";
/// Longest wait for it.
const ARMED_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for the guard to end when nothing is left to undo.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for the guard to undo what the harness could not.
const UNDONE_WITHIN: Duration = Duration::from_secs(60);

/// A guard process that holds every undo record in its own memory and acts when the harness is gone.
#[derive(Debug)]
pub struct Guard {
    link: Link,
    proc: Proc,
}

impl Guard {
    /// Starts the guard (this binary's hidden subcommand `guard`) in a session of its own and waits until it is armed.
    /// At `deadline` (seconds after 1970) it undoes everything even if the harness still lives.
    ///
    /// # Errors
    /// When it cannot be started or is not armed within 5 s: no change may be made.
    pub async fn arm(keeper: &Keeper, dir: &Path, deadline: u64) -> Result<Guard, Fail> {
        let dir = dir.canonicalize().map_err(|e| Fail::new(format!("cannot find {}: {e}", dir.display())))?;
        let (link, theirs) = Link::pair()?;
        let fail = |e: std::io::Error| Fail::new(format!("cannot start a guard: {e}"));
        let (mut answer, answer_end) = std::io::pipe().map_err(fail)?;
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join("guard.log")).map_err(fail)?;
        let mut spawn = Spawn::new(["guard", "--deadline", &deadline.to_string(), "--journal"]);
        spawn.argv.push(dir.join(FILE).into());
        spawn.own_binary = true;
        spawn.isolation = Isolation::Free;
        // Not the run's directory nor the user's: it must keep no mount busy.
        spawn.cwd = Some("/".into());
        spawn.stdin = Stdio::from(OwnedFd::from(theirs));
        spawn.stdout = Stdio::from(answer_end);
        spawn.stderr = Stdio::from(log);
        let proc = keeper.spawn_async(spawn).await?;
        // The pipe ends when the guard does, so the thread that reads it never stays.
        let read = tokio::task::spawn_blocking(move || {
            let mut said = vec![0; ARMED.len()];
            answer.read_exact(&mut said).map(|()| said == ARMED).unwrap_or(false)
        });
        match tokio::time::timeout(ARMED_WITHIN, read).await {
            Ok(Ok(true)) => Ok(Guard { link, proc }),
            _ => {
                link.close();
                let _ = proc.signal(nix::sys::signal::Signal::SIGKILL);
                Err(Fail::new(format!("the guard was not armed within {ARMED_WITHIN:?}; see {}", dir.join("guard.log").display())))
            }
        }
    }

    /// The guard's process ID.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.proc.pid()
    }

    /// The end of a run. With nothing left to undo the guard ends and the run is forgotten; else the guard undoes it now.
    ///
    /// # Errors
    /// When something is still not undone (named; `recover` can try again), or the guard did not end.
    pub async fn disarm(&self, journal: &UndoJournal) -> Result<(), Fail> {
        let left = journal.outstanding();
        if !left.is_empty() {
            tracing::warn!("left to the guard: {}", left.join("; "));
            self.link.close();
            let ended = tokio::time::timeout(UNDONE_WITHIN, self.proc.wait()).await;
            return match ended {
                Ok(0) => Ok(()),
                Ok(_) => Err(Fail::new(format!("not undone: {}; run `shakedown recover`", left.join("; ")))),
                Err(_) => Err(Fail::new(format!("the guard still tries to undo {}; then run `shakedown recover`", left.join("; ")))),
            };
        }
        let told = self.link.send(&Message::Done);
        let ended = tokio::time::timeout(ENDED_WITHIN, self.proc.wait()).await;
        journal.forget()?;
        match (told, ended) {
            // Nothing is left to undo, so a guard that was killed is no harm any more.
            (Err(why), _) => {
                tracing::warn!("at the end of the run: {why}");
                Ok(())
            }
            (Ok(()), Ok(_)) => Ok(()),
            (Ok(()), Err(_)) => Err(Fail::new(format!("the guard (process {}) did not end within {ENDED_WITHIN:?}", self.pid()))),
        }
    }

    pub(crate) fn link(&self) -> Link {
        self.link.clone()
    }
}
