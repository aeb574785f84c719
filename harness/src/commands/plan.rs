//! `check` and `plan`: everything that can be known without sending anything.

use super::{print, tell};
use crate::cli;
use crate::source::{self, Loaded, NotLoaded};
use crate::{snippet, ui};
use shakedown_core::Exit;
use shakedown_core::plan::Model;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

/// `shakedown check`.
pub fn check(args: &cli::Scenario) -> anyhow::Result<Exit> {
    let loaded = match source::load(args) {
        Ok(loaded) => loaded,
        Err(why) => return Ok(not_loaded(why)),
    };
    warn(&loaded, &args.scenario);
    let plan = &loaded.checked.plan;
    print(&format!(
        "{}: no mistakes. {} stream(s), {} fault(s), {} stage(s), {} objective(s).\n",
        args.scenario.display(),
        plan.streams.len(),
        plan.faults.len(),
        plan.rollout.as_ref().map_or(0, |r| r.stages.len()),
        plan.objectives.len()
    ))
}

/// `shakedown plan`.
pub fn plan(args: &cli::Scenario) -> anyhow::Result<Exit> {
    match source::load(args) {
        Ok(loaded) => {
            warn(&loaded, &args.scenario);
            show(&loaded)
        }
        Err(why) => Ok(not_loaded(why)),
    }
}

/// Prints the plan of a scenario.
pub fn show(loaded: &Loaded) -> anyhow::Result<Exit> {
    let plan = &loaded.checked.plan;
    let forecasts = match shakedown_load::forecast(&source::resolved(loaded)) {
        Ok(forecasts) => forecasts,
        Err(why) => return Ok(not_loaded(NotLoaded::Mistakes(format!("{why}\n1 problem. Nothing was sent. (exit 2)\n")))),
    };
    let mean = |f: &shakedown_load::Forecast| if f.length.0 == 0 { 0.0 } else { f.requests / f.length.seconds() };
    let rates: BTreeMap<String, f64> = forecasts.iter().map(|f| (f.stream.clone(), mean(f))).collect();
    let replays = plan.streams.iter().zip(&forecasts).filter(|(stream, _)| matches!(stream.model, Model::Replay(_)));
    let replayed = replays.map(|(_, f)| f.length).max().unwrap_or_default();
    let assumptions = shakedown_judge::Assumptions { replayed, ..Default::default() };
    let provable: Vec<_> =
        shakedown_judge::provable(plan, &rates, &assumptions).into_iter().map(|p| (p.objective, p.provable, p.text)).collect();
    let rows: Vec<_> = forecasts.iter().map(|f| (f.stream.clone(), f.requests, f.peak.per_second(), f.length)).collect();
    let sha = source::sha256(plan);
    print(&shakedown_report::timeline::plan_text(plan, &rows, &provable, &sha, ui::style(std::io::stdout().is_terminal())))
}

/// Shows what is worth knowing but no mistake.
pub fn warn(loaded: &Loaded, path: &Path) {
    let warnings = snippet::render_warnings(&loaded.checked.warnings, path, &loaded.text);
    if !warnings.is_empty() {
        tell(warnings.trim_end());
    }
}

/// Tells why there is no plan: exit 2.
pub fn not_loaded(why: NotLoaded) -> Exit {
    match why {
        NotLoaded::Mistakes(text) => tell(text.trim_end()),
        NotLoaded::Unreadable(error) => tell(&format!("{error:#}. (exit 2)")),
    }
    Exit::Usage
}
