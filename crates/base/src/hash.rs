//! The one hash of the keyspace and of every table: SipHash-1-3 under a secret seed, so that nobody outside
//! can choose keys that collide. It must never be stored or sent: it changes from one start to the next. What
//! clients are told of a value is its `digest`.

use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

/// Sets the seed. Once, before the first key is hashed: entries filed under the old seed are not found any
/// more.
pub fn set_seed(first: u64, second: u64) {
    SEED[0].store(first, Ordering::Relaxed);
    SEED[1].store(second, Ordering::Relaxed);
}

/// The hash of `bytes` under the process's seed.
#[inline]
pub fn hash(bytes: &[u8]) -> u64 {
    let (first, second) = (SEED[0].load(Ordering::Relaxed), SEED[1].load(Ordering::Relaxed));
    hash_with(first, second, bytes)
}

/// The hash of `bytes` under a seed of the caller's.
#[inline]
pub fn hash_with(first: u64, second: u64, bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(first, second).hash(bytes)
}

/// XXH3 of 64 bits without a seed, as DIGEST prints it: 16 small hexadecimal digits.
pub fn digest(bytes: &[u8]) -> [u8; 16] {
    let hash = xxhash_rust::xxh3::xxh3_64(bytes);
    let digit = |index: usize| b"0123456789abcdef"[(hash >> (60 - 4 * index)) as usize & 15];
    std::array::from_fn(digit)
}

/// Fixed until `set_seed`, so that tests repeat.
static SEED: [AtomicU64; 2] = [AtomicU64::new(0x0706_0504_0302_0100), AtomicU64::new(0x0f0e_0d0c_0b0a_0908)];

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    #[test]
    fn agrees_with_the_streaming_hasher() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in 0..bytes.len() {
            let mut hasher = SipHasher13::new_with_keys(7, 11);
            hasher.write(&bytes[..len]);
            assert_eq!(hash_with(7, 11, &bytes[..len]), hasher.finish(), "{len}");
        }
    }

    #[test]
    fn digests_are_those_of_redis() {
        let check = |text: &str, expected: &[u8]| assert_eq!(digest(text.as_bytes()), expected, "{text}");
        check("", b"2d06800538d394c2");
        check(
            "v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd",
            b"00006c38adf31777",
        );
    }

    #[test]
    fn the_seed_matters() {
        assert_eq!(hash(b"key"), hash(b"key"));
        assert_ne!(hash(b"key"), hash(b"kez"));
        assert_ne!(hash_with(1, 2, b"key"), hash_with(1, 3, b"key"));
        assert_ne!(hash_with(1, 2, b"key"), hash_with(2, 2, b"key"));
    }
}
