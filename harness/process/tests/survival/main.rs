//! Nothing that was started outlives the harness, and a pause stops everything it should. Needs real processes: this
//! program re-executes itself as shim, as fake harness and as services.
#![allow(clippy::disallowed_methods, reason = "the test's own children stand outside the harness")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this program is a test, its own runner included")]

mod death;
mod pausing;
mod roles;
mod services;
mod tools;

use std::ffi::OsString;
use std::panic::catch_unwind;
use std::process::exit;

fn main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let role = args.first().and_then(|a| a.to_str()).unwrap_or_default();
    match role {
        "shim" => exit(shakedown_process::shim_main(args[1..].to_vec())),
        role if role.starts_with("role-") => roles::play(role, &args[1..]),
        _ => {}
    }
    let wanted = args.iter().filter_map(|a| a.to_str()).find(|a| !a.starts_with('-')).unwrap_or_default();
    let _ = shakedown_process::Keeper::start();
    let mut failed = Vec::new();
    for (name, test) in [death::TESTS, pausing::TESTS, services::TESTS].concat() {
        if name.contains(wanted) {
            let passed = catch_unwind(test).is_ok();
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            failed.extend((!passed).then_some(name));
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
