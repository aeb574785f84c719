//! Processes of a run: the keeper thread that does every fork and ptrace, the shim every program runs under, services
//! with readiness, pause and kill. Nothing started here outlives the harness, SIGKILL included.
//! Must not know scenarios, verdicts or the undo journal.

mod capture;
mod command;
mod init;
mod keeper;
mod launch;
mod pause;
mod proc;
mod ready;
mod service;
mod shim;
mod sys;
pub mod tree;

pub use capture::Capture;
pub use command::{run_command, run_command_with};
pub use keeper::Keeper;
pub use proc::{Isolation, Proc, Spawn};
pub use service::{OnExit, ServiceSet, ServiceSpec};
pub use shim::shim_main;
