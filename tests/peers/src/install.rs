//! Installs the tools that Debian does not have, into `target/peers` and nowhere else.

use crate::suite::say;
use anyhow::{Result, ensure};
use std::path::Path;
use std::process::Command;

/// By name: program, arguments.
const TOOLS: [(&str, &str, &[&str]); 3] = [
    ("oha", "cargo", &["install", "oha", "--locked"]),
    ("k6", "go", &["install", "go.k6.io/k6@latest"]),
    ("vegeta", "go", &["install", "github.com/tsenart/vegeta/v12@latest"]),
];

/// Installs what is missing; what cannot be had is said and does not stop the rest.
#[expect(clippy::disallowed_methods, reason = "runs to its end; this program has one thread")]
pub fn install(root: &Path) -> Result<()> {
    let peers = root.join("target/peers");
    std::fs::create_dir_all(&peers)?;
    for (name, program, arguments) in TOOLS {
        if peers.join("bin").join(name).is_file() {
            say(&format!("{name}: there already"));
            continue;
        }
        say(&format!("{name}: {program} {}", arguments.join(" ")));
        let mut command = Command::new("nice");
        command.args(["-n", "19", program]).args(arguments).current_dir(&peers);
        command.env("CARGO_INSTALL_ROOT", &peers).env("CARGO_TARGET_DIR", peers.join("build"));
        command.env("GOPATH", peers.join("go")).env("GOBIN", peers.join("bin")).env("GOCACHE", peers.join("gocache"));
        command.env("GOFLAGS", "-modcacherw");
        match command.status() {
            Ok(status) if status.success() => say(&format!("{name}: installed")),
            Ok(status) => say(&format!("{name}: absent: {program} ended with {status}")),
            Err(error) => say(&format!("{name}: absent: {program}: {error}")),
        }
    }
    ensure!(peers.join("bin").is_dir(), "nothing could be installed; is there a network?");
    Ok(())
}
