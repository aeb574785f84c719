//! What the tests share: a kind whose change is a file, waiting on conditions, the fake harness.

use serde_json::{Value, json};
use shakedown_core::Fail;
use shakedown_core::seams::{Boxed, Undo, UndoRecord, UndoState};
use shakedown_process::tree;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub type Test = (&'static str, fn());

/// Bound of every wait.
pub const BOUND: Duration = Duration::from_secs(5);

/// A change that is a file holding its owner's run; undone by removing it. Appends each undo to `order` when given;
/// fails as long as the file `stuck` is there.
pub struct FileUndo;

impl Undo for FileUndo {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn undo<'a>(&'a self, record: &'a UndoRecord) -> Boxed<'a, Result<UndoState, Fail>> {
        Box::pin(async move {
            let path = |name: &str| record.data[name].as_str().map(str::to_owned);
            if path("stuck").is_some_and(|p| Path::new(&p).exists()) {
                return Err(Fail::new("it is stuck"));
            }
            if let Some(order) = path("order") {
                let before = fs::read_to_string(&order).unwrap_or_default();
                // Its disk may be full.
                let _ = fs::write(order, before + &record.what);
            }
            let file = path("path").ok_or_else(|| Fail::new("no path"))?;
            match fs::read_to_string(&file) {
                Err(_) => Ok(UndoState::Already),
                Ok(text) if text != record.owner.run => Ok(UndoState::NotOurs),
                Ok(_) => fs::remove_file(file).map(|()| UndoState::Undone).map_err(|e| Fail::new(e.to_string())),
            }
        })
    }
}

pub fn kinds() -> Vec<&'static dyn Undo> {
    shakedown_undo::KINDS.iter().copied().chain([&FileUndo as &dyn Undo]).collect()
}

pub fn change(path: &Path) -> Value {
    json!({"path": path})
}

pub fn until(what: &str, bound: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < bound, "not within {bound:?}: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
    began.elapsed()
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub fn in_secs(secs: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + secs
}

pub fn lives(pid: i32) -> bool {
    tree::stat(pid).is_some_and(tree::Stat::lives)
}

/// Entries of the registry.
pub fn remembered() -> usize {
    fs::read_dir(shakedown_undo::state_dir().unwrap().join("runs")).map_or(0, Iterator::count)
}

pub fn send(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// A fake harness with a journal in `dir` and one change there, `a`. Once it is up, it has told its guard's pid.
pub struct Harness {
    child: Child,
    pub guard: i32,
}

impl Harness {
    pub fn start(mode: &str, dir: &Path) -> Harness {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg("role-harness").arg(mode).arg(dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let guard = line.trim().parse().unwrap_or_else(|_| panic!("the fake harness did not come up: {line:?}"));
        Harness { child, guard }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
