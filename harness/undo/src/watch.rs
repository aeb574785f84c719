//! The guard process: keeps every undo record in memory, waits for the harness to end or for a record's deadline, undoes
//! what is open. It never needs the journal's disk, and ignores what a terminal or a polite kill sends.

use crate::guard::ARMED;
use crate::lines::{Appender, By, Line};
use crate::link::Message;
use crate::{attempt, state};
use nix::sys::signal::{SigSet, Signal};
use shakedown_core::seams::{Undo, UndoRecord};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Messages read ahead.
const QUEUE: usize = 256;
/// Exit code when something could not be undone; `recover` finds it in the journal.
const LEFT: i32 = 1;
/// Exit code when the guard could not begin.
const BROKEN: i32 = 125;

/// The hidden subcommand `guard`; `args` are those after `guard`. Call it before a runtime is started.
/// Exit code 0 says that nothing is left to undo.
#[must_use]
pub fn guard_main(args: Vec<OsString>, kinds: &[&'static dyn Undo]) -> i32 {
    let mut watch = match begin(&args, kinds.to_vec()) {
        Ok(watch) => watch,
        Err(why) => {
            say(&format!("the guard cannot begin: {why}"));
            return BROKEN;
        }
    };
    watch.run()
}

/// The log is a help only: undoing must not depend on it.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

struct Watch {
    kinds: Vec<&'static dyn Undo>,
    runtime: tokio::runtime::Runtime,
    inbox: Receiver<Message>,
    journal: PathBuf,
    entry: Option<PathBuf>,
    /// With the moment by which each must be undone.
    open: BTreeMap<u64, (Instant, UndoRecord)>,
    until: Instant,
}

fn begin(args: &[OsString], kinds: Vec<&'static dyn Undo>) -> Result<Watch, String> {
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1)).ok_or(format!("`{name}` is missing"));
    let journal = PathBuf::from(value("--journal")?);
    let deadline = value("--deadline")?.to_str().and_then(|d| d.parse().ok()).ok_or("`--deadline` is no number of seconds")?;
    // Blocked, not ignored: a program it starts gets an empty mask, but would inherit ignored signals.
    let polite = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGUSR1, Signal::SIGUSR2];
    polite.into_iter().collect::<SigSet>().thread_block().map_err(|e| e.to_string())?;
    nix::unistd::setsid().map_err(|e| format!("cannot leave the terminal's session: {e}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let inbox = read_messages().map_err(|e| e.to_string())?;
    let mut out = std::io::stdout();
    out.write_all(ARMED).and_then(|()| out.flush()).map_err(|e| format!("cannot say armed: {e}"))?;
    Ok(Watch { kinds, runtime, inbox, journal, entry: None, open: BTreeMap::new(), until: moment(deadline) })
}

/// Ends (and closes the channel) when the harness is dead. A torn last line is a change that was never made.
fn read_messages() -> std::io::Result<Receiver<Message>> {
    let (tell, inbox) = sync_channel(QUEUE);
    let read = move || {
        let mut input = BufReader::new(std::io::stdin());
        let mut line = String::new();
        while input.read_line(&mut line).is_ok_and(|n| n > 0) && line.ends_with('\n') {
            match serde_json::from_str(&line) {
                Ok(message) => {
                    if tell.send(message).is_err() {
                        return;
                    }
                }
                // Taken as the harness's end: what is open is undone.
                Err(why) => return say(&format!("a message is no message ({why})")),
            }
            line.clear();
        }
    };
    std::thread::Builder::new().name("messages".into()).spawn(read)?;
    Ok(inbox)
}

/// The monotonic moment of a wall-clock time, so that a clock set later moves nothing.
fn moment(deadline: u64) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    // Capped at ten years: Instant has an end.
    Instant::now() + Duration::from_secs(deadline.saturating_sub(now).min(315_360_000))
}

impl Watch {
    fn run(&mut self) -> i32 {
        loop {
            let next = self.open.values().map(|(at, _)| *at).fold(self.until, Instant::min);
            match self.inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Message::Registered(entry)) => self.entry = Some(entry),
                Ok(Message::AboutTo(record)) => drop(self.open.insert(record.id, (moment(record.deadline), record))),
                Ok(Message::Undone(id)) => drop(self.open.remove(&id)),
                // The harness forgets the run itself.
                Ok(Message::Done) if self.open.is_empty() => return 0,
                Ok(Message::Done) | Err(RecvTimeoutError::Disconnected) => return self.end("the harness has ended"),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= self.until => return self.end("the deadline has passed"),
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    let due = self.open.values().filter(|(at, _)| *at <= now).map(|(_, r)| r.clone()).collect();
                    // Left ones are tried again at the end.
                    for (record, why) in self.undo(due, "its deadline has passed") {
                        say(&format!("not undone: {why}"));
                        self.open.insert(record.id, (self.until, record));
                    }
                }
            }
        }
    }

    fn end(&mut self, why: &str) -> i32 {
        let all = self.open.values().map(|(_, r)| r.clone()).collect();
        let left = self.undo(all, why);
        for (_, why) in &left {
            say(&format!("not undone: {why}"));
        }
        if !left.is_empty() {
            return LEFT;
        }
        if let Some(Err(why)) = self.entry.as_deref().map(state::forget) {
            say(&why.0);
        }
        0
    }

    fn undo(&mut self, records: Vec<UndoRecord>, why: &str) -> Vec<(UndoRecord, shakedown_core::Fail)> {
        if records.is_empty() {
            return Vec::new();
        }
        say(&format!("{why}: undoing {} changes", records.len()));
        let mut journal = claim(&self.journal);
        let open = &mut self.open;
        let done = |record: &UndoRecord, state| {
            say(&format!("{}: {state:?}", record.what));
            open.remove(&record.id);
            let line = Line::Undone { id: record.id, state, by: By::Guard };
            if let Some(Err(why)) = journal.as_mut().map(|j| j.append(&line)) {
                say(&format!("{why}; undoing it again later does no harm"));
            }
        };
        self.runtime.block_on(attempt::all(&self.kinds, records, done))
    }
}

/// The journal, if its disk is there, with others kept off it. Undoing goes on without it: it is idempotent.
fn claim(path: &Path) -> Option<Appender> {
    let journal = Appender::open(path).and_then(|j| j.lock().map(|_| j));
    journal.map_err(|why| say(&format!("{why}; undoing without it"))).ok()
}
