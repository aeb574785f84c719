//! The fake harness.

use crate::tools::{change, in_secs, kinds};
use serde_json::json;
use shakedown_core::seams::UndoLog;
use shakedown_process::Keeper;
use shakedown_undo::{EnvLock, Guard, UndoJournal, owner};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::exit;
use std::time::Duration;

pub fn harness(args: &[OsString]) -> ! {
    let (mode, dir) = (args[0].to_str().unwrap(), Path::new(&args[1]));
    let keeper = Keeper::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(play(keeper, mode, dir));
    std::thread::sleep(Duration::from_secs(60));
    exit(1)
}

async fn play(keeper: Keeper, mode: &str, dir: &Path) {
    let run = format!("{}-{mode}", std::process::id());
    let me = owner(&run).unwrap();
    let _lock = std::mem::ManuallyDrop::new(EnvLock::acquire(&format!("env-{mode}"), &me).unwrap());
    let deadline = in_secs(if mode == "deadline" { 1 } else { 600 });
    let guard = Guard::arm(&keeper, dir, deadline).await.unwrap();
    let journal = UndoJournal::create(dir, me, kinds(), deadline, Some(&guard)).unwrap();
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let path = dir.join(name);
        let data = json!({"path": path, "order": dir.join("order"), "stuck": dir.join(format!("{name}.stuck"))});
        ids.push(journal.about_to("file", name, data).unwrap());
        fs::write(&path, &run).unwrap();
        // `c` stays "about to".
        if name != "c" {
            journal.active(*ids.last().unwrap()).unwrap();
        }
    }
    match mode {
        "full-disk" => {
            let _ = fs::write(dir.join("fill"), vec![0; 1 << 20]);
            assert!(journal.about_to("file", &"d".repeat(5000), change(&dir.join("d"))).is_err(), "the disk is full");
        }
        "guard-dies" => {
            println!("{}", guard.pid());
            // Reaped, not only a zombie: until then one of its threads may still hold the link.
            let reaped = || shakedown_process::tree::stat(guard.pid()).is_none();
            crate::tools::until("the guard is gone", crate::tools::BOUND, reaped);
            let refused = journal.about_to("file", "d", change(&dir.join("d"))).unwrap_err();
            exit(if refused.0.contains("guard process is gone") { 42 } else { 1 });
        }
        "clean" | "unclean" => {
            println!("{}", guard.pid());
            for id in ids.into_iter().take(if mode == "clean" { 3 } else { 1 }) {
                journal.undo(id).await.unwrap();
            }
            let ended = guard.disarm(&journal).await;
            exit(if ended.is_ok() { 42 } else { 1 });
        }
        _ => {}
    }
    println!("{}", guard.pid());
    std::io::stdout().flush().unwrap();
    // Neither is dropped: to the guard that would be the end.
    std::mem::forget((guard, journal));
}
