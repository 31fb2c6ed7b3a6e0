//! Requests of sorted sets. `{zkey}` is a key of theirs.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{zkey}" => Some(format!("z{}", rng.below(6)).into_bytes()),
        _ => None,
    }
}
