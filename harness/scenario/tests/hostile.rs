//! Broken, huge and hostile texts: refused with a place, quickly, never with a panic.

mod common;

use common::{GOOD, run};
use shakedown_scenario::{line_column, render};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest time a refusal may take, even in a debug build on a busy machine.
const QUICK: Duration = Duration::from_secs(3);

fn refused(text: &str, message: &str) -> (usize, usize) {
    let start = Instant::now();
    let problems = run(text).expect_err(message);
    assert!(start.elapsed() < QUICK, "{message}: {:?}", start.elapsed());
    let found = problems.0.iter().find(|p| p.message.contains(message));
    let problem = found.unwrap_or_else(|| panic!("{message}: {problems:?}"));
    line_column(text, problem.span.start)
}

#[test]
fn syntax_errors_have_a_place() {
    assert_eq!(refused("version: 1\nname: [a, b\nowner: x\n", "this is not YAML").0, 3);
    assert_eq!(refused("version: 1\nname: a\nname: b\n", "`name` is given twice"), (3, 1));
    refused("version: 1\n? [a]\n: b\n", "is not a key");
    refused("version: 1\n---\nversion: 2\n", "a second document");
    refused("version: !!binary aGk=\n", "the tag");
    refused("a: &a [*a]\n", "");
    refused("a: *missing\n", "this is not YAML");
}

#[test]
fn alias_bombs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..30 {
        let row = format!("*a{}, ", i - 1).repeat(10);
        let _ = writeln!(text, "a{i}: &a{i} [{}]", row.trim_end_matches(", "));
    }
    refused(&text, "aliases make this larger");
}

#[test]
fn deep_nesting_is_refused() {
    refused(&format!("a: {}{}", "[".repeat(50_000), "]".repeat(50_000)), "");
    refused(&format!("a: {}", "{b: ".repeat(5_000)), "");
    let mut text = String::new();
    for i in 0..500 {
        let _ = writeln!(text, "{}k:", " ".repeat(i));
    }
    refused(&text, "");
    let mut text = "a0: &a0 [x]\n".to_owned();
    for i in 1..200 {
        let _ = writeln!(text, "a{i}: &a{i} [*a{}]", i - 1);
    }
    refused(&text, "nested deeper");
}

#[test]
fn large_files_are_refused() {
    refused(&"# comment\n".repeat(500_000), "bytes; at most");
    let many: String = (0..10_001).fold("version: 1\nlabels:\n".to_owned(), |mut t, i| {
        let _ = writeln!(t, "  k{i}: v");
        t
    });
    assert!(run(&many).unwrap_err().0.iter().any(|p| p.message.contains("at most 10000 are allowed")));
}

/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn mutations_never_panic() {
    const BITS: [&str; 16] = ["", "{", "}", "[", "]", ": ", "\n", "  ", "\"", "${", "{{ ", "%", "-1", "é", "*", "99999999999999999999"];
    for seed in 0..1500_u64 {
        let mut state = seed;
        let mut text = GOOD.to_owned();
        for _ in 0..=next(&mut state) % 3 {
            let mut spot = |most: usize| (next(&mut state) as usize) % most.max(1);
            let (mut from, length) = (spot(text.len()), spot(40));
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            let mut to = (from + length).min(text.len());
            while !text.is_char_boundary(to) {
                to += 1;
            }
            let piece = text[from..to].to_owned();
            match spot(3) {
                0 => text.replace_range(from..to, ""),
                1 => text.insert_str(from, &piece),
                _ => text.replace_range(from..to, BITS[spot(BITS.len())]),
            }
        }
        if let Err(problems) = run(&text) {
            assert!(!problems.is_empty(), "seed {seed}: refused without a problem");
            let shown = render(&problems, Path::new("x"), &text);
            assert!(problems.0.iter().all(|p| p.span.end <= text.len() && p.span.start <= p.span.end), "seed {seed}: {shown}");
        }
    }
}
