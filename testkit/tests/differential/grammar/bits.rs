//! Requests of bit operations and bit fields. `{bkey}` is a key of theirs.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{bkey}" => Some(format!("b{}", rng.below(6)).into_bytes()),
        _ => None,
    }
}
