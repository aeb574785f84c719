//! Levels a search moves between: a range as written on the command line, and each level as it is written into the
//! scenario. Must not know what a level does.

use shakedown_core::units::trimmed;
use shakedown_core::{Ppm, Rate, Span};
use std::str::FromStr;

/// Digits a level keeps: more would only pretend.
const DIGITS: usize = 3;

/// What a level is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Requests a second.
    Rate,
    /// Nanoseconds.
    Span,
    /// Percent.
    Share,
    /// Whole numbers.
    Count,
}

/// A range of levels, `50/s..2000/s`, `10ms..2s`, `1%..100%`, `10..5000`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    unit: Unit,
    /// Lowest level, above zero.
    pub low: f64,
    /// Highest level, above the lowest.
    pub high: f64,
}

impl Range {
    /// The nearest level that can be written in few digits.
    pub fn round(&self, level: f64) -> f64 {
        // By way of decimal text: the nearest number to what will be written, not one rounded twice.
        let rounded = format!("{level:.*e}", DIGITS - 1).parse().unwrap_or(level);
        if self.unit == Unit::Count { f64::round(rounded) } else { rounded }
    }

    /// A level as the scenario language writes it.
    pub fn text(&self, level: f64) -> String {
        match self.unit {
            Unit::Rate => Rate::from_per_second(level).to_string(),
            Unit::Span => span(level),
            Unit::Share => format!("{}%", trimmed(level)),
            Unit::Count => format!("{level:.0}"),
        }
    }

    /// The same where a file is named after it.
    pub fn file(&self, level: f64) -> String {
        self.text(level).replace('/', "-per-").replace('%', "pct")
    }

    /// Whether levels are requests a second.
    pub fn is_rate(&self) -> bool {
        self.unit == Unit::Rate
    }
}

/// A duration in the largest unit that keeps it readable, to three digits.
fn span(nanos: f64) -> String {
    let (unit, scale) = [("s", 1e9), ("ms", 1e6), ("us", 1e3)].into_iter().find(|(_, s)| nanos >= *s).unwrap_or(("ns", 1.0));
    format!("{}{unit}", trimmed((nanos / scale * 1000.0).round() / 1000.0))
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let (low, high) =
            text.split_once("..").ok_or_else(|| format!("`{text}` is no range; write 50/s..2000/s, 10ms..2s, 1%..100% or 10..5000"))?;
        let ((unit, low), (other, high)) = (level(low.trim())?, level(high.trim())?);
        if unit != other {
            return Err(format!("`{text}`: both ends of a range have the same unit"));
        }
        if low <= 0.0 || high <= low {
            return Err(format!("`{text}`: a range begins above zero and ends above its beginning"));
        }
        Ok(Range { unit, low, high })
    }
}

fn level(text: &str) -> Result<(Unit, f64), String> {
    if text.ends_with('%') {
        return Ppm::parse(text).map(|p| (Unit::Share, p.fraction() * 100.0));
    }
    if text.contains('/') {
        return Rate::parse(text).map(|r| (Unit::Rate, r.per_second()));
    }
    match text.parse::<u64>() {
        Ok(n) => Ok((Unit::Count, n as f64)),
        Err(_) => Span::parse(text).map(|s| (Unit::Span, s.0 as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_levels_written_as_the_language_reads_them() {
        let range: Range = "50/s..2000/s".parse().unwrap();
        assert_eq!((range.low, range.high), (50.0, 2000.0));
        assert_eq!(range.text(range.round(316.2277)), "316/s");
        let range: Range = "500us .. 2s".parse().unwrap();
        let level = range.round((range.low * range.high).sqrt());
        assert_eq!(range.text(level), "31.6ms");
        assert_eq!(Span::parse(&range.text(level)).unwrap().0 as f64, level);
        assert_eq!("1%..100%".parse::<Range>().unwrap().text(31.6), "31.6%");
        assert_eq!("10..5000".parse::<Range>().unwrap().round(223.6), 224.0);
        assert_eq!("50/s..2000/s".parse::<Range>().unwrap().file(316.0), "316-per-s");
    }

    #[test]
    fn what_is_no_range_says_what_one_looks_like() {
        for wrong in ["", "50/s", "50/s..", "50/s..2s", "0/s..5/s", "5/s..5/s", "9..3", "a..b", "-1..5", "1%..200%"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }
}
