//! `run`: a scenario from file to exit code. Prints the end block; leaves a run directory.

use super::{github, plan, print, tell};
use crate::cli::{self, Ui};
use crate::part::{Part, Refused};
use crate::session::{self, Outcome, Wiring};
use crate::source::{self, Loaded, NotLoaded};
use crate::ui::{self, Watcher};
use anyhow::{Context, bail};
use shakedown_core::Plan;
use shakedown_core::decision::{Decision, Exit};
use shakedown_core::event::{Event, HaltBy, Input};
use shakedown_core::snapshot::Sample;
use shakedown_process::Keeper;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Interrupts that can wait to be read; more mean no more.
const HALTS: usize = 8;

pub fn run(args: &cli::Run) -> anyhow::Result<Exit> {
    // First of all threads: every child hangs on it.
    let keeper = Keeper::start();
    let loaded = match source::load(&args.scenario) {
        Ok(mut loaded) => {
            if let Some(factor) = args.time_scale {
                crate::scale::scale(&mut loaded.checked.plan, factor);
                loaded.scaled = true;
            }
            loaded
        }
        Err(why) => return Ok(plan::not_loaded(why)),
    };
    if let Some(unknown) = args.report.iter().find(|r| !crate::registry::REPORTERS.iter().any(|k| k.name() == r.as_str())) {
        return Ok(plan::not_loaded(NotLoaded::Mistakes(format!(
            "there is no report format `{unknown}`; see `shakedown kinds`. Nothing was sent. (exit 2)"
        ))));
    }
    let part = match part(args, &loaded) {
        Ok(part) => part,
        Err(exit) => return Ok(exit),
    };
    plan::warn(&loaded, &args.scenario.scenario);
    if args.dry_run {
        return plan::show(&loaded);
    }
    let dir = match directory(args.out.as_deref(), &loaded.checked.plan.name) {
        Ok(dir) => dir,
        Err(why) => {
            tell(&format!("{why:#}. Nothing was sent. (exit 2)"));
            return Ok(Exit::Usage);
        }
    };
    write_replay(args, &loaded, &dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(go_part(&loaded, keeper, &dir, args.ui, part))?;
    match outcome {
        Outcome::NotReady(why) => {
            tell(&format!("not ready: {why}. Nothing was sent. (exit 3)"));
            Ok(Exit::NotReady)
        }
        Outcome::Decided(decision) => match part.filter(Part::worker) {
            Some(part) => Ok(worked(part, &dir, &decision)),
            None => finish(args, &loaded, &dir, &decision, part),
        },
    }
}

/// The part of the load this run makes, when that can be done.
fn part(args: &cli::Run, loaded: &Loaded) -> Result<Option<Part>, Exit> {
    let mistake = |why: String| plan::not_loaded(NotLoaded::Mistakes(format!("{why}. Nothing was sent. (exit 2)")));
    let part = Part::of(args.segment, args.epoch).map_err(mistake)?;
    if part.is_some_and(|p| p.of > 1) && loaded.seed_drawn {
        return Err(mistake("all segments need the same seed; give --seed, or write `seed:` into the scenario".to_owned()));
    }
    match part.map_or(Ok(()), |p| p.check(&loaded.checked.plan)) {
        Ok(()) => Ok(part),
        Err(Refused::Mistake(why)) => Err(mistake(why)),
        Err(Refused::Late(why)) => {
            tell(&format!("not ready: {why}. Nothing was sent. (exit 3)"));
            Err(Exit::NotReady)
        }
    }
}

/// The end of a worker: it has no verdict of its own.
fn worked(part: Part, dir: &Path, decision: &Decision) -> Exit {
    let name = format!("segment {} of {}", part.index, part.of);
    let v = &decision.validity;
    match decision.exit {
        exit @ (Exit::Internal | Exit::NotReady | Exit::Halted | Exit::Interrupted | Exit::Terminated | Exit::RollbackFailed) => {
            tell(&format!("{name} did not go through: {}", decision.headline));
            exit
        }
        _ => {
            tell(&format!("{name}: {} requests sent; `shakedown merge` puts it together with the others: {}", v.sent, shown(dir)));
            Exit::Promote
        }
    }
}

pub async fn go(loaded: &Loaded, keeper: Keeper, dir: &Path, mode: Ui) -> anyhow::Result<Outcome> {
    go_part(loaded, keeper, dir, mode, None).await
}

async fn go_part(loaded: &Loaded, keeper: Keeper, dir: &Path, mode: Ui, part: Option<Part>) -> anyhow::Result<Outcome> {
    let plan = Arc::new(loaded.checked.plan.clone());
    if mode != Ui::None && mode != Ui::Json {
        tell(&format!("{}  seed {}  {}", plan.name, plan.seed, dir.display()));
    }
    let (halt, halts) = tokio::sync::mpsc::channel(HALTS);
    for (kind, number) in [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15)] {
        let mut stream = signal(kind)?;
        let halt = halt.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                tell(if number == 2 { "\ninterrupted: undoing everything (again to hurry)" } else { "\nterminated: undoing everything" });
                if halt.try_send(HaltBy::Signal(number)).is_err() {
                    tracing::debug!("already stopping");
                }
            }
        });
    }
    let observer = Watcher::new(plan, mode).observer();
    session::run(loaded, Wiring { keeper, dir: dir.to_owned(), observer, scaled: loaded.scaled, halts, part }).await
}

/// The run directory: as asked, or a new one under `runs/`.
pub fn directory(asked: Option<&Path>, name: &str) -> anyhow::Result<PathBuf> {
    let stamp = crate::wall::now().replace([':', '-'], "").split('.').next().unwrap_or_default().to_owned();
    let dir = asked.map_or_else(|| PathBuf::from("runs").join(format!("{stamp}-{name}-{:04x}", rand::random::<u16>())), Path::to_owned);
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the run directory {}", dir.display()))?;
    if std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?.next().is_some() {
        bail!("{} is not empty; give --out a new directory", dir.display());
    }
    std::fs::canonicalize(&dir).with_context(|| format!("cannot find {}", dir.display()))
}

fn finish(args: &cli::Run, loaded: &Loaded, dir: &Path, decision: &Decision, part: Option<Part>) -> anyhow::Result<Exit> {
    // Nothing was sent: a page and test cases about nothing would only confuse. The decision says why.
    let formats = if shakedown_report::nothing_judged(decision) { &[] } else { args.report.as_slice() };
    for format in formats {
        write_report(&loaded.checked.plan, dir, decision, format)?;
    }
    let plan = &loaded.checked.plan;
    if args.ui != Ui::Json {
        let style = ui::style(std::io::stdout().is_terminal());
        print(&shakedown_report::terminal::end_block(plan, decision, &shown(dir), style))?;
        if args.precision.is_some() {
            print(&shakedown_report::precision::table(plan, decision, style))?;
        }
    }
    if let Some(part) = part.filter(|p| p.of > 1) {
        tell(&format!("this is the decision on segment 1 of {} alone; `shakedown merge` decides on the whole", part.of));
    }
    github::tell_workflow(plan, decision, args.ui != Ui::Json);
    Ok(if decision.exit == Exit::Conditions && args.accept_conditions { Exit::Promote } else { decision.exit })
}

/// A path as people would type it here.
pub fn shown(path: &Path) -> String {
    std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).display().to_string()
}

/// Leaves the command that runs the same again: the scenario, where its relative paths hold, with all that was set.
fn write_replay(args: &cli::Run, loaded: &Loaded, dir: &Path) -> anyhow::Result<()> {
    let name = args.scenario.scenario.file_name().context("a scenario that was read has a name")?;
    let mut words = vec!["shakedown".to_owned(), "run".to_owned(), quoted(&shown(&loaded.base.join(name)))];
    words.extend(["--seed".to_owned(), loaded.checked.plan.seed.to_string()]);
    for (name, value) in &args.scenario.set {
        words.extend(["--set".to_owned(), quoted(&format!("{name}={value}"))]);
    }
    for (flag, value) in [("--confirm", args.scenario.confirm.clone()), ("--time-scale", args.time_scale.map(|f| format!("{f}x")))] {
        words.extend(value.into_iter().flat_map(|v| [flag.to_owned(), quoted(&v)]));
    }
    let text = loaded.checked.secrets.redact(&words.join(" "));
    let path = dir.join(shakedown_report::REPLAY_FILE);
    std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,+%@".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

pub fn write_report(plan: &Plan, dir: &Path, decision: &Decision, format: &str) -> anyhow::Result<()> {
    let Some(reporter) = crate::registry::REPORTERS.iter().find(|r| r.name() == format) else {
        bail!("there is no report format `{format}`");
    };
    let path = dir.join(reporter.file());
    if path.file_name() == Some("decision.json".as_ref()) {
        return Ok(()); // the record itself, already there
    }
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?);
    let mut events = events(dir)?;
    reporter.finish(plan, &mut events, decision, &mut file).with_context(|| format!("cannot write {}", path.display()))?;
    events.whole()
}

/// A run's events as they are read, with its samples at the end.
pub struct Events {
    journal: shakedown_engine::journal::Reader,
    samples: Option<Vec<Sample>>,
    last: (u64, shakedown_core::Offset),
    failed: Option<shakedown_core::Fail>,
}

/// Opens a run's events.
pub fn events(dir: &Path) -> anyhow::Result<Events> {
    let journal = shakedown_engine::journal::read(dir)?;
    Ok(Events { journal, samples: Some(samples(dir)?), last: (0, shakedown_core::Offset::ZERO), failed: None })
}

impl Events {
    /// Every event could be read.
    pub fn whole(self) -> anyhow::Result<()> {
        self.failed.map_or(Ok(()), |why| Err(why.into()))
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        match self.journal.next() {
            Some(Ok(event)) => {
                self.last = (event.seq + 1, event.at);
                Some(event)
            }
            Some(Err(why)) => {
                self.failed = Some(why);
                None
            }
            None if self.failed.is_none() => {
                let samples = self.samples.take()?;
                Some(Event { seq: self.last.0, at: self.last.1, what: Input::Samples(samples) })
            }
            None => None,
        }
    }
}

/// The kept requests of a run; a run that was cut may have none.
fn samples(dir: &Path) -> anyhow::Result<Vec<Sample>> {
    let path = dir.join("samples.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("{} is damaged", path.display()))).collect()
}
