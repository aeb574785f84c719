//! How each stage came out. Must not judge objectives.

use crate::judge::Judge;
use shakedown_core::decision::StageResult;
use shakedown_core::event::StageEnd;

/// Every stage of the plan, in order.
#[must_use]
pub fn results(judge: &Judge) -> Vec<StageResult> {
    let stages = judge.plan.rollout.iter().flat_map(|r| &r.stages).enumerate();
    stages
        .map(|(index, stage)| {
            let run = judge.line.stages.iter().rev().find(|s| s.index == index);
            let (canary, all) = judge
                .splits
                .iter()
                .filter(|(k, _)| k.0 == index)
                .fold((0.0, 0.0), |sum, (_, s)| (sum.0 + s.canary, sum.1 + s.canary + s.control));
            let (end, why) = match run.map(|r| &r.end) {
                None => ("not_reached", "an earlier end of the rollout prevented it".to_owned()),
                Some(None) => ("cut", "the run ended before it".to_owned()),
                Some(Some((end, why))) => (word(*end), why.clone()),
            };
            StageResult {
                name: stage.name.clone(),
                asked: stage.weight,
                acknowledged: run.and_then(|r| r.acknowledged),
                observed: (all > 0.0).then(|| canary / all),
                from: run.map(|r| r.from),
                to: run.and_then(|r| r.to),
                end: end.to_owned(),
                why,
            }
        })
        .collect()
}

fn word(end: StageEnd) -> &'static str {
    match end {
        StageEnd::Passed => "passed",
        StageEnd::Harm => "harm",
        StageEnd::Undecided => "undecided",
        StageEnd::Cut => "cut",
    }
}
