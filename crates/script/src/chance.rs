//! Random numbers of scripts: the sequence that a seed has in Redis, which is that of `lrand48` in C's
//! library. It must never seed itself.

/// The generator, by its state of 48 bits.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn from_seed(seed: u32) -> Chance {
        Chance(u64::from(seed) << 16 | BELOW_SEED)
    }

    /// A number from 0.0 up to, not including, 1.0: so many of the highest number's parts.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = (self.0.wrapping_mul(FACTOR) + ADDEND) & STATE_MAX;
        let bits = (self.0 >> 17) as i32;
        f64::from(bits % i32::MAX) / f64::from(i32::MAX)
    }
}

// The constants of POSIX.
const BELOW_SEED: u64 = 0x330e;
const FACTOR: u64 = 0x5_deec_e66d;
const ADDEND: u64 = 0xb;
const STATE_MAX: u64 = (1 << 48) - 1;
