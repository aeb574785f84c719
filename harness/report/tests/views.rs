//! The plan's text and the live view.

mod support;

use shakedown_core::event::{Event, Fact, Input};
use shakedown_core::units::Span;
use shakedown_report::live::Live;
use shakedown_report::{Style, timeline};
use std::sync::Arc;

fn widest(text: &str) -> usize {
    text.lines().map(|l| l.chars().count()).max().unwrap_or(0)
}

fn live_until(seconds: f64) -> Live {
    let mut live = Live::new(Arc::new(support::plan()), Style::default());
    support::events().iter().filter(|e| e.at <= support::s(seconds)).for_each(|e| live.push(e));
    live
}

#[test]
fn the_plan_shows_one_axis_blast_radius_provability_gates_and_its_hash() {
    let forecasts = [("shoppers".to_owned(), 27_000.0, 300.0, Span::secs(90))];
    let provable = [("p95".to_owned(), false, "needs 61 s of canary-25".to_owned()), ("availability".to_owned(), true, String::new())];
    let text = timeline::plan_text(&support::plan(), &forecasts, &provable, "abc123", Style::default());
    for fact in [
        "timeline",
        "expected requests",
        "27,000",
        "300/s",
        "blast radius",
        "pilot.router",
        "127.0.0.0/8",
        "! payments-slow",
        "30 % of proxy payments",
        "matching POST /charge/*",
        "5 % → 25 % → 100 %",
        "NOT PROVABLE",
        "needs 61 s of canary-25",
        "provable",
        "gate availability, p95",
        "abc123",
        "nothing was sent",
        "canary-25",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    assert!(widest(&text) <= 80, "{text}");
    let ascii = timeline::plan_text(&support::plan(), &forecasts, &[], "abc123", Style { color: false, width: 80, unicode: false });
    assert!(ascii.is_ascii() && ascii.contains("not computed"), "{ascii}");
}

#[test]
fn bars_stand_where_their_times_are() {
    let text = timeline::plan_text(&support::plan(), &[], &[], "", Style::default());
    let bar = |name: &str| {
        text.lines().find(|l| l.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}")).chars().position(|c| c == '█')
    };
    assert!(bar("baseline") < bar("canary-5") && bar("canary-5") < bar("canary-25") && bar("canary-25") < bar("! payments-slow"), "{text}");
    assert!(bar("! payments-slow") < bar("full"), "{text}");
}

#[test]
fn the_screen_shows_the_run_as_it_stands() {
    let screen = live_until(50.0).screen(support::s(50.0), 80);
    for fact in [
        "checkout-canary",
        "seed 7",
        "00:50 of at most 06:00",
        "canary-5 ✔ passed",
        "▶ canary-25",
        "asked 29",
        "lag p99",
        "weight asked 25 %",
        "fault payments-slow in place",
        "hits",
        "48.1 ms",
        "≤ 1.5 × control",
        "MISSES",
        "% of the proof",
        "p99 ",
        "errors ",
    ] {
        assert!(screen.contains(fact), "{fact}: {screen}");
    }
    assert!(widest(&screen) <= 80, "{screen}");
    assert!(widest(&live_until(50.0).screen(support::s(50.0), 60)) <= 60);
}

#[test]
fn a_screen_before_anything_happened_claims_nothing() {
    let screen = live_until(-10.0).screen(support::s(-2.0), 80);
    assert!(screen.contains("getting ready") && screen.contains("lag not measured") && !screen.contains("meets"), "{screen}");
}

#[test]
fn plain_lines_come_at_each_phase_change_and_every_five_seconds() {
    let mut live = Live::new(Arc::new(support::plan()), Style::default());
    let mut lines = Vec::new();
    for event in support::events() {
        live.push(&event);
        lines.extend(live.plain(event.at));
    }
    assert!(lines.iter().any(|l| l.contains("ROLLBACK from canary-25: harm proven in p95")), "{lines:#?}");
    let status = lines.iter().filter(|l| l.contains(" sent ")).count();
    assert!((17..=20).contains(&status), "{status} status lines in 92 s");
    assert!(live.plain(support::s(92.1)).is_empty(), "nothing new, nothing said");
}

#[test]
fn lines_nobody_fetches_are_bounded_and_the_cut_is_said() {
    let mut live = Live::new(Arc::new(support::plan()), Style::default());
    for seq in 0..5_000 {
        live.push(&Event { seq, at: support::s(1.0), what: Input::Fact(Fact::StreamStarted("shoppers".into())) });
    }
    let lines = live.plain(support::s(1.0));
    assert!(lines.len() <= 1_002 && lines[0].contains("4000 earlier lines left out"), "{}", lines[0]);
}

#[test]
fn json_lines_are_events_that_read_back() {
    let (mut told, mut quiet) = (0, 0);
    for event in support::events() {
        match Live::json_line(&event) {
            Some(line) => {
                assert!(!line.contains('\n'));
                assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
                told += 1;
            }
            None => quiet += 1,
        }
    }
    assert!(told > 20 && quiet >= 90, "{told} {quiet}");
}

#[test]
fn plain_lines_are_short_and_tell_of_objectives_only_what_changed() {
    let mut live = Live::new(Arc::new(support::plan()), Style::default());
    let mut lines = Vec::new();
    for event in support::events() {
        live.push(&event);
        lines.extend(live.plain(event.at));
    }
    assert!(lines.iter().all(|l| l.chars().count() <= 120), "{lines:#?}");
    let told = lines.iter().filter(|l| l.contains("MISSES p95: 88 ms")).count();
    assert!((1..=6).contains(&told), "{told}: {lines:#?}");
    assert!(!lines.iter().any(|l| l.contains("load is out; deciding")), "{lines:#?}");
    let after = lines.iter().rfind(|l| l.contains("asked")).expect("a status line");
    assert!(!after.contains("proof"), "nothing changed any more: {after}");
}

#[test]
fn before_the_epoch_no_time_is_told() {
    let mut live = Live::new(Arc::new(support::plan()), Style::default());
    let at = shakedown_core::Offset(-999_999_990_000_000);
    live.push(&Event { seq: 0, at, what: Input::Fact(Fact::WeightFound(shakedown_core::Ppm(0))) });
    assert_eq!(live.plain(at), ["--:-- the router was found at 0 % canary"]);
    assert!(live.screen(at, 80).contains("--:-- of at most 06:00"));
}

#[test]
fn without_a_rollout_there_is_one_value_and_the_fault_is_the_phase() {
    let mut plan = support::plan();
    plan.rollout = None;
    plan.objectives.truncate(1);
    let mut live = Live::new(Arc::new(plan), Style::default());
    let rolled = |e: &Event| {
        matches!(&e.what, Input::Fact(Fact::StageStarted(_) | Fact::StageEnded { .. } | Fact::WeightAsked(_) | Fact::WeightRead(_)))
    };
    support::events().iter().filter(|e| e.at <= support::s(45.0) && !rolled(e)).for_each(|e| live.push(e));
    let screen = live.screen(support::s(45.0), 80);
    assert!(screen.contains("under load, fault payments-slow in place"), "{screen}");
    assert!(screen.contains("objective     value ") && !screen.contains("control"), "{screen}");
}
