//! What a GitHub workflow gets beside the end block: annotations and the step summary. Must not change an exit code: a
//! failure here is told on stderr and forgotten.

use super::{print, tell};
use shakedown_core::seams::Reporter;
use shakedown_core::{Decision, Plan};
use shakedown_report::{Markdown, markdown};
use std::io::Write;
use std::path::Path;

/// Annotations when this is a workflow, and the summary when it wants one. `lines`: standard output is for people.
pub fn tell_workflow(plan: &Plan, decision: &Decision, lines: bool) {
    if lines && std::env::var_os("GITHUB_ACTIONS").is_some_and(|v| v == "true") {
        let told: String = markdown::annotations(plan, decision).iter().map(|line| format!("{line}\n")).collect();
        if let Err(why) = print(&told) {
            tell(&format!("the annotations could not be written: {why:#}"));
        }
    }
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|p| !p.is_empty()) else { return };
    if let Err(why) = append(Path::new(&path), plan, decision) {
        tell(&format!("the step summary {} could not be written: {why}", Path::new(&path).display()));
    }
}

fn append(path: &Path, plan: &Plan, decision: &Decision) -> std::io::Result<()> {
    let mut text: Vec<u8> = Vec::new();
    Markdown.finish(plan, &mut std::iter::empty(), decision, &mut text)?;
    text.push(b'\n');
    std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(&text)
}
