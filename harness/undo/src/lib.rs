//! Taking changes back on every way out: the undo journal, the guard process that outlives the harness, `recover` for
//! what both could not do, the lock on an environment, and the undo of commands and requests.
//! Must not make changes to the world itself, nor know what a fault or a rollout is.

mod attempt;
mod command;
mod guard;
mod journal;
mod lines;
mod link;
mod lock;
mod owner;
mod recover;
mod request;
mod secret;
mod state;
mod watch;

pub use command::CommandUndo;
pub use guard::Guard;
pub use journal::UndoJournal;
pub use lock::EnvLock;
pub use owner::{is_alive, owner};
pub use recover::{Recovered, recover, recover_dir};
pub use request::RequestUndo;
pub use state::state_dir;
pub use watch::guard_main;

use shakedown_core::seams::Undo;

/// The kinds that live here: teardown steps.
pub const KINDS: &[&dyn Undo] = &[&CommandUndo, &RequestUndo];
