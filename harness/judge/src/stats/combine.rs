//! One e-value from those of the stages. The null is "the limit is broken in every stage", so both the mean of the stages'
//! e-values and their product (each stage's evidence starts at 1 when its first request is sent, whatever came before)
//! are e-values, and so is their equal mixture, which is used: the product adds up weak evidence of several stages,
//! the mean lets one strong stage suffice. Must not be used without looking at the stages' point estimates too.

use super::special::{ln_add, ln_mean};
use libm::log;

/// ln E over the stages seen so far of `planned`; a stage that has not begun counts with the 1 it starts from.
#[must_use]
pub fn over_stages(logs: &[f64], planned: usize) -> f64 {
    ln_add(logs.iter().sum(), mean(logs, planned)) - log(2.0)
}

/// ln E of an absolute limit's harm: half on everything pooled, half on the mean of the stages.
#[must_use]
pub fn pooled_or_stage(pooled: f64, logs: &[f64], planned: usize) -> f64 {
    ln_add(pooled, mean(logs, planned)) - log(2.0)
}

fn mean(logs: &[f64], planned: usize) -> f64 {
    let mut all = logs.to_vec();
    all.resize(planned.max(logs.len()).max(1), 0.0);
    ln_mean(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_strong_stage_suffices_and_weak_ones_add_up() {
        assert!(over_stages(&[-2.0, -2.0, 8.0], 3) > log(20.0));
        assert!(over_stages(&[1.5, 1.5, 1.5], 3) > log(20.0));
        assert!(over_stages(&[0.0, 0.0], 4).abs() < 1e-12);
        assert!(over_stages(&[], 2).abs() < 1e-12);
    }
}
