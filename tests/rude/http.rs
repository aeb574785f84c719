//! HTTP/1.1 servers that break every rule.

use crate::common::{Scratch, alone};
use crate::run::{run, scenario};
use crate::server::{CHUNKED, FINE, Manner, Rude};
use std::fmt::Write as _;
use std::time::Duration;

/// What each manner counts as, within a timeout of 400 ms.
const MANNERS: [(&str, &[&str]); 17] = [
    ("garbage", &["protocol"]),
    ("half-head", &["timeout"]),
    ("half-body", &["reset"]),
    ("twice", &["protocol"]),
    ("too-much", &["protocol"]),
    ("header-bomb", &["protocol"]),
    ("long-header", &["protocol"]),
    ("endless-chunks", &["timeout", "protocol"]),
    ("endless-extension", &["protocol"]),
    ("endless-interim", &["protocol"]),
    ("huge-length", &["timeout", "protocol"]),
    ("two-lengths", &["protocol"]),
    ("never", &["timeout"]),
    ("reset", &["reset"]),
    ("reset-in-body", &["reset"]),
    ("slow", &["timeout"]),
    ("unavailable", &["status"]),
];

#[test]
fn every_manner_of_rudeness_counts_as_what_it_is() {
    let _alone = alone();
    let (s, server) = (Scratch::new(), Rude::by_path());
    let mut streams = String::new();
    for (name, _) in MANNERS {
        // Looked into, a body is collected; otherwise it is only counted.
        let looked = if name == "endless-chunks" { ", expect: {body: nothing of the kind}" } else { "" };
        writeln!(streams, "{name}: {{target: t, timeout: 400ms, shape: [{{hold: 1s, rate: 6/s}}], requests: [{{get: /{name}{looked}}}]}}")
            .expect("text");
    }
    streams += "fine: {target: t, timeout: 2s, shape: [{hold: 1s, rate: 50/s}], requests: [{get: /fine}]}\n";
    streams += "closing: {target: t, timeout: 2s, shape: [{hold: 1s, rate: 50/s}], requests: [{get: /closing}]}\n";
    let text = scenario(&format!("t: \"http://{}\"", server.address), &streams, "");
    let run = run(&s, &text, Duration::from_secs(20), &[]);
    assert_ne!(run.code, 0, "{run:#?}");
    for (name, kinds) in MANNERS {
        run.all_failed(name, 6, kinds);
    }
    run.all_ok("fine", 50);
    run.all_ok("closing", 50);
    println!("rude manners: {:?}, {} KiB", run.took, run.peak);
    assert!(run.peak < 200 * 1024, "{} KiB", run.peak);
}

#[test]
fn an_answer_cut_at_any_byte_is_no_answer() {
    let _alone = alone();
    let (s, server) = (Scratch::new(), Rude::by_path());
    let mut streams = String::new();
    for (name, whole) in [("cut", FINE.len()), ("cut-chunked", CHUNKED.len())] {
        let rows: String = std::iter::once("n".to_owned()).chain((0..=whole).map(|n| n.to_string())).collect::<Vec<_>>().join("\n");
        s.write(&format!("{name}.csv"), &rows);
        for looks in ["", ", expect: {body: ok}"] {
            let stream = format!("{name}{}", if looks.is_empty() { "" } else { "-read" });
            writeln!(
                streams,
                "{stream}: {{target: t, timeout: 3s, shape: [{{hold: 1s, rate: {}/s}}], data: {{n: {{csv: {name}.csv, pick: sequential}}}}, requests: [{{get: \"/{name}?{{{{ n.n }}}}\"{looks}}}]}}",
                whole + 1
            )
            .expect("text");
        }
    }
    let text = scenario(&format!("t: \"http://{}\"", server.address), &streams, "");
    let run = run(&s, &text, Duration::from_secs(15), &[]);
    assert_ne!(run.code, 0, "{run:#?}");
    for (name, whole) in [("cut", FINE.len()), ("cut-chunked", CHUNKED.len())] {
        for stream in [name.to_owned(), format!("{name}-read")] {
            let sum = &run.streams[&stream];
            let reset = sum.failed.get("reset").copied().unwrap_or(0);
            assert_eq!((sum.due, sum.ok, reset), (whole as i64 + 1, 1, whole as u64), "{stream}: {sum:?}\n{run:#?}");
        }
    }
}

#[test]
fn servers_that_speak_too_early_or_hang_up_on_everybody_bring_no_pass() {
    let _alone = alone();
    let s = Scratch::new();
    let (early, reset, garbage) = (Rude::always(Manner::Early), Rude::always(Manner::Reset), Rude::always(Manner::Garbage));
    let targets =
        format!("early: \"http://{}\", reset: \"http://{}\", garbage: \"http://{}\"", early.address, reset.address, garbage.address);
    let line = |t: &str| format!("{t}: {{target: {t}, timeout: 500ms, shape: [{{hold: 1s, rate: 50/s}}], requests: [{{get: /}}]}}\n");
    let text = scenario(&targets, &(line("early") + &line("reset") + &line("garbage")), "");
    let run = run(&s, &text, Duration::from_secs(15), &[]);
    assert_ne!(run.code, 0, "{run:#?}");
    run.all_failed("reset", 50, &["reset"]);
    run.all_failed("garbage", 50, &["protocol"]);
    // An answer to nobody may arrive just after the request: then nobody can tell. No connection is kept with one.
    let sum = &run.streams["early"];
    println!("early: {sum:?}");
    assert_eq!(sum.due as u64, sum.ok + sum.failed.values().sum::<u64>(), "{sum:?}");
    assert!(sum.failed.get("protocol").is_some_and(|n| *n > 0), "{sum:?}");
}
