//! Requests of streams. `{xkey}` is a key of theirs.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{xkey}" => Some(format!("x{}", rng.below(6)).into_bytes()),
        _ => None,
    }
}
