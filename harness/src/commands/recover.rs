//! `recover`: undoes what earlier runs left behind, the guard's way.

use super::{print, tell};
use crate::registry;
use shakedown_core::Exit;
use shakedown_core::seams::UndoState;

/// `shakedown recover`.
pub fn recover(force: bool) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let recovered = match runtime.block_on(shakedown_undo::recover(&registry::undos(), force)) {
        Ok(recovered) => recovered,
        Err(why) => {
            tell(&format!("{why}. (exit {})", u8::from(Exit::RollbackFailed)));
            return Ok(Exit::RollbackFailed);
        }
    };
    let mut failed = false;
    let mut out = String::new();
    for one in &recovered {
        let state = match &one.state {
            Ok(UndoState::Undone) => "undone".to_owned(),
            Ok(UndoState::Already) => "nothing was left of it".to_owned(),
            Ok(UndoState::NotOurs) => "someone else's now; left alone".to_owned(),
            Err(why) => {
                failed = true;
                format!("NOT UNDONE: {why}")
            }
        };
        out.push_str(&format!("run {}: {}: {state}\n", one.run, one.what));
    }
    if recovered.is_empty() {
        out.push_str("Nothing was left behind.\n");
    }
    print(&out)?;
    Ok(if failed { Exit::RollbackFailed } else { Exit::Promote })
}
