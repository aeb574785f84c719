//! Medians, quantiles, and how far arrivals were from where they should have been. Pure.

use crate::truth::log::Entry;

/// Share of a run at its start that is left out: connecting, warming up.
const SETTLE: f64 = 0.05;

/// Median and extremes of repeated runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two middle ones.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many.
    pub runs: usize,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, min, max, runs: sorted.len() })
    }
}

/// The smallest value that at least the share `q` of all values does not exceed; zero of nothing.
pub fn quantile(sorted: &[u64], q: f64) -> u64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

/// How well a constant rate was kept, as the server saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    /// Median of |arrival − (t0 + i/rate)|, in ns.
    pub p50: u64,
    /// 99th percentile of it.
    pub p99: u64,
    /// Rate over the run, as a share of the rate asked.
    pub achieved: f64,
}

/// `log` in order of arrival. `t0` is where the earliest thousandth of the arrivals would put it: one early outlier does
/// not make all others late.
pub fn pacing(log: &[Entry], rate: f64) -> Option<Pacing> {
    let skip = (log.len() as f64 * SETTLE) as usize;
    let first = log.first()?.arrived;
    let shifts: Vec<i64> =
        log.iter().enumerate().skip(skip).map(|(i, e)| (e.arrived - first) as i64 - (i as f64 * 1e9 / rate) as i64).collect();
    let mut sorted = shifts.clone();
    sorted.sort_unstable();
    let zero = *sorted.get(sorted.len() / 1000)?;
    let mut errors: Vec<u64> = shifts.iter().map(|s| s.abs_diff(zero)).collect();
    errors.sort_unstable();
    Some(Pacing { p50: quantile(&errors, 0.5), p99: quantile(&errors, 0.99), achieved: achieved(&shifts, rate) })
}

/// The shift from plan between the first and the last twentieth (medians: one late request is not a rate) over the time
/// between them.
fn achieved(shifts: &[i64], rate: f64) -> f64 {
    let part = (shifts.len() / 20).max(1);
    let middle = |slice: &[i64]| {
        let mut sorted = slice.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2] as f64
    };
    let drift = middle(&shifts[shifts.len() - part..]) - middle(&shifts[..part]);
    let planned = (shifts.len() - part) as f64 * 1e9 / rate;
    if planned <= 0.0 { 1.0 } else { planned / (planned + drift) }
}

/// True latencies from arrival to reply, sorted.
pub fn held(log: &[Entry]) -> Vec<u64> {
    sorted(log.iter().filter(|e| e.replied > 0).map(|e| e.replied - e.arrived))
}

/// True latencies from the intended time of each request, as a user with a schedule feels them, sorted. The schedule is
/// fitted to the arrivals that were not held up.
pub fn intended(log: &[Entry], rate: f64) -> Vec<u64> {
    let Some(first) = log.first().map(|e| e.arrived) else { return Vec::new() };
    let plan = |i: usize| (i as f64 * 1e9 / rate) as i64;
    let mut shifts: Vec<i64> = log.iter().enumerate().map(|(i, e)| (e.arrived - first) as i64 - plan(i)).collect();
    shifts.sort_unstable();
    let zero = shifts[shifts.len() / 1000];
    let late = |(i, e): (usize, &Entry)| (e.replied.max(e.arrived) - first) as i64 - plan(i) - zero;
    sorted(log.iter().enumerate().map(late).map(|l| u64::try_from(l).unwrap_or(0)))
}

fn sorted(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(arrivals: impl Iterator<Item = u64>) -> Vec<Entry> {
        arrivals.map(|arrived| Entry { arrived, replied: arrived + 10 }).collect()
    }

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0, runs: 3 }));
        assert_eq!(Spread::of(&[4.0, 1.0]).unwrap().median, 2.5);
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([0.5, 0.9, 0.99, 0.999, 1.0].map(|q| quantile(&hundred, q)), [50, 90, 99, 100, 100]);
        assert_eq!(quantile(&[], 0.5), 0);
    }

    #[test]
    fn exact_arrivals_have_no_error_wherever_they_start() {
        let pacing = pacing(&entries((0..10_000).map(|i| 77 + i * 100_000)), 10_000.0).unwrap();
        assert_eq!((pacing.p50, pacing.p99), (0, 0));
        assert!((pacing.achieved - 1.0).abs() < 1e-9);
    }

    #[test]
    fn sends_rounded_up_to_a_millisecond_are_late_by_half_of_it() {
        let log = entries((0..10_000u64).map(|i| (i * 100_000).next_multiple_of(1_000_000)));
        let pacing = pacing(&log, 10_000.0).unwrap();
        assert_eq!((pacing.p50, pacing.p99), (400_000, 900_000));
    }

    #[test]
    fn a_slow_rate_is_seen() {
        let pacing = pacing(&entries((0..10_000).map(|i| i * 101_000)), 10_000.0).unwrap();
        assert!((pacing.achieved - 1.0 / 1.01).abs() < 1e-4, "{}", pacing.achieved);
    }

    #[test]
    fn a_stall_counts_from_the_intended_time() {
        // 10 s at 1,000/s; what is due in the fourth second arrives and is answered at its end.
        let log = entries((0..10_000u64).map(|i| if (3_000..4_000).contains(&i) { 4_000_000_000 } else { i * 1_000_000 }));
        let late = intended(&log, 1000.0);
        assert_eq!(quantile(&late, 0.5), 10);
        assert!(quantile(&late, 0.99).abs_diff(900_000_000) <= 2_000_000);
    }
}
