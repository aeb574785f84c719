//! Everything random, derived from the plan's seed: generators by label, rolls by index, UUIDs and trace IDs.
//! Must not read the clock or the system's entropy.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A seed of one purpose, derived from the plan's seed and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

/// A name hashed in advance, for [`Seed::with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(u64);

impl Label {
    /// The FNV-1a hash of the name.
    #[must_use]
    pub fn new(label: &str) -> Label {
        Label(label.bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)))
    }
}

impl Seed {
    /// The plan's seed narrowed to one purpose: `Seed::of(7).and("shoppers").and("think")`.
    #[must_use]
    pub fn of(seed: u64) -> Seed {
        Seed(mix(seed))
    }

    /// Narrowed by a name (FNV-1a over its bytes, then mixed).
    #[must_use]
    pub fn and(self, label: &str) -> Seed {
        self.with(Label::new(label))
    }

    /// Narrowed by a name that was hashed before.
    #[must_use]
    pub fn with(self, label: Label) -> Seed {
        Seed(mix(self.0 ^ label.0))
    }

    /// Narrowed by a number.
    #[must_use]
    pub fn at(self, n: u64) -> Seed {
        Seed(mix(self.0 ^ mix(n ^ 0x5bd1_e995_97f4_a7c5)))
    }

    /// 64 uniform bits.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Uniform in 0..n (multiply and shift; the bias is below n / 2^64). Zero for n = 0.
    #[must_use]
    pub fn below(self, n: u64) -> u64 {
        ((u128::from(self.0) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in [0, 1) with 53 bits.
    #[must_use]
    pub fn unit(self) -> f64 {
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A ChaCha8 generator of its own.
    #[must_use]
    pub fn rng(self) -> ChaCha8Rng {
        let mut key = [0u8; 32];
        for (i, part) in key.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&self.at(i as u64).0.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }

    /// A UUID in version 4 form.
    #[must_use]
    pub fn uuid(self) -> String {
        uuid::Builder::from_random_bytes(self.bytes16()).into_uuid().hyphenated().to_string()
    }

    /// 32 hex digits, never all zero.
    #[must_use]
    pub fn hex32(self) -> [u8; 32] {
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&hex(self.at(0).0 | 1));
        digits[16..].copy_from_slice(&hex(self.at(1).0));
        digits
    }

    /// 16 hex digits, never all zero.
    #[must_use]
    pub fn hex16(self) -> [u8; 16] {
        hex(self.at(2).0 | 1)
    }

    fn bytes16(self) -> [u8; 16] {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&self.at(0).0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.at(1).0.to_le_bytes());
        bytes
    }
}

/// 16 lower-case hex digits, without a branch: each nibble gets a byte of its own, then `0`-`9` or `a`-`f` are added to all
/// eight at once.
fn hex(x: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (part, half) in digits.chunks_exact_mut(8).zip([x >> 32, x & 0xffff_ffff]) {
        let mut n = half;
        n = (n | n << 16) & 0x0000_ffff_0000_ffff;
        n = (n | n << 8) & 0x00ff_00ff_00ff_00ff;
        n = (n | n << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = (n + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
        let text = n + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10);
        part.copy_from_slice(&text.to_be_bytes());
    }
    digits
}

/// The SplitMix64 finaliser (Steele, Lea, Flood 2014) after its increment: a bijection that avalanches.
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_label_and_index_and_repeat() {
        let seed = Seed::of(7);
        assert_eq!(seed.and("a").at(3), Seed::of(7).and("a").at(3));
        assert_ne!(seed.and("a").at(3), seed.and("b").at(3));
        assert_ne!(seed.and("a").at(3), seed.and("a").at(4));
        assert_ne!(Seed::of(8).and("a"), seed.and("a"));
    }

    #[test]
    fn below_is_uniform_enough() {
        let mut counts = [0u32; 10];
        for k in 0..100_000 {
            counts[Seed::of(1).at(k).below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|&c| (9_600..10_400).contains(&c)), "{counts:?}");
    }

    #[test]
    fn hex_is_what_the_library_writes() {
        for x in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX, 0xf0f0_a9a9_0909_9a9a] {
            assert_eq!(hex(x), format!("{x:016x}").as_bytes());
        }
    }

    #[test]
    fn uuids_have_the_form_of_version_4() {
        let text = Seed::of(1).and("x").uuid();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
