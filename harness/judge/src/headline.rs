//! The verdict in one sentence. The numbers are the reasons'; they are not said twice. Must not decide.

use crate::judge::Judge;
use shakedown_core::decision::{Exit, ObjectiveResult, Reason, RollbackResult, Status, Verdict};
use shakedown_core::plan::Indicator;
use std::collections::BTreeMap;

/// What is known when the verdict stands.
pub struct Known<'a> {
    /// The run.
    pub judge: &'a Judge,
    /// Its exit code.
    pub exit: Exit,
    /// The verdict.
    pub verdict: Verdict,
    /// Strongest first.
    pub reasons: &'a [Reason],
    /// By name.
    pub objectives: &'a BTreeMap<String, ObjectiveResult>,
    /// In order.
    pub rollbacks: &'a [RollbackResult],
}

/// How a miss is told.
const SLOWER: &str = "is slower than";
const FAILING: &str = "fails more than";
const LATER: &str = "recovers later than";
const MISSES: &str = "misses";

impl Known<'_> {
    /// The sentence.
    #[must_use]
    pub fn headline(&self) -> String {
        let (who, code) = (self.who(), self.reasons.first().map_or("", |r| r.code.as_str()));
        let text = match self.verdict {
            Verdict::Promote => match &self.judge.plan.rollout {
                Some(r) => format!("{} holds every objective against {}{}", r.canary, r.control, self.way_back()),
                None => "Every objective holds".to_owned(),
            },
            Verdict::PromoteWithConditions => format!("{who} holds but for what somebody answers for: {}", self.with(Status::Pass, false)),
            Verdict::Rollback if self.exit == Exit::RollbackFailed => match &self.judge.plan.rollout {
                Some(r) => format!("The way back failed: {} may still have traffic, or a change may still be in place", r.canary),
                None => "A change may still be in place".to_owned(),
            },
            Verdict::Rollback => self.harm(&who, code),
            Verdict::Inconclusive => self.open(&who, code),
            Verdict::Invalid => self.invalid(&who, code),
            Verdict::Halted if code == "interrupted" => "Interrupted; everything was undone".to_owned(),
            Verdict::Halted => format!("Stopped before it could be said whether {} holds", lower(&who)),
        };
        format!("{text}.")
    }

    fn who(&self) -> String {
        self.judge.plan.rollout.as_ref().map_or_else(|| "The service".to_owned(), |r| r.canary.clone())
    }

    fn way_back(&self) -> &'static str {
        match self.rollbacks.last().map(|r| r.status.as_str()) {
            Some("ok") => "; the way back works",
            Some("slow") => "; the way back is too slow",
            Some("lossy") => "; the way back loses requests",
            _ => "",
        }
    }

    fn harm(&self, who: &str, code: &str) -> String {
        let control = self.judge.plan.rollout.as_ref().map_or("", |r| r.control.as_str());
        let text = match code {
            "both-arms" => format!("{}, and so does {control}", self.missed(who)),
            "harm-proven" | "over-limit" => self.missed(who),
            "empty-answers" => format!("{who} gives empty answers where {control} does not"),
            "guard-rollback" => format!("A guard took {} back", lower(who)),
            "rollback-slow" => return "The way back is too slow".to_owned(),
            "rollback-lossy" => return "The way back loses requests".to_owned(),
            _ => format!("{who} does harm"),
        };
        format!("{text}{}", self.way_back())
    }

    /// `v2 is slower than p95 allows and fails more than availability allows`.
    fn missed(&self, who: &str) -> String {
        let mut parts = Vec::new();
        for verb in [SLOWER, FAILING, LATER, MISSES] {
            let failed =
                self.judge.plan.objectives.iter().filter(|o| self.objectives.get(&o.name).is_some_and(|r| r.status == Status::Fail));
            let names: Vec<&str> = failed.filter(|o| how(&o.indicator) == verb).map(|o| o.name.as_str()).collect();
            if names.is_empty() {
                continue;
            }
            let allow = match (verb, names.len()) {
                (MISSES, _) => "",
                (_, 1) => " allows",
                _ => " allow",
            };
            parts.push(format!("{verb} {}{allow}", names.join(" and ")));
        }
        if parts.is_empty() { format!("{who} misses its gate") } else { format!("{who} {}", parts.join(" and ")) }
    }

    fn open(&self, who: &str, code: &str) -> String {
        let names = self.with(Status::Inconclusive, true);
        match code {
            "scaled" => "A run at another time scale never promotes".to_owned(),
            "not-ended" => "The run was cut off before it could be decided".to_owned(),
            "rolled-back" => format!("{who} was taken back before it could be decided"),
            _ if names.is_empty() => format!("{who} is neither proven to hold nor to fail"),
            _ => format!("{names} could not be decided in this run: neither proven to hold nor to fail"),
        }
    }

    fn invalid(&self, who: &str, code: &str) -> String {
        let said = format!("nothing can be said of {}", lower(who));
        match code {
            _ if self.exit == Exit::NotReady => "The environment was not ready".to_owned(),
            _ if self.exit == Exit::Internal => format!("The harness itself failed; {said}"),
            "no-traffic" => format!("There was no traffic; {said}"),
            "generator-behind" | "generator-late" | "in-flight-limit" => format!("The generator fell behind; {said}"),
            "arm-unknown" | "sample-ratio" => format!("Who answered is in doubt; {said}"),
            "fault-no-hit" => "A fault hit nothing; what was to be shown under it is not shown".to_owned(),
            "fault-failed" | "fault-not-reached" => "A fault did not take place; what was to be shown under it is not shown".to_owned(),
            "stage-not-reached" => "A stage was never reached; the rollout is not shown".to_owned(),
            "no-data" | "baseline-missing" => "There is no data for some objectives".to_owned(),
            _ => format!("The evidence cannot be trusted; {said}"),
        }
    }

    /// Names of the objectives the verdict needs that have this status, or another.
    fn with(&self, status: Status, same: bool) -> String {
        let chosen = self.objectives.iter().filter(|(_, r)| r.mandatory && (r.status == status) == same);
        chosen.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" and ")
    }
}

fn how(indicator: &Indicator) -> &'static str {
    use Indicator::{
        BurnRate, ColdStart, ErrorBudget, ErrorRate, JourneyDuration, JourneySuccess, Latency, StatusShare, SuccessRate, TimeToRecover,
        TimeToRestore, TimeoutRate,
    };
    match indicator {
        Latency(_) | JourneyDuration(_) | ColdStart => SLOWER,
        SuccessRate | ErrorRate | TimeoutRate | JourneySuccess | StatusShare(_) | BurnRate { .. } | ErrorBudget { .. } => FAILING,
        TimeToRecover { .. } | TimeToRestore => LATER,
        _ => MISSES,
    }
}

/// `The service` inside a sentence; names stay as they are.
fn lower(who: &str) -> String {
    who.strip_prefix("The ").map_or_else(|| who.to_owned(), |rest| format!("the {rest}"))
}
