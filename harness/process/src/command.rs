//! One command to its end: for setup, teardown and compensation steps. Bounded, under a shim, nothing left behind.

use crate::capture::Capture;
use crate::keeper::Keeper;
use crate::proc::Spawn;
use shakedown_core::{Fail, Span};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Longest wait for a command that was killed to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Runs a command; gives the last lines of its output. Dropping the future kills it.
///
/// # Errors
/// When it cannot be started, does not end with 0, or not `within` (then it is killed, with all it started).
pub async fn run_command(keeper: &Keeper, argv: &[String], env: &[(String, String)], cwd: &Path, within: Span) -> Result<String, Fail> {
    run_command_with(keeper, argv, env, Some(cwd), within).await
}

/// As [`run_command`]; in the harness's own directory when `cwd` is `None`.
///
/// # Errors
/// As [`run_command`].
pub async fn run_command_with(
    keeper: &Keeper,
    argv: &[String],
    env: &[(String, String)],
    cwd: Option<&Path>,
    within: Span,
) -> Result<String, Fail> {
    let said = argv.join(" ");
    let (capture, pipe) = Capture::start(None, Box::new(|_| {}))?;
    let copy = pipe.try_clone().map_err(|e| Fail::new(format!("cannot take the output of `{said}`: {e}")))?;
    let mut spawn = Spawn::new(argv);
    spawn.env = env.to_vec();
    spawn.cwd = cwd.map(Path::to_owned);
    spawn.stdout = Stdio::from(pipe);
    spawn.stderr = Stdio::from(copy);
    let proc = keeper.spawn_async(spawn).await?;
    let status = tokio::time::timeout(within.duration(), proc.wait()).await;
    let Ok(status) = status else {
        proc.kill_tree().await;
        let gone = tokio::time::timeout(GONE_WITHIN, proc.wait()).await.is_ok();
        let end = if gone { "was killed" } else { "could not even be killed" };
        return Err(Fail::new(format!("`{said}` did not end within {within} and {end}{}", quoted(&capture.last_words().await))));
    };
    let output = capture.last_words().await;
    match status {
        0 => Ok(output),
        code if code > 0 => Err(Fail::new(format!("`{said}` ended with status {code}{}", quoted(&output)))),
        signal => Err(Fail::new(format!("`{said}` was ended by signal {}{}", -signal, quoted(&output)))),
    }
}

/// A program's last lines, for the end of a message.
pub(crate) fn quoted(output: &str) -> String {
    if output.is_empty() {
        return "; it printed nothing".into();
    }
    format!("; its last output:\n    {}", output.replace('\n', "\n    "))
}
