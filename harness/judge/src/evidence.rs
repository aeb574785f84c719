//! The evidence of one objective (of one group of it): counts by stratum, paired units, log e-values, latched harm.
//! A stratum is a stage at one weight; strata are never pooled in a comparison. Must not know facts or the clock.

use crate::indicators::{Selector, Tally};
use crate::limits::{adverse, fixed, meets};
use crate::spec::{Against, Measure, Spec};
use crate::stats::bernoulli::{self, Side};
use crate::stats::eprocess::{BETTER, RiskRatio, WORSE};
use crate::stats::quantile::{Margin, log_e_margin};
use crate::stats::rate_pair::{self, Count, Line};
use crate::stats::special::ln_add;
use crate::stats::{betting::Betting, blocks, combine, sign};
use std::collections::BTreeMap;

/// A stage whose own evidence of harm reaches this (ln E) stands against a pass of the whole.
const VETO: f64 = 1.0;

/// A stage and its weight; (`usize::MAX`, 0) where stages do not matter.
pub type StratumKey = (usize, u32);
/// The one stratum of objectives that compare nothing concurrent.
pub const SINGLE: StratumKey = (usize::MAX, 0);

/// Counts of one stratum, and what they prove.
#[derive(Clone, Debug, Default)]
pub struct Stratum {
    /// Judged arm, unidentified failures included.
    pub pass: Tally,
    /// Judged arm, with only their excess.
    pub harm: Tally,
    /// Control in the same units, or the baseline.
    pub reference: Tally,
    /// ln E for a pass and for harm.
    pub logs: (f64, f64),
}

/// A concurrent pair of units.
#[derive(Clone, Copy, Debug)]
struct Pair {
    stratum: StratumKey,
    canary_pass: (u64, u64),
    canary: (u64, u64),
    control: (u64, u64),
}

impl Pair {
    fn add(&mut self, other: &Pair) {
        let both = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
        self.canary_pass = both(self.canary_pass, other.canary_pass);
        self.canary = both(self.canary, other.canary);
        self.control = both(self.control, other.control);
    }
}

/// Harm, when it was proven first.
#[derive(Clone, Debug, PartialEq)]
pub struct Harm {
    /// Stratum in which it was proven.
    pub stratum: StratumKey,
    /// Judged arm's value then.
    pub value: Option<f64>,
    /// Reference's value then.
    pub reference: Option<f64>,
    /// The control broke a fixed limit as well.
    pub both: bool,
}

/// Evidence of one objective.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// By stage and weight.
    pub strata: BTreeMap<StratumKey, Stratum>,
    /// Everything, for point estimates and fixed limits.
    pub whole: Stratum,
    pairs: Vec<Pair>,
    /// First proof of harm.
    pub harm: Option<Harm>,
    /// One engine alone sees harm: a warning.
    pub warning: bool,
    /// Tumbling windows of `every`.
    pub every: Every,
    /// Whole units per block.
    pub block: u32,
}

/// Tumbling windows within the window.
#[derive(Clone, Debug, Default)]
pub struct Every {
    now: Stratum,
    seconds: u64,
    /// Windows that missed by point estimate: value and limit of the first.
    pub missed: Option<(f64, f64)>,
    /// A window is proven to have missed.
    pub proven: bool,
    /// Whole windows seen.
    pub windows: u64,
}

/// One unit's counts for an objective.
pub struct Unit {
    /// Stage and weight.
    pub key: StratumKey,
    /// Judged arm for a pass.
    pub pass: Tally,
    /// Judged arm for harm.
    pub harm: Tally,
    /// Control in the same unit (nothing for `all`).
    pub reference: Tally,
}

impl Evidence {
    /// Adds a closed unit and looks for harm. `planned`: stages that can judge it; `baseline`: the reference's baseline.
    pub fn push(&mut self, spec: &Spec, selector: &Selector, unit: Unit, planned: usize, baseline: &Tally, every: Option<u64>) {
        let before = matches!(spec.against, Against::Before(..));
        if spec.concurrent() {
            self.pair(spec, &unit, baseline);
        }
        let stratum = self.strata.entry(unit.key).or_default();
        let window = every.map(|_| &mut self.every.now);
        for s in [&mut *stratum, &mut self.whole].into_iter().chain(window) {
            s.pass.merge(&unit.pass);
            s.harm.merge(&unit.harm);
            if before {
                // It only grows, and mostly does not.
                if s.reference.total != baseline.total {
                    s.reference.clone_from(baseline);
                }
            } else {
                s.reference.merge(&unit.reference);
            }
        }
        self.update(spec, unit.key, planned);
        if self.harm.is_none() && self.proves_harm(spec, selector) {
            let both = matches!(spec.against, Against::Fixed(_)) && fixed(spec, &self.whole.reference, false) >= spec.bar();
            let at = self.strata.get(&unit.key).filter(|s| spec.concurrent() && s.harm.total > 0).unwrap_or(&self.whole);
            let (value, reference) = (selector.value(&at.harm), selector.value(&at.reference));
            self.harm = Some(Harm { stratum: unit.key, value, reference, both });
        }
        self.every.seconds += unit.pass.seconds.max(1);
        if every.is_some_and(|length| self.every.seconds >= length) {
            self.every.close(spec, selector);
        }
    }

    fn update(&mut self, spec: &Spec, key: StratumKey, planned: usize) {
        if spec.measure == Measure::Plain || spec.against == Against::Elsewhere {
            return;
        }
        let logs = if spec.line().is_some() {
            (self.stratum_log(spec, key, spec.line_terms(), true), self.stratum_log(spec, key, spec.line_terms(), false))
        } else {
            let s = &self.strata[&key];
            (fixed(spec, &s.pass, true), fixed(spec, &s.harm, false))
        };
        if let Some(s) = self.strata.get_mut(&key) {
            s.logs = logs;
        }
        let harms: Vec<f64> = self.strata.values().map(|s| s.logs.1).collect();
        let passes: Vec<f64> = self.strata.values().map(|s| s.logs.0).collect();
        self.whole.logs = if spec.line().is_some() {
            self.with_floor(spec, combine::over_stages(&passes, planned), combine::over_stages(&harms, planned))
        } else {
            (fixed(spec, &self.whole.pass, true), combine::pooled_or_stage(fixed(spec, &self.whole.harm, false), &harms, planned))
        };
    }

    /// The limit is the larger of ratio and floor: a pass needs one of them (their mean is an e-value), harm both.
    fn with_floor(&self, spec: &Spec, pass: f64, harm: f64) -> (f64, f64) {
        let Some(floor) = spec.floor else { return (pass, harm) };
        let at = Spec { against: Against::Fixed(floor), ..spec.clone() };
        let under = fixed(&at, &self.whole.pass, true);
        (ln_add(pass, under) - libm::log(2.0), harm.min(fixed(&at, &self.whole.harm, false)))
    }

    /// ln E of one stratum against the limit factor × reference + plus.
    fn stratum_log(&self, spec: &Spec, key: StratumKey, terms: (f64, f64), passes: bool) -> f64 {
        let Some(s) = self.strata.get(&key) else { return 0.0 };
        let judged = if passes { &s.pass } else { &s.harm };
        let (factor, plus) = terms;
        match spec.measure {
            Measure::Quantile(q) => {
                let margin = Margin { factor, plus };
                log_e_margin(&judged.hist, &s.reference.hist, q, margin, passes != spec.min, spec.t_opt)
            }
            Measure::Rate if spec.ratio && !spec.min && spec.concurrent() && factor > 0.0 => {
                let mut e = RiskRatio::around(factor, if passes { &BETTER } else { &WORSE });
                for p in self.pairs.iter().filter(|p| p.stratum == key) {
                    let (c, n) = if passes { p.canary_pass } else { p.canary };
                    if n > 0 && p.control.1 > 0 {
                        e.push(n as f64 / (n + p.control.1) as f64, c as f64, p.control.0 as f64);
                    }
                }
                e.log_e()
            }
            Measure::Rate => {
                let count = |t: &Tally| Count { k: adverse(spec, t) as f64, n: t.total as f64 };
                rate_pair::log_e(count(judged), count(&s.reference), Line { factor, plus }, passes, spec.t_opt)
            }
            Measure::Plain => 0.0,
        }
    }

    /// Keeps the unit's counts for paired tests: events, or values above the control's quantile of earlier units.
    fn pair(&mut self, spec: &Spec, unit: &Unit, baseline: &Tally) {
        let count = |t: &Tally| (adverse(spec, t), t.total);
        let pair = match (spec.measure, spec.margin()) {
            (Measure::Quantile(q), Some(m)) => {
                let past = self.strata.get(&unit.key).map(|s| &s.reference.hist).filter(|h| !h.is_empty());
                let past = past.or(Some(&self.whole.reference.hist).filter(|h| !h.is_empty())).unwrap_or(&baseline.hist);
                let Some(quantile) = past.quantile(q) else { return };
                let line = (m.factor * quantile as f64 + m.plus).max(0.0) as u64;
                let above = |t: &Tally, x: u64| (t.total.saturating_sub(t.hist.count_at_most(x)), t.total);
                let (pass, harm) = (above(&unit.pass, line), above(&unit.harm, line));
                Pair { stratum: unit.key, canary_pass: pass, canary: harm, control: above(&unit.reference, quantile) }
            }
            _ => Pair { stratum: unit.key, canary_pass: count(&unit.pass), canary: count(&unit.harm), control: count(&unit.reference) },
        };
        if pair.canary.1 > 0 && pair.control.1 > 0 {
            self.pairs.push(pair);
            self.coarsen();
        }
    }

    /// Neighbours of one stratum become one pair once there are too many.
    fn coarsen(&mut self) {
        if self.pairs.len() < crate::judge::LONGEST_SERIES {
            return;
        }
        let mut coarse: Vec<Pair> = Vec::with_capacity(self.pairs.len() / 2 + 1);
        let mut open = false;
        for pair in &self.pairs {
            match coarse.last_mut().filter(|last| open && last.stratum == pair.stratum) {
                Some(last) => {
                    last.add(pair);
                    open = false;
                }
                None => {
                    coarse.push(*pair);
                    open = true;
                }
            }
        }
        self.pairs = coarse;
    }

    /// Autocorrelation of the control's share over paired units, and the block length it asks for.
    #[must_use]
    pub fn blocks(&self) -> (Option<f64>, u32) {
        let mut series: BTreeMap<StratumKey, Vec<f64>> = BTreeMap::new();
        for p in &self.pairs {
            series.entry(p.stratum).or_default().push(p.control.0 as f64 / p.control.1 as f64);
        }
        let phi = blocks::autocorrelation(&series.into_values().collect::<Vec<_>>());
        (phi, blocks::block(phi, self.pairs.len()))
    }

    /// ln E of the slice-paired engines: the stronger of sign test and betting.
    fn paired_log(&mut self, spec: &Spec) -> f64 {
        self.block = self.blocks().1.max(1);
        let (mut worse, mut n, mut bet) = (0, 0, Betting::default());
        let mut strata: BTreeMap<StratumKey, Vec<&Pair>> = BTreeMap::new();
        for p in &self.pairs {
            strata.entry(p.stratum).or_default().push(p);
        }
        for block in strata.values().flat_map(|units| units.chunks_exact(self.block as usize)) {
            let share = |of: fn(&Pair) -> (u64, u64)| {
                let (k, n) = block.iter().map(|p| of(p)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
                k as f64 / n.max(1) as f64
            };
            let (canary, control) = (share(|p| p.canary), share(|p| p.control));
            let allowed = match (spec.measure, spec.line()) {
                (Measure::Rate, Some(l)) => (l.factor * control + l.plus).max(spec.floor.unwrap_or(0.0)),
                _ => control,
            };
            // A lower limit on a quantile is broken from the other side.
            let flipped = matches!(spec.measure, Measure::Quantile(_)) && spec.min;
            let difference = if flipped { allowed - canary } else { canary - allowed };
            worse += u32::from(difference > 0.0);
            n += 1;
            bet.push(difference);
        }
        sign::log_e(worse, n).max(bet.log_e())
    }

    fn proves_harm(&mut self, spec: &Spec, selector: &Selector) -> bool {
        let request = self.whole.logs.1 >= spec.harm_bar;
        if !spec.concurrent() {
            return request;
        }
        let paired = self.paired_log(spec) >= spec.bar();
        self.warning = request != paired;
        request && paired && self.strata.values().any(|s| meets(spec, selector, s, false) == Some(false))
    }

    /// A pass is proven: enough evidence, no harm, and no stage whose own evidence speaks against it.
    #[must_use]
    pub fn proven(&self, spec: &Spec, selector: &Selector) -> bool {
        let enough = self.whole.logs.0 >= spec.bar() && self.harm.is_none() && !self.vetoed(spec);
        // Pooled point estimates mean nothing in a comparison: the veto looks at each stage instead.
        enough && (spec.concurrent() || meets(spec, selector, &self.whole, true) == Some(true))
    }

    /// A stage's own evidence speaks against a pass.
    #[must_use]
    pub fn vetoed(&self, spec: &Spec) -> bool {
        self.strata.len() > 1
            && self.strata.values().any(|s| {
                let floored = spec.floor.is_some_and(|f| adverse(spec, &s.harm) as f64 <= f * s.harm.total as f64);
                s.logs.1 >= VETO && !floored
            })
    }

    /// Share of the proof gathered, 0 to 1.
    #[must_use]
    pub fn progress(&self, spec: &Spec) -> f64 {
        (self.whole.logs.0 / spec.bar()).clamp(0.0, 1.0)
    }

    /// Effect over strata, each weighted with its smaller arm.
    #[must_use]
    pub fn effect(&self, spec: &Spec, selector: &Selector) -> Option<f64> {
        let (mut sum, mut weights) = (0.0, 0.0);
        for s in self.strata.values() {
            if let (Some(v), Some(r)) = (selector.value(&s.pass), selector.value(&s.reference))
                && let Some(effect) = spec.effect(v, r)
            {
                let weight = s.pass.total.min(s.reference.total) as f64;
                sum += effect * weight;
                weights += weight;
            }
        }
        (weights > 0.0).then(|| sum / weights)
    }

    /// Interval of the value (fixed limits) or effect (relative ones) at the objective's confidence a side: everything
    /// the same tests do not reject.
    #[must_use]
    pub fn interval(&self, spec: &Spec, planned: usize) -> Option<[f64; 2]> {
        if self.whole.pass.total == 0 {
            return None;
        }
        match (spec.measure, &spec.against) {
            (Measure::Rate, Against::Fixed(_)) => {
                let (h, p) = (&self.whole.harm, &self.whole.pass);
                let low = bernoulli::lower(adverse(spec, h) as f64, h.total as f64, spec.alpha, Side::Above, spec.t_opt);
                let high = bernoulli::upper(adverse(spec, p) as f64, p.total as f64, spec.alpha, Side::Below, spec.t_opt);
                Some(if spec.min { [1.0 - high, 1.0 - low] } else { [low, high] })
            }
            (Measure::Quantile(q), Against::Fixed(_)) => {
                crate::stats::quantile::interval(&self.whole.pass.hist, q, spec.alpha, spec.t_opt).map(|(a, b)| [a as f64, b as f64])
            }
            (_, Against::Control(..) | Against::Before(..)) if spec.measure != Measure::Plain => self.effect_interval(spec, planned),
            _ => None,
        }
    }

    fn effect_interval(&self, spec: &Spec, planned: usize) -> Option<[f64; 2]> {
        if self.whole.reference.total == 0 {
            return None;
        }
        let quantile = matches!(spec.measure, Measure::Quantile(_));
        // Searched on a fixed grid of halvings: ratios from 1/64 to 64, differences over all the unit allows.
        let reach = if quantile { self.whole.pass.hist.quantile(1.0).unwrap_or(0).max(1) as f64 } else { 1.0 };
        let at = |t: f64| if spec.ratio { (libm::exp2(t * 6.0), 0.0) } else { (1.0, t * reach) };
        let proves = |t: f64, passes: bool| {
            let (f, p) = at(t);
            let terms = if quantile || !spec.min { (f, p) } else { (f, 1.0 - f - p) };
            let logs: Vec<f64> = self.strata.keys().map(|k| self.stratum_log(spec, *k, terms, passes)).collect();
            combine::over_stages(&logs, planned) >= spec.bar()
        };
        let edge = |mut yes: f64, mut no: f64, passes: bool| {
            for _ in 0..18 {
                let middle = (yes + no) / 2.0;
                if proves(middle, passes) { yes = middle } else { no = middle }
            }
            let (f, p) = at(no);
            if spec.ratio { f } else { p }
        };
        // "At most" limits are proven from above when passing, from below when harming; "at least" the other way round.
        let (high, low) = if spec.min { (false, true) } else { (true, false) };
        Some([edge(-1.0, 1.0, low), edge(1.0, -1.0, high)])
    }
}

impl Every {
    fn close(&mut self, spec: &Spec, selector: &Selector) {
        self.windows += 1;
        if meets(spec, selector, &self.now, true) == Some(false) {
            let reference = selector.value(&self.now.reference);
            let pair = selector.value(&self.now.pass).zip(spec.limit(reference));
            self.missed = self.missed.or(pair);
            self.proven |= matches!(spec.against, Against::Fixed(_)) && fixed(spec, &self.now.harm, false) >= spec.harm_bar;
        }
        self.now = Stratum::default();
        self.seconds = 0;
    }
}

impl Spec {
    /// Factor and plus in the terms the tests use: adverse events for rates, the value for quantiles.
    fn line_terms(&self) -> (f64, f64) {
        match (self.measure, self.line(), self.margin()) {
            (Measure::Rate, Some(l), _) => (l.factor, l.plus),
            (_, _, Some(m)) => (m.factor, m.plus),
            _ => (1.0, 0.0),
        }
    }
}
