//! One command a file; `dispatch` is the one match over them.

mod github;
mod init;
mod inspect;
mod merge;
mod pilot;
mod plan;
mod recover;
mod run;
mod search;

use crate::cli::{Cli, Command};
use crate::registry;
use clap::CommandFactory;
use shakedown_core::Exit;
use std::io::Write;

/// Runs a command.
///
/// # Errors
/// An internal error (exit 70). Everything a user can mend is told on stderr and has its own exit code.
pub fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => plan::check(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Judge { run, json, precision } => inspect::judge(&run, json, precision.is_some()),
        Command::Report { run, format, output } => inspect::report(&run, &format, output.as_deref()),
        Command::Pilot(args) => pilot::pilot(&args),
        Command::Init { path } => init::init(&path),
        Command::Recover { force } => recover::recover(force),
        Command::Kinds { json: true } => print(&format!("{:#}\n", registry::kinds_json())),
        Command::Kinds { json: false } => print(&registry::kinds_text()),
        Command::Schema => print(&format!("{:#}\n", shakedown_scenario::schema(&crate::source::kinds(&crate::source::flaws())))),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "shakedown", &mut script);
            print_bytes(&script)
        }
        Command::Compare(_) => later("compare"),
        Command::Merge(args) => merge::merge(&args),
        Command::Search(args) => search::search(&args),
        Command::Shrink(_) => later("shrink"),
        Command::Record(_) => later("record"),
        Command::Import(_) => later("import"),
        Command::Incident(_) => later("incident"),
        Command::Proxy(_) => later("proxy"),
        Command::Gameday(_) => later("gameday"),
    }
}

fn later(command: &str) -> anyhow::Result<Exit> {
    tell(&format!("`shakedown {command}` is not available yet; it comes with a later version."));
    Ok(Exit::Usage)
}

/// To standard output; a reader that went away is no error.
pub fn print(text: &str) -> anyhow::Result<Exit> {
    print_bytes(text.as_bytes())
}

/// The same for what need not be text.
pub fn print_bytes(bytes: &[u8]) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(anyhow::Error::from(e).context("cannot write to standard output")),
        _ => Ok(Exit::Promote),
    }
}

/// To standard error, for people.
pub fn tell(text: &str) {
    if writeln!(std::io::stderr().lock(), "{text}").is_err() {
        tracing::debug!("standard error is closed");
    }
}
