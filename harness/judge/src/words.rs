//! Numbers in words: units, limits and times as people read them. Must not decide.

use shakedown_core::Offset;
use shakedown_core::plan::Objective;

/// A value in its unit: `99.97 %`, `48.1 ms`, `1.83 ×`.
#[must_use]
pub fn amount(unit: &str, value: f64) -> String {
    match unit {
        "ns" => time(value),
        "fraction" => share(value),
        "per_second" => format!("{}/s", short(value)),
        "bytes" => format!("{} B", short(value)),
        _ => format!("{} ×", short(value)),
    }
}

/// A share as a percentage with as many digits as it needs.
#[must_use]
pub fn share(value: f64) -> String {
    let percent = value * 100.0;
    let distance = percent.abs().min((100.0 - percent).abs());
    let digits = if distance == 0.0 {
        0
    } else if distance < 0.01 {
        4
    } else if distance < 0.1 {
        3
    } else {
        2
    };
    format!("{percent:.digits$} %")
}

/// Nanoseconds as people read them.
#[must_use]
pub fn time(ns: f64) -> String {
    if ns >= 1e9 {
        format!("{} s", short(ns / 1e9))
    } else if ns >= 1e6 {
        format!("{} ms", short(ns / 1e6))
    } else {
        format!("{} µs", short(ns / 1e3))
    }
}

/// Three significant digits.
#[must_use]
pub fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || size == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A count with thousands separated.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The limit with its direction: `≥ 99.5%`, `≤ 1.5x control`.
#[must_use]
pub fn limit(o: &Objective) -> String {
    format!("{} {}", if o.limit.min { "≥" } else { "≤" }, o.limit.text.trim_start_matches(['≥', '≤', ' ']))
}

/// An offset as minutes, seconds and milliseconds: `01:52.310`.
#[must_use]
pub fn clock(at: Offset) -> String {
    let ms = at.0.max(0) / 1_000_000;
    format!("{:02}:{:02}.{:03}", ms / 60_000, ms / 1000 % 60, ms % 1000)
}

/// How much later: `+1.1 ms`.
#[must_use]
pub fn plus(from: Offset, to: Offset) -> String {
    format!("+{}", time(to.since(from).0 as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_carry_units() {
        assert_eq!(amount("fraction", 0.9997), "99.970 %");
        assert_eq!(amount("ns", 48_100_000.0), "48.1 ms");
        assert_eq!(amount("factor", 1.834), "1.83 ×");
        assert_eq!(share(1.0), "100 %");
        assert_eq!(count(18_204), "18,204");
        assert_eq!(clock(Offset(112_310_000_000)), "01:52.310");
    }
}
