//! `search`: the highest level of a rate, a fault or any `${NAME}` at which a scenario still holds. One whole run per
//! level, each in a directory of its own; the search itself is in `bisect`. Judges nothing: a level holds when its run's
//! decision is a pass.

use super::{plan, print, run, tell};
use crate::bisect::{Asked, Bisection, Came, Known};
use crate::cli;
use crate::levels::Range;
use crate::session::Outcome;
use crate::source::{self, Loaded, NotLoaded};
use anyhow::Context;
use serde_json::{Value, json};
use shakedown_core::decision::{Decision, Exit, Status};
use shakedown_core::plan::{Form, Model};
use shakedown_core::{Plan, Rate};
use shakedown_process::Keeper;
use std::path::PathBuf;

/// The record's schema.
const SCHEMA: &str = "shakedown.search/v1";
/// Reasons that speak of the generator, not of the target.
const OWN: &[&str] = &["generator-late", "generator-behind", "in-flight-limit", "connection-limit", "clipped", "late-evidence"];

/// What is varied, and how far.
struct Axis {
    /// `None` varies the rate of open streams.
    name: Option<String>,
    range: Range,
}

/// One run of the search.
struct Tried {
    level: f64,
    came: Came,
    decision: Decision,
    dir: PathBuf,
}

/// Searches.
///
/// # Errors
/// An internal error (exit 70).
pub fn search(args: &cli::Search) -> anyhow::Result<Exit> {
    let keeper = Keeper::start();
    let axis = match (&args.rate, &args.vary) {
        (Some(range), None) => Axis { name: None, range: *range },
        (None, Some((name, range))) => Axis { name: Some(name.clone()), range: *range },
        _ => return usage("give either --rate LOW..HIGH or --vary NAME=LOW..HIGH"),
    };
    // Both ends are checked before anything is sent: a mistake must not come up in the tenth run.
    let (mut declared, mut seed) = (None, 0);
    for level in [axis.range.low, axis.range.high] {
        match at_level(args, &axis, level) {
            Ok((loaded, peak)) => {
                declared = declared.or(peak);
                seed = loaded.checked.plan.seed;
            }
            Err(why) => return Ok(plan::not_loaded(why)),
        }
    }
    let dir = match run::directory(args.out.as_deref(), "search") {
        Ok(dir) => dir,
        Err(why) => return usage(&format!("{why:#}")),
    };
    let asked = Asked { low: axis.range.low, high: axis.range.high, within: args.within, runs: args.runs, confidence: args.confidence };
    let mut bisection = Bisection::new(asked);
    tell(&format!(
        "search between {} and {}; at most {} runs, a level is named when {} in a row hold; {}",
        axis.range.text(axis.range.low),
        axis.range.text(axis.range.high),
        args.runs,
        bisection.row(),
        run::shown(&dir)
    ));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut tried: Vec<Tried> = Vec::new();
    while let Some(level) = bisection.next(|l| axis.range.round(l)) {
        let mut loaded = match at_level(args, &axis, level) {
            Ok((loaded, _)) => loaded,
            Err(why) => return Ok(plan::not_loaded(why)),
        };
        // Runs of one level must be able to differ: with one seed a row of them would be one run.
        loaded.checked.plan.seed = seed.wrapping_add(tried.len() as u64);
        let own = dir.join(format!("{:03}-{}", tried.len() + 1, axis.range.file(level)));
        std::fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        let outcome = runtime.block_on(run::go(&loaded, keeper.clone(), &own, cli::Ui::None))?;
        let decision = match outcome {
            Outcome::Decided(decision) => *decision,
            Outcome::NotReady(why) => {
                tell(&format!("not ready: {why}. The search ends. (exit 3)"));
                return Ok(Exit::NotReady);
            }
        };
        if matches!(decision.exit, Exit::Interrupted | Exit::Terminated | Exit::Internal | Exit::NotReady | Exit::RollbackFailed) {
            tell(&format!("{} The search ends. See {}", decision.headline, run::shown(&own)));
            return Ok(decision.exit);
        }
        let came = if matches!(decision.exit, Exit::Promote | Exit::Conditions) { Came::Held } else { Came::NotHeld };
        bisection.tell(level, came);
        tried.push(Tried { level, came, decision, dir: own });
        tell(&line(&axis.range, tried.len(), tried.last().expect("just pushed")));
    }
    let known = bisection.known();
    let record = record(&axis, &known, &tried, declared, seed, args);
    let file = dir.join("search.json");
    std::fs::write(&file, format!("{record:#}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    print(&end(&axis, &known, &tried, declared, bisection.row()))?;
    Ok(exit(&known, &tried))
}

fn usage(why: &str) -> anyhow::Result<Exit> {
    tell(&format!("{why}. Nothing was sent. (exit 2)"));
    Ok(Exit::Usage)
}

/// The scenario at a level, and the rate it declares itself when that is what is varied.
fn at_level(args: &cli::Search, axis: &Axis, level: f64) -> Result<(Loaded, Option<f64>), NotLoaded> {
    let mut scenario = args.scenario.clone();
    if let Some(name) = &axis.name {
        scenario.set.retain(|(n, _)| n != name);
        scenario.set.push((name.clone(), axis.range.text(level)));
        let loaded = source::load(&scenario)?;
        return if loaded.text.contains(&format!("${{{name}")) {
            Ok((loaded, None))
        } else {
            Err(mistake(format!("the scenario has no `${{{name}}}`: nothing would change between levels")))
        };
    }
    let mut loaded = source::load(&scenario)?;
    let plan = &mut loaded.checked.plan;
    let peak = peak(plan, args.stream.as_deref()).map_err(mistake)?;
    if !axis.range.is_rate() {
        return Err(mistake("`--rate` wants requests a second, as in 50/s..2000/s".to_owned()));
    }
    scale(plan, args.stream.as_deref(), level / peak);
    let total = peak_of(plan, None);
    match plan.environment.limits.rate {
        Some(most) if total > most.per_second() * (1.0 + 1e-9) => Err(mistake(format!(
            "at {} all streams together ask for {}, above `limits.rate` ({most})",
            axis.range.text(level),
            Rate::from_per_second(total)
        ))),
        _ => Ok((loaded, Some(peak))),
    }
}

fn mistake(why: String) -> NotLoaded {
    NotLoaded::Mistakes(format!("{why}. Nothing was sent. (exit 2)"))
}

/// The highest rate of the open streams that are varied, together.
fn peak(plan: &Plan, stream: Option<&str>) -> Result<f64, String> {
    if let Some(name) = stream.filter(|n| !plan.streams.iter().any(|s| s.name == *n && matches!(s.model, Model::Open { .. }))) {
        return Err(format!("there is no stream `{name}` with a shape"));
    }
    match peak_of(plan, stream) {
        peak if peak > 0.0 => Ok(peak),
        _ => Err("no stream has a shape with a rate above zero; use --vary with a ${NAME} in the scenario".to_owned()),
    }
}

fn peak_of(plan: &Plan, stream: Option<&str>) -> f64 {
    let varied = plan.streams.iter().filter(|s| stream.is_none_or(|n| n == s.name));
    varied
        .map(|s| match &s.model {
            Model::Open { shape, .. } => shape.iter().map(|segment| highest(segment.form).per_second()).fold(0.0, f64::max),
            Model::Closed { .. } | Model::Replay(_) => 0.0,
        })
        .sum()
}

fn highest(form: Form) -> Rate {
    match form {
        Form::Hold(rate) => rate,
        Form::Ramp(from, to) => from.max(to),
        Form::Wave { low, high, .. } => low.max(high),
    }
}

/// Multiplies the rates of the varied streams; their form stays.
fn scale(plan: &mut Plan, stream: Option<&str>, factor: f64) {
    let by = |rate: &mut Rate| *rate = Rate::from_per_second(rate.per_second() * factor);
    for s in plan.streams.iter_mut().filter(|s| stream.is_none_or(|n| n == s.name)) {
        let Model::Open { shape, .. } = &mut s.model else { continue };
        for segment in shape {
            match &mut segment.form {
                Form::Hold(rate) => by(rate),
                Form::Ramp(from, to) => [from, to].into_iter().for_each(by),
                Form::Wave { low, high, .. } => [low, high].into_iter().for_each(by),
            }
        }
    }
}

/// The generator itself gave way: nothing is known of the target at this level.
fn own(decision: &Decision) -> bool {
    decision.exit == Exit::Invalid && decision.reasons.first().is_some_and(|r| OWN.contains(&r.code.as_str()))
}

/// Why a run did not hold, in one clause.
fn why(decision: &Decision) -> String {
    let missed = decision.objectives.iter().find(|(_, o)| matches!(o.status, Status::Fail));
    match missed {
        Some((name, objective)) => format!("{name}: {}", objective.text),
        None => decision.reasons.first().map_or_else(|| decision.headline.clone(), |r| r.text.clone()),
    }
}

fn line(range: &Range, number: usize, tried: &Tried) -> String {
    let (came, why) = match tried.came {
        Came::Held => ("held", String::new()),
        Came::NotHeld if own(&tried.decision) => ("generator", format!("  {}", why(&tried.decision))),
        Came::NotHeld => ("not held", format!("  {}", why(&tried.decision))),
    };
    format!("  run {number:>2}  {:>10}  {came:<9}{why}", range.text(tried.level))
}

fn of(tried: &[Tried], level: f64, came: Came) -> Option<&Tried> {
    tried.iter().rev().find(|t| t.level == level && t.came == came)
}

fn end(axis: &Axis, known: &Known, tried: &[Tried], declared: Option<f64>, row: u32) -> String {
    let what = axis.name.as_deref().unwrap_or("rate");
    let text = |level| axis.range.text(level);
    let mut out = String::new();
    match known.held {
        Some((level, times)) => {
            let sure = if times >= row {
                format!("held in {times} runs in a row")
            } else {
                format!("held in {times} of the {row} runs in a row it needs: not confirmed")
            };
            out += &format!("HOLDS   up to {what} {}: {sure}\n", text(level));
            out += &declared
                .map_or(String::new(), |d| format!(" margin  {:.2} x the {} the scenario declares\n", level / d, Rate::from_per_second(d)));
        }
        None if undecided(known, tried) => {
            let low = text(axis.range.low);
            out += &format!(
                "UNKNOWN the run at {what} {low}, the lowest level searched, could decide nothing: let it run longer, or begin higher\n"
            );
        }
        None => out += &format!("BREAKS  at {what} {} already, the lowest level searched\n", text(axis.range.low)),
    }
    match (known.held, known.broke) {
        (Some((held, _)), Some(broke)) => {
            out += &format!(
                " knee    between {} and {} (the upper is {:.1} % above)\n",
                text(held),
                text(broke),
                (broke / held - 1.0) * 100.0
            );
        }
        (Some((held, _)), None) => out += &format!(" knee    above {}: nothing in the range broke it\n", text(held)),
        _ => {}
    }
    if let Some(t) = known.held.and_then(|(level, _)| of(tried, level, Came::Held)) {
        out += &format!(" shows   {} held: {}\n", text(t.level), run::shown(&t.dir));
    }
    if let Some(t) = known.broke.and_then(|level| of(tried, level, Came::NotHeld)) {
        let whose = if own(&t.decision) { " (the generator gave way, not the target)" } else { "" };
        out += &format!(" shows   {} did not{whose}: {}\n         {}\n", text(t.level), run::shown(&t.dir), why(&t.decision));
    }
    out + &format!(
        " runs    {}{}\n",
        tried.len(),
        if known.settled { "" } else { "; not settled: give it more with --runs, or a wider --within" }
    )
}

fn record(axis: &Axis, known: &Known, tried: &[Tried], declared: Option<f64>, seed: u64, args: &cli::Search) -> Value {
    let run = |t: &Tried| {
        json!({
            "level": axis.range.text(t.level), "seed": t.decision.seed, "held": t.came == Came::Held, "generator": own(&t.decision), "exit": u8::from(t.decision.exit),
            "run": t.dir.file_name().map(|n| n.to_string_lossy()), "headline": t.decision.headline,
        })
    };
    json!({
        "schema": SCHEMA,
        "varied": axis.name.as_deref().unwrap_or("rate"),
        "stream": args.stream,
        "seed": seed,
        "low": axis.range.text(axis.range.low), "high": axis.range.text(axis.range.high),
        "within": args.within, "confidence": args.confidence,
        "held": known.held.map(|(level, times)| json!({"level": axis.range.text(level), "runs_in_a_row": times})),
        "broke": known.broke.map(|level| axis.range.text(level)),
        "margin": declared.zip(known.held).map(|(d, (level, _))| level / d),
        "settled": known.settled,
        "runs": tried.iter().map(run).collect::<Vec<_>>(),
    })
}

/// The lowest level that did not hold was not proven to fail either: too few requests, mostly.
fn undecided(known: &Known, tried: &[Tried]) -> bool {
    let broke = known.broke.and_then(|level| of(tried, level, Came::NotHeld));
    broke.is_some_and(|t| matches!(t.decision.exit, Exit::Inconclusive | Exit::Invalid))
}

/// 0 a settled answer; 10 the lowest level does not hold; 4 the generator gave way first; 12 not settled, or not decided
/// even at the lowest level.
fn exit(known: &Known, tried: &[Tried]) -> Exit {
    let broke = known.broke.and_then(|level| of(tried, level, Came::NotHeld));
    match (known.held, broke) {
        (_, Some(t)) if own(&t.decision) => Exit::Invalid,
        (None, _) if undecided(known, tried) => Exit::Inconclusive,
        (None, _) => Exit::Rollback,
        _ if known.settled => Exit::Promote,
        _ => Exit::Inconclusive,
    }
}
