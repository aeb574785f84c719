//! How long a block of slices must be so that paired blocks are nearly independent. Must not see the canary.

use libm::{ceil, sqrt};

/// Blocks are never longer than this many slices: the longest correlation time that was measured to need it.
pub const LONGEST: u32 = 60;
/// Correlation below this is too weak to matter for blocks of one slice.
const WEAK: f64 = 0.2;

/// Lag-1 autocorrelation of series that each have their own mean (one per stage); `None` without variation or below 4 values.
#[must_use]
pub fn autocorrelation(series: &[Vec<f64>]) -> Option<f64> {
    let (mut cross, mut square, mut n) = (0.0, 0.0, 0usize);
    for part in series.iter().filter(|p| p.len() >= 2) {
        let mean = part.iter().sum::<f64>() / part.len() as f64;
        square += part.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
        cross += part.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>();
        n += part.len();
    }
    (n >= 4 && square > 0.0).then(|| cross / square)
}

/// Whole slices per block for a lag-1 autocorrelation over `n` slices: one when it is weak or not significant, else
/// 3/(1−φ), which brought the false alarms of AR(1) bursts at φ = 0.9 below 5 %.
#[must_use]
pub fn block(phi: Option<f64>, n: usize) -> u32 {
    match phi {
        Some(phi) if phi > WEAK.max(2.0 / sqrt(n.max(1) as f64)) => (ceil(3.0 / (1.0 - phi.min(0.99)) - 1e-9) as u32).clamp(1, LONGEST),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_correlation_makes_long_blocks() {
        assert_eq!(block(Some(0.9), 400), 30);
        assert_eq!(block(Some(0.1), 400), 1);
        assert_eq!(block(Some(0.4), 10), 1, "not significant in ten slices");
        assert_eq!(block(None, 400), 1);
    }

    #[test]
    fn a_step_between_stages_is_no_correlation() {
        let flat = |level: f64| (0..10).map(|i| level + if i % 2 == 0 { 0.1 } else { -0.1 }).collect::<Vec<_>>();
        let phi = autocorrelation(&[flat(0.0), flat(5.0)]).unwrap();
        assert!(phi < 0.0);
        assert_eq!(autocorrelation(&[vec![0.0; 10]]), None);
    }
}
