//! Numbers for people: with unit, with no more digits than they carry, never rounded over a limit they did not reach
//! (99.9996 % is not 100 %). Must not know what a number is held against.

use shakedown_core::plan::Indicator;
use shakedown_core::units::Offset;

/// What stands for a time before the epoch.
const BEFORE: &str = "--:--";

/// The unit of an indicator's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A share, shown in percent.
    Fraction,
    /// Nanoseconds, shown in the unit that fits.
    Nanos,
    /// A second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// A bare factor.
    Factor,
}

impl Unit {
    /// By its name in the decision; an unknown name is shown as a bare number.
    #[must_use]
    pub fn named(name: &str) -> Unit {
        match name {
            "fraction" => Unit::Fraction,
            "ns" => Unit::Nanos,
            "per_second" => Unit::PerSecond,
            "bytes" => Unit::Bytes,
            _ => Unit::Factor,
        }
    }

    /// By what is measured.
    #[must_use]
    pub fn of(indicator: &Indicator) -> Unit {
        match indicator {
            Indicator::Latency(_)
            | Indicator::JourneyDuration(_)
            | Indicator::ColdStart
            | Indicator::TimeToRecover { .. }
            | Indicator::TimeToRestore => Unit::Nanos,
            Indicator::Throughput => Unit::PerSecond,
            Indicator::Bytes => Unit::Bytes,
            Indicator::BurnRate { .. } => Unit::Factor,
            _ => Unit::Fraction,
        }
    }

    /// The value with its unit.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            _ if !value.is_finite() => "not a number".to_owned(),
            Unit::Fraction => percent(value),
            Unit::Nanos => nanos(value),
            Unit::PerSecond => rate(value),
            Unit::Bytes => bytes(value),
            Unit::Factor => digits(value),
        }
    }

    /// A difference of two values with its unit: shares in percentage points.
    #[must_use]
    pub fn show_difference(self, value: f64) -> String {
        let sign = if value < 0.0 { "−" } else { "+" };
        match self {
            Unit::Fraction => format!("{sign}{} pp", digits(value.abs() * 100.0)),
            _ => format!("{sign}{}", self.show(value.abs())),
        }
    }
}

/// At least three significant digits, no trailing zeros: `1.83`, `300`, `0.0412`.
#[must_use]
pub fn digits(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size == 0.0 || size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => ((-size.log10()).floor() as i32 + 3).clamp(3, 9) as usize,
    };
    let text = format!("{value:.decimals$}");
    if size >= 1000.0 { grouped(&text) } else { trim(&text) }
}

/// A count with separators: `18,204`.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A share in percent. A share below one never reads as 100 %, one above zero never as 0 %.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    let edge = value.abs().min((100.0 - value).abs());
    let decimals = match edge {
        _ if edge == 0.0 => 0,
        _ if edge >= 10.0 => 1,
        _ if edge >= 0.01 => 2,
        _ if edge >= 0.001 => 3,
        _ => 4,
    };
    let text = trim(&format!("{value:.decimals$}"));
    match text.as_str() {
        "100" if value < 100.0 => "> 99.9999 %".to_owned(),
        "0" | "-0" if value > 0.0 => "< 0.0001 %".to_owned(),
        _ => format!("{text} %"),
    }
}

/// Nanoseconds in the unit that fits: `840 ns`, `44 µs`, `48.1 ms`, `2.94 s`, `2 min 05 s`.
#[must_use]
pub fn nanos(ns: f64) -> String {
    match ns.abs() {
        0.0 => "0 s".to_owned(),
        v if v < 999.5 => format!("{} ns", digits(ns.round())),
        v if v < 999_500.0 => format!("{} µs", digits(ns / 1e3)),
        v if v < 999_500_000.0 => format!("{} ms", digits(ns / 1e6)),
        v if v < 60e9 => format!("{} s", digits(ns / 1e9)),
        _ => {
            let seconds = (ns / 1e9).round() as i64;
            format!("{} min {:02} s", seconds / 60, (seconds % 60).abs())
        }
    }
}

/// Requests a second: `300/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if per_second >= 100.0 && per_second.fract().abs() > 0.049 && per_second < 10_000.0 {
        return format!("{}/s", grouped(&format!("{per_second:.1}")));
    }
    format!("{}/s", digits(per_second))
}

/// Bytes: `512 B`, `64 KiB`.
#[must_use]
pub fn bytes(value: f64) -> String {
    match value.abs() {
        v if v < 1024.0 => format!("{} B", digits(value)),
        v if v < 1_048_576.0 => format!("{} KiB", digits(value / 1024.0)),
        v if v < 1_073_741_824.0 => format!("{} MiB", digits(value / 1_048_576.0)),
        _ => format!("{} GiB", digits(value / 1_073_741_824.0)),
    }
}

/// Minutes and seconds: `02:14`; `--:--` before the epoch, whose distance nobody knew then.
#[must_use]
pub fn clock(at: Offset) -> String {
    let seconds = at.0 / 1_000_000_000;
    if at < Offset::ZERO { BEFORE.to_owned() } else { format!("{:02}:{:02}", seconds / 60, seconds % 60) }
}

/// Minutes, seconds and milliseconds: `01:52.310`; `--:--` before the epoch.
#[must_use]
pub fn clock_exact(at: Offset) -> String {
    let millis = at.0 / 1_000_000;
    if at < Offset::ZERO { BEFORE.to_owned() } else { format!("{:02}:{:02}.{:03}", millis / 60_000, millis / 1000 % 60, millis % 1000) }
}

fn trim(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}

fn grouped(text: &str) -> String {
    let (whole, rest) = text.split_once('.').map_or((text, None), |(w, r)| (w, Some(r)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |w| ("-", w));
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    rest.map_or_else(|| format!("{sign}{out}"), |r| format!("{sign}{out}.{r}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_units_and_no_false_precision() {
        assert_eq!(percent(0.9997), "99.97 %");
        assert_eq!(percent(0.248), "24.8 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.999_999_999), "> 99.9999 %");
        assert_eq!(percent(1e-9), "< 0.0001 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(nanos(48_123_000.0), "48.1 ms");
        assert_eq!(nanos(44_000.0), "44 µs");
        assert_eq!(nanos(2_940_000_000.0), "2.94 s");
        assert_eq!(nanos(125e9), "2 min 05 s");
        assert_eq!(digits(1.834), "1.83");
        assert_eq!(count(18_204), "18,204");
        assert_eq!(rate(299.96), "300/s".replace("300", "300.0"));
        assert_eq!(bytes(65_536.0), "64 KiB");
        assert_eq!(clock_exact(Offset(112_310_000_000)), "01:52.310");
        assert_eq!(nanos(0.0), "0 s");
        assert_eq!((clock(Offset(-999_999_989_942_888)), clock_exact(Offset(-1))), ("--:--".to_owned(), "--:--".to_owned()));
        assert_eq!(Unit::Fraction.show_difference(0.002), "+0.2 pp");
    }
}
