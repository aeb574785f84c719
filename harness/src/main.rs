//! The binary: arguments in, exit code out. Starts the keeper before any other thread; everything else is in the modules.

mod actions;
mod bisect;
mod cli;
mod commands;
mod hidden;
mod levels;
mod part;
mod registry;
mod scale;
mod services;
mod session;
mod snippet;
mod source;
mod ui;
mod wall;

use clap::Parser;
use shakedown_core::Exit;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    if let Some(code) = hidden::dispatch() {
        return code;
    }
    // First of all threads: every child hangs on it.
    drop(shakedown_process::Keeper::start());
    let cli = cli::Cli::parse();
    let level = ["warn", "info", "debug", "trace"][usize::from(cli.verbose).min(3)];
    let filter = EnvFilter::try_from_env("SHAKEDOWN_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().with_target(false).init();
    // A panic has told its place by itself; what was changed is undone by the guard once this process is gone.
    let exit = match std::panic::catch_unwind(|| commands::dispatch(cli.command)) {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            tracing::error!("{error:#}");
            Exit::Internal
        }
        Err(_) => Exit::Internal,
    };
    ExitCode::from(u8::from(exit))
}
