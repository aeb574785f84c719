//! Undo by a command: teardown steps. It must be idempotent, which is its author's part.

use crate::secret;
use serde::Deserialize;
use shakedown_core::seams::{Boxed, Undo, UndoRecord, UndoState};
use shakedown_core::{Fail, Span};
use shakedown_process::{Keeper, run_command_with};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Kind `command`: data `{argv, env: {NAME: value}, cwd, within}` (`within` in nanoseconds). Texts may hold
/// `${secret:NAME}`. Undone when the command ends with 0.
#[derive(Debug)]
pub struct CommandUndo;

#[derive(Deserialize)]
struct Data {
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    within: Span,
}

impl Undo for CommandUndo {
    fn kind(&self) -> &'static str {
        "command"
    }

    fn undo<'a>(&'a self, record: &'a UndoRecord) -> Boxed<'a, Result<UndoState, Fail>> {
        Box::pin(async move {
            let data: Data = serde_json::from_value(record.data.clone()).map_err(|e| Fail::new(format!("its record is wrong: {e}")))?;
            let secrets = secret::of(data.argv.iter().chain(data.env.values()).map(String::as_str))?;
            let argv: Vec<String> = data.argv.iter().map(|a| secrets.resolve(a)).collect();
            let env: Vec<(String, String)> = data.env.iter().map(|(k, v)| (k.clone(), secrets.resolve(v))).collect();
            let ran = run_command_with(&Keeper::start(), &argv, &env, data.cwd.as_deref(), data.within).await;
            ran.map(|_| UndoState::Undone).map_err(|f| Fail::new(secrets.redact(&f.0)))
        })
    }
}
