//! Rates and data nobody meant: shapes without arrivals, ten million a second, files that are empty, huge or change.

use crate::common::{Scratch, alone, until};
use crate::run::{run, scenario};
use crate::server::Rude;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

#[test]
fn shapes_may_end_at_nothing_but_not_be_nothing() {
    let _alone = alone();
    let (s, server) = (Scratch::new(), Rude::by_path());
    let target = format!("t: \"http://{}\"", server.address);
    let line = |shape: &str| format!("s: {{target: t, timeout: 1s, shape: [{shape}], requests: [{{get: /}}]}}");
    for nothing in ["{hold: 1s, rate: 0/s}", "{hold: 1s, rate: 0/s}, {ramp: 1s, to: 0/s}", "{wave: 1s, low: 0/s, high: 0/s, period: 1s}"] {
        let run = run(&s, &scenario(&target, &line(nothing), ""), Duration::from_secs(10), &[]);
        assert!(run.code == 2, "{nothing}: {run:#?}");
    }
    let ends = line("{hold: 1s, rate: 60/s}, {ramp: 1s, to: 0/s}, {hold: 500ms, rate: 0/s}");
    let run = run(&s, &scenario(&target, &ends, ""), Duration::from_secs(10), &[]);
    run.all_ok("s", 90);
    assert_eq!(run.code, 0, "{run:#?}");
}

#[test]
fn ten_million_a_second_are_refused_by_the_generator_itself() {
    let _alone = alone();
    let (s, server) = (Scratch::new(), Rude::by_path());
    let target = format!("t: \"http://{}\"", server.address);
    let line = "s: {target: t, timeout: 1s, shape: [{hold: 300ms, rate: 10000000/s}], requests: [{get: /}]}";
    let run = run(&s, &scenario(&target, line, ""), Duration::from_secs(60), &[]);
    println!("10,000,000/s for 300 ms: {:?}, {} KiB, {:?}", run.took, run.peak, run.streams["s"]);
    assert_eq!(run.code, 4, "{run:#?}");
    let reasons = run.reasons();
    assert!(reasons.iter().any(|r| ["generator-behind", "generator-late", "in-flight"].contains(r)), "{reasons:?}");
    let sum = &run.streams["s"];
    assert_eq!((sum.asked, sum.due as u64), (3_000_000, sum.ok + sum.failed.values().sum::<u64>()), "{sum:?}");
    assert!(run.peak < 512 * 1024, "{} KiB", run.peak);
}

#[test]
fn data_that_is_not_there_empty_or_broken_is_refused() {
    let _alone = alone();
    let (s, server) = (Scratch::new(), Rude::by_path());
    let target = format!("t: \"http://{}\"", server.address);
    let line = "s: {target: t, timeout: 1s, shape: [{hold: 1s, rate: 40/s}], data: {d: {csv: d.csv, pick: sequential}}, requests: [{get: \"/?{{ d.id }}\"}]}";
    let text = scenario(&target, line, "");
    for (what, content) in [
        ("empty", ""),
        ("header only", "id,name\n"),
        ("ragged", "id,name\n1,a\n2\n"),
        ("other column", "key\n1\n"),
        ("open quote", "id\n\"1\n2\n3\n"),
    ] {
        s.write("d.csv", content);
        let run = run(&s, &text, Duration::from_secs(10), &[]);
        let refused = run.code == 2 || run.code == 3;
        assert!(refused && (run.err.contains("d.csv") || run.out.contains("d.csv")) || what == "open quote", "{what}: {run:#?}");
    }
    // No text at all.
    std::fs::write(s.path("d.csv"), [b"id\n".as_slice(), &[0xff, 0xfe, b'\n']].concat()).expect("a file");
    let run = run(&s, &text, Duration::from_secs(10), &[]);
    assert!(run.code == 2 || run.code == 3, "{run:#?}");
}

#[test]
fn a_huge_file_is_read_within_bounds_and_may_change_while_the_run_lasts() {
    let _alone = alone();
    let (s, server) = (Scratch::new(), Rude::by_path());
    let target = format!("t: \"http://{}\"", server.address);
    let line = "s: {target: t, timeout: 2s, shape: [{hold: 3s, rate: 40/s}], data: {d: {csv: d.csv, pick: random}}, requests: [{get: \"/fine?{{ d.id }}\"}]}";
    let path = s.path("d.csv");
    let text = scenario(&target, line, "");
    // Over what is read at all, and just below that.
    for (rows, fits) in [(2_000_000, false), (660_000, true)] {
        let size = data(&path, rows);
        // Cut short while the run lasts: what was read stays.
        let (victim, journal) = (path.clone(), s.path("out/journal.jsonl"));
        let cut = fits.then(|| {
            std::thread::spawn(move || {
                until(Duration::from_secs(40), "load began", || {
                    std::fs::read_to_string(&journal).is_ok_and(|j| j.contains("stream_started"))
                });
                std::fs::write(&victim, "id\n").expect("a file");
            })
        });
        let run = run(&s, &text, Duration::from_secs(40), &[]);
        println!("{} MiB of data: exit {}, {:?}, {} KiB", size >> 20, run.code, run.took, run.peak);
        assert!(run.peak < 512 * 1024, "{} KiB", run.peak);
        if let Some(cut) = cut {
            cut.join().expect("it was cut");
            run.all_ok("s", 120);
            assert_eq!(run.code, 0, "{run:#?}");
        } else {
            assert!(run.code == 2 && run.err.contains("d.csv"), "{run:#?}");
        }
    }
}

/// Writes so many rows of a hundred bytes; says how large that is.
fn data(path: &Path, rows: u32) -> u64 {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    writeln!(file, "id,name,text").expect("written");
    for n in 0..rows {
        writeln!(file, "{n},{n:030},{n:055}").expect("written");
    }
    file.flush().expect("written");
    std::fs::metadata(path).expect("a file").len()
}
