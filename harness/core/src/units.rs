//! The units every room shares: offsets, spans, rates, shares. Parsing of their written form is here too, because
//! each has exactly one. Must not read a clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Nanoseconds from the load epoch; negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub i64);

/// A length of time in nanoseconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

/// A rate in requests per 10⁹ seconds (nanohertz), so that `30/m` is exact and ramps stay in integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub u64);

/// A share or weight in parts per million, 0 to 1 000 000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ppm(pub u32);

/// A canary's share of the traffic.
pub type Weight = Ppm;

/// A quantile in parts per million: `p99.9` is 999 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantile(pub u32);

// === impl Offset ===

impl Offset {
    /// The load epoch itself.
    pub const ZERO: Offset = Offset(0);
    /// Later than every offset of a run.
    pub const MAX: Offset = Offset(i64::MAX);

    /// This offset moved later, saturating.
    #[must_use]
    pub fn plus(self, span: Span) -> Offset {
        Offset(self.0.saturating_add(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }

    /// This offset moved earlier, saturating.
    #[must_use]
    pub fn minus(self, span: Span) -> Offset {
        Offset(self.0.saturating_sub(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Offset) -> Span {
        Span(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Seconds, for people and charts.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

// === impl Span ===

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// Whole milliseconds.
    #[must_use]
    pub const fn millis(ms: u64) -> Span {
        Span(ms * 1_000_000)
    }

    /// Whole seconds.
    #[must_use]
    pub const fn secs(s: u64) -> Span {
        Span(s * 1_000_000_000)
    }

    /// As the standard library's duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Seconds, for people and charts.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Sum, saturating.
    #[must_use]
    pub fn plus(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }

    /// Reads `250ms`, `30s`, `1.5s`, `2m`, `1h`, `100us`.
    ///
    /// # Errors
    /// A sentence saying what a duration looks like.
    pub fn parse(text: &str) -> Result<Span, String> {
        let (number, unit) = split_number(text);
        let scale: f64 = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "" => return Err(format!("`{text}` has no unit; write `{text}s` or `{text}ms`")),
            _ => return Err(format!("`{text}` is not a duration; write 250ms, 30s, 2m or 1h")),
        };
        let value: f64 = number.parse().map_err(|_| format!("`{text}` is not a duration; write 250ms, 30s, 2m or 1h"))?;
        let nanos = value * scale;
        if !(0.0..=3.2e17).contains(&nanos) {
            return Err(format!("`{text}` is out of range; a duration is at most ten years"));
        }
        Ok(Span(nanos.round() as u64))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        match ns {
            0 => write!(f, "0s"),
            _ if ns.is_multiple_of(3_600_000_000_000) => write!(f, "{}h", ns / 3_600_000_000_000),
            _ if ns.is_multiple_of(60_000_000_000) => write!(f, "{}m", ns / 60_000_000_000),
            _ if ns >= 1_000_000_000 => write!(f, "{}s", trimmed(ns as f64 / 1e9)),
            _ if ns >= 1_000_000 => write!(f, "{}ms", trimmed(ns as f64 / 1e6)),
            _ if ns >= 1_000 => write!(f, "{}us", trimmed(ns as f64 / 1e3)),
            _ => write!(f, "{ns}ns"),
        }
    }
}

// === impl Rate ===

impl Rate {
    /// From requests a second.
    #[must_use]
    pub fn from_per_second(value: f64) -> Rate {
        Rate((value * 1e9).round().clamp(0.0, 1e18) as u64)
    }

    /// Requests a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Reads `200/s`, `30/m`, `5/h`.
    ///
    /// # Errors
    /// A sentence saying what a rate looks like.
    pub fn parse(text: &str) -> Result<Rate, String> {
        let wrong = || format!("`{text}` is not a rate; write 200/s, 30/m or 5/h");
        let (number, unit) = text.split_once('/').ok_or_else(|| match text.trim().parse::<f64>() {
            Ok(_) => format!("`{text}` has no unit; write `{text}/s`"),
            Err(_) => wrong(),
        })?;
        let per = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let value: f64 = number.trim().parse().map_err(|_| wrong())?;
        if !(0.0..=1e8).contains(&value) {
            return Err(format!("`{text}` is out of range; at most 100000000/s"));
        }
        Ok(Rate::from_per_second(value / per))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.per_second();
        if s >= 1.0 || s == 0.0 { write!(f, "{}/s", trimmed(s)) } else { write!(f, "{}/m", trimmed(s * 60.0)) }
    }
}

// === impl Ppm ===

impl Ppm {
    /// Nothing.
    pub const ZERO: Ppm = Ppm(0);
    /// Everything.
    pub const ONE: Ppm = Ppm(1_000_000);

    /// As a fraction from 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// From a fraction, clamped to 0..=1.
    #[must_use]
    pub fn from_fraction(value: f64) -> Ppm {
        Ppm((value * 1e6).round().clamp(0.0, 1e6) as u32)
    }

    /// Reads `30%`, `0.5%`.
    ///
    /// # Errors
    /// A sentence saying that a share is written with `%`.
    pub fn parse(text: &str) -> Result<Ppm, String> {
        let Some(number) = text.strip_suffix('%') else {
            return Err(match text.trim().parse::<f64>() {
                Ok(v) if (0.0..1.0).contains(&v) => format!("a share is written with %; did you mean `{}%`?", trimmed(v * 100.0)),
                Ok(v) => format!("a share is written with %; did you mean `{}%`?", trimmed(v)),
                Err(_) => format!("`{text}` is not a share; write 30% or 0.5%"),
            });
        };
        let value: f64 = number.trim().parse().map_err(|_| format!("`{text}` is not a share; write 30% or 0.5%"))?;
        if !(0.0..=100.0).contains(&value) {
            return Err(format!("`{text}` is out of range; a share is 0% to 100%"));
        }
        Ok(Ppm((value * 1e4).round() as u32))
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", trimmed(f64::from(self.0) / 1e4))
    }
}

// === impl Quantile ===

impl Quantile {
    /// As a fraction between 0 and 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// Reads `p95`, `p99.9`.
    ///
    /// # Errors
    /// A sentence saying what a quantile looks like.
    pub fn parse(text: &str) -> Result<Quantile, String> {
        let wrong = || format!("`{text}` is not a quantile; write p50, p95 or p99.9");
        let value: f64 = text.strip_prefix('p').ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        if value > 0.0 && value < 100.0 { Ok(Quantile((value * 1e4).round() as u32)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", trimmed(f64::from(self.0) / 1e4))
    }
}

/// Reads a size: `64KiB`, `10MB`, `512B`.
///
/// # Errors
/// A sentence saying what a size looks like.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write 64KiB, 10MB or 512B");
    let (number, unit) = split_number(text);
    let scale: f64 = match unit {
        "B" => 1.0,
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return Err(wrong()),
    };
    let value: f64 = number.parse().map_err(|_| wrong())?;
    if value >= 0.0 && value * scale < 1e18 { Ok((value * scale).round() as u64) } else { Err(wrong()) }
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A number with at most three decimals and no trailing zeros.
#[must_use]
pub fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
