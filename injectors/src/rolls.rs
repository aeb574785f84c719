//! Seeded decisions: the same seed and number give the same answer, whatever came before and however threads ran.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shakedown_core::Ppm;

/// The random stream of one connection or request under one toxic.
#[derive(Clone, Debug)]
pub struct Rolls(ChaCha8Rng);

impl Rolls {
    /// The stream number `number` of `seed`.
    #[must_use]
    pub fn of(seed: u64, number: u64) -> Rolls {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        Rolls(rng)
    }

    /// True with the probability `share`.
    pub fn hit(&mut self, share: Ppm) -> bool {
        // Exact for a share in millionths: 2^64 / 10^6 leaves a bias below 10^-13.
        self.0.next_u64() % 1_000_000 < u64::from(share.0)
    }

    /// Uniform in the open interval (0, 1): 53 bits, never 0 or 1, so that inverse distributions stay finite.
    pub fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

/// A seed made of a seed and a name (FNV-1a, 64 bits).
#[must_use]
pub fn named(seed: u64, name: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    seed.to_le_bytes().iter().chain(name.as_bytes()).fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
