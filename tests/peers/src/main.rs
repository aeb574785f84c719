//! Load generators side by side against a server that knows the truth: what a request costs, how exactly a rate is kept,
//! whether what is reported is what happened. Uses no room of the house: it sees the shakedown binary as a stranger does.
//! Must not judge by a clock in CI: it fails when a tool crashes or miscounts, never because a machine was slow.

mod bench;
mod figures;
mod floor;
mod install;
mod measured;
mod stats;
mod steps;
mod suite;
mod table;
mod tools;
mod truth;

use anyhow::{Context, Result, bail, ensure};
use bench::Bench;
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, Signal};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use suite::{Suite, say};
use table::Table;

/// Measures shakedown and its peers side by side.
#[derive(Parser)]
#[command(name = "shakedown-peers")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// One round of short runs, for CI: a minute or so.
    #[arg(long)]
    short: bool,
    /// Only these figures: closed, journey, open, quantum, truth, stall, http2, memory, start, merge.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these tools.
    #[arg(long, value_delimiter = ',')]
    tools: Vec<String>,
    /// Rounds of every case; 5, or 1 in the short form.
    #[arg(long)]
    runs: Option<usize>,
    /// The binary that is measured.
    #[arg(long, default_value = "target/release/shakedown")]
    shakedown: PathBuf,
    /// Where the tables go besides stdout: `results.md` and `results.json`.
    #[arg(long, default_value = "target/peers")]
    out: PathBuf,
    /// No spinner beside the generator.
    #[arg(long)]
    no_spinner: bool,
    /// Install oha, k6 and vegeta into target/peers, then end.
    #[arg(long)]
    install: bool,
}

#[derive(Subcommand)]
enum Part {
    /// The server that knows the truth.
    Truth(truth::Settings),
    /// The raw epoll client.
    Floor(floor::Settings),
    /// Starts a generator and reports what the kernel charged it.
    #[command(hide = true)]
    Measured(measured::Settings),
    /// Becomes a program that runs on one processor and ends with its parent.
    #[command(hide = true)]
    Pinned(Pinned),
    /// Counts for ever.
    #[command(hide = true)]
    Spin,
}

#[derive(clap::Args)]
struct Pinned {
    #[arg(long)]
    core: Option<usize>,
    #[arg(last = true, required = true)]
    command: Vec<std::ffi::OsString>,
}

fn main() -> std::process::ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("shakedown-peers: {error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.part {
        Some(Part::Truth(settings)) => {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            raise_descriptors()?;
            truth::serve(settings)
        }
        Some(Part::Floor(settings)) => floor::run(settings),
        Some(Part::Measured(settings)) => measured::run(settings),
        Some(Part::Pinned(settings)) => pinned(settings),
        Some(Part::Spin) => loop {
            std::hint::spin_loop();
        },
        None if arguments.install => install::install(&std::env::current_dir()?),
        None => side_by_side(arguments),
    }
}

fn pinned(settings: &Pinned) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    if let Some(core) = settings.core {
        truth::pin(core)?;
    }
    let (program, arguments) = settings.command.split_first().context("a program is required")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("cannot become {}", program.display()))
}

fn side_by_side(arguments: &Arguments) -> Result<()> {
    raise_descriptors()?;
    let known: Vec<&str> = figures::ALL.iter().map(|f| f.0).chain(["merge"]).collect();
    if let Some(name) = arguments.only.iter().find(|n| !known.contains(&n.as_str())) {
        bail!("there is no figure {name}; there are {}", known.join(", "));
    }
    let root = std::env::current_dir()?;
    let own = std::env::current_exe()?;
    let shakedown = std::path::absolute(&arguments.shakedown)?;
    let mut found = tools::all(&own, &root, &shakedown);
    found.retain(|f| arguments.tools.is_empty() || arguments.tools.iter().any(|t| t == f.name));
    std::fs::create_dir_all(&arguments.out)?;
    let mut words = vec![header(arguments, &shakedown)];
    for absent in found.iter().filter(|f| f.peer.is_none()) {
        words.push(format!("- {} is absent and not measured ({})\n", absent.name, absent.hint));
    }
    words.push("- wrk2 is in no registry used here and not measured\n".into());
    let cores = std::thread::available_parallelism()?.get();
    let pinned = |core| (cores > 1).then_some(core);
    let bench = Bench { own, dir: tempfile::tempdir_in(&arguments.out)?, server: pinned(0), generator: pinned(1) };
    let _spinner = if arguments.no_spinner { None } else { Spinner::start(&bench, &mut words) };
    let runs = arguments.runs.unwrap_or(if arguments.short { 1 } else { 5 });
    let mut suite = Suite { bench, found, runs, short: arguments.short, failures: Vec::new(), notes: Default::default() };
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|n| n == name);
    let mut tables = Vec::new();
    for (name, figure) in figures::ALL.iter().filter(|(name, _)| wanted(name)) {
        say(&format!("== {name}"));
        tables.extend(figure(&mut suite));
        save(&arguments.out, &words.concat(), &tables, &suite)?; // what is there survives an interruption
    }
    if wanted("merge") && !arguments.short {
        let example = shakedown.with_file_name("examples").join("merge");
        tables.extend(figures::merge(&example, &mut suite.failures));
    }
    let text = save(&arguments.out, &words.concat(), &tables, &suite)?;
    std::io::stdout().write_all(text.as_bytes())?;
    ensure!(suite.failures.is_empty(), "{} runs crashed or miscounted:\n{}", suite.failures.len(), suite.failures.join("\n"));
    Ok(())
}

/// What was measured, and on what.
fn header(arguments: &Arguments, shakedown: &Path) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("unknown", |l| l.trim_matches([' ', '\t', ':']));
    let count = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let form = if arguments.short { "short form, one round" } else { "median (smallest–largest) of interleaved rounds" };
    let build =
        if shakedown.components().any(|c| c.as_os_str() == "release") { "release build" } else { "NOT a release build: costs say little" };
    format!("# Side by side\n\n{form}; {count} × {model}; shakedown: {build}\n\n")
}

/// Writes the tables, as Markdown (given back) and JSON.
fn save(out: &Path, words: &str, tables: &[Table], suite: &Suite) -> Result<String> {
    let mut text = words.to_string();
    for table in tables {
        text.push('\n');
        text += &table.markdown();
    }
    if !suite.notes.is_empty() {
        text += "\n## What tools found wrong with their own runs\n\n";
        text.extend(suite.notes.iter().map(|n| format!("- {n}\n")));
    }
    if !suite.failures.is_empty() {
        text += "\n## Crashed or miscounted\n\n";
        text.extend(suite.failures.iter().map(|f| format!("- {}\n", f.trim().replace('\n', "\n  "))));
    }
    std::fs::write(out.join("results.md"), &text)?;
    let json = serde_json::json!({"about": words, "figures": tables, "notes": suite.notes, "failures": suite.failures});
    std::fs::write(out.join("results.json"), serde_json::to_vec_pretty(&json)?)?;
    Ok(text)
}

/// Every descriptor the hard limit allows: ten thousand connections need them.
fn raise_descriptors() -> Result<()> {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Keeps the generator's processor awake at the lowest priority there is: waking a sleeping one makes closed-loop figures
/// bimodal on small virtual machines.
struct Spinner(Child);

impl Spinner {
    #[expect(clippy::disallowed_methods, reason = "the child carries a parent-death signal, and this program has one thread")]
    fn start(bench: &Bench, words: &mut Vec<String>) -> Option<Self> {
        let core = bench.generator?;
        if tools::which(Path::new("/usr/bin"), "chrt").is_none() {
            words.push("- no spinner beside the generator (chrt of util-linux is absent): closed loops may be bimodal\n".into());
            return None;
        }
        let mut command = Command::new(&bench.own);
        command.args(["pinned", "--core", &core.to_string(), "--", "chrt", "--idle", "0"]).arg(&bench.own).arg("spin");
        match command.spawn() {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                words.push(format!("- no spinner beside the generator ({error}): closed loops may be bimodal\n"));
                None
            }
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            let _ended = self.0.wait();
        }
    }
}
