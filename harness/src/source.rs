//! Reads a scenario file and gives the checked plan, or shows every mistake. Must not send or start anything.

use crate::cli;
use crate::{registry, snippet};
use anyhow::Context;
use sha2::{Digest, Sha256};
use shakedown_core::Plan;
use shakedown_core::plan::{Model, Stream};
use shakedown_core::tree::Problems;
use shakedown_scenario::{Checked, Files, Kinds, Source};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// A scenario that was read and found right.
pub struct Loaded {
    /// Plan, secrets, warnings.
    pub checked: Checked,
    /// As written.
    pub text: String,
    /// Its directory: what relative paths are relative to.
    pub base: PathBuf,
    /// Run at another time scale: never promotes.
    pub scaled: bool,
    /// Nobody chose the seed: another process would draw another.
    pub seed_drawn: bool,
}

/// Why there is no plan.
pub enum NotLoaded {
    /// Mistakes, already rendered for people.
    Mistakes(String),
    /// The file could not be read.
    Unreadable(anyhow::Error),
}

/// Largest file a scenario may name; each key has a lower bound of its own.
const MAX_FILE: u64 = 512 << 20;
/// Where a machine's policy stands.
const POLICY: &str = "/etc/shakedown/policy.yaml";
/// Most of a scenario that is read; the check refuses less.
const MAX_SCENARIO: u64 = 16 << 20;

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        // A named pipe or a device never ends, and a check must.
        let kind = std::fs::metadata(path)?;
        if !kind.is_file() {
            return Err(Error::new(ErrorKind::InvalidInput, if kind.is_dir() { "it is a directory" } else { "it is not a regular file" }));
        }
        if kind.len() > MAX_FILE {
            return Err(Error::new(ErrorKind::InvalidInput, format!("it has {} bytes; at most {MAX_FILE} are read", kind.len())));
        }
        std::fs::read(path)
    }
}

/// The kinds a scenario may name.
pub fn kinds<'a>(flaws: &'a [&'static str]) -> Kinds<'a> {
    Kinds {
        injectors: registry::INJECTORS,
        drivers: registry::DRIVERS,
        signals: registry::SIGNALS,
        reporters: registry::REPORTERS,
        shop_flaws: flaws,
    }
}

/// Names of the shop's flaws.
pub fn flaws() -> Vec<&'static str> {
    shakedown_pilot::FLAWS.iter().map(|(name, _)| *name).collect()
}

/// The plan's SHA-256 in hex, over its canonical JSON.
pub fn sha256(plan: &Plan) -> String {
    Sha256::digest(plan.canonical()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The plan with every path made whole: for whoever opens files, never for the hash.
pub fn resolved(loaded: &Loaded) -> Plan {
    let mut plan = loaded.checked.plan.clone();
    shakedown_scenario::resolve(&mut plan, &loaded.base);
    plan
}

/// Reads and checks a scenario.
pub fn load(args: &cli::Scenario) -> Result<Loaded, NotLoaded> {
    no_policy(args).map_err(NotLoaded::Unreadable)?;
    let text = read(&args.scenario).map_err(NotLoaded::Unreadable)?;
    let set: BTreeMap<String, String> = args.set.iter().cloned().collect();
    let drawn_seed = u64::from(rand::random::<u32>());
    let flaws = flaws();
    let kinds = kinds(&flaws);
    let source = Source {
        path: &args.scenario,
        text: &text,
        set: &set,
        env: &|name| std::env::var(name).ok(),
        files: &Disk,
        seed: args.seed,
        drawn_seed,
        confirm: args.confirm.as_deref(),
        kinds: &kinds,
    };
    let base = args.scenario.parent().map(Path::to_owned).unwrap_or_default();
    let base = std::fs::canonicalize(if base.as_os_str().is_empty() { Path::new(".") } else { &base })
        .with_context(|| format!("cannot find the directory of {}", args.scenario.display()))
        .map_err(NotLoaded::Unreadable)?;
    match shakedown_scenario::check(&source) {
        Ok(checked) => {
            let seed_drawn = args.seed.is_none() && checked.plan.seed == drawn_seed;
            let loaded = Loaded { checked, text, base, scaled: false, seed_drawn };
            recordings(&loaded, &args.scenario)?;
            Ok(loaded)
        }
        Err(problems) => Err(NotLoaded::Mistakes(snippet::render(&problems, &args.scenario, &text))),
    }
}

/// Recordings that no line can be replayed of: found only by reading them as `load` will.
fn recordings(loaded: &Loaded, path: &Path) -> Result<(), NotLoaded> {
    let Err(why) = shakedown_load::forecast(&resolved(loaded)) else { return Ok(()) };
    let replay = |s: &Stream| if let Model::Replay(r) = &s.model { Some(r.file.clone()) } else { None };
    // The place of the file's name, when it can be told; else the top of the scenario.
    let files = loaded.checked.plan.streams.iter().filter_map(replay);
    let place = files.filter(|f| why.0.contains(f.as_str())).find_map(|f| loaded.text.find(&f).map(|at| at..at + f.len())).unwrap_or(0..0);
    let mut problems = Problems::default();
    problems.add(&place, why.0);
    Err(NotLoaded::Mistakes(snippet::render(&problems, path, &loaded.text)))
}

/// A policy says what a run must not do: one that cannot be read yet must not be passed over.
fn no_policy(args: &cli::Scenario) -> anyhow::Result<()> {
    let given = args.policy.as_deref().or(Some(Path::new(POLICY)).filter(|p| p.exists()));
    match given {
        Some(file) => {
            anyhow::bail!("policies are not available yet, and {} must not be passed over; this version cannot run here", file.display())
        }
        None => Ok(()),
    }
}

/// The scenario's text, bounded; standard input when the path is `/dev/stdin`.
fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let what = || format!("cannot read {shown}; give the path of a scenario file (`shakedown init` writes a first one)");
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(MAX_SCENARIO).read_to_end(&mut bytes)).with_context(what)?;
    if let Err(why) = std::str::from_utf8(&bytes) {
        let before = &bytes[..why.valid_up_to()];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = String::from_utf8_lossy(&before[before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1)..]).chars().count() + 1;
        anyhow::bail!("{shown}:{line}:{column}: the byte 0x{:02x} is not UTF-8; save the file as UTF-8", bytes[before.len()]);
    }
    Ok(String::from_utf8(bytes).expect("just checked"))
}
