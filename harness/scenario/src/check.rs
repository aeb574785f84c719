//! The check itself: text, tree, substitution, names, sections, what holds across them. Must not stop at the first
//! mistake, and must not give a plan when there is one.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::limits::Around;
use crate::names::Names;
use crate::slos::Against;
use crate::source::{Checked, Source};
use crate::substitute::{self, Found};
use crate::{actions, environment, faults, gates, guardrails, guards, names, precision, rollout, slos, traffic, yaml};
use shakedown_core::Plan;
use shakedown_core::plan::{Environment, EnvironmentClass, Guard, Limits, Objective, Precision, VerdictRule};
use shakedown_core::tree::{Fields, Node, Problems, Tree};
use shakedown_core::units::Span;
use std::collections::BTreeMap;

/// The language version.
const VERSION: u64 = 1;
/// Cells load may keep when nobody says.
const MAX_CELLS: u32 = 1000;
/// Highest `max_cells`.
const MOST_CELLS: u64 = 100_000;

/// Reads and checks a scenario.
///
/// # Errors
/// Every mistake that was found, in the order of the file.
pub fn check(source: &Source) -> Result<Checked, Problems> {
    let mut problems = Problems::default();
    let Some(mut root) = yaml::parse(source.text, &mut problems) else { return Err(problems) };
    let mut found = Found::default();
    substitute::substitute(&mut root, source, &mut found, &mut problems);
    let substituted = std::mem::take(&mut problems);
    let names = Names::index(&root);
    names.unique_timeline(&root, &mut problems);
    let mut cx = Cx {
        source,
        names,
        p: problems,
        warnings: Vec::new(),
        files: BTreeMap::new(),
        allow: None,
        releases: BTreeMap::new(),
        targets: BTreeMap::new(),
    };
    let plan = scenario(&root, &mut cx);
    if let Some(plan) = &plan {
        guardrails::check(&root, plan, &mut cx);
    }
    let mut problems = cx.p;
    problems.0.retain(|p| !found.broken.contains(&p.span));
    problems.0.extend(substituted.0);
    let Some(mut plan) = plan.filter(|_| problems.is_empty()) else { return Err(sorted(problems)) };
    found.names.sort();
    plan.secrets = found.names;
    plan.files = cx.files;
    Ok(Checked { plan, secrets: found.secrets, warnings: cx.warnings })
}

fn sorted(mut problems: Problems) -> Problems {
    problems.0.sort_by_key(|p| p.span.start);
    problems.0.dedup();
    problems
}

/// Decodes every section; `None` only when the text is no map at all.
fn scenario(root: &Node, cx: &mut Cx) -> Option<Plan> {
    if !matches!(root.tree, Tree::Map(_)) {
        cx.p.hint(&root.span, format!("a scenario must be a map, not {}", root.describe()), "`shakedown init` writes one to start from");
        return None;
    }
    let mut f = root.fields("scenario", &mut cx.p);
    version(&mut f, cx);
    let name = f.need("name", &mut cx.p).and_then(|n| {
        let text = n.string("name", &mut cx.p)?;
        names::check(&text, &n.span, &mut cx.p).then_some(text)
    });
    let environment = f.need("environment", &mut cx.p).map(|n| environment::decode(n, cx));
    let setup = f.take("setup").map(|n| actions::decode(n, "setup", cx)).unwrap_or_default();
    let teardown = f.take("teardown").map(|n| actions::decode(n, "teardown", cx)).unwrap_or_default();
    let before = cx.p.0.len();
    let streams = f.need("traffic", &mut cx.p).map(|n| (n, traffic::decode(n, cx)));
    let complete = cx.p.0.len() == before;
    if let Some((node, streams)) = &streams {
        let limit = environment.as_ref().and_then(|e| e.limits.rate);
        traffic::check_peaks(node, streams, limit, cx);
    }
    let streams = streams.map(|(_, s)| s).unwrap_or_default();
    f.later("ledgers", &mut cx.p);
    f.later("signals", &mut cx.p);
    let named = f.named("faults", &mut cx.p);
    let faults = faults::decode(&named, cx);
    let raw = f.take("rollout").map(|n| rollout::decode(n, cx));
    empty_rollout(root, cx);
    let named = f.named("windows", &mut cx.p);
    let windows = slos::windows(&named, cx);
    let baseline = raw.as_ref().is_some_and(|r| r.rollout.baseline > Span::ZERO);
    let warmup = streams.iter().map(|s| s.warmup).max().unwrap_or_default();
    let against = Against { arms: Around { rollout: raw.is_some(), baseline }, streams: &streams, complete, warmup };
    let judged = judged(&mut f, &against, cx);
    let objectives = judged.objectives;
    let rollout = raw.map(|r| gates::resolve(r, &objectives, &against, cx));
    let slice = if judged.guards.iter().any(|g| g.over < Span::secs(1)) { Span::millis(100) } else { Span::secs(1) };
    let max_cells = f.whole("max_cells", 1..MOST_CELLS + 1, &mut cx.p).and_then(|n| u32::try_from(n).ok()).unwrap_or(MAX_CELLS);
    let head = head(&mut f, cx);
    f.finish(&mut cx.p);
    Some(Plan {
        version: 1,
        name: name.unwrap_or_default(),
        description: head.description,
        hypothesis: head.hypothesis,
        owner: head.owner,
        labels: head.labels,
        seed: head.seed,
        time_box: head.time_box,
        slice,
        max_cells,
        precision: head.precision,
        environment: environment.unwrap_or_else(nowhere),
        setup,
        teardown,
        preflight: judged.preflight,
        streams,
        faults,
        rollout,
        objectives,
        windows,
        guards: judged.guards,
        verdict: judged.verdict,
        files: BTreeMap::new(),
        secrets: Vec::new(),
    })
}

fn version(f: &mut Fields, cx: &mut Cx) {
    let Some(n) = f.need("version", &mut cx.p) else { return };
    if n.text().and_then(|t| t.parse().ok()) != Some(VERSION) {
        let message = format!("{} is not a version of the language this program reads", n.describe());
        cx.p.hint(&n.span, message, format!("write version: {VERSION}"));
    }
}

/// Stands in for an environment that is missing, which is a problem of its own.
fn nowhere() -> Environment {
    Environment {
        name: String::new(),
        class: EnvironmentClass::Local,
        allow: Vec::new(),
        limits: Limits::default(),
        services: Vec::new(),
        targets: BTreeMap::new(),
        proxies: Vec::new(),
    }
}

/// A key without a value usually counts as not given; a rollout that is meant and not there is too much to pass over.
fn empty_rollout(root: &Node, cx: &mut Cx) {
    let Tree::Map(entries) = &root.tree else { return };
    if let Some((_, span, _)) = entries.iter().find(|(key, _, node)| key == "rollout" && node.tree == Tree::Null) {
        cx.p.hint(span, "`rollout` is empty", "remove the key, or say driver, control, canary and stages");
    }
}

/// Whatever names objectives.
struct Judged {
    objectives: Vec<Objective>,
    guards: Vec<Guard>,
    verdict: VerdictRule,
    preflight: Vec<String>,
}

fn judged(f: &mut Fields, against: &Against, cx: &mut Cx) -> Judged {
    let placed = match f.take("slos") {
        Some(node) => slos::decode(node, against, cx),
        None => {
            let at = f.key_span("slos");
            cx.p.hint(&at, "a scenario without `slos` proves nothing", "add slos: {availability: {indicator: success_rate, min: 99%}}");
            Vec::new()
        }
    };
    let named = f.named("guards", &mut cx.p);
    let guards = guards::decode(&named, &placed, against, cx);
    let verdict = f.take("verdict").map(|n| guards::verdict(n, cx)).unwrap_or_default();
    let preflight = f.take("preflight").map(|n| guards::preflight(n, &placed, against, cx)).unwrap_or_default();
    Judged { objectives: placed.into_iter().map(|(o, _)| o).collect(), guards, verdict, preflight }
}

/// What a scenario says about itself.
struct Head {
    description: String,
    hypothesis: String,
    owner: String,
    labels: BTreeMap<String, String>,
    seed: u64,
    time_box: Option<Span>,
    precision: Precision,
}

fn head(f: &mut Fields, cx: &mut Cx) -> Head {
    let mut text = |key| f.text(key, &mut cx.p).unwrap_or_default();
    let (description, hypothesis, owner) = (text("description"), text("hypothesis"), text("owner"));
    let mut labels = BTreeMap::new();
    if let Some(node) = f.take("labels") {
        for (key, _, value) in ask::entries(node, "labels", &mut cx.p) {
            labels.insert(key.to_owned(), value.string(key, &mut cx.p).unwrap_or_default());
        }
    }
    let own = f.take("seed").and_then(|n| n.scalar("seed", &mut cx.p, seed));
    let seed = cx.source.seed.or(own).unwrap_or(cx.source.drawn_seed);
    let precision = f.take("precision").map(|n| precision::decode(n, cx)).unwrap_or_default();
    Head { description, hypothesis, owner, labels, seed, time_box: f.positive("time_box", &mut cx.p), precision }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a seed; write a whole number from 0"))
}
