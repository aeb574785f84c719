//! What the check is given and what it gives back. Everything outside (files, environment, kinds) comes in here.

use shakedown_core::seams::{DriverKind, Injector, Kind, Reporter};
use shakedown_core::tree::Problem;
use shakedown_core::{Plan, Secrets};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The registered implementations, as far as the language needs them.
#[derive(Clone, Copy)]
pub struct Kinds<'a> {
    /// Fault kinds.
    pub injectors: &'a [&'a dyn Injector],
    /// Rollout drivers.
    pub drivers: &'a [&'a dyn DriverKind],
    /// Outside indicators.
    pub signals: &'a [&'a dyn Kind],
    /// Report formats.
    pub reporters: &'a [&'a dyn Reporter],
    /// Flaws the embedded shop knows, by name.
    pub shop_flaws: &'a [&'a str],
}

/// Reads files the scenario names. The check itself opens nothing.
pub trait Files {
    /// The whole file; `path` is resolved against the scenario.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// A scenario and everything around it that decides what it means.
pub struct Source<'a> {
    /// Where the scenario stands; paths in it are relative to this file.
    pub path: &'a Path,
    /// Its text.
    pub text: &'a str,
    /// `--set NAME=value`, before the environment.
    pub set: &'a BTreeMap<String, String>,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Files.
    pub files: &'a dyn Files,
    /// `--seed`, before the scenario's own.
    pub seed: Option<u64>,
    /// Used when neither is given.
    pub drawn_seed: u64,
    /// `--confirm NAME`.
    pub confirm: Option<&'a str>,
    /// Implementations.
    pub kinds: &'a Kinds<'a>,
}

/// A scenario without mistakes.
#[derive(Debug)]
pub struct Checked {
    /// What it means.
    pub plan: Plan,
    /// Values of the secrets it names; never part of the plan.
    pub secrets: Secrets,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
}
