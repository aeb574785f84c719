//! One objective followed through the run: its test, where it looks, its evidence by group. Must not decide the verdict.

use crate::attribution::Views;
use crate::evidence::{Evidence, SINGLE, StratumKey, Unit};
use crate::indicators::{Selector, Tally, arm};
use crate::slices::{Cells, UNIT};
use crate::spec::{Against, Measure, Spec};
use crate::timeline::Timeline;
use crate::windows;
use shakedown_core::plan::{Indicator, Objective, Plan, WindowRef};
use shakedown_core::{Arm, Offset, Ppm};
use std::collections::{BTreeMap, VecDeque};

/// An objective and what is known about it.
#[derive(Debug)]
pub struct Track {
    /// The objective.
    pub objective: Objective,
    /// How it is tested.
    pub spec: Spec,
    /// Where it looks (for budget and burn: where the objective it is about looks).
    pub selector: Selector,
    /// Whose attempts.
    pub arm: Arm,
    /// Stages that can judge it.
    pub planned: usize,
    /// Names of the plan's stages, for words.
    pub stages: Vec<String>,
    /// Evidence by group; one under the empty name without grouping.
    pub groups: BTreeMap<String, Evidence>,
    /// The reference's baseline by group (control attempts, or everybody's for `all`).
    pub baseline: BTreeMap<String, Tally>,
    /// Everybody's baseline.
    pub baseline_all: Tally,
    /// Burn: rates of recent units.
    pub burn: Option<Burn>,
}

/// Burn rates over long and short windows.
#[derive(Debug)]
pub struct Burn {
    /// Long and short in seconds, most.
    windows: Vec<(u64, u64, f64)>,
    /// Sums up to each unit: seconds, bad, all.
    sums: VecDeque<(u64, u64, u64)>,
    /// Highest burn in both windows, against its factor.
    pub worst: Option<(f64, f64)>,
}

/// A closed unit, as every track sees it.
pub struct Closed<'a> {
    /// Begin and end.
    pub range: (Offset, Offset),
    /// Counts.
    pub views: &'a Views,
    /// Stage and weight, when wholly within one.
    pub stage: Option<(usize, Ppm)>,
    /// It belongs to the baseline.
    pub baseline: bool,
}

impl Track {
    /// For an objective of a plan.
    #[must_use]
    pub fn new(plan: &Plan, o: &Objective, rivals: usize) -> Track {
        // Budget and burn are about another objective: they look where it looks.
        let about = match &o.indicator {
            Indicator::BurnRate { of, .. } | Indicator::ErrorBudget { of } => plan.objective(of),
            _ => None,
        };
        let looks = about.unwrap_or(o);
        let spec = Spec::of(looks, rivals);
        let burn = match &o.indicator {
            Indicator::BurnRate { windows, .. } => {
                let units = |s: &shakedown_core::Span| s.0.div_ceil(UNIT.0).max(1);
                let windows = windows.iter().map(|(l, s, f)| (units(l), units(s), *f as f64 / 1000.0)).collect();
                Some(Burn { windows, sums: VecDeque::from([(0, 0, 0)]), worst: None })
            }
            _ => None,
        };
        Track {
            selector: Selector::of(plan, looks),
            // Retries and journeys belong to logical requests: an arm answers attempts only.
            arm: match looks.indicator {
                Indicator::RetryRate | Indicator::JourneySuccess | Indicator::JourneyDuration(_) => Arm::All,
                _ => arm(looks.arm),
            },
            planned: planned(plan, o, &spec),
            stages: plan.rollout.iter().flat_map(|r| &r.stages).map(|s| s.name.clone()).collect(),
            spec,
            objective: o.clone(),
            groups: BTreeMap::new(),
            baseline: BTreeMap::new(),
            baseline_all: Tally::default(),
            burn,
        }
    }

    /// Its value is a fact of the run, not of requests.
    #[must_use]
    pub fn derived(&self) -> bool {
        use Indicator::{AchievedRate, BurnRate, ErrorBudget, TimeToRecover, TimeToRestore};
        matches!(self.objective.indicator, TimeToRecover { .. } | TimeToRestore | BurnRate { .. } | ErrorBudget { .. } | AchievedRate)
    }

    /// Takes a closed unit in.
    pub fn close(&mut self, plan: &Plan, line: &Timeline, unit: &Closed<'_>) {
        let (from, to) = unit.range;
        let seconds = (to.since(from).0 / UNIT.0).max(1);
        let window = &self.objective.window;
        let admits = |s: u16| windows::counts_warmup(window) || windows::warm(line, &plan.streams[usize::from(s)], from);
        if unit.baseline {
            let of = if self.arm == Arm::All { Arm::All } else { Arm::Control };
            merge(&mut self.baseline, self.selector.tally(&unit.views.harm, of, &admits));
            for (_, t) in self.selector.tally(&unit.views.harm, Arm::All, &admits) {
                self.baseline_all.merge(&t);
            }
        }
        if !windows::holds(plan, line, window, from, to) {
            return;
        }
        let Some(key) = self.key(unit.stage) else { return };
        let mut pass = self.selector.tally(&unit.views.pass, self.arm, &admits);
        let harm = self.selector.tally(&unit.views.harm, self.arm, &admits);
        if self.arm == Arm::Control {
            merge(&mut pass, self.selector.tally(&unit.views.pass, Arm::Unknown, &admits));
        }
        let control = self.selector.tally(&unit.views.harm, Arm::Control, &admits);
        if let Some(burn) = &mut self.burn {
            let t = harm.get("").cloned().unwrap_or_default();
            burn.push(seconds, (crate::limits::adverse(&self.spec, &t), t.total), self.spec.allowed().unwrap_or(0.0));
        }
        let every = self.objective.every.map(|e| e.0.div_ceil(UNIT.0));
        let cold = self.objective.indicator == Indicator::ColdStart;
        for (group, mut pass) in pass {
            let evidence = self.groups.entry(group.clone()).or_default();
            if cold && evidence.whole.pass.total > 0 {
                continue;
            }
            let mut harm = harm.get(&group).cloned().unwrap_or_default();
            (pass.seconds, harm.seconds) = (seconds, seconds);
            let of_control = if self.arm == Arm::Canary { control.get(&group).cloned().unwrap_or_default() } else { Tally::default() };
            let none = Tally::default();
            let baseline = self.baseline.get(&group).unwrap_or(&none);
            evidence.push(&self.spec, &self.selector, Unit { key, pass, harm, reference: of_control }, self.planned, baseline, every);
        }
    }

    /// The stratum a unit belongs to; `None` when it cannot be judged in it.
    fn key(&self, stage: Option<(usize, Ppm)>) -> Option<StratumKey> {
        let key = stage.map(|(index, weight)| (index, weight.0));
        match (&self.spec.against, self.arm) {
            (Against::Control(..), _) => key.filter(|k| k.1 > 0 && k.1 < Ppm::ONE.0),
            (Against::Before(..), Arm::Canary) => key.filter(|k| k.1 > 0).map(|_| SINGLE),
            (Against::Before(..), _) => Some(SINGLE),
            (_, Arm::Canary) => key.filter(|k| k.1 > 0),
            _ => Some(key.unwrap_or(SINGLE)),
        }
    }

    /// Does the objective hold by point estimate on these counts of one arm? `None` without samples.
    #[must_use]
    pub fn holds_on(&self, cells: &Cells, of: Arm, everybody: &dyn Fn(u16) -> bool) -> Option<(bool, f64, f64)> {
        let control = self.selector.tally(cells, Arm::Control, everybody);
        let mut worst: Option<(bool, f64, f64)> = None;
        for (group, tally) in self.selector.tally(cells, of, everybody) {
            let Some(value) = self.selector.value(&Tally { seconds: tally.seconds.max(1), ..tally }) else { continue };
            let baseline = if of == Arm::All { Some(&self.baseline_all) } else { self.baseline.get(&group) };
            let reference = match self.spec.against {
                Against::Control(..) if of == Arm::Canary => control.get(&group).and_then(|t| self.selector.value(t)),
                _ => baseline.and_then(|t| self.selector.value(t)),
            };
            // Without a reference nothing shows that it holds.
            let Some(limit) = self.spec.limit(reference) else { return Some((false, value, f64::NAN)) };
            let ok = self.spec.meets(value, limit);
            if worst.is_none_or(|w| w.0 && !ok) {
                worst = Some((ok, value, limit));
            }
        }
        worst
    }

    /// The group that decides: harmed, else furthest from its proof.
    #[must_use]
    pub fn worst(&self) -> Option<(&String, &Evidence)> {
        let rank = |e: &Evidence| (e.harm.is_none(), e.proven(&self.spec, &self.selector), e.progress(&self.spec));
        self.groups.iter().min_by(|a, b| {
            let (x, y) = (rank(a.1), rank(b.1));
            (x.0, x.1).cmp(&(y.0, y.1)).then(x.2.total_cmp(&y.2))
        })
    }

    /// Its limit can be tested with requests.
    #[must_use]
    pub fn tested(&self) -> bool {
        !self.derived() && self.spec.measure != Measure::Plain && self.spec.against != Against::Elsewhere
    }
}

impl Burn {
    fn push(&mut self, seconds: u64, unit: (u64, u64), allowed: f64) {
        let longest = self.windows.iter().map(|w| w.0).max().unwrap_or(1);
        let last = self.sums.back().copied().unwrap_or_default();
        let now = (last.0 + seconds, last.1 + unit.0, last.2 + unit.1);
        self.sums.push_back(now);
        // The newest sum that is a whole long window back is the oldest needed.
        while self.sums.get(1).is_some_and(|s| now.0 - s.0 >= longest) {
            self.sums.pop_front();
        }
        let burn = |length: u64| {
            let whole = self.sums.partition_point(|s| now.0 - s.0 >= length).saturating_sub(1);
            let then = self.sums[whole];
            let (bad, all) = (now.1 - then.1, now.2 - then.2);
            if all == 0 || allowed <= 0.0 { 0.0 } else { bad as f64 / all as f64 / allowed }
        };
        for (long, short, factor) in &self.windows {
            if now.0 - self.sums[0].0 >= *long {
                let both = burn(*long).min(burn(*short));
                if self.worst.is_none_or(|w| both / factor > w.0 / w.1) {
                    self.worst = Some((both, *factor));
                }
            }
        }
    }
}

fn merge(into: &mut BTreeMap<String, Tally>, from: BTreeMap<String, Tally>) {
    for (group, tally) in from {
        into.entry(group).or_default().merge(&tally);
    }
}

/// Stages (or the one window) in which the objective can be judged.
fn planned(plan: &Plan, o: &Objective, spec: &Spec) -> usize {
    let Some(rollout) = &plan.rollout else { return 1 };
    if matches!(o.window, WindowRef::Stage(_)) || matches!(spec.against, Against::Before(..)) {
        return 1;
    }
    let judged = |s: &&shakedown_core::plan::Stage| s.weight > Ppm::ZERO && (!spec.concurrent() || s.weight < Ppm::ONE);
    rollout.stages.iter().filter(judged).count().max(1)
}
