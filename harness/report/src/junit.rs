//! `junit`: one test case per objective, stage, fault and way back, and one for the verdict. What could not be decided is
//! skipped with its reason; the text of a failure is the why. Must not call anything passed that the decision does not.

use crate::evidence::{Row, rows};
use crate::style::clean;
use crate::words;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::Value;
use shakedown_core::decision::{Decision, FaultResult, RollbackResult, StageResult, Status, Verdict};
use shakedown_core::event::Event;
use shakedown_core::plan::Plan;
use shakedown_core::seams::{Kind, Reporter};
use shakedown_core::tree::{Node, Problems};
use std::io;

/// The decision as JUnit XML.
#[derive(Debug)]
pub struct Junit;

impl Kind for Junit {
    fn name(&self) -> &'static str {
        "junit"
    }
    fn about(&self) -> &'static str {
        "test cases for pipelines: objectives, stages, faults, ways back"
    }
    fn schema(&self) -> Value {
        crate::no_parameters()
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        crate::parse_nothing(node, problems)
    }
}

impl Reporter for Junit {
    fn file(&self) -> &'static str {
        "junit.xml"
    }
    fn finish(&self, plan: &Plan, _: &mut dyn Iterator<Item = Event>, decision: &Decision, out: &mut dyn io::Write) -> io::Result<()> {
        let mut report = Report::new(format!("shakedown {}", clean(&decision.scenario)));
        report.set_time(std::time::Duration::from_nanos(decision.duration));
        let objectives = rows(plan, decision).iter().map(objective).collect();
        let suites: [(&str, Vec<TestCase>); 5] = [
            ("verdict", vec![verdict(plan, decision)]),
            ("objectives", objectives),
            ("stages", decision.stages.iter().map(stage).collect()),
            ("faults", decision.faults.iter().map(fault).collect()),
            ("rollback", decision.rollbacks.iter().map(|b| rollback(plan, b)).collect()),
        ];
        for (name, mut cases) in suites.into_iter().filter(|(_, cases)| !cases.is_empty()) {
            cases.iter_mut().for_each(|case| {
                case.set_classname(format!("shakedown.{name}"));
            });
            let mut suite = TestSuite::new(name);
            suite.add_test_cases(cases);
            report.add_test_suite(suite);
        }
        report.serialize(out).map_err(io::Error::other)
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

fn passed(name: &str, out: &str) -> TestCase {
    let mut case = TestCase::new(name, TestCaseStatus::success());
    case.set_system_out(out);
    case
}

fn failed(name: &str, kind: &str, why: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(kind).set_message(why).set_description(why);
    TestCase::new(name, status)
}

fn skipped(name: &str, kind: &str, why: &str) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_type(kind).set_message(why);
    TestCase::new(name, status)
}

fn verdict(plan: &Plan, decision: &Decision) -> TestCase {
    let word = words::verdict(plan, decision).to_lowercase();
    let why = format!("{} {}", words::headline(decision), words::why(decision).join("; "));
    match decision.verdict {
        Verdict::Promote | Verdict::PromoteWithConditions => passed("verdict", &format!("{word}: {why}")),
        Verdict::Inconclusive => skipped("verdict", &word, &why),
        Verdict::Rollback | Verdict::Invalid | Verdict::Halted => failed("verdict", &word, &why),
    }
}

fn objective(row: &Row) -> TestCase {
    let why = match row.text.as_str() {
        "" => format!("{} (limit {}; {}; samples {})", row.value, row.limit, row.evidence, row.samples),
        text => text.to_owned(),
    };
    match row.status {
        Status::Pass => passed(&row.name, &why),
        Status::Fail => failed(&row.name, "objective", &why),
        Status::Inconclusive => skipped(&row.name, "inconclusive", &why),
        Status::Nodata => skipped(&row.name, "nodata", &format!("no data: {}", row.text)),
        Status::NotReached => skipped(&row.name, "not_reached", &format!("not reached: {}", row.text)),
    }
}

fn stage(stage: &StageResult) -> TestCase {
    let (name, why) = (clean(&stage.name), clean(&stage.why));
    let mut case = match stage.end.as_str() {
        "passed" => passed(&name, &why),
        "undecided" | "cut" | "not_reached" => skipped(&name, &stage.end, &format!("{}: {why}", words::stage_end(&stage.end))),
        _ => failed(&name, "stage", &why),
    };
    if let (Some(from), Some(to)) = (stage.from, stage.to) {
        case.set_time(to.since(from).duration());
    }
    case
}

fn fault(fault: &FaultResult) -> TestCase {
    let (name, why) = (clean(&fault.name), words::fault(fault));
    match fault.status.as_str() {
        "hit" => passed(&name, &why),
        "not_reached" => skipped(&name, "not_reached", &why),
        _ => failed(&name, "fault", &why),
    }
}

fn rollback(plan: &Plan, back: &RollbackResult) -> TestCase {
    let kind = if back.rehearsal { "rehearsal" } else { "rollback" };
    let (name, why) = (format!("{kind} from {}", clean(&back.stage)), words::one_way_back(plan, back));
    if back.status == "ok" { passed(&name, &why) } else { failed(&name, "rollback", &why) }
}
