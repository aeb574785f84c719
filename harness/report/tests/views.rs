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
