//! What the harness changed is taken back: by the guard after SIGKILL, by `recover` when the guard was killed too. Needs
//! real processes: this program re-executes itself as shim, as guard and as fake harness.
#![allow(clippy::disallowed_methods, reason = "the test's own children stand outside the harness")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this program is a test, its own runner included")]

mod kinds;
mod locks;
mod roles;
mod tools;
mod ways_out;

use std::ffi::OsString;
use std::panic::catch_unwind;
use std::process::{Command, exit};

fn main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|a| a.to_str()).unwrap_or_default() {
        "shim" => exit(shakedown_process::shim_main(args[1..].to_vec())),
        "guard" => exit(shakedown_undo::guard_main(args[1..].to_vec(), &tools::kinds())),
        "role-harness" => roles::harness(&args[1..]),
        _ => {}
    }
    if std::env::var_os("SHAKEDOWN_STATE").is_none() {
        // Again, with a state directory of its own and a secret to look up.
        let state = tempfile::tempdir().unwrap();
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(&args).env("SHAKEDOWN_STATE", state.path()).env("UNDO_TEST_SECRET", "s3cret-value");
        exit(again.status().unwrap().code().unwrap_or(1));
    }
    let wanted = args.iter().filter_map(|a| a.to_str()).find(|a| !a.starts_with('-')).unwrap_or_default();
    let _ = shakedown_process::Keeper::start();
    let mut failed = Vec::new();
    for (name, test) in [ways_out::TESTS, locks::TESTS, kinds::TESTS].concat() {
        if name.contains(wanted) {
            let passed = catch_unwind(test).is_ok();
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            failed.extend((!passed).then_some(name));
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
