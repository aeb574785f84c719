//! Every shipped scenario is provable in its own length: `plan` says so, and simulated runs of it (the real engine and the
//! real judge in virtual time) promote a good release in at least 99 of 100 seeds and never a bad one. A new file in
//! `scenarios/` is held to the same. Simulates: nothing is started and nothing is sent.

#[path = "provable/releases.rs"]
mod releases;
#[path = "sim/virtual_time.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod virtual_time;
#[path = "provable/world.rs"]
mod world;

use releases::Releases;
use shakedown_core::decision::{Decision, Exit};
use shakedown_core::plan::Model;
use shakedown_core::seams::Kind;
use shakedown_core::{Plan, Span};
use shakedown_judge::{Assumptions, Judge, provable};
use shakedown_load::seeds::Seed;
use shakedown_load::{Forecast, forecast};
use shakedown_scenario::{Files, Kinds, Source};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use world::World;

/// Seeds in an ordinary test run; `PROVABLE_SEEDS=n` runs so many.
const SEEDS: u64 = 100;
/// Of a hundred: good releases promoted.
const PROMOTED: usize = 99;
/// Of a hundred: bad releases whose harm is proven, so that the run says roll back instead of not knowing.
const CAUGHT: usize = 90;

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

/// A shipped scenario.
struct Shipped {
    name: String,
    plan: Arc<Plan>,
    forecasts: Vec<Forecast>,
}

fn shipped() -> Vec<Shipped> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(dir).expect("the scenarios are there").map(|entry| entry.expect("a file").path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Shipped {
    let later: [shakedown_core::seams::LaterKind; 0] = [];
    let signals: Vec<&dyn Kind> = later.iter().map(|k| k as &dyn Kind).collect();
    let flaws: Vec<&str> = shakedown_pilot::FLAWS.iter().map(|(name, _)| *name).collect();
    let kinds = Kinds {
        injectors: shakedown_injectors::KINDS,
        drivers: shakedown_rollout::KINDS,
        signals: &signals,
        reporters: shakedown_report::KINDS,
        shop_flaws: &flaws,
    };
    let text = std::fs::read_to_string(path).expect("a scenario can be read");
    let source = Source {
        path,
        text: &text,
        set: &BTreeMap::new(),
        env: &|_| None,
        files: &Disk,
        seed: None,
        drawn_seed: 1,
        confirm: None,
        kinds: &kinds,
    };
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let plan = Arc::new(shakedown_scenario::check(&source).unwrap_or_else(|problems| panic!("{name}: {problems:?}")).plan);
    let mut resolved = Plan::clone(&plan);
    shakedown_scenario::resolve(&mut resolved, path.parent().expect("a directory"));
    let forecasts = forecast(&resolved).unwrap_or_else(|why| panic!("{name}: {why}"));
    Shipped { name, plan, forecasts }
}

impl Shipped {
    /// The decisions of every seed, on every processor.
    fn decisions(&self, releases: Releases) -> Vec<Decision> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = |first: usize| {
            let seeds = (first as u64..seeds()).step_by(threads);
            seeds.map(|seed| self.decision(releases, seed)).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || share(first))).collect();
            running.into_iter().flat_map(|thread| thread.join().expect("a simulated run does not panic")).collect()
        })
    }

    fn decision(&self, releases: Releases, seed: u64) -> Decision {
        // Scenarios with the same traffic are still independent.
        let own = Seed::of(seed).and(&self.name).bits();
        let world = World::new(&self.plan, &self.forecasts, releases, own);
        let run = virtual_time::run(&self.plan, world, Box::new(Judge::new(self.plan.clone())), Vec::new());
        assert!(run.ended && run.running == 0, "{} seed {seed}: the run did not end", self.name);
        run.decision
    }
}

fn seeds() -> u64 {
    std::env::var("PROVABLE_SEEDS").map_or(SEEDS, |text| text.parse().expect("a whole number"))
}

/// How often each exit, and the headlines of those that are not `wanted`.
fn table(what: &str, decisions: &[Decision], wanted: Exit) -> String {
    let mut exits: BTreeMap<Exit, usize> = BTreeMap::new();
    decisions.iter().for_each(|d| *exits.entry(d.exit).or_default() += 1);
    let counts: Vec<String> = exits.iter().map(|(exit, n)| format!("{exit:?} {n}")).collect();
    let mut stages: BTreeMap<&str, usize> = BTreeMap::new();
    let harmed = decisions.iter().flat_map(|d| &d.stages).filter(|stage| stage.end == "harm");
    harmed.for_each(|stage| *stages.entry(&stage.name).or_default() += 1);
    let stages: Vec<String> = stages.iter().map(|(stage, n)| format!("; harm in {stage} {n}")).collect();
    let mut text = format!("{what}: {}{}", counts.join(", "), stages.concat());
    for other in decisions.iter().filter(|d| d.exit != wanted).take(5) {
        text += &format!("\n    {:?}: {} ({})", other.exit, other.headline, other.reasons.first().map_or("", |r| r.text.as_str()));
    }
    text
}

fn count(decisions: &[Decision], exit: Exit) -> usize {
    decisions.iter().filter(|d| d.exit == exit).count()
}

#[test]
fn a_good_release_is_promoted() {
    for s in shipped() {
        let decisions = s.decisions(Releases::good());
        let text = table(&format!("{}, good", s.name), &decisions, Exit::Promote);
        println!("{text}");
        assert!(count(&decisions, Exit::Promote) * 100 >= PROMOTED * decisions.len(), "{text}");
    }
}

/// Promoted with or without conditions.
fn promoted(decisions: &[Decision]) -> usize {
    count(decisions, Exit::Promote) + count(decisions, Exit::Conditions)
}

#[test]
fn a_bad_release_is_never_promoted_and_its_harm_is_proven() {
    for s in shipped() {
        let releases = Releases::bad(&s.plan);
        let decisions = s.decisions(releases);
        let text = table(&format!("{}, bad", s.name), &decisions, releases.ends());
        println!("{text}");
        assert_eq!(promoted(&decisions), 0, "{text}");
        assert!(count(&decisions, releases.ends()) * 100 >= CAUGHT * decisions.len(), "{text}");
    }
}

/// Each flaw by itself is weaker evidence: it may end undecided, but never in a promotion.
#[test]
fn no_flaw_alone_is_promoted() {
    for s in shipped() {
        for (what, releases) in Releases::bad(&s.plan).apart() {
            let decisions = s.decisions(releases);
            let text = table(&format!("{}, {what}", s.name), &decisions, releases.ends());
            println!("{text}");
            assert_eq!(promoted(&decisions), 0, "{text}");
        }
    }
}

/// What `shakedown plan` shows.
#[test]
fn plan_says_that_every_objective_is_provable() {
    for s in shipped() {
        let mean = |f: &Forecast| if f.length == Span::ZERO { 0.0 } else { f.requests / f.length.seconds() };
        let rates = s.forecasts.iter().map(|f| (f.stream.clone(), mean(f))).collect();
        let replays = s.plan.streams.iter().zip(&s.forecasts).filter(|(stream, _)| matches!(stream.model, Model::Replay(_)));
        let replayed = replays.map(|(_, f)| f.length).max().unwrap_or_default();
        let all = provable(&s.plan, &rates, &Assumptions { replayed, ..Assumptions::default() });
        assert_eq!(all.len(), s.plan.objectives.len(), "{}", s.name);
        for p in &all {
            println!("{}: {}", s.name, p.text);
            assert!(p.provable, "{}: {}", s.name, p.text);
        }
        for stage in s.plan.rollout.iter().flat_map(|r| &r.stages) {
            for gate in &stage.gate {
                let enough = all.iter().any(|p| p.objective == *gate && p.gates.contains(&stage.name));
                assert!(enough, "{}: stage {} has too few samples for its gate {gate}", s.name, stage.name);
            }
        }
    }
}
