//! Betting on paired blocks (Waudby-Smith and Ramdas): K = Π(1 + λₜDₜ), Dₜ the clipped difference over its cap, λₜ fixed
//! before block t is seen. Valid when the mean of every Dₜ is at most zero under the null. Must not look ahead.

use libm::log;

/// Differences are clipped to plus or minus this.
pub const CAP: f64 = 0.05;
/// The largest bet: K can never reach zero.
const LARGEST_BET: f64 = 0.75;
/// Spread assumed before blocks are seen.
const PRIOR_VARIANCE: f64 = 0.25;

/// The running bet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Betting {
    log_k: f64,
    n: f64,
    sum: f64,
    squares: f64,
}

impl Betting {
    /// Adds a block's difference (canary minus what the limit allows; shares, −1 to 1).
    pub fn push(&mut self, difference: f64) {
        let d = difference.clamp(-CAP, CAP) / CAP;
        // λ for this block uses earlier blocks only: mean over second moment, shrunk towards no bet.
        let mean = self.sum / (self.n + 1.0);
        let second = (PRIOR_VARIANCE + self.squares) / (self.n + 1.0);
        let start = if self.n == 0.0 { 0.25 } else { 0.0 };
        let bet = (mean / second).clamp(start, LARGEST_BET);
        self.log_k += log(1.0 + bet * d);
        self.n += 1.0;
        self.sum += d;
        self.squares += d * d;
    }

    /// ln K.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.log_k
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_when_every_block_is_worse_and_shrinks_otherwise() {
        let mut worse = Betting::default();
        let mut better = Betting::default();
        for _ in 0..12 {
            worse.push(0.04);
            better.push(-0.04);
        }
        assert!(worse.log_e() > 3.0, "{}", worse.log_e());
        assert!(better.log_e() < 0.0);
    }

    #[test]
    fn a_fair_game_rarely_reaches_twenty() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
        let reached = (0..1000).filter(|_| {
            let mut k = Betting::default();
            (0..60).any(|_| {
                k.push((rng.random::<f64>() - 0.5) * 0.1);
                k.log_e() >= log(20.0)
            })
        });
        assert!(reached.count() <= 50);
    }
}
