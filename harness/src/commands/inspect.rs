//! `judge RUN` and `report RUN`: what a finished run's files say. Must not change the run directory.

use super::{print, print_bytes, run, tell};
use crate::{registry, session, source, ui};
use anyhow::Context;
use shakedown_core::{Decision, Exit, Plan};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

/// `shakedown judge RUN`.
pub fn judge(dir: &Path, json: bool, precision: bool) -> anyhow::Result<Exit> {
    if let Ok(part) = shakedown_engine::Segment::read(dir)
        && part.index > 1
    {
        let what = format!("{} is segment {} of {}, a part of the load alone", dir.display(), part.index, part.of);
        tell(&format!("{what}; put all segments together with `shakedown merge`. (exit 2)"));
        return Ok(Exit::Usage);
    }
    let plan = match read_plan(dir) {
        Ok(plan) => Arc::new(plan),
        Err(why) => {
            tell(&format!("{why:#}; give the directory of a run. (exit 2)"));
            return Ok(Exit::Usage);
        }
    };
    let decision = match shakedown_engine::decide_from(dir, &mut shakedown_judge::Judge::new(plan.clone())) {
        Ok(decision) => decision,
        Err(why) => {
            tell(&format!("{}: {why}. Nothing can be judged from these files. (exit 2)", dir.display()));
            return Ok(Exit::Usage);
        }
    };
    // The journal's first event says which plan was run; a journal without one is told below.
    let sha256 = source::sha256(&plan);
    if !decision.plan_sha256.is_empty() && decision.plan_sha256 != sha256 {
        let changed = format!("{} has the SHA-256 {sha256}, the run had {}", dir.join("plan.json").display(), decision.plan_sha256);
        tell(&format!("{changed}: it was changed, or written by another version. (exit 70)"));
        return Ok(Exit::Internal);
    }
    let text = session::decision_json(&decision)?;
    if json {
        print(&text)?;
    } else {
        let style = ui::style(std::io::stdout().is_terminal());
        print(&shakedown_report::terminal::end_block(&plan, &decision, &dir.display().to_string(), style))?;
        if precision {
            print(&shakedown_report::precision::table(&plan, &decision, style))?;
        }
    }
    let kept = dir.join("decision.json");
    match std::fs::read_to_string(&kept) {
        Ok(before) if before == text => Ok(decision.exit),
        Ok(_) => {
            tell(&format!("{} says otherwise: it was changed, or written by another version. (exit 70)", kept.display()));
            Ok(Exit::Internal)
        }
        Err(why) => {
            tell(&format!("{} cannot be read ({why}): the run did not end by itself", kept.display()));
            Ok(decision.exit)
        }
    }
}

/// `shakedown report RUN`.
pub fn report(dir: &Path, format: &str, output: Option<&Path>) -> anyhow::Result<Exit> {
    let Some(reporter) = registry::REPORTERS.iter().find(|r| r.name() == format) else {
        let known: Vec<_> = registry::REPORTERS.iter().map(|r| r.name()).collect();
        tell(&format!("there is no report format `{format}`; known: {}. (exit 2)", known.join(", ")));
        return Ok(Exit::Usage);
    };
    let read = || -> anyhow::Result<(Plan, Decision)> {
        let text = std::fs::read_to_string(dir.join("decision.json")).with_context(|| {
            format!("cannot read {}; `shakedown judge {} --json` recomputes it", dir.join("decision.json").display(), dir.display())
        })?;
        Ok((read_plan(dir)?, serde_json::from_str(&text).context("decision.json is not a decision record of this version")?))
    };
    let (plan, decision) = match read() {
        Ok(both) => both,
        Err(why) => {
            tell(&format!("{why:#}. (exit 2)"));
            return Ok(Exit::Usage);
        }
    };
    let mut out: Vec<u8> = Vec::new();
    let mut events = match run::events(dir) {
        Ok(events) => events,
        Err(why) => {
            tell(&format!("{}: {why:#}. A report needs the files of the whole run. (exit 2)", dir.display()));
            return Ok(Exit::Usage);
        }
    };
    reporter.finish(&plan, &mut events, &decision, &mut out)?;
    if let Err(why) = events.whole() {
        tell(&format!("{}: {why:#}. A report needs the files of the whole run. (exit 2)", dir.display()));
        return Ok(Exit::Usage);
    }
    let Some(path) = output.filter(|p| *p != Path::new("-")) else { return print_bytes(&out) };
    if let Err(why) = std::fs::write(path, out) {
        tell(&format!("cannot write {}: {why}; give --output another file. (exit 2)", path.display()));
        return Ok(Exit::Usage);
    }
    Ok(Exit::Promote)
}

pub(super) fn read_plan(dir: &Path) -> anyhow::Result<Plan> {
    let path = dir.join("plan.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a plan of this version", path.display()))
}
