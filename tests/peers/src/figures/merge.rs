//! Merging eight segments: made and timed by the program's own example, called here so that all figures stand together.

use super::columns;
use crate::stats::Spread;
use crate::suite::say;
use crate::table::{Cell, Goal, Row, Table};
use std::path::Path;
use std::process::Command;

/// Runs the example, which prints `merge SECONDS`; no table without it.
#[expect(clippy::disallowed_methods, reason = "runs to its end; this program has one thread")]
pub fn merge(example: &Path, failures: &mut Vec<String>) -> Option<Table> {
    if !example.is_file() {
        say(&format!("merge: no {}: not measured", example.display()));
        return None;
    }
    say("merge: 8 segments");
    let out = Command::new(example).output().map_err(|e| failures.push(format!("merge: {e}"))).ok()?;
    let text = String::from_utf8_lossy(&out.stdout).to_string();
    let seconds = text.lines().find_map(|l| l.strip_prefix("merge ")?.trim().parse::<f64>().ok());
    if !out.status.success() || seconds.is_none() {
        failures.push(format!("merge: {}: {text}{}", out.status, String::from_utf8_lossy(&out.stderr)));
    }
    let cell = Cell { spread: seconds.and_then(|s| Spread::of(&[s])), digits: 3 };
    Some(Table {
        id: "merge",
        title: "Merge of 8 segments".into(),
        setting: "8 segments of 10 million requests".into(),
        columns: columns(&["s"]),
        rows: vec![Row { name: "shakedown".into(), cells: vec![cell] }],
        goals: vec![Goal::at_most("≤ 1 s", seconds, 1.0)],
        notes: Vec::new(),
    })
}
