//! Cheap numbers that look random: masks, texts, arrivals.
//!
//! Repeatable from a seed and good for nothing secret. Knows nothing of what it is rolled for.

/// A xorshift64* generator.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Begins at a seed; equal seeds roll equally.
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Rolls 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Rolls a mask for one WebSocket frame.
    pub fn mask(&mut self) -> [u8; 4] {
        (self.roll() as u32).to_ne_bytes()
    }

    /// Rolls a share in (0, 1], never 0.
    pub fn share(&mut self) -> f64 {
        ((self.roll() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Appends `bytes` characters of lower-case "words", which JSON carries unescaped.
    ///
    /// Not one repeated filler: a store that compresses would look better than people let it.
    pub fn text(&mut self, bytes: usize, out: &mut Vec<u8>) {
        const LETTERS: &[u8; 32] = b"etaoinshrdlucmfwypvbgkjqxz eaino";
        let end = out.len() + bytes;
        while out.len() < end {
            let mut bits = self.roll();
            for _ in 0..12.min(end - out.len()) {
                out.push(LETTERS[(bits & 31) as usize]);
                bits >>= 5;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_bytes_it_was_asked_for() {
        let mut dice = Dice::new(7);
        for bytes in [0, 1, 11, 12, 13, 100, 1000] {
            let mut text = b"x".to_vec();
            dice.text(bytes, &mut text);
            assert_eq!(text.len(), bytes + 1);
            assert!(text.iter().all(|b| b.is_ascii_lowercase() || *b == b' '));
        }
    }

    #[test]
    fn equal_seeds_roll_equally_and_zero_is_one_of_them() {
        let (mut one, mut other) = (Dice::new(0), Dice::new(0));
        let rolls: Vec<u64> = (0..100).map(|_| one.roll()).collect();
        assert!(rolls.iter().all(|roll| *roll == other.roll()));
        assert_ne!(rolls[0], rolls[1]);
    }

    #[test]
    fn shares_are_spread_evenly() {
        let mut dice = Dice::new(3);
        let mean = (0..10_000).map(|_| dice.share()).sum::<f64>() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }
}
