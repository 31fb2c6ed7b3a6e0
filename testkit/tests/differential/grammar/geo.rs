//! Requests of geographic commands. `{gkey}` is a key of theirs.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{gkey}" => Some(format!("g{}", rng.below(6)).into_bytes()),
        _ => None,
    }
}
