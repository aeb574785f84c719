//! A run of days in virtual time through the real chronicle, journal and judge, then judged again from its files. Prints
//! what it cost. `cargo run --release -p shakedown-engine --example days -- HOURS RATE`.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/virtual_days.rs"]
mod virtual_days;

use std::time::Instant;

fn main() {
    let mut args = std::env::args().skip(1);
    let hours: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(72);
    let rate: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(300);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let begun = Instant::now();
    let plan = virtual_days::plan(72 * 3600);
    virtual_days::run(&plan, dir.path(), hours * 3600, rate);
    let ran = begun.elapsed();
    let peak = virtual_days::peak_kib();
    let begun = Instant::now();
    let decision = virtual_days::judge(&plan, dir.path());
    let judged = begun.elapsed();
    let size = virtual_days::bytes(dir.path());
    let line = format!(
        "{hours} h at {rate}/s: {:.1} MB on disk, peak {peak} KiB, simulated in {:.1} s, judged again in {:.2} s: {:?}, {}\n",
        size as f64 / 1e6,
        ran.as_secs_f64(),
        judged.as_secs_f64(),
        decision.exit,
        decision.headline
    );
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).expect("standard output is open");
}
