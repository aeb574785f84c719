//! `merge RUN…`: the parts of one run put together. Leaves a run directory like any other's; must not send anything.

use super::{github, inspect, print, run, tell};
use crate::{cli, session, source, ui};
use anyhow::{Context, bail};
use shakedown_core::decision::Exit;
use shakedown_core::{Decision, Plan};
use shakedown_engine::Segment;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Kept requests of a merged run: as many as of one run.
const SAMPLES: (usize, usize) = (100, 100);
/// Copied from the controller as they are.
const COPIED: [&str; 2] = ["scenario.yaml", "plan.json"];

/// `shakedown merge RUN… --out DIR`.
pub fn merge(args: &cli::Merge) -> anyhow::Result<Exit> {
    let (parts, plan) = match read(args) {
        Ok(found) => found,
        Err(why) => {
            tell(&format!("{why:#}. Nothing was merged. (exit 2)"));
            return Ok(Exit::Usage);
        }
    };
    let out = match run::directory(Some(&args.out), &plan.name) {
        Ok(out) => out,
        Err(why) => {
            tell(&format!("{why:#}. Nothing was merged. (exit 2)"));
            return Ok(Exit::Usage);
        }
    };
    let decision = match together(&parts, &plan, &out) {
        Ok(decision) => decision,
        Err(why) => {
            tell(&format!("{why:#}. The parts cannot be put together. (exit 2)"));
            return Ok(Exit::Usage);
        }
    };
    std::fs::write(out.join("decision.json"), session::decision_json(&decision)?).context("cannot write decision.json")?;
    let formats = if shakedown_report::nothing_judged(&decision) { &[] } else { args.report.as_slice() };
    for format in formats {
        run::write_report(&plan, &out, &decision, format)?;
    }
    let style = ui::style(std::io::stdout().is_terminal());
    print(&shakedown_report::terminal::end_block(&plan, &decision, &run::shown(&out), style))?;
    github::tell_workflow(&plan, &decision, true);
    Ok(decision.exit)
}

/// A segment's directory and what it says of itself.
type Part = (PathBuf, Segment);

/// The parts by index, and their plan.
fn read(args: &cli::Merge) -> anyhow::Result<(Vec<Part>, Arc<Plan>)> {
    if let Some(unknown) = args.report.iter().find(|r| !crate::registry::REPORTERS.iter().any(|k| k.name() == r.as_str())) {
        bail!("there is no report format `{unknown}`; see `shakedown kinds`");
    }
    let segments: Vec<Segment> = args.runs.iter().map(|dir| Segment::read(dir)).collect::<Result<_, _>>()?;
    let order = shakedown_engine::complete(&segments)?;
    let parts: Vec<(PathBuf, Segment)> = order.into_iter().map(|i| (args.runs[i].clone(), segments[i].clone())).collect();
    let plan = inspect::read_plan(&parts[0].0)?;
    let sha256 = source::sha256(&plan);
    if sha256 != parts[0].1.plan_sha256 {
        bail!("{} was changed: its SHA-256 is {sha256}, the run's {}", parts[0].0.join("plan.json").display(), parts[0].1.plan_sha256);
    }
    Ok((parts, Arc::new(plan)))
}

fn together(parts: &[(PathBuf, Segment)], plan: &Arc<Plan>, out: &Path) -> anyhow::Result<Decision> {
    for name in COPIED {
        let from = parts[0].0.join(name);
        std::fs::copy(&from, out.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let mut judge = shakedown_judge::Judge::new(plan.clone());
    Ok(shakedown_engine::merge(plan, parts, out, &mut judge, SAMPLES)?)
}
