//! One run per environment.

use crate::tools::{BOUND, Harness, Test, lives, until};
use shakedown_undo::{EnvLock, owner};

pub const TESTS: &[Test] = &[("an_environment_has_one_holder", an_environment_has_one_holder)];

fn an_environment_has_one_holder() {
    let dir = tempfile::tempdir().unwrap();
    let me = owner("mine").unwrap();
    let mut harness = Harness::start("locked", dir.path());
    let why = EnvLock::acquire("env-locked", &me).unwrap_err().0;
    assert!(why.contains("environment env-locked is held by run") && why.contains("-locked (process "), "{why}");
    let other = EnvLock::acquire("env-other", &me).unwrap();
    harness.kill();
    let lock = EnvLock::acquire("env-locked", &me).unwrap();
    assert!(EnvLock::acquire("env-locked", &me).is_err(), "not even this process twice");
    drop((lock, other));
    drop(EnvLock::acquire("env-locked", &me).unwrap());
    assert!(EnvLock::acquire("../etc", &me).is_err());
    until("the guard has ended", BOUND, || !lives(harness.guard));
}
