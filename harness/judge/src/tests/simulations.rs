//! How often the judge is right: the good twin promotes, a bad one never does.

use super::plan::quickstart;
use super::world::{World, run};
use shakedown_core::Verdict;
use shakedown_core::decision::Exit;

fn tally(world: &World, seeds: u64) -> (u64, u64, Vec<String>) {
    let (mut promoted, mut rolled, mut others) = (0, 0, Vec::new());
    for seed in 0..seeds {
        let d = run(quickstart(), world.clone(), seed);
        promoted += u64::from(d.verdict == Verdict::Promote && d.exit == Exit::Promote);
        rolled += u64::from(d.exit == Exit::Rollback);
        if d.exit != Exit::Promote && d.exit != Exit::Rollback {
            others.push(format!("seed {seed}: {:?} {}", d.exit, d.headline));
        }
    }
    (promoted, rolled, others)
}

#[test]
fn the_good_twin_promotes_in_99_of_100_seeds() {
    let (promoted, rolled, others) = tally(&World::default(), 100);
    assert!(promoted >= 99, "{promoted} promoted, {rolled} rolled back, {others:#?}");
}

#[test]
fn a_slow_canary_never_promotes_and_is_rolled_back() {
    let (promoted, rolled, others) = tally(&World { ratio: 2.0, ..World::default() }, 30);
    assert_eq!(promoted, 0);
    assert!(rolled >= 28, "{rolled} of 30 rolled back: {others:#?}");
}

#[test]
fn a_failing_canary_never_promotes_and_is_rolled_back() {
    let (promoted, rolled, others) = tally(&World { errors: [0.0005, 0.03], ..World::default() }, 30);
    assert_eq!(promoted, 0);
    assert!(rolled >= 28, "{rolled} of 30 rolled back: {others:#?}");
}

#[test]
fn at_the_limit_itself_promotion_is_rare() {
    // True ratio 1.6 against 1.5: only just too slow. Unproven is fine, promoted is not.
    let (promoted, ..) = tally(&World { ratio: 1.6, ..World::default() }, 30);
    assert!(promoted <= 2, "{promoted} of 30");
}

#[test]
fn what_plan_says_is_provable() {
    let plan = quickstart();
    let rates = std::collections::BTreeMap::from([("shoppers".to_string(), 1500.0)]);
    let all = crate::provable(&plan, &rates, &crate::Assumptions::default());
    assert!(all.iter().all(|p| p.provable), "{all:#?}");
    assert_eq!(all[1].gates, ["canary-5", "canary-25", "canary-50"]);
    let slow = std::collections::BTreeMap::from([("shoppers".to_string(), 5.0)]);
    let none = crate::provable(&plan, &slow, &crate::Assumptions::default());
    assert!(none.iter().all(|p| !p.provable), "{none:#?}");
}

/// The plan does not say how long a recording is: without its length nothing counts as provable, with it everything does.
#[test]
fn a_replay_is_provable_in_its_recorded_length() {
    use shakedown_core::plan::{ArmChoice, Model, Replay};
    let mut plan = quickstart();
    plan.rollout = None;
    plan.objectives.truncate(1);
    plan.objectives[0].arm = ArmChoice::All;
    plan.streams[0].model = Model::Replay(Replay {
        file: "access.log".into(),
        format: "access-log".into(),
        speed_ppm: 1_000_000,
        between: None,
        gaps: None,
        methods: Vec::new(),
        expect_recorded: false,
    });
    let rates = std::collections::BTreeMap::from([("shoppers".to_string(), 60.0)]);
    let says = |replayed| crate::provable(&plan, &rates, &crate::Assumptions { replayed, ..Default::default() })[0].provable;
    assert!(says(shakedown_core::Span::secs(20)));
    assert!(!says(shakedown_core::Span::secs(4)), "120 requests do not prove 99 %");
    assert!(!says(shakedown_core::Span::ZERO));
}

/// Error counts of an A/A pair of arms at equal weight, both drifting, straight into one objective's evidence.
#[test]
fn false_alarms_of_harm_stay_below_their_bound() {
    use crate::evidence::{Evidence, Unit};
    use crate::indicators::{Selector, Tally};
    use crate::spec::Spec;
    use rand::{RngExt, SeedableRng};
    use shakedown_core::plan::{Indicator, LimitValue, Reference};
    let plan = quickstart();
    let o = super::plan::objective("e", Indicator::ErrorRate, false, LimitValue::Times(1.0, Reference::Control), "1x control");
    let (spec, selector) = (Spec::of(&o, 1), Selector::of(&plan, &o));
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let mut alarms = 0;
    for _ in 0..300 {
        let mut e = Evidence::default();
        for second in 0..60u32 {
            let p = 0.005 + 0.005 * f64::from(second) / 60.0;
            let mut arm = |n: u64| Tally { total: n, count: (0..n).filter(|_| rng.random::<f64>() < p).count() as u64, ..Tally::default() };
            let (canary, control) = (arm(60), arm(140));
            let unit = Unit { key: (0, 300_000), pass: canary.clone(), harm: canary, reference: control };
            e.push(&spec, &selector, unit, 1, &Tally::default(), None);
        }
        alarms += u32::from(e.harm.is_some());
    }
    // At most 5 % with 95 % confidence: 300 runs may alarm 9 times.
    assert!(alarms <= 9, "{alarms} of 300");
}

/// A base error rate that both share, well within the limit, changes nothing.
#[test]
fn a_shared_base_error_rate_promotes_too() {
    for seed in 0..10 {
        let d = run(quickstart(), World { errors: [0.002, 0.002], ..World::default() }, 1000 + seed);
        assert_eq!(d.exit, Exit::Promote, "{:#?}", d.reasons);
    }
}
