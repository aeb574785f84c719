//! The sign test over paired blocks: in how many is the canary worse? Needs no independence within a block. Ties count
//! as not worse, which can only weaken the proof. Must not look at sizes.

use super::eprocess::beta_mixture;

/// ln E for `worse` of `n` blocks: Beta(1,1) mixture truncated to p > ½. Seven of seven are the fewest that reach 20.
#[must_use]
pub fn log_e(worse: u32, n: u32) -> f64 {
    if n == 0 { 0.0 } else { beta_mixture(f64::from(worse), f64::from(n), 0.5, true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert!((log_e(15, 20) - 1.849_323_908_5).abs() < 1e-9);
        assert!((libm::exp(log_e(6, 6)) - 18.1).abs() < 0.1);
        assert!((libm::exp(log_e(7, 7)) - 31.9).abs() < 0.1);
    }
}
