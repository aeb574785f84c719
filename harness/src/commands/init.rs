//! `init`: a first scenario to start from. Never overwrites.

use super::{print, tell};
use shakedown_core::Exit;
use std::io::Write;
use std::path::Path;

const FIRST: &str = include_str!("first.yaml");

/// `shakedown init`.
pub fn init(path: &Path) -> anyhow::Result<Exit> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut f| f.write_all(FIRST.as_bytes()));
    if let Err(why) = made {
        tell(&format!("cannot write {}: {why}; give another name. (exit 2)", path.display()));
        return Ok(Exit::Usage);
    }
    let shown = path.display();
    print(&format!("wrote {shown}\nnext: shakedown check {shown} · shakedown plan {shown} · shakedown run {shown}\n"))
}
