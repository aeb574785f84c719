//! How each objective came out: status, numbers, one sentence. Must not weigh objectives against each other.

use crate::evidence::Evidence;
use crate::indicators::{Tally, unit};
use crate::judge::Judge;
use crate::rollbacks;
use crate::spec::{Against, Measure};
use crate::track::Track;
use crate::words;
use shakedown_core::decision::{ObjectiveResult, Status};
use shakedown_core::plan::{Indicator, LimitValue, Objective, Reference};
use shakedown_core::{Arm, Ppm};

/// The result of one objective.
#[must_use]
pub fn result(judge: &Judge, track: &Track, mandatory: bool) -> ObjectiveResult {
    let o = &track.objective;
    let mut r = ObjectiveResult {
        status: Status::Nodata,
        mandatory,
        value: None,
        reference: None,
        limit: fixed(o),
        limit_text: words::limit(o),
        unit: unit(&o.indicator).to_owned(),
        samples: [0, 0],
        effect: None,
        interval: None,
        proof: None,
        text: String::new(),
        condition: o.condition.as_ref().map(|c| [c.owner.clone(), c.by.clone(), c.ready_when.clone()]),
    };
    match &o.indicator {
        Indicator::TimeToRecover { .. } => recover(judge, o, &mut r),
        Indicator::TimeToRestore => restore(judge, o, &mut r),
        Indicator::BurnRate { .. } => burn(track, &mut r),
        Indicator::ErrorBudget { .. } => budget(track, o, &mut r),
        Indicator::AchievedRate => achieved(judge, o, &mut r),
        _ => measured(track, &mut r),
    }
    if r.status == Status::Nodata && judge.line.turned_back().is_some() {
        r.status = Status::NotReached;
        r.text = format!("{} was not reached: the run turned back before it", o.name);
    }
    r
}

fn fixed(o: &Objective) -> Option<f64> {
    match o.limit.value {
        LimitValue::Fixed(v) => Some(v),
        _ => None,
    }
}

fn measured(track: &Track, r: &mut ObjectiveResult) {
    let (o, spec) = (&track.objective, &track.spec);
    if let LimitValue::Times(_, Reference::Run(dir)) | LimitValue::Plus(_, Reference::Run(dir)) = &o.limit.value {
        r.status = Status::Inconclusive;
        r.text = format!("{} compares with run {dir}, which is not judged here", o.name);
        return;
    }
    let Some((group, e)) = track.worst().filter(|w| w.1.whole.pass.total > 0) else {
        r.text = format!("{} has no samples", o.name);
        return;
    };
    let compared = spec.line().is_some() || track.arm == Arm::Canary;
    r.value = track.selector.value(&e.whole.pass);
    r.reference = if compared { track.selector.value(&e.whole.reference) } else { None };
    r.samples = [e.whole.pass.total, if compared { e.whole.reference.total } else { 0 }];
    r.limit = spec.limit(r.reference);
    if track.tested() {
        r.effect = if spec.line().is_some() { e.effect(spec, &track.selector) } else { None };
        r.interval = e.interval(spec, track.planned);
        r.proof = Some([libm::exp(e.whole.logs.0.min(100.0)), libm::round(1e6 / spec.alpha) / 1e6]);
        r.status = tested_status(track, e);
    } else {
        let meets = r.value.zip(r.limit).map(|(v, l)| spec.meets(v, l));
        r.status = meets.map_or(Status::Inconclusive, |m| if m { Status::Pass } else { Status::Fail });
    }
    if spec.line().is_some() && e.whole.reference.total == 0 {
        r.status = Status::Nodata;
    }
    r.text = sentence(track, group, e, r);
}

fn tested_status(track: &Track, e: &Evidence) -> Status {
    let every = track.objective.every.is_some();
    if e.harm.is_some() || every && e.every.proven {
        Status::Fail
    } else if e.proven(&track.spec, &track.selector) && !(every && (e.every.missed.is_some() || e.every.windows == 0)) {
        Status::Pass
    } else {
        Status::Inconclusive
    }
}

fn sentence(track: &Track, group: &str, e: &Evidence, r: &ObjectiveResult) -> String {
    let (o, unit) = (&track.objective, r.unit.as_str());
    if e.harm.is_some() {
        let range = r.interval.map_or(String::new(), |[low, high]| {
            let (low, high) = interval_words(track, unit, low, high);
            format!("{} interval {low}–{high}", both_ends(o))
        });
        let end = r.value.map_or(String::new(), |v| words::amount(unit, v));
        // Without stages there is one value, the last one; with them the stage's own decided.
        return if track.stages.is_empty() && !range.is_empty() && !end.is_empty() {
            format!("{} {end} (limit {}; {range}; {} requests): proven to miss it", o.name, r.limit_text, words::count(r.samples[0]))
        } else {
            format!("{}{}", harm_words(track, e), if range.is_empty() { range } else { format!("; over all stages {range}") })
        };
    }
    let name = if group.is_empty() { o.name.clone() } else { format!("{} (group {group})", o.name) };
    let mut text = format!("{name} {}", r.value.map_or("without a value".to_owned(), |v| words::amount(unit, v)));
    if let Some(reference) = r.reference {
        text += &format!(", control {}", words::amount(unit, reference));
    }
    if let (Some(effect), true) = (r.effect, track.spec.ratio) {
        text += &format!(", {} × control", words::short(effect));
    }
    text += &format!(" (limit {}", r.limit_text);
    if let Some([low, high]) = r.interval {
        let (low, high) = interval_words(track, unit, low, high);
        text += &format!("; {} interval {low}–{high}", both_ends(o));
    }
    text += &format!("; {} requests)", words::count(r.samples[0]));
    match r.status {
        Status::Pass if track.tested() => text += ": proven",
        Status::Inconclusive if e.vetoed(&track.spec) => text += ": one stage speaks against it",
        Status::Inconclusive if e.every.missed.is_some() => text += ": a window of its own missed it",
        Status::Inconclusive => text += &format!(": {:.0} % of the proof", e.progress(&track.spec) * 100.0),
        _ => {}
    }
    text
}

/// Each end holds at the objective's one-sided confidence: together that is a 90% interval at 95%.
fn both_ends(o: &Objective) -> Ppm {
    Ppm::from_fraction(2.0 * o.confidence.fraction() - 1.0)
}

fn interval_words(track: &Track, unit: &str, low: f64, high: f64) -> (String, String) {
    if track.spec.line().is_some() && track.spec.ratio {
        (words::short(low), words::short(high))
    } else {
        (words::amount(unit, low), words::amount(unit, high))
    }
}

/// Why harm is proven, in one sentence with both arms' numbers.
#[must_use]
pub fn harm_words(track: &Track, e: &Evidence) -> String {
    let (o, unit) = (&track.objective, unit(&track.objective.indicator));
    let Some(harm) = &e.harm else { return String::new() };
    let value = harm.value.map_or("without a value".to_owned(), |v| words::amount(unit, v));
    let mut text = format!("{} {value}", o.name);
    if let Some(reference) = harm.reference.filter(|_| track.arm == Arm::Canary) {
        let effect = harm.value.and_then(|v| track.spec.effect(v, reference)).filter(|_| track.spec.ratio);
        text += &effect.map_or(String::new(), |x| format!(", {} × control", words::short(x)));
        text += &format!(", control {}", words::amount(unit, reference));
    }
    let place = track.stages.get(harm.stratum.0).map_or(String::new(), |s| format!(" in stage {s}"));
    text + &format!(" (limit {}){place}: proven at {} to miss it", words::limit(o), o.confidence)
}

/// A fact against its limit.
fn fact(o: &Objective, r: &mut ObjectiveResult, value: f64, words: String) {
    r.value = Some(value);
    let limit = r.limit.unwrap_or(if o.limit.min { f64::INFINITY } else { 0.0 });
    let ok = if o.limit.min { value >= limit } else { value <= limit };
    r.status = if ok { Status::Pass } else { Status::Fail };
    r.text = format!("{} {words} (limit {})", o.name, r.limit_text);
}

fn recover(judge: &Judge, o: &Objective, r: &mut ObjectiveResult) {
    let Some(search) = judge.recoveries.iter().find(|s| s.objective == o.name) else { return };
    let Some(reverted) = judge.line.faults.get(&search.fault).and_then(|f| f.reverted) else {
        r.text = format!("{}: fault {} was never taken back, so nothing could recover from it", o.name, search.fault);
        return;
    };
    if let Some(found) = search.found {
        let took = found.since(reverted).0 as f64;
        let words = if search.violated { words::time(took) } else { "0 s: never violated after the fault".to_owned() };
        fact(o, r, took, words);
        return;
    }
    let waited = judge.slices.as_of.since(reverted).0 as f64;
    if waited > r.limit.unwrap_or(0.0) {
        fact(o, r, waited, format!("not recovered after {}", words::time(waited)));
    } else {
        r.status = Status::Inconclusive;
        r.text = format!("{}: not recovered yet when the run ended {} after the fault", o.name, words::time(waited));
    }
}

fn restore(judge: &Judge, o: &Objective, r: &mut ObjectiveResult) {
    let backs = &judge.line.backs;
    let worst = backs.iter().map(|b| b.restored.map_or(f64::INFINITY, |at| at.since(b.commanded).0 as f64)).max_by(f64::total_cmp);
    match worst {
        Some(took) if took.is_finite() => fact(o, r, took, words::time(took)),
        Some(_) => {
            r.status = Status::Fail;
            r.text = format!("{}: service was not seen restored (limit {})", o.name, r.limit_text);
        }
        None => r.text = format!("{}: nothing was rolled back or rehearsed", o.name),
    }
}

fn burn(track: &Track, r: &mut ObjectiveResult) {
    match track.burn.as_ref().and_then(|b| b.worst) {
        Some((worst, factor)) => {
            r.limit = Some(factor);
            fact(&track.objective, r, worst, format!("at most {} × budget in both windows", words::short(worst)));
        }
        None => r.text = format!("{}: no whole long window was seen", track.objective.name),
    }
}

fn budget(track: &Track, o: &Objective, r: &mut ObjectiveResult) {
    let mut all = Tally::default();
    track.groups.values().for_each(|e| all.merge(&e.whole.pass));
    let allowed = track.spec.allowed().unwrap_or(0.0) * all.total as f64;
    if all.total == 0 || allowed <= 0.0 || track.spec.measure == Measure::Plain || !matches!(track.spec.against, Against::Fixed(_)) {
        r.text = format!("{}: no budget to spend", o.name);
        return;
    }
    r.samples = [all.total, 0];
    let spent = crate::limits::adverse(&track.spec, &all) as f64 / allowed;
    fact(o, r, spent, format!("{} of the budget spent", words::share(spent)));
}

fn achieved(judge: &Judge, o: &Objective, r: &mut ObjectiveResult) {
    if let Some(value) = crate::validity::achieved(judge) {
        r.samples = [judge.slices.totals.asked, 0];
        fact(o, r, value, words::share(value));
    } else {
        r.text = format!("{}: nothing was asked for", o.name);
    }
}

/// The worst way back, for the sentence about it.
#[must_use]
pub fn way_back(judge: &Judge) -> Vec<shakedown_core::decision::RollbackResult> {
    judge.line.backs.iter().map(|b| rollbacks::result(judge, b)).collect()
}
