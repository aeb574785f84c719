//! Reads a scenario file and gives the checked plan, or shows every mistake. Must not send or start anything.

use crate::cli;
use crate::registry;
use anyhow::Context;
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity};
use sha2::{Digest, Sha256};
use shakedown_core::Plan;
use shakedown_core::tree::{Problem, Problems};
use shakedown_scenario::{Checked, Files, Kinds, Source};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// A scenario that was read and found right.
pub struct Loaded {
    /// Plan, secrets, warnings.
    pub checked: Checked,
    /// As written.
    pub text: String,
    /// Its directory: what relative paths are relative to.
    pub base: PathBuf,
}

/// Why there is no plan.
pub enum NotLoaded {
    /// Mistakes, already rendered for people.
    Mistakes(String),
    /// The file could not be read.
    Unreadable(anyhow::Error),
}

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
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

/// Reads and checks a scenario.
pub fn load(args: &cli::Scenario) -> Result<Loaded, NotLoaded> {
    let text = std::fs::read_to_string(&args.scenario)
        .with_context(|| format!("cannot read {}; give the path of a scenario file (`shakedown init` writes a first one)", args.scenario.display()))
        .map_err(NotLoaded::Unreadable)?;
    let set: BTreeMap<String, String> = args.set.iter().cloned().collect();
    let flaws = flaws();
    let kinds = kinds(&flaws);
    let source = Source {
        path: &args.scenario,
        text: &text,
        set: &set,
        env: &|name| std::env::var(name).ok(),
        files: &Disk,
        seed: args.seed,
        drawn_seed: u64::from(rand::random::<u32>()),
        confirm: args.confirm.as_deref(),
        kinds: &kinds,
    };
    let base = args.scenario.parent().map(Path::to_owned).unwrap_or_default();
    let base = std::fs::canonicalize(if base.as_os_str().is_empty() { Path::new(".") } else { &base })
        .with_context(|| format!("cannot find the directory of {}", args.scenario.display()))
        .map_err(NotLoaded::Unreadable)?;
    match shakedown_scenario::check(&source) {
        Ok(checked) => Ok(Loaded { checked, text, base }),
        Err(problems) => Err(NotLoaded::Mistakes(render(&problems, &args.scenario, &text))),
    }
}

/// All mistakes for people, then how many.
fn render(problems: &Problems, path: &Path, text: &str) -> String {
    let mut out = String::new();
    for problem in &problems.0 {
        out.push_str(&one(problem, Severity::Error, path, text));
    }
    let count = problems.0.len();
    out.push_str(&format!("{count} problem{}. Nothing was sent. (exit 2)\n", if count == 1 { "" } else { "s" }));
    out
}

/// Warnings for people; empty when there are none.
pub fn render_warnings(warnings: &[Problem], path: &Path, text: &str) -> String {
    warnings.iter().map(|w| one(w, Severity::Warning, path, text)).collect()
}

fn one(problem: &Problem, severity: Severity, path: &Path, text: &str) -> String {
    let end = problem.span.end.min(text.len());
    let start = problem.span.start.min(end);
    // A whole map as the place would print the whole map: its first line says enough.
    let line_end = text[start..end].find('\n').map_or(end, |i| start + i);
    let mut diagnostic = MietteDiagnostic::new(&problem.message)
        .with_severity(severity)
        .with_label(LabeledSpan::new(problem.hint.clone(), start, line_end - start));
    diagnostic.severity = Some(severity);
    let report = Report::from(diagnostic).with_source_code(NamedSource::new(path.display().to_string(), text.to_owned()));
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut out = String::new();
    if GraphicalReportHandler::new_themed(theme).with_width(100).with_context_lines(0).render_report(&mut out, report.as_ref()).is_err() {
        out = format!("{}: {}\n", path.display(), problem.message);
    }
    out
}
