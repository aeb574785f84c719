//! The generator's self-check in every place it is told.

mod support;

use shakedown_core::decision::{BadSeconds, Decision, GeneratorCheck, SecondsCheck, SendError};
use shakedown_report::{KINDS, Style, precision, terminal};

fn checked() -> Decision {
    let mut decision = support::decision("promote");
    let range = |from, to, cause: &str| BadSeconds { from, to, share: 0.5, cause: cause.to_owned() };
    decision.validity.generator = GeneratorCheck {
        send: SendError {
            count: 27_000,
            quantiles: [4_100, 9_000, 88_000, 210_000, 900_000, 61_000_000],
            spread: vec![(5_000, 20_000), (100_000, 6_999), (u64::MAX, 1)],
        },
        seconds: SecondsCheck {
            seen: 90,
            short: 4,
            bad: 3,
            least: Some(0.5),
            crowded: 0,
            ranges: vec![range(12, 14, "run-queue"), range(20, 21, "steal")],
            more: 0,
        },
        in_flight: 31,
        connections: 24,
        reused: 26_976,
        handshakes: 24,
        resumed: 20,
        waited: 3,
        workers: 2,
        quantum: 100_000,
        spin: 50_000,
        cpu: 0.35,
        run_queue: 0.012,
        steal: 0.01,
        descriptors: 45,
        descriptors_max: 1024,
        no_descriptor: 0,
        no_port: 0,
    };
    decision
}

#[test]
fn the_table_tells_all_of_it() {
    let mut plan = support::plan();
    plan.precision.workers = Some(2);
    let text = precision::table(&plan, &checked(), Style::default());
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for fact in [
        "27,000 arrivals",
        "p50 4.1 µs, p90 9 µs, p99 88 µs, p99.9 210 µs, p99.99 900 µs, max 61 ms",
        "of 90 seconds 4 below 99 % in time, 3 below 95 %, at least 50 %",
        "12–13 s (50 % in time, the workers waited for a processor), 20 s (50 % in time, the machine's host took the processor)",
        "in flight 31 at most",
        "24 connections made, used again 26,976 times, 3 requests waited for one",
        "24 handshakes, 20 resumed a session",
        "45 of 1,024, 0 connects found none",
        "0.35 used; the workers waited for one 1.2 % of the time",
        "2 workers, quantum 100 µs (auto), spin 50 µs (auto)",
        "≤ 5 µs 20,000 74.1 % ██████████████████████████████",
        "≤ 100 µs 6,999 25.9 % ███████████",
        "more 1 0.004 % █",
    ] {
        assert!(flat.contains(fact), "{fact}: {text}");
    }
    for width in [40, 80, 120] {
        for unicode in [true, false] {
            let text = precision::table(&plan, &checked(), Style { color: false, width, unicode });
            assert!(unicode || text.is_ascii(), "{text}");
            assert!(width < 80 || text.lines().all(|l| l.chars().count() <= width), "{text}");
        }
    }
}

#[test]
fn nothing_measured_is_said_and_not_made_up() {
    let text = precision::table(&support::plan(), &support::decision("promote"), Style::default());
    assert!(text.contains("measured nothing else of itself") && !text.contains("0 connections"), "{text}");
    let text = terminal::end_block(&support::plan(), &support::decision("promote"), "runs/x", Style::default());
    assert!(!text.contains(" generator "), "{text}");
}

#[test]
fn every_format_tells_it() {
    let text = terminal::end_block(&support::plan(), &checked(), "runs/x", Style::default());
    assert!(text.contains("\n generator send error p50 4.1 µs, p99 88 µs"), "{text}");
    for kind in ["markdown", "html"] {
        let reporter = KINDS.iter().find(|k| k.name() == kind).expect("a format");
        let mut out = Vec::new();
        reporter.finish(&support::plan(), &mut support::events().into_iter(), &checked(), &mut out).expect("memory takes it");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.contains("4.1 µs") && text.contains("26,976 times"), "{kind}: {text}");
    }
}

#[test]
fn a_record_survives_json_and_an_older_one_is_read() {
    let json = serde_json::to_value(checked()).expect("plain data");
    assert_eq!(serde_json::from_value::<Decision>(json.clone()).expect("reads back"), checked());
    let mut older = json;
    older["validity"].as_object_mut().expect("a map").remove("generator");
    let read: Decision = serde_json::from_value(older).expect("an older record");
    assert_eq!(read.validity.generator, GeneratorCheck::default());
}
