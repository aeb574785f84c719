//! What a plan can prove in its own length, worked out beforehand: the judge's own tests on the counts to be expected when
//! nothing is wrong. Must not be used as evidence.

use crate::evidence::{Evidence, SINGLE, Unit};
use crate::indicators::Tally;
use crate::slices::UNIT;
use crate::spec::{Against, Measure, Spec};
use crate::track::Track;
use shakedown_core::plan::{ArmChoice, Indicator, Model, Objective, Plan, Stream, WindowRef};
use shakedown_core::{Ppm, Span};
use std::collections::BTreeMap;

/// Points of the assumed latency distribution.
const POINTS: u32 = 400;

/// What is assumed of a release that is fine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumptions {
    /// Share of requests that fail in both arms.
    pub error_rate: f64,
    /// Median latency, ns.
    pub median: f64,
    /// Spread of the logarithm of latencies.
    pub sigma: f64,
    /// Share of requests a fault slows beyond every limit.
    pub slowed: f64,
    /// How long a replay lasts: the plan does not know, `load`'s forecast does.
    pub replayed: Span,
}

impl Default for Assumptions {
    fn default() -> Assumptions {
        Assumptions { error_rate: 0.0, median: 2.5e6, sigma: 0.5, slowed: 0.01, replayed: Span::ZERO }
    }
}

/// Whether an objective's verdict can be proven in the scenario's own length.
#[derive(Clone, Debug, PartialEq)]
pub struct Provable {
    /// Objective.
    pub objective: String,
    /// The expected evidence reaches the proof; facts need none.
    pub provable: bool,
    /// Stages whose gate it is expected to have enough samples for.
    pub gates: Vec<String>,
    /// Expected samples: judged arm, reference.
    pub expected_samples: [f64; 2],
    /// In words.
    pub text: String,
}

/// For every objective: the evidence to be expected from `rates` (mean requests a second per stream during the stages).
#[must_use]
pub fn provable(plan: &Plan, rates: &BTreeMap<String, f64>, assumptions: &Assumptions) -> Vec<Provable> {
    plan.objectives.iter().map(|o| one(plan, o, rates, assumptions)).collect()
}

fn one(plan: &Plan, o: &Objective, rates: &BTreeMap<String, f64>, assumed: &Assumptions) -> Provable {
    let track = Track::new(plan, o, plan.objectives.len());
    let limit = crate::words::limit(o);
    if !track.tested() {
        let text = format!("{} {limit}: a fact of the run, needs no proof", o.name);
        return Provable {
            objective: o.name.clone(),
            provable: track.spec.against != Against::Elsewhere,
            gates: Vec::new(),
            expected_samples: [0.0; 2],
            text,
        };
    }
    let rate: f64 = track
        .selector
        .streams()
        .iter()
        .map(|s| &plan.streams[usize::from(*s)])
        .map(|s| rates.get(&s.name).copied().unwrap_or(0.0) * part(s, o))
        .sum();
    let mut evidence = Evidence::default();
    let mut samples = [0.0; 2];
    let mut reached = None;
    for (index, name, weight, seconds) in stretches(plan, o, &track.spec, assumed.replayed) {
        let key = if index == usize::MAX || matches!(track.spec.against, Against::Before(..)) { SINGLE } else { (index, weight.0) };
        let share = match o.arm {
            ArmChoice::All => 1.0,
            ArmChoice::Canary => weight.fraction(),
            ArmChoice::Control => 1.0 - weight.fraction(),
        };
        let (judged, control) = (rate * share, if o.arm == ArmChoice::Canary { rate - rate * share } else { 0.0 });
        let baseline = expected(&track, rate * plan.rollout.as_ref().map_or(0.0, |r| r.baseline.seconds()), assumed, 0);
        for second in 0..seconds {
            let pass = expected(&track, judged, assumed, second);
            let unit = Unit { key, harm: pass.clone(), pass, reference: expected(&track, control, assumed, second) };
            evidence.push(&track.spec, &track.selector, unit, track.planned, &baseline, None);
            samples = [samples[0] + judged, samples[1] + control];
        }
        if reached.is_none() && evidence.proven(&track.spec, &track.selector) {
            reached = Some(name);
        }
    }
    let proven = evidence.proven(&track.spec, &track.selector);
    let percent = (evidence.progress(&track.spec) * 100.0).floor();
    let text = match reached.filter(|_| proven) {
        Some(stage) => format!("{} {limit}: expected to be proven by the end of {stage}", o.name),
        None => format!("{} {limit}: expected {percent:.0} of 100 % of the proof by the end; hold longer or raise the rate", o.name),
    };
    Provable { objective: o.name.clone(), provable: proven, gates: gates(plan, o, &track.spec, rate), expected_samples: samples, text }
}

/// The share of a stream's requests the objective judges: its journey's share of the weights.
fn part(stream: &shakedown_core::plan::Stream, o: &Objective) -> f64 {
    let all: u32 = stream.journeys.iter().map(|j| j.weight).sum();
    match &o.journey {
        Some(name) if all > 0 => {
            f64::from(stream.journeys.iter().filter(|j| &j.name == name).map(|j| j.weight).sum::<u32>()) / f64::from(all)
        }
        _ => 1.0,
    }
}

/// Stage index, its name, weight and whole seconds that will count; without a rollout the traffic after warm-up.
fn stretches(plan: &Plan, o: &Objective, spec: &Spec, replayed: Span) -> Vec<(usize, String, Ppm, u64)> {
    // A stage begins within a second: one is lost at its edges.
    let seconds = |span: Span| (span.0 / UNIT.0).saturating_sub(1);
    let Some(rollout) = &plan.rollout else {
        let of = |s| if matches!(s, &Stream { model: Model::Replay(_), .. }) { replayed } else { Plan::stream_length(s) };
        let length = plan.streams.iter().map(of).max().unwrap_or_default();
        return vec![(usize::MAX, "the traffic".to_owned(), Ppm::ONE, seconds(Span(length.0.saturating_sub(plan.longest_warmup().0))))];
    };
    let counts = |s: &shakedown_core::plan::Stage| match (&o.window, spec.concurrent()) {
        (WindowRef::Stage(name), _) if name != &s.name => false,
        (_, true) => s.weight > Ppm::ZERO && s.weight < Ppm::ONE,
        _ => o.arm != ArmChoice::Canary || s.weight > Ppm::ZERO,
    };
    let stages = rollout.stages.iter().enumerate().filter(|(_, s)| counts(s));
    stages.map(|(i, s)| (i, format!("stage {}", s.name), s.weight, seconds(s.hold))).collect()
}

fn gates(plan: &Plan, o: &Objective, spec: &Spec, rate: f64) -> Vec<String> {
    let Some(rollout) = &plan.rollout else { return Vec::new() };
    let enough = |s: &&shakedown_core::plan::Stage| {
        let wait = plan.longest_timeout().seconds() + 1.0;
        let seconds = (s.hold.plus(s.extend).seconds() - wait).max(0.0);
        let share = if o.arm == ArmChoice::Canary { s.weight.fraction() } else { 1.0 };
        let comparable = !spec.concurrent() || s.weight < Ppm::ONE && s.weight > Ppm::ZERO;
        comparable && rate * share * seconds >= s.min_samples.unwrap_or(spec.least) as f64
    };
    rollout.stages.iter().filter(enough).map(|s| s.name.clone()).collect()
}

/// Counts to be expected in one second of a fine release.
fn expected(track: &Track, requests: f64, assumed: &Assumptions, second: u64) -> Tally {
    let (n, done) = (requests.max(0.0), (second as f64 * requests.max(0.0)));
    // Whole requests whose sum keeps to the rate.
    let total = (libm::floor(done + n) - libm::floor(done)) as u64;
    let bad = (libm::floor((done + n) * assumed.error_rate) - libm::floor(done * assumed.error_rate)) as u64;
    let mut tally = Tally { total, seconds: 1, ..Tally::default() };
    match track.spec.measure {
        Measure::Quantile(_) => latencies(&mut tally, total, second, assumed),
        _ => {
            let success = matches!(track.objective.indicator, Indicator::SuccessRate | Indicator::JourneySuccess) || track.spec.min;
            tally.count = if success { total - bad.min(total) } else { bad };
        }
    }
    tally
}

/// Evenly spread quantiles of the assumed distribution, shifted each second so that together they fill it.
fn latencies(tally: &mut Tally, total: u64, second: u64, assumed: &Assumptions) {
    for i in 0..total {
        let shifted = i as f64 + 0.5 + (second % 7) as f64 / 7.0 - 0.43;
        let u = ((shifted / total as f64).clamp(1e-6, 1.0 - 1e-6) * f64::from(POINTS)).max(0.5) / f64::from(POINTS);
        let slow = u > 1.0 - assumed.slowed;
        let ns = if slow {
            assumed.median * 200.0
        } else {
            assumed.median * libm::exp(assumed.sigma * normal_quantile(u / (1.0 - assumed.slowed).max(0.5)))
        };
        tally.hist.record(ns as u64);
    }
}

/// Inverse of the standard normal distribution (Abramowitz and Stegun 26.2.23; error below 4.5e-4).
fn normal_quantile(u: f64) -> f64 {
    let p = u.min(1.0 - u).clamp(1e-9, 0.5);
    let t = libm::sqrt(-2.0 * libm::log(p));
    let z = t - (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    if u < 0.5 { -z } else { z }
}
